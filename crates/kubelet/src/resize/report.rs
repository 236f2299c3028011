//! What clients are told about a resize: conditions and events.

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Pod, PodCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Map, Value, json};

use super::Resizing;
use crate::pod::PodExt;

/// Conditions that are there only while they hold.
pub const CONDITIONS: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];

/// The conditions that hold now; `old` has the times of those that held before.
pub fn conditions(resizing: &Resizing, old: &[PodCondition], now: Timestamp) -> Vec<PodCondition> {
    let condition = |kind: &str, reason: Option<String>, message: Option<String>, generation: i64| {
        let known = old.iter().find(|known| known.type_ == kind && known.reason == reason);
        PodCondition {
            type_: kind.into(),
            status: "True".into(),
            last_transition_time: known.and_then(|known| known.last_transition_time.clone()).or(Some(Time(now))),
            reason,
            message,
            last_probe_time: None,
            observed_generation: Some(generation),
        }
    };
    let [pending, in_progress] = CONDITIONS;
    let pending = resizing.pending.as_ref().map(|waiting| {
        let reason = Some(waiting.reason.as_str().to_owned());
        condition(pending, reason, Some(waiting.message.clone()), waiting.generation)
    });
    let progress = resizing.progress.as_ref().map(|progress| {
        let reason = progress.error.as_ref().map(|_| "Error".to_owned());
        condition(in_progress, reason, progress.error.clone(), progress.generation)
    });
    pending.into_iter().chain(progress).collect()
}

/// The message of an event: what the containers of `pod` are to have, with the word on what happened.
pub fn message(what: &str, pod: &Pod, generation: i64, error: Option<&str>) -> String {
    let all = pod.init_containers().iter().chain(pod.main_containers());
    let containers: Vec<Value> = all
        .filter_map(|container| {
            let own = container.resources.as_ref()?;
            let mut resources = Map::new();
            for (name, amounts) in [("limits", &own.limits), ("requests", &own.requests)] {
                let amounts = amounts.iter().flatten().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory"));
                let amounts: Map<String, Value> =
                    amounts.map(|(name, own)| (name.clone(), own.0.clone().into())).collect();
                if !amounts.is_empty() {
                    resources.insert(name.into(), amounts.into());
                }
            }
            (!resources.is_empty()).then(|| json!({"name": container.name, "resources": resources}))
        })
        .collect();
    let mut about = Map::new();
    if !containers.is_empty() {
        about.insert("containers".into(), containers.into());
    }
    about.insert("generation".into(), generation.into());
    if let Some(error) = error {
        about.insert("error".into(), error.into());
    }
    format!("Pod resize {what}: {}", Value::Object(about))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_say_what_is_wanted() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [{"name": "b"}, {"name": "a", "resources":
            {"requests": {"memory": "1Gi", "cpu": "1"}, "limits": {"cpu": "2", "x/y": "1"}}}]}}))
        .unwrap();
        assert_eq!(
            message("started", &pod, 2, None),
            r#"Pod resize started: {"containers":[{"name":"a","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"1","memory":"1Gi"}}}],"generation":2}"#
        );
        assert!(message("Deferred", &pod, 3, Some("no room")).ends_with(r#","generation":3,"error":"no room"}"#));
    }
}
