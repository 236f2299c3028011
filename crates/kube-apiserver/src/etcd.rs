//! The cluster's data in an etcd that several servers share: the settings, and how the store is opened on it.

mod allocations;
mod form;
pub mod master_leases;
pub mod node_ports;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use store::Store;
use store::etcd::{EndpointError, EtcdOptions};
use store::journal::Retention;

use crate::outbound::tls::{Identity, Roots, Tls, TlsError};
use crate::registry::{Attrs, keys};

pub use allocations::follow as follow_allocations;
pub use form::Kept;

/// What the `--etcd-*` flags say.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Etcd {
    /// URLs of the members.
    pub servers: Vec<String>,
    /// Who signs the certificates of the members; the authorities of this machine without it.
    pub ca_file: Option<PathBuf>,
    /// How this server identifies itself to them: the files of a certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// What all keys begin with.
    pub prefix: String,
    /// How often one of the servers compacts etcd's history; zero leaves that to others.
    pub compaction_interval: Duration,
    /// How built-in objects are written. Both forms are read.
    pub storage_media_type: MediaType,
    pub healthcheck_timeout: Duration,
    pub readycheck_timeout: Duration,
    /// How long keys that expire may share a lease.
    pub lease_reuse_duration: Duration,
}

/// The form of stored objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MediaType {
    #[serde(rename = "application/json")]
    Json,
    #[default]
    #[serde(rename = "application/vnd.kubernetes.protobuf")]
    Protobuf,
}

impl FromStr for MediaType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "application/json" => Ok(Self::Json),
            "application/vnd.kubernetes.protobuf" => Ok(Self::Protobuf),
            _ => Err(format!(
                "--storage-media-type {text:?} invalid, allowed values: application/json, application/vnd.kubernetes.protobuf"
            )),
        }
    }
}

impl Etcd {
    /// Upstream's defaults.
    pub fn new(servers: Vec<String>) -> Self {
        Self {
            servers,
            ca_file: None,
            identity: None,
            prefix: "/registry".to_owned(),
            compaction_interval: Duration::from_secs(300),
            storage_media_type: MediaType::default(),
            healthcheck_timeout: Duration::from_secs(2),
            readycheck_timeout: Duration::from_secs(2),
            lease_reuse_duration: Duration::from_secs(60),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EtcdError {
    #[error(transparent)]
    Server(#[from] EndpointError),
    #[error("failed to read {}", file.display())]
    Read {
        file: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("failed to use the certificates for etcd")]
    Tls(#[from] TlsError),
    #[error("failed to open the store")]
    Open(#[from] store::OpenError),
}

/// Follows the etcd; returns when the store is complete.
pub(crate) fn open(etcd: &Etcd, retention: Retention, options: store::Options) -> Result<Store<Attrs>, EtcdError> {
    let servers = etcd.servers.iter().map(|url| url.parse()).collect::<Result<Vec<_>, _>>()?;
    let is_secure = etcd.servers.iter().any(|url| url.starts_with("https:"));
    let etcd_options = EtcdOptions {
        tls: if is_secure { Some(tls(etcd)?.config()) } else { None },
        root: keys::ROOT.to_owned(),
        prefix: etcd.prefix.clone(),
        compaction_interval: etcd.compaction_interval,
        retention,
        lease_reuse: etcd.lease_reuse_duration,
        ..EtcdOptions::new(servers, Arc::new(Kept::new(etcd.storage_media_type)))
    };
    Ok(Store::open_etcd(etcd_options, options)?)
}

fn tls(etcd: &Etcd) -> Result<Tls, EtcdError> {
    let read = |file: &Path| std::fs::read(file).map_err(|source| EtcdError::Read { file: file.to_owned(), source });
    let authorities = etcd.ca_file.as_deref().map(read).transpose()?;
    let identity = match &etcd.identity {
        Some((certificate, key)) => Some((read(certificate)?, read(key)?)),
        None => None,
    };
    let identity = identity.as_ref().map(|(certificate, key)| Identity { certificate, key });
    let roots = authorities.as_deref().map_or(Roots::System, Roots::Pem);
    Ok(Tls::new(roots, identity)?)
}
