//! The flags about etcd, of the API server alone and of `canopus server`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use kube_apiserver::etcd::{Etcd, MediaType};
use serde::{Deserialize, Serialize};

use crate::components::flags;

/// An etcd in the place of the embedded store.
#[derive(Debug, Clone, clap::Args, Serialize, Deserialize)]
pub struct EtcdFlags {
    /// URLs of the members of an etcd that several servers share; without them the store is embedded
    #[arg(long, value_name = "URLS", value_delimiter = ',')]
    etcd_servers: Vec<String>,
    /// File with the authorities of the members' certificates
    #[arg(long, value_name = "FILE")]
    etcd_cafile: Option<PathBuf>,
    /// File with the client certificate for etcd
    #[arg(long, value_name = "FILE")]
    etcd_certfile: Option<PathBuf>,
    /// File with the client key for etcd
    #[arg(long, value_name = "FILE")]
    etcd_keyfile: Option<PathBuf>,
    /// What all keys in etcd begin with
    #[arg(long, value_name = "PATH", default_value = "/registry")]
    etcd_prefix: String,
    /// How often one of the servers compacts etcd's history; 0 for never
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "5m0s")]
    etcd_compaction_interval: Duration,
    /// How long the health check waits for etcd
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "2s")]
    etcd_healthcheck_timeout: Duration,
    /// How long the readiness check waits for etcd
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "2s")]
    etcd_readycheck_timeout: Duration,
    /// Form of the objects in etcd: application/json or application/vnd.kubernetes.protobuf
    #[arg(long, value_name = "TYPE", default_value = "application/vnd.kubernetes.protobuf")]
    storage_media_type: String,
    /// Seconds for which keys that expire share a lease of etcd
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    lease_reuse_duration_seconds: u64,
}

impl EtcdFlags {
    /// The same with other members, HOST:PORT each, by TLS where there is something to check them by or to show them.
    #[must_use]
    pub fn with_members(&self, members: &[String]) -> Self {
        let is_secure = self.etcd_cafile.is_some() || self.etcd_certfile.is_some();
        let scheme = if is_secure { "https" } else { "http" };
        let etcd_servers = members.iter().map(|member| format!("{scheme}://{member}")).collect();
        Self { etcd_servers, ..self.clone() }
    }

    /// `None` where the store is embedded.
    pub fn settings(&self) -> Result<Option<Etcd>> {
        let storage_media_type: MediaType = self.storage_media_type.parse().map_err(anyhow::Error::msg)?;
        if self.etcd_servers.is_empty() {
            return Ok(None);
        }
        let identity = match (&self.etcd_certfile, &self.etcd_keyfile) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            _ => bail!("--etcd-certfile and --etcd-keyfile come together"),
        };
        if !self.etcd_prefix.starts_with('/') || self.etcd_prefix.len() < 2 {
            bail!("--etcd-prefix {:?} is no path below /", self.etcd_prefix);
        }
        Ok(Some(Etcd {
            ca_file: self.etcd_cafile.clone(),
            identity,
            prefix: self.etcd_prefix.clone(),
            compaction_interval: self.etcd_compaction_interval,
            storage_media_type,
            healthcheck_timeout: self.etcd_healthcheck_timeout,
            readycheck_timeout: self.etcd_readycheck_timeout,
            lease_reuse_duration: Duration::from_secs(self.lease_reuse_duration_seconds),
            ..Etcd::new(self.etcd_servers.clone())
        }))
    }
}
