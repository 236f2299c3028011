//! The node in this process: container runtime, kubelet, pod network, service proxy, DNS.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use client::{Environment, Reflectors};
use kube::Client;
use kubelet::eviction::{Amount, Signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::layout::Layout;
use crate::pki::{Pki, Usage};
use crate::plan::NodePlan;
use crate::{addons, image_loader, machine};

/// The image of pods' sandboxes, built by `cargo xtask images pause`.
const PAUSE_IMAGE: &str = "localhost/canopus/pause:1";

/// The identities that the node's components act under.
pub struct Clients {
    pub kubelet: Client,
    /// Services and their endpoints are read under this name, once for the proxy and DNS.
    pub proxy: Client,
    /// Writes the add-ons.
    pub admin: Client,
}

/// Prepares the machine and starts the node's components into `tasks`.
pub async fn start(
    plan: &NodePlan,
    layout: &Layout,
    clients: Clients,
    tasks: &mut JoinSet<Result<()>>,
    shutdown: &CancellationToken,
) -> Result<()> {
    machine::check_root()?;
    machine::check_programs(plan.container_runtime_endpoint.is_none())?;
    // containerd takes the longest: it starts while the network is made.
    let runtime = tokio::task::spawn_blocking({
        let (plan, layout) = (plan.clone(), layout.clone());
        move || start_runtime(&plan, &layout)
    });
    tokio::task::spawn_blocking({
        let (network, layout) = (plan.network.clone(), layout.clone());
        move || {
            let program = std::env::current_exe().context("failed to find this program's own file")?;
            network::host::ensure(&network)?;
            network::host::install(&network, &program, &layout.cni_bin(), &layout.cni_conf())
                .map_err(anyhow::Error::from)
        }
    })
    .await?
    .context("failed to make the pod network")?;
    let caches = |client| Reflectors::new(client, Environment::system(), shutdown.clone());
    let services = caches(clients.proxy);
    start_proxy(plan, services.clone(), tasks, shutdown);
    start_dns(plan, services, clients.admin, tasks, shutdown);

    let socket = runtime.await?.context("failed to start the container runtime")?;
    if plan.container_runtime_endpoint.is_none() {
        let supervisor = kubelet::containerd::supervise(layout.containerd(), runtime_options(layout), shutdown.clone());
        tasks.spawn(async move {
            supervisor.await;
            Ok(())
        });
        let remembered = layout.containerd().join("imported.json");
        let mut seen = image_loader::read_seen(&remembered);
        image_loader::load(&layout.images(), &socket, &remembered, &mut seen).await;
        let follower = image_loader::follow(layout.images(), socket.clone(), remembered, seen, shutdown.clone());
        tasks.spawn(async move {
            follower.await;
            Ok(())
        });
    }
    let config = kubelet_config(plan, layout, &socket)?;
    let caches = caches(clients.kubelet);
    let shutdown = shutdown.clone();
    tasks.spawn(async move { kubelet::run(caches, config, shutdown).await.context("the kubelet failed") });
    Ok(())
}

fn start_runtime(plan: &NodePlan, layout: &Layout) -> Result<PathBuf> {
    if let Some(endpoint) = &plan.container_runtime_endpoint {
        return Ok(PathBuf::from(endpoint.strip_prefix("unix://").unwrap_or(endpoint)));
    }
    Ok(kubelet::containerd::ensure(&layout.containerd(), &runtime_options(layout))?)
}

/// How the private containerd of this root folder is set up.
pub fn runtime_options(layout: &Layout) -> kubelet::containerd::Options {
    let mut options = kubelet::containerd::Options::new(layout.root());
    options.pause_image = PAUSE_IMAGE.into();
    options.cni_bin_dir = layout.cni_bin();
    options.cni_conf_dir = layout.cni_conf();
    options
}

fn kubelet_config(plan: &NodePlan, layout: &Layout, socket: &std::path::Path) -> Result<kubelet::Config> {
    let pki = Pki::open(&layout.pki())?;
    let names = vec![plan.name.clone(), plan.address.to_string()];
    let (certificate, key) =
        pki.ensure("kubelet", &format!("system:node:{}", plan.name), &["system:nodes"], Usage::Server(names))?;
    let mut config = kubelet::Config::new(plan.name.clone(), plan.address, layout.root());
    config.root_dir = layout.kubelet();
    config.pod_log_dir = layout.pod_logs();
    config.cri_endpoint = socket.display().to_string();
    config.cgroup_root = plan.cgroup_root.clone();
    config.bind_address = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), plan.kubelet_port);
    config.tls_cert_file = Some(certificate);
    config.tls_key_file = Some(key);
    config.client_ca_file = Some(pki.path("ca.crt"));
    config.cluster_dns = vec![plan.cluster_dns];
    config.pod_cidr = Some(plan.network.subnet.to_string());
    config.version = kube_apiserver::version::GIT_VERSION.into();
    // What no registry has cannot be pulled again: the image of sandboxes, and others that were built for this machine.
    config.kept_images = vec!["localhost/".into()];
    spare_what_is_there(&mut config);
    Ok(config)
}

/// A machine of one's own may be nearly full for reasons that are not the cluster's: neither pods nor images go for a share
/// of its disk, only when the last of the room is used up.
fn spare_what_is_there(config: &mut kubelet::Config) {
    config.image_gc.high_threshold_percent = 100;
    for threshold in &mut config.eviction.thresholds {
        threshold.amount = match threshold.signal {
            // Some file systems have no number of inodes, so this stays a share.
            Signal::NodefsInodesFree | Signal::ImagefsInodesFree => Amount::Percent(0.1),
            _ => Amount::Absolute(100 << 20),
        };
    }
}

fn start_proxy(
    plan: &NodePlan,
    caches: Arc<Reflectors>,
    tasks: &mut JoinSet<Result<()>>,
    shutdown: &CancellationToken,
) {
    let config = kube_proxy::Config {
        node_name: plan.name.clone(),
        cluster_cidr: plan.network.cluster_cidr.to_string(),
        table: plan.proxy_table.clone(),
        healthz_bind_address: Some(SocketAddr::new(IpAddr::from([0, 0, 0, 0]), plan.healthz_port)),
    };
    let shutdown = shutdown.clone();
    tasks.spawn(async move { kube_proxy::run(caches, config, shutdown).await.context("the service proxy failed") });
}

fn start_dns(
    plan: &NodePlan,
    caches: Arc<Reflectors>,
    admin: Client,
    tasks: &mut JoinSet<Result<()>>,
    shutdown: &CancellationToken,
) {
    let config = dns::Config {
        listen: vec![SocketAddr::new(plan.address, plan.dns_port)],
        cluster_domain: "cluster.local".into(),
        resolv_conf: "/etc/resolv.conf".into(),
    };
    let (plan, stop) = (plan.clone(), shutdown.clone());
    tasks.spawn(async move {
        // With the API server away, DNS starts all the same.
        let serve = async { dns::run(caches, config, stop.clone()).await.context("the cluster's DNS failed") };
        let (served, ()) = tokio::join!(serve, write_add_on(&admin, &plan, &stop));
        served
    });
}

/// Writes the DNS add-on as soon as the API server takes it.
async fn write_add_on(admin: &Client, plan: &NodePlan, stop: &CancellationToken) {
    let mut pause = std::time::Duration::from_millis(50);
    while let Err(error) = addons::ensure_dns(admin, plan).await {
        tracing::warn!("failed to write the DNS add-on, which is tried again: {error:#}");
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(std::time::Duration::from_secs(10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nearly_full_disk_is_no_pressure() {
        let mut config = kubelet::Config::new("n", [192, 0, 2, 1].into(), "/r".as_ref());
        spare_what_is_there(&mut config);
        let kept = |signal| config.eviction.hard(signal).unwrap();
        for signal in [Signal::NodefsAvailable, Signal::ImagefsAvailable] {
            assert_eq!(kept(signal).of(270 << 30), 100 << 20);
        }
        assert_eq!(kept(Signal::NodefsInodesFree).of(0), 0);
        assert_eq!(kept(Signal::ImagefsInodesFree).of(1_000_000), 1000);
    }
}
