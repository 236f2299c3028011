//! `kubelet`: the node agent, over a container runtime and a pod network that are already there.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use client::{Environment, Reflectors};
use kubelet::CgroupDriver;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Component, client_of, config_file, flags, kube_config_of};
use crate::machine;

mod configuration;
use configuration::KubeletConfiguration;

/// The kubelet is the primary "node agent" that runs on each node.
#[derive(Debug, clap::Parser)]
pub struct Flags {
    /// Path to the kubeconfig with the API server and the credentials
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Path to a KubeletConfiguration; flags count more
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of this node instead of the host's
    #[arg(long, value_name = "NAME")]
    hostname_override: Option<String>,
    /// Addresses of this node, the primary first
    #[arg(long, value_name = "IPS", value_delimiter = ',')]
    node_ip: Vec<IpAddr>,
    /// Socket of the container runtime
    #[arg(long, value_name = "SOCKET")]
    container_runtime_endpoint: Option<String>,
    /// Folder of the kubelet's files
    #[arg(long, value_name = "DIR", default_value = "/var/lib/kubelet")]
    root_dir: PathBuf,
    /// Cgroup below which all pods are put
    #[arg(long, value_name = "PATH")]
    cgroup_root: Option<String>,
    /// Who makes cgroups: cgroupfs or systemd
    #[arg(long, value_name = "NAME", value_parser = cgroup_driver)]
    cgroup_driver: Option<CgroupDriver>,
    /// Labels to register the node with
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',', value_parser = flags::pair)]
    node_labels: Vec<(String, String)>,
    /// Taints to register the node with
    #[arg(long, value_name = "KEY=VALUE:EFFECT", value_delimiter = ',', value_parser = flags::taint)]
    register_with_taints: Vec<(String, String, String)>,
    /// Number for the log level verbosity
    #[arg(short = 'v', long = "v", value_name = "LEVEL", default_value_t = 0)]
    verbosity: u8,
}

impl Component for Flags {
    const NAME: &'static str = "kubelet";

    fn verbosity(&self) -> u8 {
        self.verbosity
    }

    async fn start(self, tasks: &mut JoinSet<Result<()>>, shutdown: &CancellationToken) -> Result<()> {
        machine::check_root()?;
        let configuration = match &self.config {
            Some(file) => config_file::read(file, "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration")?,
            None => KubeletConfiguration::default(),
        };
        let client = client_of(kube_config_of(&self.kubeconfig).await?, Self::NAME)?;
        let config = self.into_config(configuration)?;
        let shutdown = shutdown.clone();
        let caches = Reflectors::new(client, Environment::system(), shutdown.clone());
        tasks.spawn(async move { kubelet::run(caches, config, shutdown).await.context("the kubelet failed") });
        Ok(())
    }
}

impl Flags {
    fn into_config(self, file: KubeletConfiguration) -> Result<kubelet::Config> {
        let name = match &self.hostname_override {
            Some(name) => name.trim().to_lowercase(),
            None => machine::host_name()?,
        };
        if name.is_empty() {
            bail!("--hostname-override is empty");
        }
        let addresses = if self.node_ip.is_empty() { vec![machine::address()?] } else { self.node_ip };
        let mut config = kubelet::Config::new(name, addresses[0], &self.root_dir);
        config.node_ips = addresses;
        config.root_dir = std::path::absolute(&self.root_dir)?;
        // Where upstream has them, unless the file moves them.
        config.pod_log_dir = "/var/log/pods".into();
        config.container_log_dir = Some("/var/log/containers".into());
        config.cri_endpoint = "unix:///run/containerd/containerd.sock".into();
        config.bind_address = SocketAddr::from(([0, 0, 0, 0], 10250));
        config.version = kube_apiserver::version::GIT_VERSION.into();
        file.apply(&mut config)?;
        if let Some(endpoint) = self.container_runtime_endpoint {
            config.cri_endpoint = endpoint;
        }
        if let Some(root) = self.cgroup_root {
            config.cgroup_root = root.trim_matches('/').to_owned();
        }
        if let Some(driver) = self.cgroup_driver {
            config.cgroup_driver = driver;
        }
        config.node_labels.extend(self.node_labels);
        if !self.register_with_taints.is_empty() {
            config.register_with_taints = self.register_with_taints;
        }
        Ok(config)
    }
}

fn cgroup_driver(name: &str) -> Result<CgroupDriver, String> {
    match name {
        "cgroupfs" => Ok(CgroupDriver::Cgroupfs),
        "systemd" => Ok(CgroupDriver::Systemd),
        _ => Err(format!("invalid cgroup driver {name:?}: it is cgroupfs or systemd")),
    }
}
