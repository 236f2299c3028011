//! Which pods go first when there are too many: those whose loss costs least. In this order: not bound to a node,
//! not running, not ready, cheap by their own word (the deletion-cost annotation), many on one node, ready since lately,
//! often restarted, young. Ages are compared by magnitude only, so that the youngest are not always the victims.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use client::Object;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::pods;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The pods in the order in which to delete them.
pub fn first_to_go(mut active: Vec<Arc<Pod>>, related: &[Arc<Pod>], now: Timestamp) -> Vec<Arc<Pod>> {
    let mut neighbours: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| pods::is_active(pod)) {
        *neighbours.entry(pods::node_name(pod)).or_default() += 1;
    }
    active.sort_by(|a, b| {
        let crowd = |pod: &Pod| neighbours.get(pods::node_name(pod)).copied().unwrap_or(0);
        worth(a)
            .cmp(&worth(b))
            .then_with(|| crowd(b).cmp(&crowd(a)))
            .then_with(|| by_ready_time(a, b, now))
            .then_with(|| Reverse(restarts(a)).cmp(&Reverse(restarts(b))))
            .then_with(|| magnitude(created(a), now).cmp(&magnitude(created(b), now)))
            .then_with(|| a.meta_ref().uid.cmp(b.meta_ref().uid))
    });
    active
}

/// Less is sooner deleted.
fn worth(pod: &Pod) -> (bool, u8, bool, i32) {
    let phase = match pods::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    };
    (!pods::node_name(pod).is_empty(), phase, pods::is_ready(pod), deletion_cost(pod))
}

fn deletion_cost(pod: &Pod) -> i32 {
    let annotation = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(DELETION_COST));
    annotation.and_then(|cost| cost.parse().ok()).unwrap_or(0)
}

fn by_ready_time(a: &Pod, b: &Pod, now: Timestamp) -> Ordering {
    match (pods::ready_since(a), pods::ready_since(b)) {
        (Some(a), Some(b)) => magnitude(a, now).cmp(&magnitude(b, now)),
        _ => Ordering::Equal,
    }
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|container| container.restart_count).max().unwrap_or(0)
}

fn created(pod: &Pod) -> Timestamp {
    pod.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0)
}

/// The magnitude of an age: 1, 2 and 4 seconds differ, 1000 and 1100 do not.
fn magnitude(since: Timestamp, now: Timestamp) -> u32 {
    let age_ns = now.as_nanosecond() - since.as_nanosecond();
    u128::try_from(age_ns).ok().and_then(u128::checked_ilog2).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, pod};
    use serde_json::json;

    #[test]
    fn the_cheapest_losses_come_first() {
        let running = |name: &str, more: serde_json::Value| {
            let mut spec = json!({"metadata": {"name": name}, "spec": {"nodeName": "n1"}, "status": {"phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:10Z"}]}});
            json_patch(&mut spec, &more);
            Arc::new(pod(spec))
        };
        let pods = vec![
            running("plain", json!({})),
            running("dear", json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "5"}}})),
            running(
                "restarted",
                json!({"status": {"containerStatuses": [{"name": "c", "restartCount": 3, "ready": true, "image": "", "imageID": ""}]}}),
            ),
            running(
                "late-ready",
                json!({"status": {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T02:46:00Z"}]}}),
            ),
            running("crowded", json!({"spec": {"nodeName": "n2"}})),
            running(
                "cheap",
                json!({"metadata": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}}),
            ),
            running("unready", json!({"status": {"conditions": []}})),
            running("pending", json!({"status": {"phase": "Pending", "conditions": []}})),
            running("unbound", json!({"spec": {"nodeName": ""}, "status": {"phase": "Pending", "conditions": []}})),
        ];
        let mut related = pods.clone();
        for name in ["r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8"] {
            related.push(running(name, json!({"spec": {"nodeName": "n2"}})));
        }
        let order: Vec<_> =
            first_to_go(pods, &related, at(10_000)).iter().map(|pod| pod.meta_ref().name.to_owned()).collect();
        assert_eq!(
            order,
            ["unbound", "pending", "unready", "cheap", "crowded", "late-ready", "restarted", "plain", "dear"]
        );
    }

    fn json_patch(base: &mut serde_json::Value, more: &serde_json::Value) {
        match (base.as_object_mut(), more.as_object()) {
            (Some(base), Some(more)) => {
                for (key, value) in more {
                    json_patch(base.entry(key).or_insert(json!({})), value);
                }
            }
            _ => *base = more.clone(),
        }
    }
}
