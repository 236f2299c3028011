//! A port of the node is given to one pod only.

use super::{Event, Plugin, Rejection};
use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

pub struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn filter(&self, pod: &PodInfo, nodes: &Nodes, row: usize, _cycle: &Cycle) -> Option<Rejection> {
        let taken = pod.host_ports.iter().any(|port| nodes.host_ports[row].iter().any(|other| port.conflicts(other)));
        taken.then(|| Rejection::new("node(s) didn't have free ports for the requested pod ports"))
    }

    fn is_concerned_by(&self, event: &Event<'_>) -> bool {
        matches!(event, Event::PodGone(..)) || matches!(event, Event::Node(_, change) if change.added)
    }

    fn may_help(&self, event: &Event<'_>, pod: &PodInfo, _nodes: &Nodes) -> bool {
        match event {
            Event::PodGone(_, gone) => {
                pod.host_ports.iter().any(|port| gone.host_ports.iter().any(|other| port.conflicts(other)))
            }
            _ => true,
        }
    }
}
