//! Writes one pod's status, the newest at any time; older ones that were not written yet are skipped. When the pod has
//! ended and is to go, its object is deleted at last, but only if it is still the same pod.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use tokio::{sync::watch, task::JoinHandle};

use super::patch;
use crate::{objects::message, pod::PodExt};

#[derive(Debug, Clone, Default)]
struct Desired {
    status: Option<PodStatus>,
    delete: bool,
}

/// The writing end of one pod's status.
pub struct StatusWriter {
    desired: watch::Sender<Desired>,
    task: JoinHandle<()>,
}

impl StatusWriter {
    /// Begins with what the API has.
    pub fn start(client: kube::Client, pod: &Pod) -> Self {
        let (desired, receiver) = watch::channel(Desired::default());
        let api = Api::namespaced(client, pod.namespace());
        let target = Target { api, name: pod.name().into(), uid: pod.uid().into(), written: pod.status.clone() };
        Self { desired, task: tokio::spawn(target.run(receiver)) }
    }

    /// This is the status now.
    pub fn set(&self, status: PodStatus) {
        self.desired.send_modify(|desired| desired.status = Some(status));
    }

    /// Once the status is written, delete the object.
    pub fn delete(&self) {
        self.desired.send_if_modified(|desired| !std::mem::replace(&mut desired.delete, true));
    }
}

impl Drop for StatusWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Target {
    api: Api<Pod>,
    name: String,
    uid: String,
    written: Option<PodStatus>,
}

impl Target {
    async fn run(mut self, mut desired: watch::Receiver<Desired>) {
        let mut pause = Duration::from_millis(500);
        while desired.changed().await.is_ok() {
            loop {
                let wanted = desired.borrow_and_update().clone();
                match self.write(&wanted).await {
                    Ok(()) => break,
                    Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => return,
                    Err(error) => {
                        tracing::warn!(pod = %self.name, error = %message(&error), "failed to write a pod's status");
                        tokio::select! {
                            () = tokio::time::sleep(pause) => {}
                            changed = desired.changed() => if changed.is_err() { return },
                        }
                        pause = (pause * 2).min(Duration::from_secs(10));
                    }
                }
            }
            pause = Duration::from_millis(500);
        }
    }

    async fn write(&mut self, desired: &Desired) -> Result<(), kube::Error> {
        if let Some(status) = &desired.status
            && let Some(difference) = patch::difference(self.written.as_ref(), status)
        {
            let body = serde_json::json!({"metadata": {"uid": self.uid}, "status": difference});
            let answer = self.api.patch_status(&self.name, &PatchParams::default(), &Patch::Strategic(body)).await?;
            self.written = answer.status.or_else(|| Some(status.clone()));
        }
        if desired.delete {
            let preconditions = Preconditions { uid: Some(self.uid.clone()), resource_version: None };
            let parameters = DeleteParams {
                grace_period_seconds: Some(0),
                preconditions: Some(preconditions),
                ..Default::default()
            };
            self.api.delete(&self.name, &parameters).await?;
        }
        Ok(())
    }
}
