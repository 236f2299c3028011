//! One worker a pod: it looks, decides ([`crate::actions`]) and acts, until the pod has ended and its object is gone.
//!
//! Whatever wakes it (a new definition, the runtime, a probe, a timer), it begins by looking; nothing is carried in
//! the wake-up itself. Acting is given up at once when the pod is to end, and ending is what remains then.

mod observe;
mod resize;
mod start;
mod stop;
mod sync;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{
    actions::ProbeStates,
    backoff::Backoff,
    kubelet::Kubelet,
    pod::PodExt,
    prober::{self, Prober},
    resize::Resizing,
    runtime_state::{ContainerInfo, PodRuntime, Sandbox},
    status::{
        generate::{self, Verdict},
        writer::StatusWriter,
    },
    volumes::Paths,
};

/// A pod as the API last said it.
#[derive(Debug, Clone)]
pub struct Update {
    /// The object.
    pub pod: Arc<Pod>,
    /// It is no longer there.
    pub gone: bool,
    /// It must end for the node's sake.
    pub eviction: Option<Eviction>,
}

/// Why a pod must end, and in how many seconds.
#[derive(Debug, Clone)]
pub struct Eviction {
    /// What its status says.
    pub verdict: Verdict,
    /// Its grace period.
    pub grace_seconds: i64,
}

/// What others may see of a worker.
#[derive(Debug, Clone, Default)]
pub struct Shared {
    /// The pod in the runtime, as last seen.
    pub runtime: PodRuntime,
    /// The status as last computed.
    pub status: Option<PodStatus>,
    /// All containers have ended and nothing will be started.
    pub terminated: bool,
}

/// The handle of a worker.
#[derive(Clone)]
pub struct Handle {
    updates: watch::Sender<Update>,
    /// Wakes it.
    pub wake: Arc<Notify>,
    /// What it knows.
    pub shared: Arc<Mutex<Shared>>,
    /// What the pod was promised and what it has.
    pub resizing: Arc<Mutex<Resizing>>,
}

impl Handle {
    /// The definition as last seen.
    pub fn pod(&self) -> Arc<Pod> {
        self.updates.borrow().pod.clone()
    }

    /// The definition with the resources that the node has promised.
    pub fn allocated_pod(&self) -> Arc<Pod> {
        allocated(self.pod(), &self.resizing)
    }

    /// A new definition.
    pub fn update(&self, pod: Arc<Pod>) {
        self.updates.send_modify(|update| (update.pod, update.gone) = (pod, false));
    }

    /// Ends the pod for the node's sake; the first reason counts.
    pub fn evict(&self, verdict: Verdict, grace_seconds: i64) {
        let eviction = Eviction { verdict, grace_seconds };
        self.updates.send_if_modified(|update| {
            let is_first = update.eviction.is_none();
            update.eviction.get_or_insert(eviction);
            is_first
        });
    }

    /// The object is gone.
    pub fn gone(&self) {
        self.updates.send_if_modified(|update| !std::mem::replace(&mut update.gone, true));
    }

    /// The definition with the newest status.
    pub fn pod_with_status(&self) -> Pod {
        let mut pod = (*self.pod()).clone();
        if let Some(status) = self.shared.lock().status.clone() {
            pod.status = Some(status);
        }
        pod
    }

    /// Whether it takes resources of the node.
    pub fn is_active(&self) -> bool {
        !self.shared.lock().terminated && !matches!(self.pod().phase(), "Succeeded" | "Failed")
    }
}

fn allocated(pod: Arc<Pod>, resizing: &Mutex<Resizing>) -> Arc<Pod> {
    let resizing = resizing.lock();
    if resizing.allocated.fits(&pod) { pod } else { Arc::new(resizing.allocated.applied(&pod)) }
}

/// Starts the worker of a pod; `verdict` is why the node refuses it, if it does.
pub fn spawn(kubelet: Arc<Kubelet>, pod: Arc<Pod>, verdict: Option<Verdict>) -> Handle {
    let wake = Arc::new(Notify::new());
    let (updates, receiver) = watch::channel(Update { pod: pod.clone(), gone: false, eviction: None });
    let shared = Arc::new(Mutex::new(Shared::default()));
    let probes = Arc::new(Mutex::new(ProbeStates::new()));
    let environment = prober::Environment {
        cri: kubelet.cri.clone(),
        events: kubelet.events.clone(),
        states: probes.clone(),
        wake: wake.clone(),
    };
    let resizing = Resizing::begin(&pod, kubelet.config.pod_dir(pod.uid()));
    let resizing = Arc::new(Mutex::new(resizing));
    let worker = Worker {
        writer: StatusWriter::start(kubelet.client.clone(), &pod),
        prober: Prober::new(environment),
        probes,
        updates: receiver,
        wake: wake.clone(),
        shared: shared.clone(),
        resizing: resizing.clone(),
        verdict,
        first_seen: Timestamp::now(),
        seen_containers: HashMap::new(),
        seen_sandboxes: HashMap::new(),
        backoff: Backoff::default(),
        reasons: HashMap::new(),
        status: None,
        volumes: None,
        volumes_at: None,
        mount_pause: MountPause::default(),
        failures: 0,
        hooks_run: Arc::default(),
        replaced: HashSet::new(),
        kubelet,
    };
    let handle = Handle { updates, wake, shared, resizing };
    let stopping = worker.kubelet.stopping.clone();
    // A kubelet that stops leaves its pods alone: the next one takes them up.
    tokio::spawn(stopping.run_until_cancelled_owned(worker.run()));
    handle
}

struct Worker {
    kubelet: Arc<Kubelet>,
    updates: watch::Receiver<Update>,
    wake: Arc<Notify>,
    shared: Arc<Mutex<Shared>>,
    resizing: Arc<Mutex<Resizing>>,
    writer: StatusWriter,
    prober: Prober,
    probes: Arc<Mutex<ProbeStates>>,
    verdict: Option<Verdict>,
    first_seen: Timestamp,
    /// What does not change any more: ended containers, and running ones while they run.
    seen_containers: HashMap<String, ContainerInfo>,
    seen_sandboxes: HashMap<String, Sandbox>,
    backoff: Backoff,
    /// Why containers wait: (reason, message) by name.
    reasons: HashMap<String, (String, String)>,
    status: Option<PodStatus>,
    volumes: Option<Paths>,
    volumes_at: Option<std::time::Instant>,
    mount_pause: MountPause,
    failures: u32,
    /// Containers whose preStop hook has been run.
    hooks_run: Arc<Mutex<HashSet<String>>>,
    /// Containers that were stopped so that new ones take their place.
    replaced: HashSet<String>,
}

/// Volumes that cannot be set up are tried again ever more slowly: after 0.5 s, 1 s, ... 122 s, whatever wakes the worker
/// in between.
#[derive(Default)]
struct MountPause {
    failures: u32,
    until: Option<Timestamp>,
}

impl MountPause {
    /// Until when not to try, if so.
    fn holds(&self, now: Timestamp) -> Option<Timestamp> {
        self.until.filter(|until| now < *until)
    }

    /// Counts a failure; tells when to try again.
    fn failed(&mut self, now: Timestamp) -> Timestamp {
        let pause_ms = (500_i64 << self.failures.min(10)).min(122_000);
        self.failures = self.failures.saturating_add(1);
        let until = now + SignedDuration::from_millis(pause_ms);
        self.until = Some(until);
        until
    }
}

/// How a look ended.
enum Step {
    /// Look again at this time at the latest.
    Wait(Timestamp),
    /// The pod must end.
    End,
}

impl Worker {
    async fn run(mut self) {
        if !matches!(self.pod().phase(), "Succeeded" | "Failed") || self.must_end() {
            self.live().await;
        }
        if self.verdict.is_none() {
            self.verdict = self.updates.borrow().eviction.as_ref().map(|eviction| eviction.verdict.clone());
        }
        self.end().await;
        self.shared.lock().terminated = true;
        self.kubelet.reconsider_resizes();
        loop {
            let update = self.updates.borrow_and_update().clone();
            if update.gone {
                break;
            }
            if update.pod.deleting() {
                self.writer.delete();
            }
            // A pod that has ended can still come to need an end again: something may have been started behind our back.
            if self.updates.changed().await.is_err() {
                return;
            }
        }
        self.remove_everything().await;
    }

    /// Until the pod must end.
    async fn live(&mut self) {
        loop {
            if self.must_end() {
                return;
            }
            let mut updates = self.updates.clone();
            let step = tokio::select! {
                step = self.sync() => step,
                () = ending(&mut updates) => return,
            };
            let until = match step {
                Step::End => return,
                Step::Wait(until) => until,
            };
            let pause = until.duration_since(Timestamp::now());
            let pause = Duration::try_from(pause).unwrap_or_default().min(self.kubelet.config.sync_frequency);
            let wake = self.wake.clone();
            tokio::select! {
                () = wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
                changed = self.updates.changed() => if changed.is_err() { return },
            }
        }
    }

    fn must_end(&self) -> bool {
        let update = self.updates.borrow();
        self.verdict.is_some() || update.gone || update.eviction.is_some() || update.pod.deleting()
    }

    /// The pod as it is run: with the resources that it was promised.
    fn pod(&self) -> Arc<Pod> {
        allocated(self.updates.borrow().pod.clone(), &self.resizing)
    }

    /// The pod with the newest status: ours, and the conditions of others.
    fn pod_with_status(&self) -> Pod {
        let mut pod = (*self.pod()).clone();
        if let Some(mut own) = self.status.clone() {
            let known = own.conditions.get_or_insert_default();
            let others = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
            for condition in others {
                if !known.iter().any(|own| own.type_ == condition.type_) {
                    known.push(condition);
                }
            }
            pod.status = Some(own);
        }
        pod
    }

    /// Computes the status and has it written.
    fn publish(&mut self, runtime: &PodRuntime, is_terminal: bool) {
        let pod = self.pod_with_status();
        let probes = self.probes.lock().clone();
        let resizing = self.resizing.lock().clone();
        let status = generate::generate(generate::Inputs {
            pod: &pod,
            runtime,
            reasons: &self.reasons,
            probes: &probes,
            resizing: &resizing,
            runtime_name: &self.kubelet.runtime_name(),
            host_ips: &self.kubelet.host_ips(),
            first_seen: self.first_seen,
            now: Timestamp::now(),
            is_terminal,
            verdict: self.verdict.as_ref(),
        });
        {
            let mut shared = self.shared.lock();
            shared.runtime = runtime.clone();
            shared.status = Some(status.clone());
        }
        self.status = Some(status.clone());
        self.writer.set(status);
    }
}

/// Resolves when the pod is to be deleted, must end, or is gone.
async fn ending(updates: &mut watch::Receiver<Update>) {
    loop {
        {
            let update = updates.borrow_and_update();
            if update.gone || update.eviction.is_some() || update.pod.deleting() {
                return;
            }
        }
        if updates.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_mounts_wait_twice_as_long_each_time() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let mut pause = MountPause::default();
        assert_eq!(pause.holds(now), None);
        let waits: Vec<i128> = (0..10).map(|_| pause.failed(now).duration_since(now).as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 122_000, 122_000]);
        let until = now + SignedDuration::from_secs(122);
        assert_eq!((pause.holds(now), pause.holds(until)), (Some(until), None));
    }
}
