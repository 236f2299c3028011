//! Starting one container: image, environment, mounts, create, start, postStart.

use std::collections::HashMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::Worker;
use crate::{
    actions,
    cri::v1,
    events::Level,
    images::NoImage,
    lifecycle,
    pod::{ContainerKind, PodExt, container_config, env, fields::Addresses, hosts, qos},
    runtime_state::{ContainerInfo, PodRuntime},
    volumes::{blocking, mounts},
};

impl Worker {
    /// Starts a container, or returns when to try again; why it waits is then in `reasons`.
    pub(super) async fn start_container(
        &mut self,
        pod: &Pod,
        runtime: &PodRuntime,
        sandbox_config: &v1::PodSandboxConfig,
        kind: ContainerKind,
        name: &str,
    ) -> Result<(), Timestamp> {
        let Some(sandbox) = runtime.ready_sandbox() else { return Err(self.retry_at()) };
        let Some((_, container)) = pod.find_container(name) else { return Ok(()) };
        let last = runtime.latest(name);
        if let Some(info) = last.filter(|info| info.exited()) {
            let now = Timestamp::now();
            self.backoff.next(&actions::backoff_key(&container), info.finished_at.unwrap_or(now), now);
            self.backoff.collect(now);
        }
        let about = Some((kind, name));
        let image = self.kubelet.images.ensure(pod, kind, &container, Some(sandbox_config)).await;
        let image = match image {
            Ok(image) => image,
            Err(NoImage { reason, message, retry_at }) => {
                self.kubelet.events.pod(pod, about, Level::Warning, "Failed", format!("Error: {reason}"));
                return Err(self.wait(name, reason, message, retry_at));
            }
        };
        let restarts = self.restarts(pod, kind, name, last);
        let config = self.container_config(pod, runtime, kind, &container, &image, restarts).await;
        let config = match config {
            Ok(config) => config,
            Err(message) => {
                self.kubelet.events.pod(pod, about, Level::Warning, "Failed", format!("Error: {message}"));
                return Err(self.wait(name, "CreateContainerConfigError", message, None));
            }
        };
        let cri = self.kubelet.cri.clone();
        let log_path = config.log_path.clone();
        let id = match cri.create_container(&sandbox.id, config, sandbox_config.clone()).await {
            Ok(id) => id,
            Err(error) => {
                self.kubelet.events.pod(pod, about, Level::Warning, "Failed", format!("Error: {}", error.message));
                return Err(self.wait(name, "CreateContainerError", error.message, None));
            }
        };
        self.kubelet.events.pod(pod, about, Level::Normal, "Created", "Container created");
        if let Err(error) = cri.start_container(&id).await {
            self.kubelet.events.pod(pod, about, Level::Warning, "Failed", format!("Error: {}", error.message));
            return Err(self.wait(name, "RunContainerError", error.message, None));
        }
        self.kubelet.events.pod(pod, about, Level::Normal, "Started", "Container started");
        self.reasons.remove(name);
        self.has_started_with(kind, &container);
        self.link_log(pod, name, &id, &log_path);
        self.post_start(pod, runtime, kind, &container, &id).await
    }

    async fn post_start(
        &mut self,
        pod: &Pod,
        runtime: &PodRuntime,
        kind: ContainerKind,
        container: &Container,
        id: &str,
    ) -> Result<(), Timestamp> {
        let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()) else {
            return Ok(());
        };
        let cri = self.kubelet.cri.clone();
        let host = self.address(runtime);
        let Err(error) = lifecycle::run(&cri, container, id, &host, hook).await else { return Ok(()) };
        tracing::debug!(pod = %pod.full_name(), container = %container.name, error, "postStart hook failed");
        let about = Some((kind, container.name.as_str()));
        self.kubelet.events.pod(pod, about, Level::Warning, "FailedPostStartHook", "PostStartHook failed");
        self.kubelet.events.pod(pod, about, Level::Normal, "Killing", "FailedPostStartHook");
        let grace = std::time::Duration::from_secs(u64::try_from(pod.grace_period_seconds()).unwrap_or(30));
        let _ = cri.stop_container(id, grace).await;
        Err(self.wait(&container.name, "PostStartHookError", error, None))
    }

    fn wait(&mut self, name: &str, reason: &str, message: String, at: Option<Timestamp>) -> Timestamp {
        self.reasons.insert(name.to_owned(), (reason.to_owned(), message));
        match at {
            Some(at) => at,
            None => self.retry_at(),
        }
    }

    /// One more than the last container's, or than what the API remembers of a container that is no longer there.
    fn restarts(&self, pod: &Pod, kind: ContainerKind, name: &str, last: Option<&ContainerInfo>) -> u32 {
        if let Some(last) = last {
            return last.restarts + 1;
        }
        let status = self.status.as_ref().or(pod.status.as_ref());
        let list = status.and_then(|status| match kind {
            ContainerKind::Main => status.container_statuses.as_ref(),
            ContainerKind::Init => status.init_container_statuses.as_ref(),
            ContainerKind::Ephemeral => status.ephemeral_container_statuses.as_ref(),
        });
        let old = list.into_iter().flatten().find(|status| status.name == name);
        old.map_or(0, |old| u32::try_from(old.restart_count).unwrap_or(0))
    }

    fn address(&self, runtime: &PodRuntime) -> String {
        let own = runtime.ready_sandbox().and_then(|sandbox| sandbox.ips.first().cloned());
        own.or_else(|| self.kubelet.host_ips().into_iter().next()).unwrap_or_default()
    }

    async fn container_config(
        &self,
        pod: &Pod,
        runtime: &PodRuntime,
        kind: ContainerKind,
        container: &Container,
        image: &v1::Image,
        restarts: u32,
    ) -> Result<v1::ContainerConfig, String> {
        let kubelet = &self.kubelet;
        container_config::verify_non_root(pod, container, Some(image))?;
        let sources = self.env_sources(pod, runtime, container).await?;
        let pod_ips = sources.addresses.pod_ips.clone();
        let env = env::build(pod, container, &sources)?;
        let image_ref =
            if image.id.is_empty() { container.image.clone().unwrap_or_default() } else { image.id.clone() };
        let (target_name, target_id) = match kind {
            ContainerKind::Ephemeral => {
                let target = pod.ephemeral_containers().into_iter().find(|(c, _)| c.name == container.name);
                let name = target.and_then(|(_, target)| target).filter(|name| !name.is_empty());
                let id = name.as_ref().and_then(|name| runtime.latest(name)).filter(|info| info.running());
                (name.clone(), id.map(|info| info.id.clone()))
            }
            _ => (None, None),
        };
        if let (Some(name), None) = (&target_name, &target_id) {
            return Err(format!("unable to find target container {name:?}"));
        }
        let mounts = {
            let (pod, container, env) = (pod.clone(), container.clone(), env.clone());
            let (config, volumes) = (kubelet.config.clone(), self.volumes.clone().unwrap_or_default());
            let logs = config.pod_logs(pod.namespace(), pod.name(), pod.uid()).join(&container.name);
            blocking(move || {
                std::fs::create_dir_all(&logs)
                    .map_err(|error| format!("failed to create {}: {error}", logs.display()))?;
                let host_file = match pod.host_network() {
                    true => std::fs::read_to_string("/etc/hosts").unwrap_or_default(),
                    false => String::new(),
                };
                let hosts = Some(hosts::render(&pod, &pod_ips, &config.cluster_domain, &host_file));
                let pod_dir = config.pod_dir(pod.uid());
                let inputs =
                    mounts::Inputs { pod_dir: &pod_dir, volumes: &volumes, env: &env, hosts, attempt: restarts };
                mounts::build(&pod, &container, &inputs)
            })
            .await?
        };
        let unified = kubelet.cgroups.is_unified();
        let inputs = container_config::Inputs {
            kind,
            restarts,
            image_ref,
            env,
            mounts,
            resources: qos::container_resources(pod, container, kubelet.machine.memory_bytes, unified),
            target_id,
            seccomp_dir: &kubelet.config.root_dir.join("seccomp"),
            seccomp_default: kubelet.config.seccomp_default,
        };
        Ok(container_config::build(pod, container, inputs))
    }

    async fn env_sources(
        &self,
        pod: &Pod,
        runtime: &PodRuntime,
        container: &Container,
    ) -> Result<env::Sources, String> {
        let kubelet = &self.kubelet;
        let namespace = pod.namespace();
        let (config_maps, secrets) = env::references(container);
        let mut sources = env::Sources {
            services: kubelet.services_for(pod).await,
            allocatable: kubelet.allocatable(),
            ..Default::default()
        };
        let host_ips = kubelet.host_ips();
        let pod_ips = match pod.host_network() {
            true => host_ips.clone(),
            false => runtime.ready_sandbox().map(|sandbox| sandbox.ips.clone()).unwrap_or_default(),
        };
        sources.addresses = Addresses { pod_ips, host_ips };
        let fetched = config_maps.iter().map(|name| kubelet.objects.config_map(namespace, name));
        let fetched = futures::future::try_join_all(fetched).await?;
        sources.config_maps = config_maps
            .into_iter()
            .zip(fetched)
            .map(|(name, map)| (name, map.map(|m| (*m).clone())))
            .collect::<HashMap<_, _>>();
        let fetched = secrets.iter().map(|name| kubelet.objects.secret(namespace, name));
        let fetched = futures::future::try_join_all(fetched).await?;
        sources.secrets = secrets
            .into_iter()
            .zip(fetched)
            .map(|(name, secret)| (name, secret.map(|s| (*s).clone())))
            .collect::<HashMap<_, _>>();
        Ok(sources)
    }

    /// Log collectors find containers by these flat names.
    fn link_log(&self, pod: &Pod, name: &str, id: &str, log_path: &str) {
        let Some(dir) = &self.kubelet.config.container_log_dir else { return };
        let target = self.kubelet.config.pod_logs(pod.namespace(), pod.name(), pod.uid()).join(log_path);
        let link = dir.join(format!("{}_{}_{name}-{id}.log", pod.name(), pod.namespace()));
        let made = std::fs::create_dir_all(dir).and_then(|()| std::os::unix::fs::symlink(target, link));
        if let Err(error) = made {
            tracing::debug!(%error, "failed to link a container's log");
        }
    }
}
