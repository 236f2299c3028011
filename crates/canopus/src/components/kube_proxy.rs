//! `kube-proxy`: the service proxy, on nftables.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use client::{Environment, Reflectors};
use network::config::Subnet;
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::config_file::{self, Strict, Unknown, names};
use super::{Component, client_of, kube_config_of};
use crate::machine;

/// Where health is served unless something else is said.
const HEALTHZ_PORT: u16 = 10256;

/// The Kubernetes network proxy leads traffic for services to their endpoints.
#[derive(Debug, clap::Parser)]
pub struct Flags {
    /// Path to the kubeconfig with the API server and the credentials; --config may name one instead
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Path to a KubeProxyConfiguration, which counts more than all flags but --hostname-override
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of this node instead of the host's
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// Addresses of all pods; other traffic to services is masqueraded
    #[arg(long, value_name = "CIDR")]
    cluster_cidr: Option<String>,
    /// Address of the health check; empty for none
    #[arg(long, value_name = "IP:PORT")]
    healthz_bind_address: Option<String>,
    /// Number for the log level verbosity
    #[arg(short = 'v', long = "v", value_name = "LEVEL", default_value_t = 0)]
    verbosity: u8,
}

/// The fields of a KubeProxyConfiguration that this proxy honours.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct KubeProxyConfiguration {
    client_connection: ClientConnection,
    hostname_override: Option<String>,
    #[serde(rename = "clusterCIDR")]
    cluster_cidr: Option<String>,
    healthz_bind_address: Option<String>,
    mode: Option<String>,
    #[serde(flatten)]
    unknown: Unknown,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ClientConnection {
    kubeconfig: Option<PathBuf>,
    #[serde(flatten)]
    unknown: Unknown,
}

impl Strict for KubeProxyConfiguration {
    fn unknown(&self) -> Vec<String> {
        let nested = names("clientConnection", &self.client_connection.unknown);
        names("", &self.unknown).into_iter().chain(nested).collect()
    }
}

impl Component for Flags {
    const NAME: &'static str = "kube-proxy";

    fn verbosity(&self) -> u8 {
        self.verbosity
    }

    async fn start(self, tasks: &mut JoinSet<Result<()>>, shutdown: &CancellationToken) -> Result<()> {
        machine::check_root()?;
        let (kubeconfig, config) = self.into_config()?;
        let client = client_of(kube_config_of(&kubeconfig).await?, Self::NAME)?;
        let shutdown = shutdown.clone();
        let caches = Reflectors::new(client, Environment::system(), shutdown.clone());
        tasks.spawn(async move { kube_proxy::run(caches, config, shutdown).await.context("the service proxy failed") });
        Ok(())
    }
}

impl Flags {
    /// The kubeconfig and the proxy's settings, from the file where there is one, as upstream does.
    fn into_config(self) -> Result<(PathBuf, kube_proxy::Config)> {
        let settings = match &self.config {
            Some(file) => config_file::read(file, "kubeproxy.config.k8s.io/v1alpha1", "KubeProxyConfiguration")?,
            None => KubeProxyConfiguration {
                client_connection: ClientConnection { kubeconfig: self.kubeconfig, ..Default::default() },
                cluster_cidr: self.cluster_cidr,
                healthz_bind_address: self.healthz_bind_address,
                ..Default::default()
            },
        };
        if let Some(mode) = settings.mode.as_deref().filter(|mode| !matches!(*mode, "" | "nftables")) {
            bail!("mode {mode:?} is not supported: this proxy works with nftables");
        }
        let named = |name: Option<String>| name.filter(|name| !name.is_empty());
        let node_name = match named(self.hostname_override).or(named(settings.hostname_override)) {
            Some(name) => name.trim().to_lowercase(),
            None => machine::host_name()?,
        };
        let Some(cluster_cidr) = named(settings.cluster_cidr) else {
            bail!("--cluster-cidr (clusterCIDR) is required: it tells pods' traffic from other traffic");
        };
        cluster_cidr.parse::<Subnet>().context("failed to read the addresses of pods")?;
        let Some(kubeconfig) = settings.client_connection.kubeconfig else {
            bail!("--kubeconfig (clientConnection.kubeconfig) is required");
        };
        let healthz_bind_address = healthz_address(settings.healthz_bind_address.as_deref())?;
        // One proxy a network namespace, so the table's name needs nothing to tell it apart.
        let table = "kube-proxy".to_owned();
        Ok((kubeconfig, kube_proxy::Config { node_name, cluster_cidr, table, healthz_bind_address }))
    }
}

/// `IP:PORT` or an IP alone; not given means everywhere, empty or port 0 means nowhere.
fn healthz_address(text: Option<&str>) -> Result<Option<SocketAddr>> {
    let everywhere = SocketAddr::from(([0, 0, 0, 0], HEALTHZ_PORT));
    let address = match text {
        None => everywhere,
        Some("") => return Ok(None),
        Some(text) => text
            .parse()
            .or_else(|_| text.parse::<IpAddr>().map(|address| SocketAddr::new(address, HEALTHZ_PORT)))
            .with_context(|| format!("{text:?} is not an address such as 0.0.0.0:{HEALTHZ_PORT}"))?,
    };
    Ok(Some(address).filter(|address| address.port() != 0))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn config(arguments: &[&str]) -> Result<(PathBuf, kube_proxy::Config)> {
        Flags::try_parse_from(std::iter::once(&"kube-proxy").chain(arguments))?.into_config()
    }

    #[test]
    fn the_file_counts_more_than_flags_but_the_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("proxy.yaml");
        let head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n";
        let text =
            "clusterCIDR: 10.1.0.0/16\nmode: nftables\nhealthzBindAddress: \"\"\nclientConnection: {kubeconfig: /k}\n";
        std::fs::write(&file, format!("{head}{text}")).unwrap();
        let argument = format!("--config={}", file.display());
        let (kubeconfig, read) = config(&[&argument, "--cluster-cidr=10.2.0.0/16", "--hostname-override=Me"]).unwrap();
        assert_eq!(
            (kubeconfig, read.cluster_cidr.as_str(), read.node_name.as_str()),
            ("/k".into(), "10.1.0.0/16", "me")
        );
        assert_eq!(read.healthz_bind_address, None);
        std::fs::write(&file, format!("{head}{text}iptables: {{}}\n")).unwrap();
        assert!(format!("{:#}", config(&[&argument]).unwrap_err()).contains("unknown field \"iptables\""));
        std::fs::write(&file, format!("{head}mode: ipvs\n")).unwrap();
        assert!(config(&[&argument]).unwrap_err().to_string().contains("\"ipvs\" is not supported"));
    }

    #[test]
    fn flags_alone_are_enough() {
        let (kubeconfig, read) =
            config(&["--kubeconfig=/k", "--cluster-cidr=10.1.0.0/16", "--healthz-bind-address=127.0.0.1"]).unwrap();
        assert_eq!(kubeconfig, PathBuf::from("/k"));
        assert_eq!(read.healthz_bind_address, Some("127.0.0.1:10256".parse().unwrap()));
        assert!(config(&["--kubeconfig=/k"]).unwrap_err().to_string().contains("--cluster-cidr"));
    }
}
