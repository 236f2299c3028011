//! Making room: when a pod fits nowhere, pods of lower priority may have to go. Pure, as the decision itself.
//!
//! On each node where it could help, all pods of lower priority are taken away in thought; if the pod then fits, they are
//! given back one by one, most important first, as long as the pod still fits. What cannot be given back are the victims.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;
use crate::schedule_one::{Diagnosis, reject};

/// What came of it.
#[derive(Debug, Clone)]
pub enum Preemption {
    /// These pods have to leave that node.
    Victims { node: String, pods: Vec<Arc<PodInfo>> },
    /// Why not, in upstream's words.
    No(String),
}

/// Looks for the node on which making room does the least harm.
pub fn preempt(pod: &PodInfo, nodes: &mut Nodes, diagnosis: &Diagnosis) -> Preemption {
    if diagnosis.nodes == 0 {
        return Preemption::No(String::new());
    }
    let describe = |counts: BTreeMap<&str, usize>| {
        let parts: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        format!("preemption: 0/{} nodes are available: {}.", diagnosis.nodes, parts.join(", "))
    };
    if !pod.preempts {
        return Preemption::No("preemption: not eligible due to preemptionPolicy=Never.".into());
    }
    if let Some(row) = pod.nominated_node.as_deref().and_then(|node| nodes.row(node))
        && nodes.pods[row].values().any(|other| other.terminating && other.priority < pod.priority)
    {
        return Preemption::No("preemption: not eligible due to a terminating pod on the nominated node.".into());
    }
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    let mut candidates: Vec<(usize, Vec<Arc<PodInfo>>)> = Vec::new();
    for (row, rejection) in &diagnosis.rejections {
        if rejection.unresolvable {
            *reasons.entry("Preemption is not helpful for scheduling").or_default() += 1;
            continue;
        }
        match victims(pod, nodes, *row) {
            Some(pods) => candidates.push((*row, pods)),
            None => *reasons.entry("No preemption victims found for incoming pod").or_default() += 1,
        }
    }
    // The least harm: the lowest of the highest priorities, then the lowest sum, then the fewest pods, then those that
    // started last.
    let best = candidates.into_iter().min_by_key(|(_, pods)| {
        let highest = pods.iter().map(|pod| pod.priority).max();
        let sum: i64 = pods.iter().map(|pod| i64::from(pod.priority) - i64::from(i32::MIN)).sum();
        let earliest = pods.iter().filter(|pod| Some(pod.priority) == highest).filter_map(|pod| pod.started).min();
        (highest, sum, pods.len(), Reverse(earliest))
    });
    match best {
        Some((row, pods)) => Preemption::Victims { node: nodes.names[row].clone(), pods },
        None => Preemption::No(describe(reasons)),
    }
}

/// The pods that have to leave the node in `row`; none if even without all lower ones the pod would not fit, or if there
/// is nobody to go. The columns are the same afterwards.
fn victims(pod: &PodInfo, nodes: &mut Nodes, row: usize) -> Option<Vec<Arc<PodInfo>>> {
    let mut lower: Vec<Arc<PodInfo>> =
        nodes.pods[row].values().filter(|other| other.priority < pod.priority).cloned().collect();
    if lower.is_empty() {
        return None;
    }
    let node = nodes.names[row].clone();
    lower.sort_by(|one, other| {
        (Reverse(one.priority), one.started, &one.key).cmp(&(Reverse(other.priority), other.started, &other.key))
    });
    for other in &lower {
        nodes.remove_pod(&other.key);
    }
    let is_rejected = |nodes: &Nodes| reject(pod, nodes, row, &Cycle::of(pod, nodes)).is_some();
    let fits = !is_rejected(nodes);
    let mut victims = Vec::new();
    for other in lower {
        nodes.place_pod(&node, other.clone());
        if fits && is_rejected(nodes) {
            nodes.remove_pod(&other.key);
            victims.push(other);
        }
    }
    for victim in &victims {
        nodes.place_pod(&node, victim.clone());
    }
    (fits && !victims.is_empty()).then_some(victims)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::nodes::tests::node;
    use crate::pod_info::tests::pod;
    use crate::schedule_one::{Decision, schedule};

    fn asks(name: &str, cpu: &str, priority: i32) -> PodInfo {
        pod(name, json!({"priority": priority, "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}))
    }

    fn attempt(pod: &PodInfo, nodes: &mut Nodes) -> Preemption {
        let Decision::Unschedulable(diagnosis) = schedule(pod, nodes, 0) else { panic!("it fits already") };
        let before: Vec<_> = nodes.requested.clone();
        let result = preempt(pod, nodes, &diagnosis);
        assert_eq!(before, nodes.requested, "thinking about it changes nothing");
        result
    }

    #[test]
    fn as_few_and_as_unimportant_pods_as_possible_go() {
        let mut nodes = Nodes::default();
        for name in ["a", "b"] {
            nodes.set_node(&node(name, "4", "4Gi", json!({})));
        }
        for (place, name, cpu, priority) in [("a", "a1", "2", 5), ("a", "a2", "2", 1), ("b", "b1", "4", 3)] {
            nodes.place_pod(place, Arc::new(asks(name, cpu, priority)));
        }
        let Preemption::Victims { node, pods } = attempt(&asks("p", "2", 10), &mut nodes) else {
            panic!("there are victims")
        };
        assert_eq!((node.as_str(), pods.len(), pods[0].key.name.as_str()), ("a", 1, "a2"));
    }

    #[test]
    fn nobody_of_the_same_priority_goes_and_the_message_says_so() {
        let mut nodes = Nodes::default();
        nodes.set_node(&node("a", "4", "4Gi", json!({})));
        nodes.set_node(&node("b", "1", "4Gi", json!({})));
        nodes.place_pod("a", Arc::new(asks("a1", "4", 0)));
        let Preemption::No(message) = attempt(&asks("p", "2", 0), &mut nodes) else { panic!("nobody may go") };
        assert_eq!(
            message,
            "preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for scheduling."
        );
    }
}
