//! Zones: a volume that says by its labels where it is can be reached only from nodes there.

use k8s_openapi::api::core::v1::PersistentVolume;

use super::{Event, Plugin, Rejection, concerns_claims_of};
use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

/// The labels that say where, each with the one that took its place.
const LABELS: [(&str, &str); 4] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("topology.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("topology.kubernetes.io/region", "topology.kubernetes.io/region"),
];

pub struct VolumeZone;

impl Plugin for VolumeZone {
    fn name(&self) -> &'static str {
        "VolumeZone"
    }

    fn filter(&self, _pod: &PodInfo, nodes: &Nodes, row: usize, cycle: &Cycle) -> Option<Rejection> {
        let labels = &nodes.labels[row];
        // A node that does not say where it is may be anywhere.
        if cycle.volumes.bound.is_empty() || !LABELS.iter().any(|(label, _)| labels.contains_key(*label)) {
            return None;
        }
        let is_here = |volume: &PersistentVolume| {
            LABELS.iter().all(|(label, current)| {
                let places = volume.metadata.labels.as_ref().and_then(|labels| labels.get(*label));
                let here = labels.get(*label).or_else(|| labels.get(*current));
                places.is_none_or(|places| here.is_some_and(|here| places.split("__").any(|place| place == here)))
            })
        };
        let all = cycle.volumes.bound.iter().all(|volume| is_here(volume));
        (!all).then(|| Rejection::unresolvable("node(s) had no available volume zone"))
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
