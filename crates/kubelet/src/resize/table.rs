//! How far the resize of one pod has come. Its worker and whoever allocates share it.

use std::path::PathBuf;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};

use super::{
    Allocation,
    checkpoint::{self, Checkpoint},
    decide::Reason,
};
use crate::cgroups::Limits;

/// A resize that waits for room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// For now, or for ever.
    pub reason: Reason,
    /// What is missing.
    pub message: String,
    /// The generation that wants it.
    pub generation: i64,
    /// Since when.
    pub since: Timestamp,
}

/// A resize that has been promised and not yet given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The generation that wanted it.
    pub generation: i64,
    /// Why it does not get on.
    pub error: Option<String>,
}

/// The state of a pod's resources.
#[derive(Debug, Clone)]
pub struct Resizing {
    /// What the node has promised.
    pub allocated: Allocation,
    /// What containers have been given.
    pub actuated: Allocation,
    /// What the pod's own cgroup has been given.
    pub limits: Option<Limits>,
    /// A wish that waits.
    pub pending: Option<Pending>,
    /// A promise that is being kept.
    pub progress: Option<Progress>,
    is_saved: bool,
    pod_dir: PathBuf,
}

impl Resizing {
    /// As remembered from before; a pod that is new here has what it asks for.
    pub fn begin(pod: &Pod, pod_dir: PathBuf) -> Self {
        let known = checkpoint::load(&pod_dir);
        let is_saved = known.is_some();
        let known = known.unwrap_or_else(|| Checkpoint {
            allocated: Allocation::of(pod),
            actuated: Allocation::of(pod),
            limits: None,
            generation: pod.metadata.generation,
        });
        let generation = known.generation.or(pod.metadata.generation).unwrap_or(0);
        let progress = (known.allocated != known.actuated).then_some(Progress { generation, error: None });
        Self {
            allocated: known.allocated,
            actuated: known.actuated,
            limits: known.limits,
            pending: None,
            progress,
            is_saved,
            pod_dir,
        }
    }

    /// Promises what the pod's spec asks for.
    pub fn allocate(&mut self, pod: &Pod) {
        self.allocated = Allocation::of(pod);
        self.pending = None;
        self.progress = Some(Progress { generation: pod.metadata.generation.unwrap_or(0), error: None });
        self.save();
    }

    /// Notes what a container has now.
    pub fn actuate(&mut self, name: &str, resources: ResourceRequirements) {
        if !self.is_saved || self.actuated.containers.get(name) != Some(&resources) {
            self.actuated.containers.insert(name.to_owned(), resources);
            self.save();
        }
    }

    /// Notes what the pod's cgroup has now.
    pub fn limited(&mut self, limits: Limits) {
        if !self.is_saved || self.limits != Some(limits) {
            self.limits = Some(limits);
            self.save();
        }
    }

    /// Everything that was promised has been given.
    pub fn complete(&mut self) -> Option<Progress> {
        self.actuated.pod.clone_from(&self.allocated.pod);
        let done = self.progress.take()?;
        self.save();
        Some(done)
    }

    /// A promise that cannot be remembered is kept all the same; a restarted kubelet then decides once more.
    fn save(&mut self) {
        let generation = self.progress.as_ref().map(|progress| progress.generation);
        let checkpoint = Checkpoint {
            allocated: self.allocated.clone(),
            actuated: self.actuated.clone(),
            limits: self.limits,
            generation,
        };
        match checkpoint::save(&self.pod_dir, &checkpoint) {
            Ok(()) => self.is_saved = true,
            Err(error) => {
                tracing::warn!(dir = %self.pod_dir.display(), %error, "failed to remember a pod's resources");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(cpu: &str, generation: i64) -> Pod {
        serde_json::from_value(serde_json::json!({"metadata": {"generation": generation},
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}}))
        .unwrap()
    }

    #[test]
    fn a_restarted_kubelet_goes_on_where_the_last_one_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        let mut first = Resizing::begin(&pod("1", 1), path.clone());
        assert!(first.progress.is_none());
        first.allocate(&pod("2", 2));
        let mut second = Resizing::begin(&pod("3", 3), path.clone());
        assert_eq!(second.progress, Some(Progress { generation: 2, error: None }));
        assert!(second.allocated.fits(&pod("2", 2)) && second.actuated.fits(&pod("1", 1)));
        let now = second.allocated.containers["c"].clone();
        second.actuate("c", now);
        assert_eq!(second.complete().map(|done| done.generation), Some(2));
        assert!(Resizing::begin(&pod("3", 3), path).progress.is_none());
    }
}
