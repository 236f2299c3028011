//! What plugins that compare nodes count once for a decision, before they look at single nodes.

use crate::nodes::Nodes;
use crate::plugins::inter_pod_affinity::Neighbours;
use crate::plugins::pod_topology_spread::Spread;
use crate::pod_info::PodInfo;
use crate::pod_volumes::PodVolumes;

/// The counts for one pod over one state of the nodes.
#[derive(Debug, Default)]
pub struct Cycle {
    pub neighbours: Neighbours,
    pub spread: Spread,
    pub volumes: PodVolumes,
}

impl Cycle {
    pub fn of(pod: &PodInfo, nodes: &Nodes) -> Self {
        Self {
            neighbours: Neighbours::of(pod, nodes),
            spread: Spread::of(pod, nodes),
            volumes: PodVolumes::of(pod, nodes),
        }
    }
}
