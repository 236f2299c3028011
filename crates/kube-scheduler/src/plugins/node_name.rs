//! A pod that names its node runs on no other.

use super::{Event, Plugin, Rejection};
use crate::cycle::Cycle;
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;

pub struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn filter(&self, pod: &PodInfo, nodes: &Nodes, row: usize, _cycle: &Cycle) -> Option<Rejection> {
        let wanted = pod.node_name.as_ref()?;
        (*wanted != nodes.names[row]).then(|| Rejection::unresolvable("node(s) didn't match the requested node name"))
    }

    fn is_concerned_by(&self, event: &Event<'_>) -> bool {
        matches!(event, Event::Node(_, change) if change.added)
    }
}
