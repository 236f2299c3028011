//! The plugins, in the order in which they filter. A plugin sees a pod and the columns of nodes and says for each node
//! why not, or how well.

pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_resources_balanced_allocation;
pub mod node_resources_fit;
pub mod node_unschedulable;
pub mod taint_toleration;

use crate::nodes::{NodeChange, Nodes};
use crate::pod_info::PodInfo;

/// The best score that a plugin gives.
pub const SCORE_MAX: i64 = 100;

/// Why a pod cannot run on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// In upstream's words.
    pub reasons: Vec<String>,
    /// Whether taking other pods away from the node cannot help.
    pub unresolvable: bool,
}

impl Rejection {
    pub fn new(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], unresolvable: false }
    }

    pub fn unresolvable(reason: &str) -> Self {
        Self { reasons: vec![reason.to_owned()], unresolvable: true }
    }
}

/// Something that happened in the cluster after which a pod that did not fit may fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Node(NodeChange),
    /// A pod no longer takes room on a node.
    PodGone,
}

/// One aspect of the decision.
pub trait Plugin: Sync {
    /// Upstream's name of the plugin.
    fn name(&self) -> &'static str;

    /// Why the pod cannot run on the node in `row`, if so.
    fn filter(&self, _pod: &PodInfo, _nodes: &Nodes, _row: usize) -> Option<Rejection> {
        None
    }

    /// How much this plugin's score counts; zero where it has none.
    fn weight(&self) -> i64 {
        0
    }

    /// Scores the feasible rows into `scores`, 0 to `SCORE_MAX` each.
    fn score(&self, _pod: &PodInfo, _nodes: &Nodes, _rows: &[usize], _scores: &mut [i64]) {}

    /// Whether an event can change what this plugin said when it rejected a pod.
    fn may_help(&self, event: Event) -> bool;
}

/// All plugins, in the order in which they filter.
pub const ALL: &[&dyn Plugin] = &[
    &node_unschedulable::NodeUnschedulable,
    &node_name::NodeName,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_ports::NodePorts,
    &node_resources_fit::NodeResourcesFit,
    &node_resources_balanced_allocation::NodeResourcesBalancedAllocation,
];

/// Brings raw scores to 0..=`SCORE_MAX`; with `reverse` the smallest raw score is the best.
fn normalize(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if highest == 0 { 0 } else { *score * SCORE_MAX / highest };
        *score = if reverse { SCORE_MAX - scaled } else { scaled };
    }
}
