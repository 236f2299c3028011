//! `canopus down`: ends what `up` started and takes away all that it made on the machine, in the reverse order. Data
//! stays unless it is to be purged. Every step is safe to repeat, so that `down` also clears up after a crash.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::cli::DownArgs;
use crate::kubeconfig;
use crate::layout::Layout;
use crate::plan::{NodePlan, State};
use crate::{node, process};

/// How long the cluster's process may take to end before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(25);

/// Stops what runs below the root folder.
pub async fn down(arguments: &DownArgs) -> Result<()> {
    let layout = Layout::new(&arguments.root.root_dir)?;
    if let Some(pid) = process::running(&layout)? {
        process::stop(&layout, pid, STOP_PATIENCE)?;
        println!("  stopped process {pid}");
    }
    if let Some(state) = State::read(&layout)? {
        if let Some(node) = &state.node {
            take_node_away(node, &layout).await?;
        }
        if let (Some(cluster), Some(file)) = (&state.cluster, kubeconfig::users_file()) {
            kubeconfig::remove_from(&file, &cluster.name)?;
        }
        std::fs::remove_file(layout.state_file()).context("failed to remove the cluster's state")?;
    }
    kubelet::volumes::directories::unmount_below(layout.root()).map_err(anyhow::Error::msg)?;
    if arguments.purge && layout.root().exists() {
        std::fs::remove_dir_all(layout.root())
            .with_context(|| format!("failed to remove {}", layout.root().display()))?;
        println!("  removed the data below {}", layout.root().display());
    }
    println!("Nothing of the cluster below {} runs any more.", layout.root().display());
    Ok(())
}

async fn take_node_away(node: &NodePlan, layout: &Layout) -> Result<()> {
    let private = node.container_runtime_endpoint.is_none();
    if private && !kubelet::containerd::answers(&layout.containerd()) && has_sandboxes(layout) {
        // Pods outlive their containerd; only a containerd can take them away in order.
        let (folder, options) = (layout.containerd(), node::runtime_options(layout));
        tokio::task::spawn_blocking(move || kubelet::containerd::ensure(&folder, &options)).await??;
    }
    if private && kubelet::containerd::answers(&layout.containerd()) {
        match kubelet::remove_all_pods(&kubelet::containerd::socket(&layout.containerd())).await {
            Ok(()) => println!("  removed all pods"),
            // What is left of a pod goes below with its mounts and cgroups.
            Err(error) => eprintln!("  failed to remove a pod in order: {error}"),
        }
        let folder = layout.containerd();
        tokio::task::spawn_blocking(move || kubelet::containerd::stop(&folder)).await??;
        println!("  stopped containerd");
    }
    kubelet::cgroups::Cgroups::new(kubelet::config::CgroupDriver::Cgroupfs, &node.cgroup_root).tear_down();
    kube_proxy::cleanup(&node.proxy_table).await.context("failed to remove the service rules")?;
    let network = node.network.clone();
    tokio::task::spawn_blocking(move || network::host::remove(&network))
        .await?
        .context("failed to remove the pod network")?;
    println!("  removed the pod network, service rules and cgroups");
    Ok(())
}

fn has_sandboxes(layout: &Layout) -> bool {
    let tasks = layout.containerd().join("state/io.containerd.runtime.v2.task/k8s.io");
    std::fs::read_dir(tasks).is_ok_and(|mut entries| entries.next().is_some())
}
