//! Conditions of a node that is silent.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

fn find<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// Whether the node has a condition of this type.
pub fn has(node: &Node, kind: &str) -> bool {
    find(node, kind).is_some()
}

/// The status of a condition, empty if there is none.
pub fn status<'a>(node: &'a Node, kind: &str) -> &'a str {
    find(node, kind).map(|condition| condition.status.as_str()).unwrap_or_default()
}

/// "True", "False", "Unknown", or empty before the first report.
pub fn ready(node: &Node) -> &str {
    status(node, "Ready")
}

/// When the node became ready or stopped being it.
pub fn ready_since(node: &Node) -> Option<Timestamp> {
    find(node, "Ready")?.last_transition_time.as_ref().map(|time| time.0)
}

/// Says of everything the kubelet reports that it is unknown.
pub fn make_unknown(node: &mut Node, now: Timestamp) {
    let created = node.metadata.creation_timestamp.clone();
    let conditions = node.status.get_or_insert_default().conditions.get_or_insert_default();
    for kind in REPORTED {
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            Some(known) if known.status == "Unknown" => {}
            Some(known) => {
                known.status = "Unknown".to_owned();
                known.reason = Some("NodeStatusUnknown".to_owned());
                known.message = Some("Kubelet stopped posting node status.".to_owned());
                known.last_transition_time = Some(Time(now));
            }
            None => conditions.push(NodeCondition {
                type_: kind.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: created.clone(),
                last_transition_time: Some(Time(now)),
            }),
        }
    }
}
