//! The Node object: registered at the start, its status kept true, its lease renewed.

pub mod lease;
pub mod machine;
pub mod status;

use std::{sync::Arc, time::Duration};

use client::Key;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeStatus};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use tokio::sync::watch;

use crate::{cri::v1, events::Level, kubelet::Kubelet, objects::message};

/// How often a runtime that is not ready is asked again: the node should be Ready the moment it can be.
const UNREADY_POLL: Duration = Duration::from_millis(200);
/// How often a runtime that is ready is asked.
const READY_POLL: Duration = Duration::from_secs(5);

/// Registers the node and keeps it, for ever.
pub async fn run(kubelet: Arc<Kubelet>, sender: watch::Sender<Option<Arc<Node>>>) {
    let api: Api<Node> = Api::all(kubelet.client.clone());
    let runtime = first_look(&kubelet).await;
    let node = register(&kubelet, &api, &runtime).await;
    kubelet.events.node(&node, Level::Normal, "Starting", "Starting kubelet.");
    sender.send_replace(Some(Arc::new(node)));
    let follow = follow(&kubelet, &sender);
    let keep = keep(&kubelet, api, runtime);
    tokio::join!(follow, keep);
}

/// The runtime's state, once it has answered at all or has had a fair chance to.
async fn first_look(kubelet: &Kubelet) -> status::Runtime {
    let mut runtime = look(kubelet).await;
    for _ in 0..25 {
        if runtime.answers {
            break;
        }
        tokio::time::sleep(UNREADY_POLL).await;
        runtime = look(kubelet).await;
    }
    runtime
}

async fn look(kubelet: &Kubelet) -> status::Runtime {
    let (version, conditions) = tokio::join!(kubelet.cri.version(), kubelet.cri.status());
    let version = match version {
        Ok(version) => {
            kubelet.runtime_name.write().clone_from(&version.runtime_name);
            format!("{}://{}", version.runtime_name, version.runtime_version.trim_start_matches('v'))
        }
        Err(_) => String::new(),
    };
    match conditions {
        Ok(answer) => {
            let conditions = answer.status.map(|status| status.conditions).unwrap_or_default();
            status::Runtime { answers: true, version, conditions }
        }
        Err(_) => status::Runtime { answers: false, version, conditions: Vec::new() },
    }
}

async fn register(kubelet: &Kubelet, api: &Api<Node>, runtime: &status::Runtime) -> Node {
    let mut pause = Duration::from_millis(100);
    loop {
        match try_register(kubelet, api, runtime).await {
            Ok(node) => return node,
            Err(error) => tracing::warn!(error = %message(&error), "failed to register the node"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(7));
    }
}

async fn try_register(kubelet: &Kubelet, api: &Api<Node>, runtime: &status::Runtime) -> Result<Node, kube::Error> {
    let fresh = status::node(&kubelet.config, compute(kubelet, None, runtime).await);
    let Some(known) = api.get_opt(&kubelet.config.node_name).await? else {
        return match api.create(&PostParams::default(), &fresh).await {
            Err(kube::Error::Api(status)) if status.code == 409 => api.get(&kubelet.config.node_name).await,
            other => other,
        };
    };
    // The well-known labels are the node's own; all others belong to whoever set them.
    let wanted = fresh.metadata.labels.unwrap_or_default();
    let have = known.metadata.labels.clone().unwrap_or_default();
    let missing: std::collections::BTreeMap<_, _> =
        wanted.into_iter().filter(|(key, value)| have.get(key) != Some(value)).collect();
    if missing.is_empty() {
        return Ok(known);
    }
    let patch = serde_json::json!({"metadata": {"labels": missing}});
    api.patch(&kubelet.config.node_name, &PatchParams::default(), &Patch::Strategic(patch)).await
}

/// Keeps our copy of the Node; tells the runtime the pod range when the node gets one.
async fn follow(kubelet: &Kubelet, sender: &watch::Sender<Option<Arc<Node>>>) {
    let name = &kubelet.config.node_name;
    let store = kubelet.caches.store_where::<Node>(&format!("metadata.name={name}"));
    let mut changes = store.changes();
    let mut told: Option<String> = None;
    loop {
        changes.next().await;
        let Some(node) = store.get(&Key::cluster(name)) else { continue };
        let range = node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone()).or(kubelet.config.pod_cidr.clone());
        if let Some(range) = range.filter(|range| told.as_ref() != Some(range)) {
            let config = v1::NetworkConfig { pod_cidr: range.clone() };
            let request = v1::UpdateRuntimeConfigRequest {
                runtime_config: Some(v1::RuntimeConfig { network_config: Some(config) }),
            };
            if kubelet.cri.runtime().update_runtime_config(request).await.is_ok() {
                told = Some(range);
            }
        }
        sender.send_replace(Some(node));
    }
}

async fn compute(kubelet: &Kubelet, old: Option<&NodeStatus>, runtime: &status::Runtime) -> NodeStatus {
    let images = kubelet.cri.images().await.unwrap_or_default();
    let usage = machine::Usage::read(&kubelet.config.root_dir);
    let pressure = kubelet.pressure.borrow().clone();
    status::compute(&status::Inputs {
        config: &kubelet.config,
        machine: &kubelet.machine,
        usage,
        pressure: &pressure,
        runtime,
        images: &images,
        old,
        now: Timestamp::now(),
    })
}

async fn keep(kubelet: &Kubelet, api: Api<Node>, mut runtime: status::Runtime) {
    let mut reported: Option<(std::time::Instant, NodeStatus)> = None;
    let mut computed_at = std::time::Instant::now();
    let mut pressure = kubelet.pressure.subscribe();
    loop {
        let due = reported.is_none() || computed_at.elapsed() >= kubelet.config.status_update_frequency;
        let latest = look(kubelet).await;
        let pressed = pressure.has_changed().unwrap_or(false);
        if due || pressed || latest != runtime {
            pressure.mark_unchanged();
            runtime = latest;
            computed_at = std::time::Instant::now();
            let node = kubelet.node.borrow().clone();
            let known = node.as_ref().and_then(|node| node.status.clone());
            let old = known.as_ref().or(reported.as_ref().map(|(_, status)| status));
            let fresh = compute(kubelet, old, &runtime).await;
            let overdue =
                reported.as_ref().is_none_or(|(at, _)| at.elapsed() >= kubelet.config.status_report_frequency);
            let before = known.as_ref();
            if overdue || before.is_none_or(|before| status::differs(before, &fresh)) {
                let patch = serde_json::json!({"status": status::patch(before, &fresh)});
                match api
                    .patch_status(&kubelet.config.node_name, &PatchParams::default(), &Patch::Strategic(patch))
                    .await
                {
                    Ok(node) => {
                        for (reason, level) in status::transitions(before, &fresh) {
                            let text = format!("Node {} status is now: {reason}", kubelet.config.node_name);
                            kubelet.events.node(&node, level, reason, text);
                        }
                        reported = Some((std::time::Instant::now(), fresh));
                    }
                    Err(kube::Error::Api(status)) if status.code == 404 => {
                        // Somebody deleted the node; a kubelet that runs is a node.
                        register(kubelet, &api, &runtime).await;
                    }
                    Err(error) => tracing::warn!(error = %message(&error), "failed to write the node's status"),
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(if runtime.ready() { READY_POLL } else { UNREADY_POLL }) => {}
            _ = pressure.changed() => pressure.mark_changed(),
        }
    }
}
