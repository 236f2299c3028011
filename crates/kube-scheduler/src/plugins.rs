//! The plugins, in the order in which they filter. A plugin sees a pod and the columns of nodes and says for each node
//! why not, or how well.

pub mod image_locality;
pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_resources_balanced_allocation;
pub mod node_resources_fit;
pub mod node_unschedulable;
pub mod pod_topology_spread;
pub mod taint_toleration;
pub mod volume_binding;
pub mod volume_restrictions;
pub mod volume_zone;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use crate::cycle::Cycle;
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
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The node in this row came or changed.
    Node(usize, NodeChange),
    /// A node went.
    NodeGone,
    /// This pod takes room on a node from now on.
    PodCame(&'a PodInfo),
    /// A pod on the node in this row changed.
    PodChanged { row: usize, before: &'a PodInfo, now: &'a PodInfo },
    /// This pod no longer takes room on the node in this row, or on one that is gone itself.
    PodGone(Option<usize>, &'a PodInfo),
    /// The waiting pod itself changed.
    Own(PodChange),
    /// A claim, a volume or a storage class came or changed; the claim, if it was one.
    Storage(Option<&'a PersistentVolumeClaim>),
}

/// What of a waiting pod changed that can make it fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PodChange {
    pub labels: bool,
    pub tolerations: bool,
    pub requests: bool,
}

impl Event<'_> {
    /// The one node that the event concerns.
    fn row(&self) -> Option<usize> {
        match self {
            Self::Node(row, _) => Some(*row),
            Self::PodChanged { row, .. } => Some(*row),
            Self::PodGone(row, _) => *row,
            Self::NodeGone | Self::PodCame(_) | Self::Own(_) | Self::Storage(_) => None,
        }
    }
}

/// A set of plugins, by their place in [`ALL`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PluginSet(u32);

impl PluginSet {
    /// Those of these names.
    pub fn named<'a>(names: impl IntoIterator<Item = &'a &'static str>) -> Self {
        let mut set = 0;
        for name in names {
            if let Some(place) = ALL.iter().position(|plugin| plugin.name() == *name) {
                set |= 1 << place;
            }
        }
        Self(set)
    }

    /// Those that an event of this kind concerns.
    pub fn concerned_by(event: &Event<'_>) -> Self {
        let concerned = ALL.iter().enumerate().filter(|(_, plugin)| plugin.is_concerned_by(event));
        Self(concerned.fold(0, |set, (place, _)| set | 1 << place))
    }

    /// Those in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn plugins(self) -> impl Iterator<Item = &'static &'static dyn Plugin> {
        ALL.iter().enumerate().filter(move |(place, _)| self.0 & (1 << place) != 0).map(|(_, plugin)| plugin)
    }
}

/// Whether an event can make a pod fit that one of `plugins`, which the event concerns, rejected.
///
/// What happens on one node helps only if the pod may run there at all: with a taint left that it does not tolerate, a
/// node that is no longer cordoned is no better than before, and trying would only lengthen the pod's back-off.
pub fn may_help(plugins: PluginSet, event: &Event<'_>, pod: &PodInfo, nodes: &Nodes) -> bool {
    let mut refused = None;
    plugins.plugins().any(|plugin| {
        plugin.may_help(event, pod, nodes)
            && (plugin.compares_nodes()
                || !*refused.get_or_insert_with(|| event.row().is_some_and(|row| is_refused(pod, nodes, row))))
    })
}

/// Whether a node is out of the question for a pod, whoever leaves it.
fn is_refused(pod: &PodInfo, nodes: &Nodes, row: usize) -> bool {
    let mut local = ALL.iter().filter(|plugin| !plugin.compares_nodes());
    local
        .any(|plugin| plugin.filter(pod, nodes, row, &Cycle::default()).is_some_and(|rejection| rejection.unresolvable))
}

/// One aspect of the decision.
pub trait Plugin: Sync {
    /// Upstream's name of the plugin.
    fn name(&self) -> &'static str;

    /// Why the pod can run nowhere, whatever the nodes are like, if so.
    fn pre_filter(&self, _cycle: &Cycle) -> Option<String> {
        None
    }

    /// Why the pod cannot run on the node in `row`, if so.
    fn filter(&self, _pod: &PodInfo, _nodes: &Nodes, _row: usize, _cycle: &Cycle) -> Option<Rejection> {
        None
    }

    /// How much this plugin's score counts; zero where it has none.
    fn weight(&self) -> i64 {
        0
    }

    /// Scores the feasible rows into `scores`, 0 to `SCORE_MAX` each.
    fn score(&self, _pod: &PodInfo, _nodes: &Nodes, _rows: &[usize], _scores: &mut [i64]) {}

    /// Whether what it says of a node depends on other nodes and what runs there.
    fn compares_nodes(&self) -> bool {
        false
    }

    /// Whether events of this kind can change what this plugin says of any pod.
    fn is_concerned_by(&self, event: &Event<'_>) -> bool;

    /// Whether an event that concerns this plugin can change what it said when it rejected this pod.
    fn may_help(&self, _event: &Event<'_>, _pod: &PodInfo, _nodes: &Nodes) -> bool {
        true
    }
}

/// All plugins, in the order in which they filter.
pub const ALL: &[&dyn Plugin] = &[
    &node_unschedulable::NodeUnschedulable,
    &node_name::NodeName,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_ports::NodePorts,
    &node_resources_fit::NodeResourcesFit,
    &volume_restrictions::VolumeRestrictions,
    &volume_binding::VolumeBinding,
    &volume_zone::VolumeZone,
    &pod_topology_spread::PodTopologySpread,
    &inter_pod_affinity::InterPodAffinity,
    &image_locality::ImageLocality,
    &node_resources_balanced_allocation::NodeResourcesBalancedAllocation,
];

/// Whether an event is about something else than claims, or about a claim of the pod.
fn concerns_claims_of(event: &Event<'_>, pod: &PodInfo) -> bool {
    let Event::Storage(Some(claim)) = event else { return true };
    claim.metadata.namespace.as_ref() == Some(&pod.key.namespace)
        && pod.claims.iter().any(|own| Some(&own.name) == claim.metadata.name.as_ref())
}

/// Brings raw scores to 0..=`SCORE_MAX`; with `reverse` the smallest raw score is the best.
fn normalize(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if highest == 0 { 0 } else { *score * SCORE_MAX / highest };
        *score = if reverse { SCORE_MAX - scaled } else { scaled };
    }
}
