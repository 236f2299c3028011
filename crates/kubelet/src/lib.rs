//! The node agent: takes the pods that the API binds to this node, has a container runtime run them (CRI v1), and
//! reports. [`run`] is all there is to call; [`containerd`] looks after a private runtime for clusters that bring one.
//!
//! The way of a pod: [`kubelet`] gives it a [`worker`], which looks ([`runtime_state`]), decides ([`actions`], pure),
//! acts (images, volumes, the runtime) and reports ([`status`], computed purely).
//!
//! This crate knows no server and no other component: it meets them at the API.

pub mod actions;
pub mod admission;
pub mod backoff;
pub mod cgroups;
pub mod config;
pub mod containerd;
pub mod cri;
pub mod events;
pub mod eviction;
pub mod image_gc;
pub mod images;
pub mod kubelet;
pub mod lifecycle;
pub mod logs;
pub mod node;
pub mod objects;
pub mod pleg;
pub mod pod;
pub mod prober;
pub mod quantity;
pub mod resize;
pub mod runtime_state;
pub mod server;
pub mod status;
pub mod volumes;
pub mod worker;

use std::{path::Path, sync::Arc, time::Duration};

use client::Reflectors;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use config::{CgroupDriver, Config};
pub use kubelet::Kubelet;

/// How long a pod that cannot be removed from the runtime is tried again.
const REMOVAL_LIMIT: Duration = Duration::from_secs(30);

/// Why a kubelet could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A directory could not be made.
    #[error("failed to create {path}")]
    Directory {
        /// Which one.
        path: std::path::PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Cgroups could not be made.
    #[error("failed to create the cgroups of pods")]
    Cgroups(#[source] std::io::Error),
    /// The server could not be started.
    #[error("failed to start the kubelet's server")]
    Server(#[from] server::ServerError),
}

/// Runs a kubelet until cancelled; `caches` read and it writes with the node's rights. Pods go on running when it ends, and
/// are taken up again by the next one.
pub async fn run(caches: Arc<Reflectors>, config: Config, cancel: CancellationToken) -> Result<(), StartError> {
    let config = Arc::new(config);
    for path in [&config.root_dir, &config.pod_log_dir] {
        std::fs::create_dir_all(path).map_err(|source| StartError::Directory { path: path.clone(), source })?;
    }
    let (node_sender, node) = watch::channel(None);
    let stop = cancel.child_token();
    let kubelet = Kubelet::new(config.clone(), caches, node, stop.clone());
    kubelet.cgroups.set_up().map_err(StartError::Cgroups)?;
    let server = server::Server::bind(kubelet.clone()).await?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(stop.clone().run_until_cancelled_owned(node::run(kubelet.clone(), node_sender)));
    tasks.spawn(stop.clone().run_until_cancelled_owned(node::lease::run(kubelet.clone())));
    tasks.spawn(stop.clone().run_until_cancelled_owned(server.serve()));
    tasks.spawn(stop.clone().run_until_cancelled_owned(logs::rotate::run(kubelet.clone())));
    tasks.spawn(stop.clone().run_until_cancelled_owned(eviction::run::run(kubelet.clone())));
    tasks.spawn(stop.clone().run_until_cancelled_owned(image_gc::run(kubelet.clone())));
    let pods = kubelet.clone();
    tasks.spawn(stop.clone().run_until_cancelled_owned(async move { pods.follow_pods().await }));
    let (keeper, keeper_stop) = (kubelet.clone(), stop.clone());
    tasks.spawn(async move {
        keeper.housekeeping(keeper_stop).await;
        None
    });
    let relist = pleg::run(kubelet.cri.clone(), kubelet.clone(), config.relist_period, stop.clone());
    tasks.spawn(async move {
        relist.await;
        None
    });
    cancel.cancelled().await;
    while tasks.join_next().await.is_some() {}
    kubelet.stop_workers();
    Ok(())
}

/// Removes what pods leave on a machine when their kubelet does not come back: mounts below the root directory and the
/// pods' cgroups. Their containers must have been removed before.
pub fn clean_machine(config: &Config) -> Result<(), String> {
    volumes::directories::unmount_below(&config.root_dir)?;
    cgroups::Cgroups::new(config.cgroup_driver, &config.cgroup_root).tear_down();
    Ok(())
}

/// Stops and removes every pod of the runtime behind `socket`, for taking a node down. A sandbox that was being made when
/// its kubelet ended appears only after the first look, so it looks again until there is none.
pub async fn remove_all_pods(socket: &Path) -> Result<(), cri::CriError> {
    let cri = cri::Cri::new(socket);
    let deadline = tokio::time::Instant::now() + REMOVAL_LIMIT;
    loop {
        let sandboxes = cri.sandboxes(None).await?;
        if sandboxes.is_empty() {
            return Ok(());
        }
        let removed = sandboxes.iter().map(|sandbox| async {
            cri.stop_sandbox(&sandbox.id).await?;
            cri.remove_sandbox(&sandbox.id).await
        });
        let removed: Result<(), _> = futures::future::join_all(removed).await.into_iter().collect();
        if let Err(error) = removed {
            // A container that was just being started cannot be removed before it has been.
            if tokio::time::Instant::now() >= deadline {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
