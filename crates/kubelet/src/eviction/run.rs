//! Looks at the node again and again, and acts.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{
    Manager, Pressure, Signal, Stats, Threshold, collect::Collector, is_critical, limits, manager::Decision, message,
    rank,
};
use crate::{
    events::Level,
    image_gc,
    kubelet::Kubelet,
    pod::{PodExt, qos},
    status::generate::Verdict,
    worker::Handle,
};

/// How long a pod that was evicted is waited for before another goes.
const END_LIMIT: Duration = Duration::from_secs(30);
/// The grace period of a pod that breaks a limit of its own.
const LIMIT_GRACE_SECONDS: i64 = 1;

/// Keeps the node from running out, for ever.
pub async fn run(kubelet: Arc<Kubelet>) {
    let mut manager = Manager::new(kubelet.config.eviction.clone());
    let mut collector = Collector::default();
    loop {
        tokio::time::sleep(kubelet.config.eviction.interval).await;
        let pods: Vec<Arc<Pod>> = active(&kubelet).iter().map(Handle::allocated_pod).collect();
        let stats = match collector.collect(&kubelet, &pods, false).await {
            Ok(stats) => stats,
            Err(error) => {
                tracing::debug!(%error, "the runtime does not say what containers use");
                continue;
            }
        };
        let decision = manager.look(&stats, Timestamp::now());
        note_pressure(&kubelet, &decision.conditions);
        if evict_over_limit(&kubelet, &stats) {
            continue;
        }
        relieve(&kubelet, &mut manager, &mut collector, decision).await;
    }
}

fn active(kubelet: &Kubelet) -> Vec<Handle> {
    kubelet.handles().into_iter().filter(Handle::is_active).collect()
}

fn note_pressure(kubelet: &Kubelet, conditions: &BTreeSet<Pressure>) {
    kubelet.pressure.send_if_modified(|known| {
        let changed = known != conditions;
        known.clone_from(conditions);
        changed
    });
}

/// Ends pods that use more than they may; whether there were any.
fn evict_over_limit(kubelet: &Kubelet, stats: &Stats) -> bool {
    let mut any = false;
    for handle in active(kubelet) {
        let pod = handle.allocated_pod();
        let why = stats.pods.get(pod.uid()).and_then(|usage| limits::exceeded(&pod, usage));
        let Some(why) = why.filter(|_| !is_critical(&pod)) else { continue };
        evict(kubelet, &handle, why, LIMIT_GRACE_SECONDS);
        any = true;
    }
    any
}

/// Makes room: first what nobody needs, then one pod.
async fn relieve(kubelet: &Arc<Kubelet>, manager: &mut Manager, collector: &mut Collector, decision: Decision) {
    let Some(mut threshold) = decision.starved.first().cloned() else { return };
    let resource = threshold.signal.resource();
    if let Some(node) = kubelet.node.borrow().clone() {
        let text = format!("Attempting to reclaim {resource}");
        kubelet.events.node(&node, Level::Warning, "EvictionThresholdMet", text);
    }
    let is_disk = threshold.signal.pressure() == Pressure::Disk;
    if is_disk {
        image_gc::remove_unused(kubelet).await;
    }
    let pods: Vec<Arc<Pod>> = active(kubelet).iter().map(Handle::allocated_pod).collect();
    let Ok(stats) = collector.collect(kubelet, &pods, is_disk).await else { return };
    if is_disk {
        let again = manager.look(&stats, Timestamp::now());
        match again.starved.first() {
            Some(first) => threshold = first.clone(),
            None => return,
        }
    }
    evict_one(kubelet, manager, &threshold, &stats, pods).await;
}

async fn evict_one(
    kubelet: &Kubelet,
    manager: &Manager,
    threshold: &Threshold,
    stats: &Stats,
    mut pods: Vec<Arc<Pod>>,
) {
    pods.retain(|pod| !is_critical(pod));
    rank::rank(threshold.signal, &mut pods, stats);
    let handles = active(kubelet);
    for pod in pods {
        let Some(handle) = handles.iter().find(|handle| handle.pod().uid() == pod.uid()) else { continue };
        let grace = manager.grace_period_seconds(threshold, pod.grace_period_seconds());
        evict(kubelet, handle, message::starved(&pod, threshold, stats), grace);
        let ended = async {
            while !handle.shared.lock().terminated {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let _ = tokio::time::timeout(END_LIMIT, ended).await;
        return;
    }
    tracing::warn!(resource = threshold.signal.resource(), "no pod can be evicted");
}

fn evict(kubelet: &Kubelet, handle: &Handle, why: String, grace_seconds: i64) {
    let pod = handle.pod();
    tracing::warn!(pod = %pod.full_name(), why, "evicting a pod");
    kubelet.events.pod(&pod, None, Level::Warning, "Evicted", why.clone());
    handle.evict(Verdict { reason: "Evicted".into(), message: why, is_disruption: true }, grace_seconds);
}

/// Why a node under pressure does not take a new pod; None if it does.
pub fn refuse(pod: &Pod, conditions: &BTreeSet<Pressure>) -> Option<Verdict> {
    if conditions.is_empty() || is_critical(pod) {
        return None;
    }
    if conditions.iter().all(|pressure| *pressure == Pressure::Memory) {
        // What asks for memory gets it: others go for it.
        let tolerates = pod.pod_spec().tolerations.iter().flatten().any(|toleration| {
            let key = toleration.key.as_deref().unwrap_or_default();
            let effect = toleration.effect.as_deref().unwrap_or_default();
            let exists = toleration.operator.as_deref() == Some("Exists");
            (key == "node.kubernetes.io/memory-pressure" || key.is_empty() && exists)
                && matches!(effect, "" | "NoSchedule")
        });
        if tolerates || qos::class(pod) != qos::QosClass::BestEffort {
            return None;
        }
    }
    let names: Vec<&str> = conditions.iter().map(|pressure| pressure.as_str()).collect();
    let message = format!("The node had condition: [{}]. ", names.join(" "));
    Some(Verdict { reason: "Evicted".into(), message, is_disruption: false })
}

/// The least that must stay free of what `signal` is about, where there is `capacity`.
pub fn kept_free(kubelet: &crate::Config, signal: Signal, capacity: u64) -> u64 {
    kubelet.eviction.hard(signal).map_or(0, |amount| amount.of(capacity))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_under_pressure_takes_only_what_cannot_make_it_worse() {
        let pod = |spec: serde_json::Value| -> Pod { serde_json::from_value(json!({ "spec": spec })).unwrap() };
        let best_effort = pod(json!({"containers": [{"name": "c"}]}));
        let asking = pod(json!({"containers": [{"name": "c", "resources": {"requests": {"memory": "1Mi"}}}]}));
        let critical = pod(json!({"priority": 2_000_001_000, "containers": [{"name": "c"}]}));
        let tolerant = pod(json!({"containers": [{"name": "c"}],
            "tolerations": [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}]}));
        let memory = BTreeSet::from([Pressure::Memory]);
        assert_eq!(refuse(&best_effort, &BTreeSet::new()), None);
        assert_eq!(
            refuse(&best_effort, &memory).map(|verdict| (verdict.reason, verdict.message)),
            Some(("Evicted".into(), "The node had condition: [MemoryPressure]. ".into()))
        );
        for taken in [&asking, &critical, &tolerant] {
            assert_eq!(refuse(taken, &memory), None);
        }
        let both = BTreeSet::from([Pressure::Memory, Pressure::Disk]);
        assert_eq!(refuse(&asking, &both).unwrap().message, "The node had condition: [MemoryPressure DiskPressure]. ");
        assert_eq!(refuse(&critical, &both), None);
    }
}
