//! Acting on a resize: the pod's cgroup is widened, containers are changed within it, then it is narrowed.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::Worker;
use crate::{
    actions::Actions,
    cgroups::Limits,
    events::Level,
    pod::{ContainerKind, PodExt, qos},
    resize::{Amounts, report},
    runtime_state::{ContainerInfo, PodRuntime},
    volumes::blocking,
};

impl Worker {
    /// Asks the node for what the spec newly wants.
    pub(super) fn consider_resize(&self) {
        let pod = self.updates.borrow().pod.clone();
        self.kubelet.allocate(&pod, &self.resizing);
    }

    /// Gives the pod's cgroup its limits, or room for old and new sizes of its containers while they change.
    pub(super) async fn widen(&self, pod: &Arc<Pod>) -> Result<(), String> {
        let wanted = Limits::of(pod);
        let known = self.resizing.lock().limits;
        self.limit(pod, known.map_or(wanted, |known| known.or_wider(wanted))).await
    }

    async fn limit(&self, pod: &Arc<Pod>, limits: Limits) -> Result<(), String> {
        if self.resizing.lock().limits == Some(limits) {
            return Ok(());
        }
        let (cgroups, pod) = (self.kubelet.cgroups.clone(), pod.clone());
        blocking(move || cgroups.limit_pod(&pod, &limits).map_err(|error| error.to_string())).await?;
        self.resizing.lock().limited(limits);
        Ok(())
    }

    /// Gives running containers their new resources; returns when to try again those that could not be changed.
    pub(super) async fn resize_containers(
        &mut self,
        pod: &Arc<Pod>,
        runtime: &PodRuntime,
        actions: &Actions,
    ) -> Option<Timestamp> {
        let mut errors = Vec::new();
        for name in &actions.resize {
            let Some((kind, container)) = pod.find_container(name) else { continue };
            let Some(info) = runtime.latest(name).filter(|info| info.running()) else { continue };
            match self.resize_container(pod, &container, info).await {
                Ok(()) => self.resizing.lock().actuate(name, container.resources.clone().unwrap_or_default()),
                Err(error) => {
                    tracing::warn!(pod = %pod.full_name(), container = %name, ?kind, error, "failed to resize");
                    errors.push(error);
                }
            }
        }
        self.resize_failed(pod, errors)
    }

    async fn resize_container(&self, pod: &Pod, container: &Container, info: &ContainerInfo) -> Result<(), String> {
        let kubelet = &self.kubelet;
        let had = self.resizing.lock().actuated.amounts(container);
        let limit = Amounts::of(container.resources.as_ref()).memory_limit / 1000;
        if limit > 0 && (had.memory_limit == 0 || limit < had.memory_limit / 1000) {
            let usage = kubelet.cri.memory_bytes(&info.id).await.map_err(|error| error.to_string())?;
            if i128::from(usage) >= limit {
                let name = &container.name;
                return Err(format!(
                    "attempting to set container {name:?} memory limit ({limit}) below current usage ({usage})"
                ));
            }
        }
        let mut resources = qos::container_resources(pod, container, kubelet.machine.memory_bytes, false);
        if resources.cpu_quota == 0 {
            resources.cpu_quota = -1;
        }
        kubelet.cri.update_container(&info.id, resources).await.map_err(|error| error.to_string())
    }

    /// When all that runs has what it was promised, the pod's cgroup gets its last limits and the resize is done.
    pub(super) async fn settle(&mut self, pod: &Arc<Pod>, runtime: &PodRuntime) -> Option<Timestamp> {
        let wanted = Limits::of(pod);
        {
            let resizing = self.resizing.lock();
            let all = pod.main_containers().iter().chain(pod.init_containers());
            let running = |container: &&Container| runtime.latest(&container.name).is_some_and(ContainerInfo::running);
            let has = |container: &Container| {
                resizing.actuated.amounts(container) == Amounts::of(container.resources.as_ref())
            };
            let nothing_to_do = resizing.progress.is_none() && resizing.limits.is_none_or(|limits| limits == wanted);
            if nothing_to_do || !all.filter(running).all(has) {
                return None;
            }
        }
        if let Err(error) = self.limit(pod, wanted).await {
            return self.resize_failed(pod, vec![error]);
        }
        let done = self.resizing.lock().complete()?;
        let text = report::message("completed", pod, done.generation, None);
        self.kubelet.events.pod(pod, None, Level::Normal, "ResizeCompleted", text);
        self.kubelet.reconsider_resizes();
        None
    }

    /// Says why a resize does not get on; returns when it is tried again.
    pub(super) fn resize_failed(&mut self, pod: &Pod, mut errors: Vec<String>) -> Option<Timestamp> {
        let error = match errors.len() {
            0 => None,
            1 => errors.pop(),
            _ => Some(format!("[{}]", errors.join(", "))),
        };
        let is_new = {
            let mut resizing = self.resizing.lock();
            let progress = resizing.progress.as_mut()?;
            let is_new = progress.error != error;
            progress.error.clone_from(&error);
            is_new.then_some(progress.generation)
        };
        let error = error?;
        if let Some(generation) = is_new {
            let text = report::message("error", pod, generation, Some(&error));
            self.kubelet.events.pod(pod, None, Level::Warning, "ResizeError", text);
        }
        Some(self.retry_at())
    }

    /// A container that was started has what the pod was promised.
    pub(super) fn has_started_with(&self, kind: ContainerKind, container: &Container) {
        if kind != ContainerKind::Ephemeral {
            let resources = container.resources.clone().unwrap_or_default();
            self.resizing.lock().actuate(&container.name, resources);
        }
    }
}
