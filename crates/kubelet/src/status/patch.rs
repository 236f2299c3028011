//! The difference between the status that the API has and the one it should have, as a strategic merge patch. Only
//! what the kubelet owns is named, so that conditions of others (readiness gates, disruption) survive.

use k8s_openapi::api::core::v1::PodStatus;
use serde_json::{Map, Value, json};

use crate::resize::report;

/// Fields that the kubelet alone writes, replaced as a whole.
const OWNED: [&str; 16] = [
    "observedGeneration",
    "phase",
    "message",
    "reason",
    "hostIP",
    "podIP",
    "startTime",
    "qosClass",
    "initContainerStatuses",
    "containerStatuses",
    "ephemeralContainerStatuses",
    "hostIPs",
    "podIPs",
    "resize",
    "resources",
    "allocatedResources",
];

/// The patch's `status`, or None if nothing differs.
pub fn difference(old: Option<&PodStatus>, new: &PodStatus) -> Option<Value> {
    let object = |status: Option<&PodStatus>| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (old, new) = (object(old), object(Some(new)));
    let mut out = Map::new();
    for field in OWNED {
        match (old.get(field), new.get(field)) {
            (before, after) if before == after => {}
            (Some(_), None) => {
                out.insert(field.into(), Value::Null);
            }
            (before, Some(after)) => {
                let mut after = after.clone();
                // These two merge by address; a changed address must push the old one out.
                if let (true, Some(_), Some(list)) = (field.ends_with("IPs"), before, after.as_array_mut()) {
                    list.push(json!({"$patch": "replace"}));
                }
                out.insert(field.into(), after);
            }
            (None, None) => {}
        }
    }
    let conditions = |status: &Map<String, Value>| status.get("conditions").and_then(Value::as_array).cloned();
    let before = conditions(&old).unwrap_or_default();
    let after = conditions(&new).unwrap_or_default();
    // Conditions of a resize go when they no longer hold; all others stay and change.
    let holds = |kind: &str, list: &[Value]| list.iter().any(|c| c.get("type").and_then(Value::as_str) == Some(kind));
    let over = report::CONDITIONS.iter().filter(|kind| holds(kind, &before) && !holds(kind, &after));
    let over: Vec<Value> = over.map(|kind| json!({"$patch": "delete", "type": kind})).collect();
    let changed: Vec<Value> = after
        .into_iter()
        .filter(|condition| !before.contains(condition))
        .map(|mut condition| {
            let known = before.iter().find(|c| c.get("type") == condition.get("type"));
            for field in ["reason", "message"] {
                let stale = known.is_some_and(|c| c.get(field).is_some()) && condition.get(field).is_none();
                if let (true, Some(map)) = (stale, condition.as_object_mut()) {
                    map.insert(field.into(), Value::Null);
                }
            }
            condition
        })
        .chain(over)
        .collect();
    if !changed.is_empty() {
        out.insert("conditions".into(), Value::Array(changed));
    }
    (!out.is_empty()).then_some(Value::Object(out))
}
