//! Acting: from what is to what should be, as far as it goes now.

use std::{sync::Arc, time::Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{MountPause, Step, Worker};
use crate::{
    actions::{self, Actions},
    cri::v1,
    events::Level,
    images::go_duration,
    pod::{ContainerKind, PodExt, sandbox_config},
    prober,
    runtime_state::PodRuntime,
    status::generate::Verdict,
    volumes::blocking,
};

impl Worker {
    pub(super) async fn sync(&mut self) -> Step {
        let runtime = match self.observe().await {
            Ok(runtime) => runtime,
            Err(error) => {
                tracing::debug!(%error, "the runtime does not say what it has");
                return Step::Wait(Timestamp::now() + SignedDuration::from_secs(1));
            }
        };
        self.consider_resize();
        let pod = self.pod();
        let deadline = self.deadline(&pod);
        if deadline.is_some_and(|deadline| deadline <= Timestamp::now()) {
            let message = "Pod was active on the node longer than the specified deadline".to_owned();
            self.kubelet.events.pod(&pod, None, Level::Normal, "DeadlineExceeded", message.clone());
            self.verdict = Some(Verdict::new("DeadlineExceeded", message));
            return Step::End;
        }
        self.watch_probes(&pod, &runtime);
        let actions = self.decide(&pod, &runtime);
        if actions.terminal.is_some() {
            return Step::End;
        }
        self.note_waiting(&pod, &actions);
        let unsettled = match actions.is_idle() {
            true => self.settle(&pod, &runtime).await,
            false => None,
        };
        self.publish(&runtime, false);
        let mut next = Timestamp::now()
            + SignedDuration::try_from(self.kubelet.config.sync_frequency).unwrap_or(SignedDuration::from_secs(60));
        for until in actions.waiting.iter().map(|waiting| waiting.until).chain(deadline).chain(unsettled) {
            next = next.min(until);
        }
        if actions.is_idle() {
            self.failures = 0;
            self.refresh_volumes(&pod).await;
            return Step::Wait(next);
        }
        let mut retry = self.act(&pod, runtime, &actions).await;
        match self.observe().await {
            Ok(runtime) => {
                self.watch_probes(&pod, &runtime);
                let unsettled = self.settle(&pod, &runtime).await;
                retry = earlier(retry, unsettled);
                self.publish(&runtime, false);
                self.remove_old(&pod, &runtime).await;
                // What was started may have made more possible: the next init container, the main ones.
                let again = self.decide(&pod, &runtime);
                let more = again.terminal.is_some() || !again.is_idle() && retry.is_none();
                if more {
                    // The very same again means that it had no effect: not at once, then.
                    let pause = SignedDuration::from_secs(i64::from(again == actions));
                    return Step::Wait(Timestamp::now() + pause);
                }
                for waiting in &again.waiting {
                    next = next.min(waiting.until);
                }
            }
            Err(_) => next = Timestamp::now() + SignedDuration::from_secs(1),
        }
        Step::Wait(retry.map_or(next, |retry| next.min(retry)))
    }

    fn decide(&self, pod: &Pod, runtime: &PodRuntime) -> Actions {
        let probes = self.probes.lock().clone();
        let now = Timestamp::now();
        let resizing = self.resizing.lock();
        let (backoff, actuated) = (&self.backoff, &resizing.actuated);
        actions::compute_pod_actions(actions::View { pod, runtime, probes: &probes, backoff, actuated, now })
    }

    fn deadline(&self, pod: &Pod) -> Option<Timestamp> {
        let seconds = pod.pod_spec().active_deadline_seconds?;
        let started = self.status.as_ref().or(pod.status.as_ref()).and_then(|status| status.start_time.clone());
        Some(started.map_or(self.first_seen, |time| time.0) + SignedDuration::from_secs(seconds))
    }

    /// Crash loops: said in the status and in an event.
    fn note_waiting(&mut self, pod: &Pod, actions: &Actions) {
        for waiting in &actions.waiting {
            let delay = go_duration(SignedDuration::try_from(waiting.delay).unwrap_or(SignedDuration::MAX));
            let name = &waiting.name;
            let message = format!("back-off {delay} restarting failed container={name} pod={}", pod.full_name());
            let reason = ("CrashLoopBackOff".to_owned(), message);
            let about = Some((waiting.kind, name.as_str()));
            let text = format!("Back-off restarting failed container {name} in pod {}", pod.full_name());
            self.kubelet.events.pod(pod, about, Level::Warning, "BackOff", text);
            self.reasons.insert(name.clone(), reason);
        }
    }

    /// Does what was decided; returns when to try again if something failed.
    async fn act(&mut self, pod: &Arc<Pod>, runtime: PodRuntime, actions: &Actions) -> Option<Timestamp> {
        if actions.kill_pod {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            self.kubelet.events.pod(pod, None, Level::Normal, "SandboxChanged", message);
            self.stop_all(pod, &runtime, pod.grace_period_seconds()).await;
        }
        if let Err(error) = self.prepare_directories(pod).await {
            tracing::warn!(pod = %pod.full_name(), error, "failed to prepare a pod");
            return Some(self.retry_at());
        }
        if let Err(error) = self.widen(pod).await {
            tracing::warn!(pod = %pod.full_name(), error, "failed to limit a pod");
            if let Some(retry) = self.resize_failed(pod, vec![error]) {
                return Some(retry);
            }
        }
        if let (None, Some(until)) = (&self.volumes, self.mount_pause.holds(Timestamp::now())) {
            return Some(until);
        }
        let sandbox_config = self.sandbox_config(pod, &runtime, actions.create_sandbox);
        // The sandbox, the volumes and the first images have nothing to do with each other.
        let kubelet = self.kubelet.clone();
        let volumes_fresh = self.volumes.is_some();
        let volumes = async {
            if volumes_fresh {
                return Ok(None);
            }
            kubelet.volumes.set_up(pod, &kubelet.around_volumes(None)).await.map(Some)
        };
        let sandbox = async {
            match actions.create_sandbox {
                None => Ok(None),
                Some(_) => {
                    let handler = kubelet.runtime_handler(pod).await?;
                    let made = kubelet.cri.run_sandbox(sandbox_config.clone(), handler).await;
                    made.map(Some).map_err(|error| error.to_string())
                }
            }
        };
        let (volumes, sandbox) = tokio::join!(volumes, sandbox);
        match volumes {
            Ok(Some(paths)) => {
                self.volumes = Some(paths);
                self.volumes_at = Some(Instant::now());
                self.mount_pause = MountPause::default();
            }
            Ok(None) => {}
            Err(error) => {
                self.kubelet.events.pod(pod, None, Level::Warning, "FailedMount", error.to_string());
                return Some(self.mount_pause.failed(Timestamp::now()));
            }
        }
        let created = match sandbox {
            Ok(created) => created,
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {error}");
                self.kubelet.events.pod(pod, None, Level::Warning, "FailedCreatePodSandBox", message);
                return Some(self.retry_at());
            }
        };
        let runtime = match created {
            // Its address is needed before the first container starts: for env and for the hosts file.
            Some(_) => match self.observe().await {
                Ok(runtime) => runtime,
                Err(_) => return Some(self.retry_at()),
            },
            None => runtime,
        };
        self.kill_containers(pod, &runtime, actions).await;
        let mut retry = self.resize_containers(pod, &runtime, actions).await;
        for (kind, name) in &actions.start {
            if let Err(at) = self.start_container(pod, &runtime, &sandbox_config, *kind, name).await {
                retry = earlier(retry, Some(at));
            }
        }
        if retry.is_none() {
            self.failures = 0;
        }
        retry
    }

    /// Failures are repeated ever more slowly, up to ten seconds.
    pub(super) fn retry_at(&mut self) -> Timestamp {
        self.failures = self.failures.saturating_add(1);
        let seconds = (1i64 << self.failures.min(4)).min(10);
        Timestamp::now() + SignedDuration::from_secs(seconds)
    }

    async fn prepare_directories(&self, pod: &Arc<Pod>) -> Result<(), String> {
        let (cgroups, config, pod) = (self.kubelet.cgroups.clone(), self.kubelet.config.clone(), pod.clone());
        blocking(move || {
            let failed = |what: &str, error: std::io::Error| format!("failed to create {what}: {error}");
            cgroups.create_pod(&pod).map_err(|error| failed("the pod's cgroup", error))?;
            let logs = config.pod_logs(pod.namespace(), pod.name(), pod.uid());
            std::fs::create_dir_all(&logs).map_err(|error| failed("the log directory", error))?;
            std::fs::create_dir_all(config.pod_dir(pod.uid())).map_err(|error| failed("the pod's directory", error))
        })
        .await
    }

    fn sandbox_config(&self, pod: &Pod, runtime: &PodRuntime, create: Option<u32>) -> v1::PodSandboxConfig {
        let config = &self.kubelet.config;
        let attempt = create.or(runtime.sandboxes.first().map(|s| s.attempt)).unwrap_or(0);
        sandbox_config::build(
            pod,
            sandbox_config::Inputs {
                attempt,
                cgroup_parent: self.kubelet.cgroups.parent(pod),
                log_directory: config.pod_logs(pod.namespace(), pod.name(), pod.uid()).display().to_string(),
                host_dns: &self.kubelet.host_dns,
                cluster_dns: &config.cluster_dns,
                cluster_domain: &config.cluster_domain,
                seen: self.first_seen,
            },
        )
    }

    async fn refresh_volumes(&mut self, pod: &Arc<Pod>) {
        let due = self.volumes_at.is_none_or(|at| at.elapsed() >= self.kubelet.config.sync_frequency);
        if !due || pod.pod_spec().volumes.as_ref().is_none_or(Vec::is_empty) {
            return;
        }
        self.volumes_at = Some(Instant::now());
        let around = self.kubelet.around_volumes(self.volumes.as_ref());
        match self.kubelet.volumes.set_up(pod, &around).await {
            Ok(paths) => self.volumes = Some(paths),
            Err(error) => self.kubelet.events.pod(pod, None, Level::Warning, "FailedMount", error.to_string()),
        }
    }

    fn watch_probes(&mut self, pod: &Arc<Pod>, runtime: &PodRuntime) {
        let running: Vec<&str> = runtime.running().map(|info| info.id.as_str()).collect();
        self.prober.retain(&running);
        let ips = runtime.ready_sandbox().map(|sandbox| sandbox.ips.clone()).unwrap_or_default();
        let host = ips.into_iter().next().or_else(|| self.kubelet.host_ips().into_iter().next()).unwrap_or_default();
        let all = (pod.main_containers().iter().map(|c| (ContainerKind::Main, c)))
            .chain(pod.init_containers().iter().map(|c| (ContainerKind::Init, c)));
        for (kind, container) in all {
            let Some(info) = runtime.latest(&container.name).filter(|info| info.running()) else { continue };
            let statuses = pod.status.iter().flat_map(|status| {
                status.container_statuses.iter().flatten().chain(status.init_container_statuses.iter().flatten())
            });
            let same = |id: &Option<String>| id.as_deref().is_some_and(|id| id.ends_with(&info.id));
            let known = statuses.into_iter().find(|status| same(&status.container_id));
            let target = prober::Target {
                pod,
                kind,
                container,
                id: &info.id,
                host: host.clone(),
                known: known.map(|status| (status.started.unwrap_or(false), status.ready)),
            };
            self.prober.watch(&target);
        }
    }
}

fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
