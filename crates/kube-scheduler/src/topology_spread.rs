//! Topology spread constraints, compiled once a pod: over which topology pods of which labels shall spread how evenly.

use client::Selector;
use k8s_openapi::api::core::v1::{PodSpec, TopologySpreadConstraint};

use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

/// The node label of the smallest topology: one place a node.
pub const HOST_NAME: &str = "kubernetes.io/hostname";
/// The node label of zones.
pub const ZONE: &str = "topology.kubernetes.io/zone";

/// One constraint.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    pub topology_key: String,
    pub skew_max: i64,
    /// `DoNotSchedule`; otherwise it is a wish.
    pub hard: bool,
    pub domains_min: usize,
    /// None selects nothing.
    selector: Option<Selector>,
    honors_affinity: bool,
    honors_taints: bool,
}

impl Constraint {
    /// Those of a pod.
    pub fn all_of(spec: &PodSpec) -> Vec<Self> {
        spec.topology_spread_constraints.iter().flatten().map(Self::of).collect()
    }

    fn of(constraint: &TopologySpreadConstraint) -> Self {
        Self {
            topology_key: constraint.topology_key.clone(),
            skew_max: i64::from(constraint.max_skew),
            hard: constraint.when_unsatisfiable == "DoNotSchedule",
            domains_min: constraint.min_domains.and_then(|least| usize::try_from(least).ok()).unwrap_or(1),
            selector: constraint.label_selector.as_ref().map(Selector::of),
            honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    /// What pods of a service or set are spread by without saying so.
    pub fn defaults(selector: &Selector) -> [Self; 2] {
        [(HOST_NAME, 3), (ZONE, 5)].map(|(key, skew_max)| Self {
            topology_key: key.to_owned(),
            skew_max,
            hard: false,
            domains_min: 1,
            selector: Some(selector.clone()),
            honors_affinity: true,
            honors_taints: false,
        })
    }

    /// Whether a pod is one of those to spread, for a constraint of a pod in `namespace`. Pods that are going do not count.
    pub fn counts(&self, namespace: &str, pod: &PodInfo) -> bool {
        pod.key.namespace == namespace && !pod.terminating && self.selects(pod)
    }

    /// Whether the labels of a pod are those to spread.
    pub fn selects(&self, pod: &PodInfo) -> bool {
        self.selector.as_ref().is_some_and(|selector| selector.matches(pod.labels()))
    }

    /// Whether the node in `row` is one of those to spread over.
    pub fn includes(&self, pod: &PodInfo, nodes: &Nodes, row: usize) -> bool {
        (!self.honors_affinity || pod.affinity.admits(&nodes.names[row], &nodes.labels[row]))
            && (!self.honors_taints
                || nodes.taints[row].iter().all(|taint| !taint_keeps_away(taint) || pod.tolerates(taint)))
    }

    /// How many pods to spread there are on the node in `row`.
    pub fn count_on(&self, namespace: &str, nodes: &Nodes, row: usize) -> i64 {
        nodes.pods[row].values().filter(|pod| self.counts(namespace, pod)).count() as i64
    }
}

/// Whether a taint keeps pods away that do not tolerate it.
pub fn taint_keeps_away(taint: &k8s_openapi::api::core::v1::Taint) -> bool {
    matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
}
