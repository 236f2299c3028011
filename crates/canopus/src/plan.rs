//! Everything about one cluster on this machine that follows from the command line, decided once: addresses, names of
//! links, tables and cgroups. Kept in a file while the cluster runs, for the commands that come later.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context, Result, bail};
use network::config::{NetworkConfig, Subnet};
use serde::{Deserialize, Serialize};

use crate::backup::schedule::BackupPlan;
use crate::cli::{ClusterArgs, NodeArgs};
use crate::components::{EtcdFlags, HistoryFlags, StoreFlags};
use crate::layout::{DEFAULT_ROOT_DIR, Layout};
use crate::{machine, pki};

/// The name of the cluster in kubeconfig files of the machine's own cluster.
const CLUSTER_NAME: &str = "canopus";

/// The control plane of a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterPlan {
    /// Name of the cluster in kubeconfig files.
    pub name: String,
    pub bind_address: IpAddr,
    pub advertise_address: IpAddr,
    pub secure_port: u16,
    pub tls_san: Vec<String>,
    pub service_cluster_ip_range: String,
    pub token_auth_file: Option<std::path::PathBuf>,
    #[serde(default)]
    pub encryption_provider_config: Option<std::path::PathBuf>,
    /// Limits and care of the embedded store.
    #[serde(default)]
    pub store: StoreFlags,
    /// An etcd that several servers share, in the place of the embedded store.
    #[serde(default)]
    pub etcd: Option<EtcdFlags>,
    /// What is kept of the past.
    #[serde(default)]
    pub history: HistoryFlags,
    /// Backups that the server makes by itself.
    #[serde(default)]
    pub backups: Option<BackupPlan>,
}

/// A node of a cluster.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodePlan {
    pub name: String,
    pub address: IpAddr,
    pub kubelet_port: u16,
    pub healthz_port: u16,
    pub cluster_dns: IpAddr,
    pub dns_port: u16,
    /// Socket of the runtime; none for the private containerd.
    pub container_runtime_endpoint: Option<String>,
    pub cgroup_root: String,
    pub proxy_table: String,
    pub network: NetworkConfig,
}

/// What runs below a root folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    pub cluster: Option<ClusterPlan>,
    pub node: Option<NodePlan>,
}

impl ClusterPlan {
    pub fn of(arguments: &ClusterArgs, layout: &Layout) -> Result<Self> {
        let advertise_address = match arguments.advertise_address {
            Some(address) => address,
            None => machine::address()?,
        };
        parse_range(&arguments.service_cluster_ip_range)?;
        let etcd = arguments.etcd.settings()?.is_some().then(|| arguments.etcd.clone());
        arguments.history.settings(etcd.is_some())?;
        Ok(Self {
            name: suffix(layout).map_or_else(|| CLUSTER_NAME.to_owned(), |suffix| format!("{CLUSTER_NAME}-{suffix}")),
            bind_address: arguments.bind_address,
            advertise_address,
            secure_port: arguments.secure_port,
            tls_san: arguments.tls_san.clone(),
            service_cluster_ip_range: arguments.service_cluster_ip_range.clone(),
            token_auth_file: arguments.token_auth_file.as_deref().map(std::path::absolute).transpose()?,
            encryption_provider_config: arguments
                .encryption_provider_config
                .as_deref()
                .map(std::path::absolute)
                .transpose()?,
            history: arguments.history.clone(),
            store: arguments.store.clone(),
            backups: BackupPlan::of(&arguments.backups)?,
            etcd,
        })
    }

    /// The first service address, which the API server answers at from inside the cluster.
    pub fn kubernetes_service_address(&self) -> Result<Ipv4Addr> {
        nth_address(&self.service_cluster_ip_range, 1)
    }

    /// What tells this cluster from those of other machines: the host's name, and what tells it from others there.
    pub fn name_among_machines(&self) -> Result<String> {
        Ok(format!("{}{}", machine::host_name()?, self.name.strip_prefix(CLUSTER_NAME).unwrap_or_default()))
    }

    /// Where clients on this machine reach the API server.
    pub fn url(&self) -> String {
        let address =
            if self.bind_address.is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { self.bind_address };
        format!("https://{}", std::net::SocketAddr::new(address, self.secure_port))
    }
}

impl NodePlan {
    /// `service_range` gives the cluster's DNS its address unless the command line does.
    pub fn of(arguments: &NodeArgs, layout: &Layout, service_range: &str) -> Result<Self> {
        let suffix = suffix(layout);
        let named = |base: &str| suffix.as_ref().map_or_else(|| base.to_owned(), |suffix| format!("{base}-{suffix}"));
        let subnet = |text: &str| text.parse::<Subnet>().context("failed to read a range of pod addresses");
        Ok(Self {
            name: match &arguments.node_name {
                Some(name) => name.clone(),
                None => machine::host_name()?,
            },
            address: match arguments.node_ip {
                Some(address) => address,
                None => machine::address()?,
            },
            kubelet_port: arguments.kubelet_port,
            healthz_port: arguments.healthz_port,
            cluster_dns: match arguments.cluster_dns {
                Some(address) => address,
                None => IpAddr::V4(nth_address(service_range, 10)?),
            },
            dns_port: arguments.dns_port,
            container_runtime_endpoint: arguments.container_runtime_endpoint.clone(),
            cgroup_root: match &arguments.cgroup_root {
                Some(path) => path.trim_matches('/').to_owned(),
                None => suffix.as_ref().map(|suffix| format!("canopus-{suffix}")).unwrap_or_default(),
            },
            proxy_table: named("kube-proxy"),
            network: NetworkConfig {
                bridge: suffix.as_ref().map_or_else(|| "cni0".to_owned(), |suffix| format!("cni-{suffix}")),
                subnet: subnet(&arguments.pod_cidr)?,
                cluster_cidr: subnet(&arguments.cluster_cidr)?,
                mtu: None,
                state_dir: layout.cni_state(),
            },
        })
    }
}

impl State {
    pub fn write(&self, layout: &Layout) -> Result<()> {
        let path = layout.state_file();
        let text = serde_json::to_string_pretty(self).context("failed to encode the cluster's state")?;
        std::fs::create_dir_all(layout.run()).with_context(|| format!("failed to write {}", path.display()))?;
        // Whole at every moment: whoever started this process reads it meanwhile.
        pki::write_public(&path, &text)
    }

    /// What was started last below this root folder, if anything was.
    pub fn read(layout: &Layout) -> Result<Option<Self>> {
        let path = layout.state_file();
        match std::fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).with_context(|| format!("{} is damaged", path.display()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
        }
    }
}

/// Tells clusters on one machine apart in names that the kernel keeps; none for the machine's own cluster.
fn suffix(layout: &Layout) -> Option<String> {
    if layout.root() == Path::new(DEFAULT_ROOT_DIR) {
        return None;
    }
    let hash = network::stable_hash(layout.root().as_os_str().as_encoded_bytes());
    Some(format!("{:08x}", hash & 0xffff_ffff))
}

/// The address and prefix of a range of service addresses.
pub fn parse_range(range: &str) -> Result<(Ipv4Addr, u8)> {
    let parsed =
        range.split_once('/').and_then(|(address, prefix)| Some((address.parse().ok()?, prefix.parse::<u8>().ok()?)));
    match parsed {
        Some((address, prefix)) if (8..=28).contains(&prefix) => Ok((address, prefix)),
        _ => bail!("{range:?} is not a range of service addresses such as 10.96.0.0/16"),
    }
}

fn nth_address(range: &str, n: u32) -> Result<Ipv4Addr> {
    let (address, prefix) = parse_range(range)?;
    Ok(Ipv4Addr::from((u32::from(address) & (u32::MAX << (32 - prefix))) + n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_addresses_follow_from_the_range() {
        assert_eq!(nth_address("10.96.3.0/16", 10).unwrap(), Ipv4Addr::new(10, 96, 0, 10));
        for wrong in ["10.96.0.0", "10.96.0.0/31", "fd00::/108", ""] {
            assert!(nth_address(wrong, 1).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_other_clusters_than_the_machines_own_have_a_suffix() {
        assert_eq!(suffix(&Layout::new(Path::new(DEFAULT_ROOT_DIR)).unwrap()), None);
        let other = suffix(&Layout::new(Path::new("/srv/other")).unwrap()).unwrap();
        assert!(format!("cni-{other}").len() <= 15, "a link's name is at most 15 bytes");
    }
}
