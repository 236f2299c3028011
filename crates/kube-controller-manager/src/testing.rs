//! Literals for tests of plans.

use client::{Action, Plan};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// A time, in seconds since the epoch.
pub fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds)
}

/// An object from JSON; namespace "n", a uid ("<name>-uid"), resourceVersion 7 and an epoch creation time are added.
pub fn object<K: DeserializeOwned>(mut value: Value) -> K {
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let meta = &mut value["metadata"];
    for (key, default) in [
        ("namespace", json!("n")),
        ("uid", json!(format!("{name}-uid"))),
        ("resourceVersion", json!("7")),
        ("creationTimestamp", json!("1970-01-01T00:00:00Z")),
    ] {
        if meta[key].is_null() {
            meta[key] = default;
        }
    }
    serde_json::from_value(value).expect("a test's literal")
}

/// A pod from JSON; a container is added.
pub fn pod(mut value: Value) -> Pod {
    if value["spec"]["containers"].is_null() {
        value["spec"]["containers"] = json!([{"name": "c", "image": "i"}]);
    }
    object(value)
}

/// A plan's writes, one line each: "create pods n/", "patch pods n/p", "update deployments/status n/d", ...
pub fn lines(plan: &Plan) -> Vec<String> {
    plan.writes
        .iter()
        .map(|intent| match &intent.action {
            Action::Create { target, body } => {
                let name =
                    body["metadata"]["name"].as_str().or(body["metadata"]["generateName"].as_str()).unwrap_or_default();
                format!("create {} {}/{name}", target.resource.plural, target.namespace)
            }
            Action::Update { target, subresource, .. } => {
                let sub = subresource.map(|sub| format!("/{sub}")).unwrap_or_default();
                format!("update {}{sub} {}/{}", target.resource.plural, target.namespace, target.name)
            }
            Action::Patch { target, subresource, .. } => {
                let sub = subresource.map(|sub| format!("/{sub}")).unwrap_or_default();
                format!("patch {}{sub} {}/{}", target.resource.plural, target.namespace, target.name)
            }
            Action::Apply { target, subresource, .. } => {
                let sub = subresource.map(|sub| format!("/{sub}")).unwrap_or_default();
                format!("apply {}{sub} {}/{}", target.resource.plural, target.namespace, target.name)
            }
            Action::Delete { target, .. } => {
                format!("delete {} {}/{}", target.resource.plural, target.namespace, target.name)
            }
            Action::DeleteCollection { resource, namespace } => {
                format!("deletecollection {} {namespace}", resource.plural)
            }
            Action::Event(note) => format!("event {} {}", note.reason, note.message),
        })
        .collect()
}

/// The body of a plan's n-th write.
pub fn body(plan: &Plan, n: usize) -> Value {
    match &plan.writes[n].action {
        Action::Create { body, .. } | Action::Update { body, .. } => body.clone(),
        Action::Patch { patch, .. } => patch.clone(),
        Action::Apply { body, .. } => body.clone(),
        other => panic!("{other:?} has no body"),
    }
}
