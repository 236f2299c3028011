//! The loop: takes in what happens to pods and nodes, decides for one pod after the other, assumes the outcome at once
//! and lets the binding follow in the background.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::store::ChangedKeys;
use client::{Key, Reflectors, Store};
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use tokio::sync::{Semaphore, mpsc};

use crate::Options;
use crate::bind_volumes::VolumeWriter;
use crate::nodes::{NodeChange, Nodes};
use crate::plugins::Event;
use crate::pod_info::{PodInfo, PodKey};
use crate::pod_volumes::PodVolumes;
use crate::preemption::{Preemption, preempt};
use crate::queue::SchedulingQueue;
use crate::report::Report;
use crate::schedule_one::{Decision, Diagnosis, schedule};
use crate::storage::Storage;
use crate::workloads::Workloads;

/// Decisions made before the loop looks at what has happened meanwhile.
const DECISIONS_AT_ONCE: usize = 64;
/// With nothing to wait for, the loop wakes up this often all the same.
const IDLE: Duration = Duration::from_secs(300);

pub(crate) struct Scheduler {
    options: Options,
    report: Report,
    pods_seen: Seen<Pod>,
    nodes_seen: Seen<Node>,
    namespaces_seen: Seen<Namespace>,
    claims_seen: Seen<PersistentVolumeClaim>,
    volumes_seen: Seen<PersistentVolume>,
    classes_seen: Seen<StorageClass>,
    volume_writer: VolumeWriter,
    queue: SchedulingQueue,
    nodes: Nodes,
    /// Pods whose binding is under way: counted on their node, whatever the watch still says of them.
    assumed: HashSet<PodKey>,
    bindings: Arc<Semaphore>,
    outcomes: (mpsc::UnboundedSender<Outcome>, mpsc::UnboundedReceiver<Outcome>),
    /// The uids of all pods that were taken in.
    known_pods: HashMap<PodKey, String>,
}

/// A cache and what changed in it.
struct Seen<K> {
    store: Arc<Store<K>>,
    keys: ChangedKeys,
    /// The first list has been taken in.
    synchronized: bool,
}

impl<K: client::Object> Seen<K> {
    fn of(store: Arc<Store<K>>) -> Self {
        Self { keys: store.changed_keys(), store, synchronized: false }
    }

    /// Takes changes in; whether any of the objects came or changed, and did not just go.
    fn came(&mut self, keys: &BTreeSet<Key>) -> bool {
        self.synchronized = true;
        let snapshot = self.store.snapshot();
        keys.iter().any(|key| snapshot.get(key).is_some())
    }
}

/// A binding has ended. The channel is bounded by the number of bindings under way.
struct Outcome {
    pod: Arc<PodInfo>,
    bound: bool,
}

impl Scheduler {
    pub fn new(client: kube::Client, caches: &Reflectors, options: Options) -> Self {
        let pods = match options.caches_are_shared {
            true => caches.store(),
            // Pods that have ended take no room and need no node.
            false => caches.store_where("status.phase!=Succeeded,status.phase!=Failed"),
        };
        Self {
            report: Report::new(client.clone(), &options.scheduler_name),
            pods_seen: Seen::of(pods),
            nodes_seen: Seen::of(caches.store()),
            namespaces_seen: Seen::of(caches.store()),
            queue: SchedulingQueue::default(),
            nodes: Nodes::with(
                Workloads {
                    services: caches.store(),
                    replication_controllers: caches.store(),
                    replica_sets: caches.store(),
                },
                Storage::of(caches),
            ),
            claims_seen: Seen::of(caches.store()),
            volumes_seen: Seen::of(caches.store()),
            classes_seen: Seen::of(caches.store()),
            volume_writer: VolumeWriter { client: client.clone(), claims: caches.store(), volumes: caches.store() },
            assumed: HashSet::new(),
            bindings: Arc::new(Semaphore::new(options.bindings_max)),
            outcomes: mpsc::unbounded_channel(),
            known_pods: HashMap::new(),
            options,
        }
    }

    pub async fn run(mut self) {
        let mut wake = Instant::now() + IDLE;
        loop {
            // What has happened comes before what is decided; only with nothing left to take in is a pod tried.
            let ready = self.is_synchronized() && self.queue.has_active();
            tokio::select! {
                biased;
                keys = self.nodes_seen.keys.next() => self.on_nodes(keys),
                keys = self.namespaces_seen.keys.next() => self.on_namespaces(keys),
                keys = self.classes_seen.keys.next() => { let came = self.classes_seen.came(&keys); self.on_storage(came) }
                keys = self.volumes_seen.keys.next() => { let came = self.volumes_seen.came(&keys); self.on_storage(came) }
                keys = self.claims_seen.keys.next() => self.on_claims(keys),
                Some(outcome) = self.outcomes.1.recv() => self.on_outcome(outcome),
                keys = self.pods_seen.keys.next() => self.on_pods(keys),
                () = tokio::time::sleep_until(wake.into()), if !ready => {}
                () = std::future::ready(()), if ready => self.decide_some().await,
            }
            wake = self.queue.advance(Instant::now()).unwrap_or_else(|| Instant::now() + IDLE);
        }
    }

    fn is_synchronized(&self) -> bool {
        self.pods_seen.synchronized
            && self.nodes_seen.synchronized
            && self.namespaces_seen.synchronized
            && self.claims_seen.synchronized
            && self.volumes_seen.synchronized
            && self.classes_seen.synchronized
    }

    fn on_namespaces(&mut self, keys: BTreeSet<Key>) {
        let snapshot = self.namespaces_seen.store.snapshot();
        for key in keys {
            match snapshot.get(&key).map(|namespace| namespace.metadata.labels.clone()) {
                Some(labels) => self.nodes.namespaces.insert(key.name.to_string(), labels.unwrap_or_default()),
                None => self.nodes.namespaces.remove(&*key.name),
            };
        }
        self.namespaces_seen.synchronized = true;
    }

    fn on_claims(&mut self, keys: BTreeSet<Key>) {
        let snapshot = self.claims_seen.store.snapshot();
        for claim in keys.iter().filter_map(|key| snapshot.get(key)) {
            self.queue.happened(&Event::Storage(Some(claim)), &self.nodes, Instant::now());
        }
        self.claims_seen.synchronized = true;
    }

    /// A volume or a class may be what pods with claims wait for.
    fn on_storage(&mut self, came: bool) {
        if came {
            self.queue.happened(&Event::Storage(None), &self.nodes, Instant::now());
        }
    }

    fn on_pods(&mut self, keys: BTreeSet<Key>) {
        let snapshot = self.pods_seen.store.snapshot();
        for key in keys {
            match snapshot.get(&key) {
                Some(pod) => self.set_pod(pod),
                None => {
                    self.forget_pod(&PodKey { namespace: key.namespace.to_string(), name: key.name.to_string() });
                }
            }
        }
        self.pods_seen.synchronized = true;
    }

    fn on_nodes(&mut self, keys: BTreeSet<Key>) {
        let snapshot = self.nodes_seen.store.snapshot();
        for key in keys {
            match snapshot.get(&key) {
                Some(node) => self.set_node(node),
                None if self.nodes.remove_node(&key.name) => {
                    self.queue.happened(&Event::NodeGone, &self.nodes, Instant::now());
                }
                None => {}
            }
        }
        self.nodes_seen.synchronized = true;
    }

    fn set_pod(&mut self, pod: &Arc<Pod>) {
        let Some(info) = PodInfo::of(pod).map(Arc::new) else { return };
        let before = self.known_pods.insert(info.key.clone(), info.uid.clone());
        if before.is_some_and(|uid| uid != info.uid) {
            // Gone and made again under its name while we did something else.
            self.forget_pod(&info.key);
            self.known_pods.insert(info.key.clone(), info.uid.clone());
        }
        if info.finished {
            return self.forget_pod(&info.key);
        }
        match &info.node_name {
            Some(node) => {
                self.assumed.remove(&info.key);
                self.queue.remove(&info.key);
                self.place(node, &info);
            }
            None if self.assumed.contains(&info.key) => {}
            None if info.scheduler_name != self.options.scheduler_name || info.terminating => {
                self.queue.remove(&info.key)
            }
            None => self.queue.set(info, Instant::now()),
        }
    }

    /// Counts a pod on a node and lets those hear of it that wait for such a one.
    fn place(&mut self, node: &str, info: &Arc<PodInfo>) {
        let before = self.nodes.pod(&info.key).cloned();
        self.nodes.place_pod(node, info.clone());
        let event = match (&before, self.nodes.row(node)) {
            (None, _) => Event::PodCame(info),
            (Some(before), Some(row)) => Event::PodChanged { row, before, now: info },
            _ => return,
        };
        if !before.as_ref().is_some_and(|before| before.weighs_the_same(info)) {
            self.queue.happened(&event, &self.nodes, Instant::now());
        }
    }

    fn forget_pod(&mut self, key: &PodKey) {
        self.known_pods.remove(key);
        self.assumed.remove(key);
        self.nodes.storage.forget(key);
        self.queue.remove(key);
        self.take_away(key);
    }

    fn set_node(&mut self, node: &Node) {
        let change = self.nodes.set_node(node);
        let row = node.metadata.name.as_deref().and_then(|name| self.nodes.row(name));
        if let (true, Some(row)) = (change != NodeChange::default(), row) {
            self.queue.happened(&Event::Node(row, change), &self.nodes, Instant::now());
        }
    }

    fn on_outcome(&mut self, outcome: Outcome) {
        let key = &outcome.pod.key;
        self.nodes.storage.forget(key);
        if outcome.bound || !self.assumed.remove(key) {
            return;
        }
        self.queue.failed(key, Instant::now());
        self.take_away(key);
    }

    /// Counts a pod nowhere any more and lets others have its room.
    fn take_away(&mut self, key: &PodKey) {
        if let Some((row, gone)) = self.nodes.remove_pod(key) {
            self.queue.happened(&Event::PodGone(row, &gone), &self.nodes, Instant::now());
        }
    }

    async fn decide_some(&mut self) {
        for _ in 0..DECISIONS_AT_ONCE {
            // With all bindings under way, the next decision waits for one to end: that bounds memory and load.
            if self.bindings.available_permits() == 0
                && let Some(outcome) = self.outcomes.1.recv().await
            {
                self.on_outcome(outcome);
            }
            let Some(pod) = self.queue.pop() else { return };
            match schedule(&pod, &self.nodes, rand::random()) {
                Decision::Node(row) => self.assume_and_bind(pod, row),
                Decision::Unschedulable(diagnosis) => self.give_back(pod, diagnosis),
            }
        }
    }

    fn assume_and_bind(&mut self, pod: Arc<PodInfo>, row: usize) {
        let node = self.nodes.names[row].clone();
        let choice = Arc::new(PodVolumes::of(&pod, &self.nodes).choose(&self.nodes, row).unwrap_or_default());
        let labels = if choice.is_empty() { BTreeMap::new() } else { self.nodes.labels[row].clone() };
        if !choice.is_empty() {
            self.nodes.storage.assume(&pod.key, &node, choice.clone());
        }
        self.place(&node, &pod);
        self.assumed.insert(pod.key.clone());
        let (report, outcomes, bindings) = (self.report.clone(), self.outcomes.0.clone(), self.bindings.clone());
        let volumes = self.volume_writer.clone();
        tokio::spawn(async move {
            // Volumes may take minutes: until they are there, others may be bound.
            if !choice.is_empty()
                && let Err(error) = volumes.bind(&choice, &node, &labels).await
            {
                tracing::warn!(pod = %pod.key, node, error, "failed to bind the volumes of a pod");
                let message = format!("running PreBind plugin \"VolumeBinding\": binding volumes: {error}");
                report.failed(&pod, message).await;
                let _ = outcomes.send(Outcome { pod, bound: false });
                return;
            }
            let _permit = bindings.acquire().await;
            let bound = report.bind(&pod, &node).await;
            if let Err(error) = &bound {
                tracing::warn!(pod = %pod.key, node, %error, "failed to bind a pod");
            }
            let _ = outcomes.send(Outcome { pod, bound: bound.is_ok() });
        });
    }

    fn give_back(&mut self, pod: Arc<PodInfo>, diagnosis: Diagnosis) {
        let mut message = diagnosis.message();
        let preemption = preempt(&pod, &mut self.nodes, &diagnosis);
        self.queue.unschedulable(&pod.key, &diagnosis.plugins, Instant::now());
        let report = self.report.clone();
        match preemption {
            Preemption::Victims { node, pods } => {
                tokio::spawn(async move {
                    for victim in &pods {
                        report.evict_for(victim, &pod, &node).await;
                    }
                    report.unschedulable(&pod, &message, Some(&node)).await;
                });
            }
            Preemption::No(why) => {
                if !why.is_empty() {
                    // Resource claims come first in upstream's list of what might have helped.
                    message = format!("{message} no new claims to deallocate, {why}");
                }
                tokio::spawn(async move { report.unschedulable(&pod, &message, None).await });
            }
        }
    }
}
