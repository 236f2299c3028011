//! Stopping: single containers, the whole pod in its grace period, and what is left of it afterwards.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use super::Worker;
use crate::{
    actions::Actions,
    cri::Cri,
    events::{Level, Recorder},
    lifecycle,
    pod::{ContainerKind, PodExt, is_sidecar},
    runtime_state::{ContainerInfo, PodRuntime},
    volumes::blocking,
};

/// A container gets at least this long after SIGTERM.
const GRACE_MIN: Duration = Duration::from_secs(2);

/// What stopping needs, apart from the worker, so that it can be begun again with less time.
#[derive(Clone)]
struct Stopper {
    cri: Cri,
    events: Recorder,
    pod: Arc<Pod>,
    host: String,
    hooks_run: Arc<Mutex<HashSet<String>>>,
}

impl Stopper {
    /// preStop, then the stop signal, then the kill: all within `grace`.
    async fn container(&self, info: &ContainerInfo, grace: Duration) {
        let begun = Instant::now();
        if let Some((kind, container)) = self.pod.find_container(&info.name) {
            let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
            if let Some(hook) = hook
                && self.hooks_run.lock().insert(info.id.clone())
            {
                let run = lifecycle::run(&self.cri, &container, &info.id, &self.host, hook);
                let about = Some((kind, info.name.as_str()));
                if let Ok(Err(error)) = tokio::time::timeout(grace, run).await {
                    tracing::debug!(container = %info.name, error, "preStop hook failed");
                    self.events.pod(&self.pod, about, Level::Warning, "FailedPreStopHook", "PreStopHook failed");
                }
            }
        }
        let left = grace.saturating_sub(begun.elapsed()).max(GRACE_MIN);
        if let Err(error) = self.cri.stop_container(&info.id, left).await {
            tracing::warn!(container = %info.name, %error, "failed to stop a container");
        }
    }

    /// Main containers at once, then sidecars, the last started first, then the sandboxes.
    async fn pod(&self, runtime: &PodRuntime, grace: Duration) {
        let begun = Instant::now();
        let sidecar =
            |info: &ContainerInfo| self.pod.init_containers().iter().any(|c| c.name == info.name && is_sidecar(c));
        let (sidecars, others): (Vec<_>, Vec<_>) = runtime.running().partition(|info| sidecar(info));
        join_all(others.into_iter().map(|info| self.container(info, grace))).await;
        for definition in self.pod.init_containers().iter().rev() {
            let left = grace.saturating_sub(begun.elapsed());
            let now = sidecars.iter().filter(|info| info.name == definition.name);
            join_all(now.map(|info| self.container(info, left))).await;
        }
        join_all(runtime.sandboxes.iter().filter(|s| s.ready).map(|sandbox| async {
            if let Err(error) = self.cri.stop_sandbox(&sandbox.id).await {
                tracing::warn!(pod = %self.pod.full_name(), %error, "failed to stop a sandbox");
                self.events.pod(
                    &self.pod,
                    None,
                    Level::Warning,
                    "FailedKillPod",
                    format!("error killing pod: {error}"),
                );
            }
        }))
        .await;
    }
}

impl Worker {
    fn stopper(&self, pod: &Arc<Pod>, runtime: &PodRuntime) -> Stopper {
        let own = runtime.ready_sandbox().and_then(|sandbox| sandbox.ips.first().cloned());
        Stopper {
            cri: self.kubelet.cri.clone(),
            events: self.kubelet.events.clone(),
            pod: pod.clone(),
            host: own.or_else(|| self.kubelet.host_ips().into_iter().next()).unwrap_or_default(),
            hooks_run: self.hooks_run.clone(),
        }
    }

    pub(super) async fn stop_all(&self, pod: &Arc<Pod>, runtime: &PodRuntime, grace_seconds: i64) {
        let grace = Duration::from_secs(u64::try_from(grace_seconds).unwrap_or(0));
        self.stopper(pod, runtime).pod(runtime, grace).await;
    }

    pub(super) async fn kill_containers(&mut self, pod: &Arc<Pod>, runtime: &PodRuntime, actions: &Actions) {
        self.replaced.extend(actions.kill.iter().filter(|kill| kill.is_replaced).map(|kill| kill.id.clone()));
        let stopper = self.stopper(pod, runtime);
        join_all(actions.kill.iter().map(|kill| async {
            let Some(info) = runtime.containers.iter().find(|info| info.id == kill.id) else { return };
            let found = pod.find_container(&kill.name);
            let kind = found.as_ref().map_or(ContainerKind::Main, |(kind, _)| *kind);
            let about = Some((kind, kill.name.as_str()));
            stopper.events.pod(pod, about, Level::Normal, "Killing", kill.message.clone());
            // A probe may say how long its victims get.
            let probe = found.and_then(|(_, c)| match kill.message.contains("startup probe") {
                true => c.startup_probe,
                false => c.liveness_probe.filter(|_| kill.message.contains("liveness probe")),
            });
            let seconds = probe.and_then(|p| p.termination_grace_period_seconds).unwrap_or(pod.grace_period_seconds());
            stopper.container(info, Duration::from_secs(u64::try_from(seconds).unwrap_or(30))).await;
        }))
        .await;
    }

    /// Ends the pod: everything stopped, the last status told, volumes and cgroups taken down.
    pub(super) async fn end(&mut self) {
        let already = matches!(self.pod().phase(), "Succeeded" | "Failed");
        self.prober.stop_restarting();
        let mut told = false;
        let runtime = loop {
            let runtime = match self.observe().await {
                Ok(runtime) => runtime,
                Err(error) => {
                    tracing::debug!(%error, "the runtime does not say what it has");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    continue;
                }
            };
            let pod = self.pod();
            if runtime.running().next().is_none() && !runtime.sandboxes.iter().any(|s| s.ready) {
                break runtime;
            }
            if !std::mem::replace(&mut told, true) {
                for info in runtime.running() {
                    let kind = pod.find_container(&info.name).map_or(ContainerKind::Main, |(kind, _)| kind);
                    let message = format!("Stopping container {}", info.name);
                    self.kubelet.events.pod(&pod, Some((kind, &info.name)), Level::Normal, "Killing", message);
                }
            }
            let grace = self.grace();
            let stopper = self.stopper(&pod, &runtime);
            let mut updates = self.updates.clone();
            updates.mark_unchanged();
            tokio::select! {
                () = stopper.pod(&runtime, Duration::from_secs(u64::try_from(grace).unwrap_or(0))) => {}
                () = shortened(&mut updates, grace) => {}
            }
        };
        self.prober.retain(&[]);
        if !already || self.verdict.is_some() {
            self.publish(&runtime, true);
        }
        let pod = self.pod();
        self.kubelet.images.forget_pod(pod.uid());
        self.clean_node(pod.uid()).await;
        self.volumes = None;
        // Only when nothing is left may the object go: what it names must not outlive it.
        if pod.deleting() {
            self.writer.delete();
        }
    }

    fn grace(&self) -> i64 {
        grace_of(&self.updates.borrow())
    }

    async fn clean_node(&self, uid: &str) {
        let mut pause = Duration::from_millis(20);
        loop {
            let volumes = self.kubelet.volumes.tear_down(uid).await;
            let (cgroups, owned) = (self.kubelet.cgroups.clone(), uid.to_owned());
            let clean = blocking(move || Ok(cgroups.remove_pod(&owned))).await.unwrap_or(false);
            match (volumes, clean) {
                (Ok(()), true) => return,
                (Err(error), _) => tracing::warn!(uid, error, "failed to take a pod's volumes down"),
                (Ok(()), false) => tracing::debug!(uid, "a pod's cgroup is still in use"),
            }
            if pause > Duration::from_secs(5) {
                // Housekeeping tries again from time to time.
                return;
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// Once the object is gone: sandboxes, containers, logs, and this worker's place.
    pub(super) async fn remove_everything(&mut self) {
        let pod = self.pod();
        let mut pause = Duration::from_millis(100);
        while let Err(error) = self.kubelet.remove_from_runtime(pod.uid(), GRACE_MIN).await {
            tracing::warn!(pod = %pod.full_name(), %error, "failed to remove a pod from the runtime");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(30));
        }
        self.clean_node(pod.uid()).await;
        self.kubelet.remove_logs(&pod).await;
        self.kubelet.forget(pod.uid());
    }

    /// Of ended containers one per name is kept, for its log and its last state.
    pub(super) async fn remove_old(&self, pod: &Arc<Pod>, runtime: &PodRuntime) {
        let mut kept: HashSet<&str> = HashSet::new();
        let newest: HashSet<&str> = runtime
            .containers
            .iter()
            .filter(|c| runtime.latest(&c.name).is_some_and(|l| l.id == c.id))
            .map(|c| c.id.as_str())
            .collect();
        for info in runtime.containers.iter().filter(|info| info.exited() && !newest.contains(info.id.as_str())) {
            if kept.insert(&info.name) {
                continue;
            }
            if self.kubelet.cri.remove_container(&info.id).await.is_ok() {
                let _ = std::fs::remove_file(&info.log_path);
                self.kubelet.unlink_log(pod, &info.name, &info.id);
            }
        }
        for sandbox in runtime.sandboxes.iter().skip(1).filter(|sandbox| !sandbox.ready) {
            if !runtime.containers.iter().any(|info| info.sandbox_id == sandbox.id) {
                let _ = self.kubelet.cri.remove_sandbox(&sandbox.id).await;
            }
        }
    }
}

fn grace_of(update: &super::Update) -> i64 {
    let own = if update.gone { 1 } else { update.pod.grace_period_seconds() };
    update.eviction.as_ref().map_or(own, |eviction| eviction.grace_seconds.min(own))
}

/// Resolves when the pod gets less time than `grace`.
async fn shortened(updates: &mut tokio::sync::watch::Receiver<super::Update>, grace: i64) {
    loop {
        if grace_of(&updates.borrow_and_update()) < grace {
            return;
        }
        if updates.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}
