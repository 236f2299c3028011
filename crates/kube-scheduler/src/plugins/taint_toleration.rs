//! Taints keep pods away that do not tolerate them; a `PreferNoSchedule` taint only makes a node less liked.

use k8s_openapi::api::core::v1::Taint;

use super::{Event, Plugin, Rejection, normalize};
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

pub struct TaintToleration;

fn keeps_away(taint: &Taint) -> bool {
    matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
}

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn filter(&self, pod: &PodInfo, nodes: &Nodes, row: usize) -> Option<Rejection> {
        let intolerable = nodes.taints[row].iter().any(|taint| keeps_away(taint) && !pod.tolerates(taint));
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

    fn may_help(&self, event: Event) -> bool {
        matches!(event, Event::Node(change) if change.added || change.taints)
    }
}
