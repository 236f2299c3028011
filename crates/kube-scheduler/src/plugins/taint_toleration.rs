//! Taints keep pods away that do not tolerate them; a `PreferNoSchedule` taint only makes a node less liked.

use k8s_openapi::api::core::v1::Taint;

use super::{Event, Plugin, Rejection, normalize};
use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;
use crate::topology_spread::taint_keeps_away;

pub struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn filter(&self, pod: &PodInfo, nodes: &Nodes, row: usize, _cycle: &Cycle) -> Option<Rejection> {
        let intolerable = nodes.taints[row].iter().any(|taint| taint_keeps_away(taint) && !pod.tolerates(taint));
        intolerable.then(|| Rejection::unresolvable("node(s) had untolerated taint(s)"))
    }

    fn weight(&self) -> i64 {
        3
    }

    fn score(&self, pod: &PodInfo, nodes: &Nodes, rows: &[usize], scores: &mut [i64]) {
        for (score, row) in scores.iter_mut().zip(rows) {
            let disliked = |taint: &&Taint| taint.effect == "PreferNoSchedule" && !pod.tolerates(taint);
            *score = nodes.taints[*row].iter().filter(disliked).count() as i64;
        }
        normalize(scores, true);
    }

    fn is_concerned_by(&self, event: &Event<'_>) -> bool {
        match event {
            Event::Node(_, change) => change.added || change.taints,
            Event::Own(change) => change.tolerations,
            _ => false,
        }
    }
}
