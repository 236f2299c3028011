//! `nodeSelector` and node affinity: what a pod demands of a node's labels, and what it would like.

use super::{Event, Plugin, Rejection, normalize};
use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

pub struct NodeAffinity;

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn filter(&self, pod: &PodInfo, nodes: &Nodes, row: usize, _cycle: &Cycle) -> Option<Rejection> {
        let admitted = pod.affinity.admits(&nodes.names[row], &nodes.labels[row]);
        (!admitted).then(|| Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector"))
    }

    fn weight(&self) -> i64 {
        2
    }

    fn score(&self, pod: &PodInfo, nodes: &Nodes, rows: &[usize], scores: &mut [i64]) {
        if !pod.affinity.has_preferences() {
            return;
        }
        for (score, row) in scores.iter_mut().zip(rows) {
            *score = pod.affinity.preference(&nodes.names[*row], &nodes.labels[*row]);
        }
        normalize(scores, false);
    }

    fn is_concerned_by(&self, event: &Event<'_>) -> bool {
        matches!(event, Event::Node(_, change) if change.added || change.labels)
    }
}
