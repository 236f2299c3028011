//! Nodes that are cordoned (`spec.unschedulable`) take only pods that tolerate it.

use k8s_openapi::api::core::v1::Taint;

use super::{Event, Plugin, Rejection};
use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

pub struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn filter(&self, pod: &PodInfo, nodes: &Nodes, row: usize, _cycle: &Cycle) -> Option<Rejection> {
        if !nodes.unschedulable[row] {
            return None;
        }
        let key = "node.kubernetes.io/unschedulable".to_owned();
        let cordon = Taint { key, effect: "NoSchedule".into(), ..Taint::default() };
        (!pod.tolerates(&cordon)).then(|| Rejection::unresolvable("node(s) were unschedulable"))
    }

    fn is_concerned_by(&self, event: &Event<'_>) -> bool {
        match event {
            Event::Node(_, change) => change.added || change.taints,
            Event::Own(change) => change.tolerations,
            _ => false,
        }
    }
}
