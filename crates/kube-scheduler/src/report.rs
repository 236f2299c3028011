//! What the scheduler tells the API: bindings, conditions, nominations, evictions and events.

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
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
        if pod.unschedulable_message.as_deref() != Some(message) || nominated_node.is_some() {
            let mut status = json!({"conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
                "lastProbeTime": null, "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            }]});
            if let Some(node) = nominated_node {
                status["nominatedNodeName"] = node.into();
            }
            let patch = Patch::Strategic(json!({"metadata": {"uid": pod.uid}, "status": status}));
            if let Err(error) = self.pods(pod).patch_status(&pod.key.name, &PatchParams::default(), &patch).await {
                tracing::debug!(pod = %pod.key, %error, "failed to note that the pod is unschedulable");
            }
        }
        self.event(pod, EventType::Warning, "FailedScheduling", "Scheduling", message.to_owned(), None).await;
    }

    /// Takes a pod away to make room for another.
    pub async fn evict_for(&self, victim: &PodInfo, preemptor: &PodInfo, node: &str) {
        let condition = json!({"status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": "default-scheduler: preempting to accommodate a higher priority pod",
            "lastTransitionTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }]}});
        let pods = self.pods(victim);
        let patched = pods.patch_status(&victim.key.name, &PatchParams::default(), &Patch::Strategic(condition)).await;
        let preconditions = Preconditions { uid: Some(victim.uid.clone()), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let deleted = match patched {
            Ok(_) => pods.delete(&victim.key.name, &parameters).await.map(drop),
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
