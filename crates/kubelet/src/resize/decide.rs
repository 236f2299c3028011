//! Whether the node can give a pod what it now wants: a pure function. What never fits this node is infeasible, what does
//! not fit beside the other pods is deferred until some of them shrink or end.

use std::{cmp::Reverse, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};

use crate::{
    admission,
    pod::{PodExt, qos},
};

/// Why a resize waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// There is no room now.
    Deferred,
    /// There never will be.
    Infeasible,
}

impl Reason {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deferred => "Deferred",
            Self::Infeasible => "Infeasible",
        }
    }
}

/// Why `pod` cannot have on `node`, beside `others`, what its spec asks for; None if it can.
pub fn refuse(pod: &Pod, others: &[Arc<Pod>], node: &Node) -> Option<(Reason, String)> {
    for name in ["cpu", "memory"] {
        let (wanted, capacity) = (qos::pod_request(pod, name), admission::allocatable(node, name));
        if wanted > capacity {
            let unit = |milli| admission::unit(name, milli);
            let (wanted, capacity) = (unit(wanted), unit(capacity));
            let message =
                format!("Node didn't have enough capacity: {name}, requested: {wanted}, capacity: {capacity}");
            return Some((Reason::Infeasible, message));
        }
    }
    let names = ["cpu".to_owned(), "memory".to_owned()];
    admission::lacking(pod, others, node, &names).map(|(_, message)| (Reason::Deferred, message))
}

/// Who comes first when room appears, least first: higher priority, then guaranteed pods, then who has waited longest.
pub fn rank(pod: &Pod, since: Timestamp) -> (Reverse<i32>, bool, Timestamp) {
    let guaranteed = qos::class(pod) == qos::QosClass::Guaranteed;
    (Reverse(pod.pod_spec().priority.unwrap_or(0)), !guaranteed, since)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(cpu: &str, priority: i32) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": {"priority": priority,
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]}}))
        .unwrap()
    }

    #[test]
    fn what_fits_never_is_told_from_what_does_not_fit_now() {
        let node: Node =
            serde_json::from_value(json!({"status": {"allocatable": {"cpu": "2", "memory": "4Gi", "pods": "10"}}}))
                .unwrap();
        let other = [Arc::new(pod("500m", 0))];
        assert_eq!(refuse(&pod("1500m", 0), &other, &node), None);
        assert_eq!(
            refuse(&pod("1600m", 0), &other, &node),
            Some((
                Reason::Deferred,
                "Node didn't have enough resource: cpu, requested: 1600, used: 500, capacity: 2000".into()
            ))
        );
        assert_eq!(
            refuse(&pod("3", 0), &other, &node),
            Some((Reason::Infeasible, "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000".into()))
        );
    }

    #[test]
    fn the_more_important_and_then_the_more_patient_come_first() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut waiting = [(pod("1", 0), at(5)), (pod("2", 0), at(3)), (pod("3", 7), at(9))];
        waiting.sort_by_key(|(pod, since)| rank(pod, *since));
        let order: Vec<i128> = waiting.iter().map(|(pod, _)| qos::pod_request(pod, "cpu") / 1000).collect();
        assert_eq!(order, [3, 2, 1]);
    }
}
