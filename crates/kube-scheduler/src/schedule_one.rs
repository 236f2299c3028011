//! The decision for one pod: filter all nodes, score those that are left, take the best. Pure: the same pod, columns and
//! tie-breaker give the same answer, and the answer says why each node was not taken.

use std::collections::{BTreeMap, BTreeSet};

use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::plugins::{self, Rejection};
use crate::pod_info::PodInfo;

/// The outcome for a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The row of the node to run on.
    Node(usize),
    Unschedulable(Diagnosis),
}

/// Why no node was fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnosis {
    pub nodes: usize,
    /// Why the pod fits nowhere, where that has nothing to do with single nodes.
    pub everywhere: Option<String>,
    /// By row of the node.
    pub rejections: BTreeMap<usize, Rejection>,
    /// Names of the plugins that rejected a node: only events that these care about can help.
    pub plugins: BTreeSet<&'static str>,
}

impl Diagnosis {
    /// The message of the condition and the event, without what preemption has to say.
    pub fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".into();
        }
        if let Some(reason) = &self.everywhere {
            return format!("0/{} nodes are available: {reason}.", self.nodes);
        }
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in self.rejections.values().flat_map(|rejection| &rejection.reasons) {
            *counts.entry(reason).or_default() += 1;
        }
        let mut parts: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        parts.sort();
        format!("0/{} nodes are available: {}.", self.nodes, parts.join(", "))
    }
}

/// Decides where a pod runs. `tie_breaker` chooses among equally good nodes.
pub fn schedule(pod: &PodInfo, nodes: &Nodes, tie_breaker: u64) -> Decision {
    let mut diagnosis = Diagnosis { nodes: nodes.len(), ..Diagnosis::default() };
    let mut feasible = Vec::new();
    let cycle = Cycle::of(pod, nodes);
    let refusal = plugins::ALL.iter().find_map(|plugin| Some((plugin.name(), plugin.pre_filter(&cycle)?)));
    if let Some((plugin, reason)) = refusal.filter(|_| !nodes.is_empty()) {
        diagnosis.rejections = (0..nodes.len()).map(|row| (row, Rejection::unresolvable(&reason))).collect();
        diagnosis.plugins.insert(plugin);
        diagnosis.everywhere = Some(reason);
        return Decision::Unschedulable(diagnosis);
    }
    for row in 0..nodes.len() {
        match reject(pod, nodes, row, &cycle) {
            None => feasible.push(row),
            Some((plugin, rejection)) => {
                diagnosis.plugins.insert(plugin);
                diagnosis.rejections.insert(row, rejection);
            }
        }
    }
    match feasible.as_slice() {
        [] => Decision::Unschedulable(diagnosis),
        [only] => Decision::Node(*only),
        // Room was made for the pod there: it goes there if it still can.
        _ => match nominated(pod, nodes).filter(|row| feasible.contains(row)) {
            Some(row) => Decision::Node(row),
            None => Decision::Node(best(pod, nodes, &feasible, tie_breaker)),
        },
    }
}

/// The first plugin that does not want the pod on the node, and why.
pub fn reject(pod: &PodInfo, nodes: &Nodes, row: usize, cycle: &Cycle) -> Option<(&'static str, Rejection)> {
    plugins::ALL.iter().find_map(|plugin| Some((plugin.name(), plugin.filter(pod, nodes, row, cycle)?)))
}

fn nominated(pod: &PodInfo, nodes: &Nodes) -> Option<usize> {
    nodes.row(pod.nominated_node.as_deref()?)
}

fn best(pod: &PodInfo, nodes: &Nodes, feasible: &[usize], tie_breaker: u64) -> usize {
    let mut totals = vec![0; feasible.len()];
    let mut scores = vec![0; feasible.len()];
    for plugin in plugins::ALL.iter().filter(|plugin| plugin.weight() > 0) {
        scores.fill(0);
        plugin.score(pod, nodes, feasible, &mut scores);
        for (total, score) in totals.iter_mut().zip(&scores) {
            *total += score * plugin.weight();
        }
    }
    let highest = totals.iter().copied().max().unwrap_or(0);
    let ties: Vec<usize> =
        feasible.iter().zip(&totals).filter(|(_, total)| **total == highest).map(|(row, _)| *row).collect();
    ties[(tie_breaker % ties.len() as u64) as usize]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::nodes::tests::node;
    use crate::pod_info::tests::pod;

    fn cluster(list: &[(&str, &str, Value)]) -> Nodes {
        let mut nodes = Nodes::default();
        for (name, cpu, spec) in list {
            nodes.set_node(&node(name, cpu, "4Gi", spec.clone()));
        }
        nodes
    }

    fn asks(cpu: &str) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]})
    }

    #[test]
    fn without_nodes_and_without_room_the_message_is_upstreams() {
        let message = |pod: PodInfo, nodes: &Nodes| match schedule(&pod, nodes, 0) {
            Decision::Unschedulable(diagnosis) => diagnosis.message(),
            Decision::Node(row) => format!("row {row}"),
        };
        assert_eq!(message(pod("p", json!({})), &Nodes::default()), "no nodes available to schedule pods");
        let taint = json!({"taints": [{"key": "k", "effect": "NoSchedule"}]});
        let nodes = cluster(&[("a", "1", json!({})), ("b", "1", taint), ("c", "2", json!({"unschedulable": true}))]);
        assert_eq!(
            message(pod("p", asks("1500m")), &nodes),
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."
        );
    }

    #[test]
    fn the_emptier_node_is_taken_and_ties_are_broken_by_the_number() {
        let mut nodes = cluster(&[("a", "4", json!({})), ("b", "4", json!({}))]);
        let by_number: BTreeSet<String> =
            (0..2).map(|number| format!("{:?}", schedule(&pod("p", asks("1")), &nodes, number))).collect();
        assert_eq!(by_number.len(), 2);
        nodes.place_pod("a", Arc::new(pod("other", asks("2"))));
        for number in 0..4 {
            assert_eq!(schedule(&pod("p", asks("1")), &nodes, number), Decision::Node(nodes.row("b").unwrap()));
        }
    }

    #[test]
    fn host_ports_names_and_selectors_are_kept() {
        let mut nodes = cluster(&[("a", "4", json!({})), ("b", "4", json!({}))]);
        let port = json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
        nodes.place_pod("a", Arc::new(pod("one", port.clone())));
        assert_eq!(schedule(&pod("two", port.clone()), &nodes, 0), Decision::Node(nodes.row("b").unwrap()));
        nodes.place_pod("b", Arc::new(pod("two", port.clone())));
        let Decision::Unschedulable(diagnosis) = schedule(&pod("three", port), &nodes, 0) else {
            panic!("it cannot fit")
        };
        assert_eq!(
            diagnosis.message(),
            "0/2 nodes are available: 2 node(s) didn't have free ports for the requested pod ports."
        );
        let selects = |name: &str| json!({"nodeSelector": {"kubernetes.io/hostname": name}});
        assert_eq!(schedule(&pod("p", selects("b")), &nodes, 0), Decision::Node(nodes.row("b").unwrap()));
        assert!(matches!(schedule(&pod("p", selects("c")), &nodes, 0), Decision::Unschedulable(_)));
    }
}
