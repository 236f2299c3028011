//! A pod fits where what it asks for is left; of the nodes where it does, those with the most left are liked best
//! (upstream's LeastAllocated).

use super::{Event, Plugin, Rejection, SCORE_MAX};
use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

pub struct NodeResourcesFit;

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn filter(&self, pod: &PodInfo, nodes: &Nodes, row: usize, _cycle: &Cycle) -> Option<Rejection> {
        let (asked, has, used) = (&pod.requests, &nodes.allocatable[row], &nodes.requested[row]);
        let mut reasons = Vec::new();
        // Where the node is too small even when empty, no eviction helps.
        let mut unresolvable = false;
        if nodes.pods[row].len() as i64 + 1 > nodes.allowed_pods[row] {
            reasons.push("Too many pods".to_owned());
            unresolvable |= nodes.allowed_pods[row] < 1;
        }
        let mut check = |name: &str, asked: i64, has: i64, used: i64| {
            if asked > 0 && asked > has - used {
                reasons.push(format!("Insufficient {name}"));
                unresolvable |= asked > has;
            }
        };
        check("cpu", asked.milli_cpu, has.milli_cpu, used.milli_cpu);
        check("memory", asked.memory_bytes, has.memory_bytes, used.memory_bytes);
        check(
            "ephemeral-storage",
            asked.ephemeral_storage_bytes,
            has.ephemeral_storage_bytes,
            used.ephemeral_storage_bytes,
        );
        for (name, amount) in &asked.other {
            let of = |resources: &crate::resources::Resources| resources.other.get(name).copied().unwrap_or(0);
            check(name, *amount, of(has), of(used));
        }
        (!reasons.is_empty()).then_some(Rejection { reasons, unresolvable })
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, pod: &PodInfo, nodes: &Nodes, rows: &[usize], scores: &mut [i64]) {
        for (score, row) in scores.iter_mut().zip(rows) {
            let (has, used) = (&nodes.allocatable[*row], nodes.scoring_requested[*row]);
            let free = |has: i64, asked: i64| if has == 0 || asked > has { 0 } else { (has - asked) * SCORE_MAX / has };
            let cpu = free(has.milli_cpu, used.0 + pod.scoring_requests.0);
            let memory = free(has.memory_bytes, used.1 + pod.scoring_requests.1);
            *score = (cpu + memory) / 2;
        }
    }

    fn is_concerned_by(&self, event: &Event<'_>) -> bool {
        match event {
            Event::Node(_, change) => change.added || change.allocatable,
            Event::PodGone(..) => true,
            Event::PodChanged { before, now, .. } => before.requests != now.requests,
            Event::Own(change) => change.requests,
            Event::NodeGone | Event::PodCame(_) | Event::Storage(_) => false,
        }
    }
}
