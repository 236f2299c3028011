//! Whether a node's pods may be driven away now.
//!
//! Nodes are given up slowly: in each zone one after another, slower still when more than half of a large zone is down and
//! not at all when it is a small one, for then it is more likely that we cannot see the nodes than that they are all
//! broken. If no node in the cluster is ready, none is given up, and those that were get their pods back.

use std::time::Duration;

use client::{Object, Snapshot};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Taint};

use super::{conditions, taints};

/// Between two nodes of a zone.
const PERIOD: Duration = Duration::from_secs(10);
/// Between two nodes of a large zone that is mostly down.
const SLOW_PERIOD: Duration = Duration::from_secs(100);
const LARGE_ZONE_NODES_MIN: usize = 51;
const DOWN_NODES_MIN: usize = 3;
const DOWN_PERCENT: usize = 55;
/// Nodes that say nothing about the zone they are in.
const EXCLUDED: &str = "node.kubernetes.io/exclude-disruption";

/// The answer.
#[derive(Debug, PartialEq)]
pub enum Permission {
    /// Now.
    Granted,
    /// Perhaps after this time.
    Later(Duration),
    /// Not as things are.
    Denied,
}

/// Whether this node, which is not ready, may be given up among all nodes.
pub fn permission(node: &Node, all: &Snapshot<Node>, now: Timestamp) -> Permission {
    let counts = |node: &&Node| !node.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(EXCLUDED));
    let is_ready = |node: &Node| conditions::ready(node) == "True";
    if !all.iter().map(|node| &**node).filter(counts).any(is_ready) {
        return Permission::Denied;
    }
    if evicting_taint(node).is_some() {
        return Permission::Granted;
    }
    let zone: Vec<&Node> = all.iter().map(|node| &**node).filter(|other| zone_of(other) == zone_of(node)).collect();
    let size = zone.iter().copied().filter(counts).count();
    let down = zone.iter().copied().filter(counts).filter(|node| !is_ready(node)).count();
    let partly_down = down < size && down >= DOWN_NODES_MIN && down * 100 >= size * DOWN_PERCENT;
    let period = match (partly_down, size >= LARGE_ZONE_NODES_MIN) {
        (false, _) => PERIOD,
        (true, true) => SLOW_PERIOD,
        (true, false) => return Permission::Denied,
    };
    let latest = zone.iter().filter_map(|node| evicting_taint(node)?.time_added.as_ref()).map(|time| time.0).max();
    let elapsed = latest.map(|latest| Duration::try_from(now.duration_since(latest)).unwrap_or_default());
    if let Some(rest) = elapsed.and_then(|elapsed| period.checked_sub(elapsed)).filter(|rest| !rest.is_zero()) {
        return Permission::Later(rest);
    }
    // Those that have been down longest first; the others get their turn when this one's taint is old enough.
    let candidates = zone
        .iter()
        .filter(|node| matches!(conditions::ready(node), "False" | "Unknown") && evicting_taint(node).is_none());
    let next = candidates.min_by_key(|node| (conditions::ready_since(node), node.meta_ref().name));
    match next {
        Some(next) if next.metadata.name != node.metadata.name => Permission::Later(period),
        _ => Permission::Granted,
    }
}

/// The taint by which a node's pods are driven away already.
fn evicting_taint(node: &Node) -> Option<&Taint> {
    let all = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    all.into_iter().find(|taint| taint.effect == "NoExecute" && taints::tells_of_health(taint))
}

/// Region and zone.
fn zone_of(node: &Node) -> [Option<&String>; 2] {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key));
    [label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone")]
}
