//! Running parts of a cluster in this process until they are told to stop or one of them fails.

use anyhow::{Context, Result};
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::arguments::Arguments;
use crate::cli::{AgentArgs, ClusterArgs, UpArgs};
use crate::control_plane::{ControlPlane, SHUTDOWN_PATIENCE};
use crate::layout::Layout;
use crate::pki::{Pki, Usage};
use crate::plan::{ClusterPlan, NodePlan, State};
use crate::process::PidFile;
use crate::{kubeconfig, node};

/// `canopus up --foreground`: the control plane and one node.
pub async fn everything(arguments: &UpArgs) -> Result<()> {
    let layout = Layout::new(&arguments.cluster.root.root_dir)?;
    let _owner = PidFile::take(&layout)?;
    let cluster = ClusterPlan::of(&arguments.cluster, &layout)?;
    let node = NodePlan::of(&arguments.node, &layout, &cluster.service_cluster_ip_range)?;
    State { cluster: Some(cluster.clone()), node: Some(node.clone()) }.write(&layout)?;
    Arguments::own()?.write(&layout)?;
    let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
    let control_plane = ControlPlane::start(&cluster, &layout, &mut tasks, &shutdown).await?;
    let clients = node::Clients {
        kubelet: control_plane.client(&format!("system:node:{}", node.name), &["system:nodes"], "kubelet"),
        proxy: control_plane.client("system:kube-proxy", &[], "kube-proxy"),
        admin: control_plane.client("system:apiserver", &["system:masters"], "canopus"),
    };
    node::start(&node, &layout, clients, &mut tasks, &shutdown).await?;
    until_stopped(tasks, shutdown).await
}

/// `canopus server`: the control plane alone.
pub async fn server(arguments: &ClusterArgs) -> Result<()> {
    let layout = Layout::new(&arguments.root.root_dir)?;
    let _owner = PidFile::take(&layout)?;
    let cluster = ClusterPlan::of(arguments, &layout)?;
    State { cluster: Some(cluster.clone()), node: None }.write(&layout)?;
    Arguments::own()?.write(&layout)?;
    let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
    ControlPlane::start(&cluster, &layout, &mut tasks, &shutdown).await?;
    until_stopped(tasks, shutdown).await
}

/// `canopus agent`: the node alone. Its identities are client certificates of the authority in its own `pki` folder.
pub async fn agent(arguments: &AgentArgs) -> Result<()> {
    let layout = Layout::new(&arguments.root.root_dir)?;
    let _owner = PidFile::take(&layout)?;
    let node = NodePlan::of(&arguments.node, &layout, &arguments.service_cluster_ip_range)?;
    State { cluster: None, node: Some(node.clone()) }.write(&layout)?;
    let pki = Pki::open(&layout.pki())?;
    let clients = node::Clients {
        kubelet: remote(&pki, &arguments.server, &format!("system:node:{}", node.name), &["system:nodes"]).await?,
        proxy: remote(&pki, &arguments.server, "system:kube-proxy", &[]).await?,
        admin: remote(&pki, &arguments.server, "system:apiserver", &["system:masters"]).await?,
    };
    let (mut tasks, shutdown) = (JoinSet::new(), CancellationToken::new());
    node::start(&node, &layout, clients, &mut tasks, &shutdown).await?;
    until_stopped(tasks, shutdown).await
}

/// A client over TLS with a certificate issued for it now.
async fn remote(pki: &Pki, server: &str, user: &str, groups: &[&str]) -> Result<Client> {
    let credentials = pki.issue(user, groups, Usage::Client)?;
    client_of(&kubeconfig::document("canopus", server, &pki.authority()?, user, &credentials)).await
}

/// A client as a kubeconfig describes it.
pub async fn client_of(document: &Value) -> Result<Client> {
    let kubeconfig: Kubeconfig = serde_json::from_value(document.clone()).context("failed to read a kubeconfig")?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Client::try_from(config).context("failed to make a client")
}

/// Waits for a signal or the end of a part, then stops all parts in an orderly way. Pods go on running.
pub async fn until_stopped(mut tasks: JoinSet<Result<()>>, shutdown: CancellationToken) -> Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut failure = None;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            ended = tasks.join_next() => match ended {
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => {
                    failure = Some(error);
                    break;
                }
                Some(Err(error)) => {
                    failure = Some(anyhow::Error::from(error).context("a part of the cluster crashed"));
                    break;
                }
                None => break,
            },
        }
    }
    shutdown.cancel();
    let all_ended = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_PATIENCE, all_ended).await.is_err() {
        tracing::warn!("some parts did not stop in time and are left");
    }
    failure.map_or(Ok(()), Err)
}
