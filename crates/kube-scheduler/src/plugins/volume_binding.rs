//! Claims: they must be there and bound, or be bound together with the pod to volumes that its node can reach.

use super::{Event, Plugin, Rejection, concerns_claims_of};
use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

pub struct VolumeBinding;

impl Plugin for VolumeBinding {
    fn name(&self) -> &'static str {
        "VolumeBinding"
    }

    fn pre_filter(&self, cycle: &Cycle) -> Option<String> {
        cycle.volumes.refusal.clone()
    }

    fn filter(&self, pod: &PodInfo, nodes: &Nodes, row: usize, cycle: &Cycle) -> Option<Rejection> {
        if pod.claims.is_empty() {
            return None;
        }
        let volumes = &cycle.volumes;
        let reasons = [
            (volumes.choose(nodes, row).is_none(), "node(s) didn't find available persistent volumes to bind"),
            (!volumes.reaches_bound(nodes, row), "node(s) didn't match PersistentVolume's node affinity"),
            (volumes.is_lost, "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"),
        ];
        let reasons: Vec<String> =
            reasons.into_iter().filter(|(holds, _)| *holds).map(|(_, reason)| reason.to_owned()).collect();
        (!reasons.is_empty()).then_some(Rejection { reasons, unresolvable: true })
    }

    fn is_concerned_by(&self, event: &Event<'_>) -> bool {
        match event {
            Event::Node(_, change) => change.added || change.labels,
            Event::Storage(_) => true,
            _ => false,
        }
    }

    fn may_help(&self, event: &Event<'_>, pod: &PodInfo, _nodes: &Nodes) -> bool {
        concerns_claims_of(event, pod)
    }
}
