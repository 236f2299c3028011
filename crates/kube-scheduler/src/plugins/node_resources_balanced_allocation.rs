//! Nodes on which CPU and memory would be used to the same share are liked better: neither is left over alone.

use super::{Event, Plugin, SCORE_MAX};
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

pub struct NodeResourcesBalancedAllocation;

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, pod: &PodInfo, nodes: &Nodes, rows: &[usize], scores: &mut [i64]) {
        for (score, row) in scores.iter_mut().zip(rows) {
            let (has, used) = (&nodes.allocatable[*row], nodes.scoring_requested[*row]);
            let share = |has: i64, asked: i64| if has == 0 { 1.0 } else { (asked as f64 / has as f64).min(1.0) };
            let cpu = share(has.milli_cpu, used.0 + pod.scoring_requests.0);
            let memory = share(has.memory_bytes, used.1 + pod.scoring_requests.1);
            // The standard deviation of two shares is half their difference.
            *score = ((1.0 - (cpu - memory).abs() / 2.0) * SCORE_MAX as f64) as i64;
        }
    }

    fn is_concerned_by(&self, _event: &Event<'_>) -> bool {
        false
    }
}
