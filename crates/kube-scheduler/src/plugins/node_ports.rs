//! A port of the node is given to one pod only.

use super::{Event, Plugin, Rejection};
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

pub struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn filter(&self, pod: &PodInfo, nodes: &Nodes, row: usize) -> Option<Rejection> {
        let taken = pod.host_ports.iter().any(|port| nodes.host_ports[row].iter().any(|other| port.conflicts(other)));
        taken.then(|| Rejection::new("node(s) didn't have free ports for the requested pod ports"))
    }

    fn may_help(&self, event: Event) -> bool {
        matches!(event, Event::PodGone) || matches!(event, Event::Node(change) if change.added)
    }
}
