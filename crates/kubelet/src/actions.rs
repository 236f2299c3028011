//! What to do next for a pod: a pure function of its definition, what the runtime has, what probes found and the time.
//!
//! Order of a start: sandbox; init containers one after the other (a sidecar is passed once it has started); then all
//! main containers. A pod whose containers have ended for good is terminal, and then nothing is started any more.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};

use crate::{
    backoff::Backoff,
    cri::v1::ContainerState,
    pod::{ContainerKind, PodExt, is_sidecar, labels},
    resize::{Allocation, Amounts},
    runtime_state::{ContainerInfo, PodRuntime},
};

/// What probes say about one container (by id). None: no such probe, or no verdict yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProbeState {
    /// Verdict of the startup probe.
    pub started: Option<bool>,
    /// Verdict of the liveness probe.
    pub live: Option<bool>,
    /// Verdict of the readiness probe.
    pub ready: Option<bool>,
}

/// Verdicts by container id.
pub type ProbeStates = HashMap<String, ProbeState>;

/// Everything the decision looks at.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The pod's definition.
    pub pod: &'a Pod,
    /// The pod in the runtime.
    pub runtime: &'a PodRuntime,
    /// Probes' verdicts.
    pub probes: &'a ProbeStates,
    /// Restart delays, by [`backoff_key`].
    pub backoff: &'a Backoff,
    /// What containers have been given; the pod's definition says what they are to have.
    pub actuated: &'a Allocation,
    /// The time.
    pub now: Timestamp,
}

/// A container to stop, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The event's message.
    pub message: String,
    /// Whether a new one takes its place, whatever the restart policy says of containers that end.
    pub is_replaced: bool,
}

/// A container that must wait before it is started again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its name.
    pub name: String,
    /// What sort.
    pub kind: ContainerKind,
    /// Until when.
    pub until: Timestamp,
    /// How long in all.
    pub delay: Duration,
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actions {
    /// The pod has ended for good: with success or without.
    pub terminal: Option<bool>,
    /// Stop everything, sandbox included, before anything else.
    pub kill_pod: bool,
    /// Make a sandbox; the number is its attempt.
    pub create_sandbox: Option<u32>,
    /// Containers to stop.
    pub kill: Vec<Kill>,
    /// Running containers to give other resources to, by name.
    pub resize: Vec<String>,
    /// Containers to start, in this order.
    pub start: Vec<(ContainerKind, String)>,
    /// Containers to start later.
    pub waiting: Vec<Waiting>,
}

impl Actions {
    /// Whether there is nothing to do now.
    pub fn is_idle(&self) -> bool {
        !self.kill_pod
            && self.create_sandbox.is_none()
            && self.kill.is_empty()
            && self.resize.is_empty()
            && self.start.is_empty()
    }
}

/// The key of a container's restart delay: a new definition starts afresh.
pub fn backoff_key(container: &Container) -> String {
    format!("{}/{}", container.name, labels::hash(container))
}

/// Decides.
pub fn compute_pod_actions(view: View<'_>) -> Actions {
    let mut out = Actions { terminal: terminal(view.pod, view.runtime), ..Actions::default() };
    if out.terminal.is_some() {
        return out;
    }
    let sandbox = view.runtime.ready_sandbox();
    if sandbox.is_none() {
        out.kill_pod = view.runtime.running().next().is_some();
        out.create_sandbox = Some(view.runtime.sandboxes.iter().map(|s| s.attempt + 1).max().unwrap_or(0));
    }
    let sandbox = sandbox.map(|s| s.id.as_str());
    let mut planner = Planner { view, sandbox, out };
    if planner.init_containers() {
        for container in view.pod.main_containers() {
            planner.main_container(container);
        }
    }
    if sandbox.is_some() {
        for (container, _) in view.pod.ephemeral_containers() {
            if view.runtime.latest(&container.name).is_none() {
                planner.out.start.push((ContainerKind::Ephemeral, container.name));
            }
        }
    }
    planner.out
}

struct Planner<'a> {
    view: View<'a>,
    sandbox: Option<&'a str>,
    out: Actions,
}

impl<'a> Planner<'a> {
    /// The container of this name in the present sandbox.
    fn current(&self, name: &str) -> Option<&'a ContainerInfo> {
        self.view.runtime.latest(name).filter(|info| Some(info.sandbox_id.as_str()) == self.sandbox)
    }

    /// Whether the main containers may start.
    fn init_containers(&mut self) -> bool {
        let pod = self.view.pod;
        let initialized = pod.main_containers().iter().any(|c| self.current(&c.name).is_some());
        for container in pod.init_containers() {
            let info = self.current(&container.name);
            let running = info.filter(|info| info.running());
            if let Some(info) = running {
                let failed = is_sidecar(container) && self.kill_if_unhealthy(container, info);
                let failed = failed || self.resize(container, info);
                let passed = is_sidecar(container) && !failed && has_started(container, info, self.view.probes);
                if !initialized && !passed {
                    return false;
                }
                continue;
            }
            let done = info.is_some_and(|info| info.exited() && info.exit_code == 0) && !is_sidecar(container);
            if done || initialized && !is_sidecar(container) {
                continue;
            }
            self.start(ContainerKind::Init, container);
            if !initialized {
                return false;
            }
        }
        true
    }

    fn main_container(&mut self, container: &Container) {
        let Some(info) = self.view.runtime.latest(&container.name) else {
            return self.start(ContainerKind::Main, container);
        };
        let current = Some(info.sandbox_id.as_str()) == self.sandbox;
        if info.running() && current {
            if info.hash != labels::hash(container) {
                self.kill(
                    container,
                    info,
                    format!("Container {} definition changed, will be restarted", container.name),
                );
            } else if !self.kill_if_unhealthy(container, info) {
                self.resize(container, info);
            }
        } else if !info.exited() || should_restart(self.view.pod, container, ContainerKind::Main, info) {
            self.start(ContainerKind::Main, container);
        }
    }

    fn kill_if_unhealthy(&mut self, container: &Container, info: &ContainerInfo) -> bool {
        let probes = self.view.probes.get(&info.id).copied().unwrap_or_default();
        let probe = match probes {
            ProbeState { live: Some(false), .. } => "liveness",
            ProbeState { started: Some(false), .. } => "startup",
            _ => return false,
        };
        let restarts = self.view.pod.restart_policy() != "Never" || is_sidecar(container);
        let then = if restarts { ", will be restarted" } else { "" };
        self.kill(container, info, format!("Container {} failed {probe} probe{then}", container.name));
        if let Some(kill) = self.out.kill.last_mut() {
            kill.is_replaced = restarts;
        }
        true
    }

    fn kill(&mut self, container: &Container, info: &ContainerInfo, message: String) {
        let (id, name) = (info.id.clone(), container.name.clone());
        self.out.kill.push(Kill { id, name, message, is_replaced: true });
    }

    /// Gives a running container what it is to have; true when it must be restarted for that.
    fn resize(&mut self, container: &Container, info: &ContainerInfo) -> bool {
        let (has, wants) = (self.view.actuated.amounts(container), Amounts::of(container.resources.as_ref()));
        if has == wants {
            return false;
        }
        let mut policies = container.resize_policy.iter().flatten();
        let restarts = policies
            .any(|policy| policy.restart_policy == "RestartContainer" && has.differ_in(&wants, &policy.resource_name));
        if restarts {
            self.kill(container, info, format!("Container {} resize requires restart", container.name));
        } else {
            self.out.resize.push(container.name.clone());
        }
        restarts
    }

    fn start(&mut self, kind: ContainerKind, container: &Container) {
        let last = self.view.runtime.latest(&container.name).filter(|info| info.exited());
        let blocked = last.and_then(|info| {
            let event = info.finished_at.or(info.started_at).unwrap_or(self.view.now);
            self.view.backoff.blocked_until(&backoff_key(container), event, self.view.now)
        });
        match blocked {
            Some((until, delay)) => {
                self.out.waiting.push(Waiting { name: container.name.clone(), kind, until, delay });
            }
            None => self.out.start.push((kind, container.name.clone())),
        }
    }
}

/// Whether a running container counts as started: its startup probe has succeeded, or it has none.
pub fn has_started(container: &Container, info: &ContainerInfo, probes: &ProbeStates) -> bool {
    let verdict = probes.get(&info.id).and_then(|state| state.started);
    info.running() && (container.startup_probe.is_none() || verdict == Some(true))
}

/// Whether a container that ended is started again.
pub fn should_restart(pod: &Pod, container: &Container, kind: ContainerKind, info: &ContainerInfo) -> bool {
    if kind == ContainerKind::Ephemeral {
        return false;
    }
    if info.is_replaced {
        return true;
    }
    let matching = container.restart_policy_rules.iter().flatten().find(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = codes.values.iter().flatten().any(|code| *code == info.exit_code);
            if codes.operator == "NotIn" { !listed } else { listed }
        })
    });
    if matching.is_some_and(|rule| rule.action == "Restart") {
        return true;
    }
    let policy = container.restart_policy.as_deref().unwrap_or(pod.restart_policy());
    match (policy, kind) {
        ("Never", _) => false,
        ("OnFailure", _) => info.exit_code != 0,
        (_, ContainerKind::Init) => info.exit_code != 0 || is_sidecar(container),
        _ => true,
    }
}

/// Whether every container has ended for good, and if so whether with success. A failed init container that may not be
/// repeated ends the pod; a sidecar never keeps it alive.
pub fn terminal(pod: &Pod, runtime: &PodRuntime) -> Option<bool> {
    let sandbox = runtime.sandboxes.first().map(|s| s.id.as_str());
    let any_main = pod.main_containers().iter().any(|c| runtime.latest(&c.name).is_some());
    if !any_main {
        for container in pod.init_containers().iter().filter(|c| !is_sidecar(c)) {
            let info = runtime.latest(&container.name).filter(|info| Some(info.sandbox_id.as_str()) == sandbox);
            let failed = info.filter(|info| info.exited() && info.exit_code != 0);
            if failed.is_some_and(|info| !should_restart(pod, container, ContainerKind::Init, info)) {
                return Some(false);
            }
        }
        return None;
    }
    let mut success = true;
    for container in pod.main_containers() {
        let info = runtime.latest(&container.name)?;
        if info.state != ContainerState::ContainerExited || should_restart(pod, container, ContainerKind::Main, info) {
            return None;
        }
        success &= info.exit_code == 0;
    }
    Some(success)
}

#[cfg(test)]
#[path = "actions_tests.rs"]
pub(crate) mod tests;
