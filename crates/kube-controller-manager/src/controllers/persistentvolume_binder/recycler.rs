//! Scrubbing: a pod that mounts the released volume and deletes what is in it. One pod a volume, by its name.

use client::volumes::capacity;
use client::{Key, Object, View};
use k8s_openapi::api::core::v1::{PersistentVolume, Pod, Volume};
use serde_json::json;
use std::sync::Arc;

const PREFIX: &str = "recycler-for-";

/// How volumes of a kind are scrubbed.
#[derive(Clone, Debug)]
pub struct Recycler {
    /// How many seconds scrubbing may take at the least.
    pub timeout_min: i64,
    /// How many more for each Gi.
    pub timeout_increment: i64,
    /// The pod that scrubs. Its first volume becomes the one to scrub.
    pub template: Pod,
}

/// How far scrubbing is.
pub enum Progress {
    /// This pod is to be made.
    ToDo(Box<Pod>),
    /// The pod is at work.
    Running,
    /// The pod failed, and why.
    Failed(Arc<Pod>, String),
    /// The volume is empty.
    Done(Arc<Pod>),
}

impl Recycler {
    /// The pod that scrubs if nothing else was said.
    pub fn default_template() -> Pod {
        let script = "test -e /scrub && find /scrub -mindepth 1 -delete && test -z \"$(ls -A /scrub)\" || exit 1";
        let pod = json!({
            "metadata": {"namespace": "default"},
            "spec": {
                "restartPolicy": "Never",
                "volumes": [{"name": "vol"}],
                "containers": [{
                    "name": "pv-recycler", "image": "busybox", "command": ["/bin/sh"], "args": ["-c", script],
                    "volumeMounts": [{"name": "vol", "mountPath": "/scrub"}],
                    "securityContext": {"runAsUser": 0},
                }],
            },
        });
        serde_json::from_value(pod).unwrap_or_default()
    }

    /// A template from a file, or what is wrong with it.
    pub fn check(template: &Pod) -> Result<(), &'static str> {
        match template.spec.as_ref().is_some_and(|spec| spec.volumes.iter().flatten().next().is_some()) {
            true => Ok(()),
            false => Err("does not contain any volume(s)"),
        }
    }

    /// How far scrubbing this volume is.
    pub fn progress(&self, view: &View, volume: &PersistentVolume) -> Progress {
        let pod = self.pod(volume);
        let Some(there) = view.of::<Pod>().get(&pod.key()).cloned() else { return Progress::ToDo(Box::new(pod)) };
        let status = there.status.clone().unwrap_or_default();
        match status.phase.as_deref() {
            Some("Succeeded") => Progress::Done(there),
            Some("Failed") => {
                let why = status.message.filter(|message| !message.is_empty());
                Progress::Failed(there, why.unwrap_or_else(|| "pod failed, pod.Status.Message unknown.".to_owned()))
            }
            _ => Progress::Running,
        }
    }

    fn pod(&self, volume: &PersistentVolume) -> Pod {
        let mut pod = self.template.clone();
        pod.metadata.name = Some(format!("{PREFIX}{}", volume.meta_ref().name));
        pod.metadata.generate_name = None;
        pod.metadata.namespace.get_or_insert_with(|| "default".to_owned());
        let source = volume.spec.clone().unwrap_or_default();
        let spec = pod.spec.get_or_insert_default();
        let gibibytes = capacity(volume).value() >> 30;
        let timeout = self.timeout_increment.saturating_mul(gibibytes).max(self.timeout_min);
        spec.active_deadline_seconds = Some(timeout);
        if let Some(first) = spec.volumes.as_mut().and_then(|volumes| volumes.first_mut()) {
            let host_path = source.host_path.map(|mut host| {
                // What was checked when the volume was first used need not be there any more.
                host.type_ = None;
                host
            });
            *first = Volume { name: first.name.clone(), host_path, nfs: source.nfs, ..Volume::default() };
        }
        pod
    }
}

/// The volume that a pod scrubs, if it is such a pod.
pub fn volume_of(pod: &Pod) -> Option<Key> {
    pod.meta_ref().name.strip_prefix(PREFIX).map(Key::cluster)
}
