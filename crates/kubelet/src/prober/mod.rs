//! Probes: one task for each probe of each running container. A task ends with its container; what it finds goes into
//! the pod's [`ProbeStates`](crate::actions::ProbeStates) and wakes the pod's worker.

pub mod checks;
pub mod http;

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use parking_lot::Mutex;
use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    actions::{ProbeState, ProbeStates},
    cri::Cri,
    events::{Level, Recorder},
    pod::ContainerKind,
};
use checks::Outcome;

/// The three sorts of probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProbeKind {
    /// Has it started?
    Startup,
    /// Must it be restarted?
    Liveness,
    /// Can it take work?
    Readiness,
}

impl ProbeKind {
    fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    fn verdict(self, state: &mut ProbeState) -> &mut Option<bool> {
        match self {
            Self::Startup => &mut state.started,
            Self::Liveness => &mut state.live,
            Self::Readiness => &mut state.ready,
        }
    }

    fn of(self, container: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => container.startup_probe.as_ref(),
            Self::Liveness => container.liveness_probe.as_ref(),
            Self::Readiness => container.readiness_probe.as_ref(),
        }
    }
}

/// What every probe of a pod shares.
#[derive(Clone)]
pub struct Environment {
    /// The runtime, for commands.
    pub cri: Cri,
    /// Where failures are told.
    pub events: Recorder,
    /// Verdicts.
    pub states: Arc<Mutex<ProbeStates>>,
    /// Wakes the pod's worker.
    pub wake: Arc<Notify>,
}

/// The probes of one pod.
pub struct Prober {
    environment: Environment,
    tasks: HashMap<(String, ProbeKind), JoinHandle<()>>,
}

/// A container that is to be probed.
pub struct Target<'a> {
    /// The pod.
    pub pod: &'a Arc<Pod>,
    /// What sort of container.
    pub kind: ContainerKind,
    /// Its definition.
    pub container: &'a Container,
    /// Its id.
    pub id: &'a str,
    /// The address of network probes.
    pub host: String,
    /// What the API said about it before this kubelet started: (started, ready).
    pub known: Option<(bool, bool)>,
}

impl Prober {
    /// No probes yet.
    pub fn new(environment: Environment) -> Self {
        Self { environment, tasks: HashMap::new() }
    }

    /// Probes a running container from now on; does nothing if it is probed already.
    pub fn watch(&mut self, target: &Target<'_>) {
        for kind in [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness] {
            let Some(probe) = kind.of(target.container) else { continue };
            let key = (target.id.to_owned(), kind);
            if self.tasks.contains_key(&key) {
                continue;
            }
            if let Some((started, ready)) = target.known {
                let mut states = self.environment.states.lock();
                let state = states.entry(target.id.to_owned()).or_default();
                match kind {
                    ProbeKind::Startup if started => state.started = Some(true),
                    ProbeKind::Readiness if ready => state.ready = Some(true),
                    _ => {}
                }
            }
            let worker = Worker {
                environment: self.environment.clone(),
                pod: target.pod.clone(),
                kind,
                container_kind: target.kind,
                container: target.container.clone(),
                probe: probe.clone(),
                id: target.id.to_owned(),
                host: target.host.clone(),
            };
            self.tasks.insert(key, tokio::spawn(worker.run()));
        }
    }

    /// Ends the probes of containers that are not in `running`, and forgets their verdicts.
    pub fn retain(&mut self, running: &[&str]) {
        self.tasks.retain(|(id, _), task| {
            let keep = running.contains(&id.as_str());
            if !keep {
                task.abort();
            }
            keep
        });
        self.environment.states.lock().retain(|id, _| running.contains(&id.as_str()));
    }

    /// Ends all probes but readiness: a pod that is ending still reports whether it takes work.
    pub fn stop_restarting(&mut self) {
        self.tasks.retain(|(_, kind), task| {
            let keep = *kind == ProbeKind::Readiness;
            if !keep {
                task.abort();
            }
            keep
        });
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        for task in self.tasks.values() {
            task.abort();
        }
    }
}

struct Worker {
    environment: Environment,
    pod: Arc<Pod>,
    kind: ProbeKind,
    container_kind: ContainerKind,
    container: Container,
    probe: Probe,
    id: String,
    host: String,
}

fn seconds(value: Option<i32>, default: i32) -> Duration {
    Duration::from_secs(u64::try_from(value.unwrap_or(default).max(0)).unwrap_or(0))
}

impl Worker {
    async fn run(self) {
        tokio::time::sleep(seconds(self.probe.initial_delay_seconds, 0)).await;
        let period = seconds(self.probe.period_seconds.filter(|p| *p > 0), 10);
        let (mut successes, mut failures) = (0, 0);
        loop {
            if !self.may_run() {
                // Cheap to look at, and the first verdict after a start should not wait for a whole period.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
            match self.check().await {
                Outcome::Success => (successes, failures) = (successes + 1, 0),
                Outcome::Failure(output) => {
                    (successes, failures) = (0, failures + 1);
                    self.tell(&format!("{} probe failed: {output}", self.kind.title()));
                }
                Outcome::Unknown(error) => {
                    self.tell(&format!("{} probe errored and resulted in unknown state: {error}", self.kind.title()));
                    tokio::time::sleep(period).await;
                    continue;
                }
            }
            let verdict = if successes >= self.probe.success_threshold.unwrap_or(1).max(1) {
                Some(true)
            } else if failures >= self.probe.failure_threshold.unwrap_or(3).max(1) {
                Some(false)
            } else {
                None
            };
            if let Some(verdict) = verdict {
                self.conclude(verdict);
                if self.kind == ProbeKind::Startup {
                    return;
                }
            }
            tokio::time::sleep(period).await;
        }
    }

    /// The other probes wait until the container has started.
    fn may_run(&self) -> bool {
        if self.kind == ProbeKind::Startup || self.container.startup_probe.is_none() {
            return true;
        }
        self.environment.states.lock().get(&self.id).is_some_and(|state| state.started == Some(true))
    }

    fn conclude(&self, verdict: bool) {
        let mut states = self.environment.states.lock();
        let state = states.entry(self.id.clone()).or_default();
        let slot = self.kind.verdict(state);
        if *slot != Some(verdict) {
            *slot = Some(verdict);
            drop(states);
            self.environment.wake.notify_one();
        }
    }

    async fn check(&self) -> Outcome {
        let timeout = seconds(self.probe.timeout_seconds.filter(|t| *t > 0), 1);
        let target =
            checks::Target { cri: &self.environment.cri, id: &self.id, container: &self.container, host: &self.host };
        checks::check(&target, &self.probe, timeout).await
    }

    fn tell(&self, message: &str) {
        let about = Some((self.container_kind, self.container.name.as_str()));
        self.environment.events.pod(&self.pod, about, Level::Warning, "Unhealthy", message);
    }
}
