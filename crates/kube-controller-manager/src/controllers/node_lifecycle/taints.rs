//! The taints that follow from a node's conditions. Taints of others are kept as they are.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::conditions;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Condition and taint; the condition taints when it is true.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
];

/// The node's taints as they should be; none if they are so already. `evicts` allows those that evict. A node that has
/// never reported has none of ours, not even the one that it was born with.
pub fn wanted(node: &Node, evicts: bool, now: Timestamp) -> Option<Vec<Taint>> {
    let known: Vec<Taint> = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten()).cloned().collect();
    let mut own: Vec<(&str, &str)> = Vec::new();
    let health = match conditions::ready(node) {
        "False" => Some(NOT_READY),
        "Unknown" => Some(UNREACHABLE),
        _ => None,
    };
    if let Some(key) = health {
        own.push((key, "NoSchedule"));
        if evicts {
            own.push((key, "NoExecute"));
        }
    }
    own.extend(
        PRESSURES
            .iter()
            .filter(|(kind, _)| conditions::status(node, kind) == "True")
            .map(|(_, key)| (*key, "NoSchedule")),
    );
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        own.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let mut taints: Vec<Taint> = known.clone();
    taints.retain(|taint| !is_managed(taint) || own.contains(&(taint.key.as_str(), taint.effect.as_str())));
    for (key, effect) in own {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            let (key, effect) = (key.to_owned(), effect.to_owned());
            taints.push(Taint { key, effect, value: None, time_added: Some(Time(now)) });
        }
    }
    (taints != known).then_some(taints)
}

/// Whether a taint says that the node is not ready or not reachable.
pub fn tells_of_health(taint: &Taint) -> bool {
    [NOT_READY, UNREACHABLE].contains(&taint.key.as_str())
}

/// Whether a taint is this controller's to set and to take away.
fn is_managed(taint: &Taint) -> bool {
    let health = tells_of_health(taint) && matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute");
    let pressure = taint.effect == "NoSchedule"
        && (taint.key == UNSCHEDULABLE || PRESSURES.iter().any(|(_, key)| taint.key == *key));
    health || pressure
}
