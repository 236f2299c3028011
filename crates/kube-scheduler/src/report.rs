//! What the scheduler tells the API: bindings, conditions, nominations, evictions and events.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, Pod, PodCondition};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use serde_json::{Value, json};

use crate::pod_info::PodInfo;

/// Writes in the name of the scheduler.
#[derive(Clone)]
pub struct Report {
    client: Client,
    recorder: Recorder,
}

impl Report {
    pub fn new(client: Client, scheduler_name: &str) -> Self {
        let reporter = Reporter { controller: scheduler_name.to_owned(), instance: None };
        Self { recorder: Recorder::new(client.clone(), reporter), client }
    }

    /// Binds the pod to the node; the pod must still be the one that was decided for.
    pub async fn bind(&self, pod: &PodInfo, node: &str) -> kube::Result<()> {
        let body = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"namespace": pod.key.namespace, "name": pod.key.name, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node},
        });
        let path = format!("/api/v1/namespaces/{}/pods/{}/binding", pod.key.namespace, pod.key.name);
        let request = http::Request::post(path)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into_bytes())
            .map_err(kube::Error::HttpError)?;
        self.client.request::<Value>(request).await?;
        let note = format!("Successfully assigned {} to {node}", pod.key);
        self.event(pod, EventType::Normal, "Scheduled", "Binding", note, None).await;
        Ok(())
    }

    /// Notes on the pod that it fits nowhere, and why; with a node that was nominated for it, that too.
    pub async fn unschedulable(&self, pod: &PodInfo, message: &str, nominated_node: Option<&str>) {
        let news = condition(&pod.object, "PodScheduled", "False", "Unschedulable", message, Timestamp::now());
        if news.is_some() || nominated_node.is_some() {
            let mut status = json!({});
            if let Some(condition) = news {
                status["conditions"] = json!([condition]);
            }
            if let Some(node) = nominated_node {
                status["nominatedNodeName"] = node.into();
            }
            let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid}, "status": status}));
            if let Err(error) = self.pods(pod).patch_status(&pod.key.name, &PatchParams::default(), &patch).await {
                tracing::debug!(pod = %pod.key, %error, "failed to note that the pod is unschedulable");
            }
        }
        self.failed(pod, message.to_owned()).await;
    }

    /// Tells that a pod could not be scheduled, or not be bound after all.
    pub async fn failed(&self, pod: &PodInfo, message: String) {
        self.event(pod, EventType::Warning, "FailedScheduling", "Scheduling", message, None).await;
    }

    /// Takes a pod away to make room for another.
    pub async fn evict_for(&self, victim: &PodInfo, preemptor: &PodInfo, node: &str) {
        let message = format!("{}: preempting to accommodate a higher priority pod", preemptor.scheduler_name);
        let reason = "PreemptionByScheduler";
        let news = condition(&victim.object, "DisruptionTarget", "True", reason, &message, Timestamp::now());
        let pods = self.pods(victim);
        let patched = match news {
            Some(condition) => {
                let patch = json!({"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}});
                pods.patch_status(&victim.key.name, &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop)
            }
            None => Ok(()),
        };
        let preconditions = Preconditions { uid: Some(victim.uid.clone()), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let deleted = match patched {
            Ok(()) => pods.delete(&victim.key.name, &parameters).await.map(drop),
            Err(error) => Err(error),
        };
        match deleted {
            Ok(()) => {
                let note = format!("Preempted by pod {} on node {node}", preemptor.uid);
                self.event(victim, EventType::Normal, "Preempted", "Preempting", note, Some(reference(preemptor)))
                    .await;
            }
            Err(error) => tracing::warn!(pod = %victim.key, %error, "failed to preempt a pod"),
        }
    }

    async fn event(
        &self,
        pod: &PodInfo,
        type_: EventType,
        reason: &str,
        action: &str,
        note: String,
        secondary: Option<ObjectReference>,
    ) {
        let event = Event { type_, reason: reason.into(), note: Some(note), action: action.into(), secondary };
        if let Err(error) = self.recorder.publish(&event, &reference(pod)).await {
            tracing::debug!(pod = %pod.key, reason, %error, "failed to record an event");
        }
    }

    fn pods(&self, pod: &PodInfo) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &pod.key.namespace)
    }
}

/// A condition that says so of the pod as it is now; none if the pod has it. The time stays as long as the status does.
fn condition(pod: &Pod, kind: &str, status: &str, reason: &str, message: &str, now: Timestamp) -> Option<Value> {
    let generation = pod.metadata.generation;
    let known = pod.status.iter().flat_map(|status| status.conditions.iter().flatten()).find(|c| c.type_ == kind);
    let known = known.filter(|known| known.status == status);
    let says = |text: &Option<String>, wanted: &str| text.as_deref().unwrap_or_default() == wanted;
    let is_said = |known: &PodCondition| {
        says(&known.reason, reason) && says(&known.message, message) && known.observed_generation == generation
    };
    if known.is_some_and(is_said) {
        return None;
    }
    let since = known.and_then(|known| known.last_transition_time.as_ref()).map_or(now, |time| time.0);
    Some(json!({
        "type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": generation,
        "lastProbeTime": null, "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    }))
}

fn reference(pod: &PodInfo) -> ObjectReference {
    ObjectReference {
        api_version: Some(Pod::api_version(&()).into_owned()),
        kind: Some(Pod::kind(&()).into_owned()),
        namespace: Some(pod.key.namespace.clone()),
        name: Some(pod.key.name.clone()),
        uid: Some(pod.uid.clone()),
        resource_version: pod.resource_version.clone(),
        field_path: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(conditions: Value) -> Pod {
        serde_json::from_value(
            json!({"metadata": {"name": "p", "generation": 3}, "status": {"conditions": conditions}}),
        )
        .unwrap()
    }

    fn unschedulable(pod: &Pod, message: &str) -> Option<Value> {
        condition(pod, "PodScheduled", "False", "Unschedulable", message, Timestamp::from_second(60).unwrap())
    }

    #[test]
    fn what_a_pod_says_already_is_not_said_again() {
        let said = |message: &str, generation: i64| {
            pod(json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
                "observedGeneration": generation, "lastTransitionTime": "1970-01-01T00:00:07Z"}]))
        };
        assert_eq!(unschedulable(&said("no nodes", 3), "no nodes"), None);
        for before in [said("no nodes", 2), said("another", 3)] {
            let news = unschedulable(&before, "no nodes").unwrap();
            assert_eq!((&news["observedGeneration"], &news["message"]), (&json!(3), &json!("no nodes")));
            assert_eq!(news["lastTransitionTime"], "1970-01-01T00:00:07Z", "the status is what it was");
        }
        let scheduled =
            pod(json!([{"type": "PodScheduled", "status": "True", "lastTransitionTime": "1970-01-01T00:00:07Z"}]));
        for before in [pod(json!([])), scheduled] {
            assert_eq!(unschedulable(&before, "no nodes").unwrap()["lastTransitionTime"], "1970-01-01T00:01:00Z");
        }
    }
}
