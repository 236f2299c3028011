//! The loop: takes in what happens to pods and nodes, decides for one pod after the other, assumes the outcome at once
//! and lets the binding follow in the background.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::{BoxStream, StreamExt};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::watcher::Event as WatchEvent;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::sync::{Semaphore, mpsc};

use crate::Options;
use crate::nodes::Nodes;
use crate::plugins::Event;
use crate::pod_info::{PodInfo, PodKey};
use crate::preemption::{Preemption, preempt};
use crate::queue::SchedulingQueue;
use crate::report::Report;
use crate::schedule_one::{Decision, Diagnosis, schedule};

/// Decisions made before the loop looks at what has happened meanwhile.
const DECISIONS_AT_ONCE: usize = 64;
/// With nothing to wait for, the loop wakes up this often all the same.
const IDLE: Duration = Duration::from_secs(300);

type Watched<K> = BoxStream<'static, Result<WatchEvent<K>, watcher::Error>>;

pub(crate) struct Scheduler {
    options: Options,
    report: Report,
    pod_events: Watched<Pod>,
    node_events: Watched<Node>,
    queue: SchedulingQueue,
    nodes: Nodes,
    /// Pods whose binding is under way: counted on their node, whatever the watch still says of them.
    assumed: HashSet<PodKey>,
    bindings: Arc<Semaphore>,
    outcomes: (mpsc::UnboundedSender<Outcome>, mpsc::UnboundedReceiver<Outcome>),
    /// Keys seen while a watch starts over: what is not among them at the end has gone.
    relisted_pods: Option<HashSet<PodKey>>,
    relisted_nodes: Option<HashSet<String>>,
    known_pods: HashSet<PodKey>,
    synchronized: (bool, bool),
}

/// A binding has ended. The channel is bounded by the number of bindings under way.
struct Outcome {
    pod: Arc<PodInfo>,
    bound: bool,
}

impl Scheduler {
    pub fn new(client: Client, options: Options) -> Self {
        // Pods that have ended take no room and need no node.
        let open_pods = watcher::Config::default().fields("status.phase!=Succeeded,status.phase!=Failed");
        let pods = watcher(Api::<Pod>::all(client.clone()), open_pods).default_backoff();
        let nodes = watcher(Api::<Node>::all(client.clone()), watcher::Config::default()).default_backoff();
        Self {
            report: Report::new(client, &options.scheduler_name),
            pod_events: pods.boxed(),
            node_events: nodes.boxed(),
            queue: SchedulingQueue::default(),
            nodes: Nodes::default(),
            assumed: HashSet::new(),
            bindings: Arc::new(Semaphore::new(options.bindings_max)),
            outcomes: mpsc::unbounded_channel(),
            relisted_pods: None,
            relisted_nodes: None,
            known_pods: HashSet::new(),
            synchronized: (false, false),
            options,
        }
    }

    pub async fn run(mut self) {
        let mut wake = Instant::now() + IDLE;
        loop {
            // What has happened comes before what is decided; only with nothing left to take in is a pod tried.
            let ready = self.synchronized == (true, true) && self.queue.has_active();
            tokio::select! {
                biased;
                Some(event) = self.node_events.next() => self.on_node(event),
                Some(outcome) = self.outcomes.1.recv() => self.on_outcome(outcome),
                Some(event) = self.pod_events.next() => self.on_pod(event),
                () = tokio::time::sleep_until(wake.into()), if !ready => {}
                () = std::future::ready(()), if ready => self.decide_some().await,
            }
            wake = self.queue.advance(Instant::now()).unwrap_or_else(|| Instant::now() + IDLE);
        }
    }

    fn on_pod(&mut self, event: Result<WatchEvent<Pod>, watcher::Error>) {
        match event {
            Ok(WatchEvent::Apply(pod)) => self.set_pod(&pod),
            Ok(WatchEvent::InitApply(pod)) => {
                if let (Some(seen), Some(info)) = (&mut self.relisted_pods, PodInfo::of(&pod)) {
                    seen.insert(info.key);
                }
                self.set_pod(&pod);
            }
            Ok(WatchEvent::Delete(pod)) => {
                if let Some(info) = PodInfo::of(&pod) {
                    self.forget_pod(&info.key);
                }
            }
            Ok(WatchEvent::Init) => self.relisted_pods = Some(HashSet::new()),
            Ok(WatchEvent::InitDone) => {
                let seen = self.relisted_pods.take().unwrap_or_default();
                let gone: Vec<PodKey> = self.known_pods.difference(&seen).cloned().collect();
                gone.iter().for_each(|key| self.forget_pod(key));
                self.synchronized.0 = true;
            }
            Err(error) => tracing::warn!(%error, "the scheduler's watch of pods failed and goes on"),
        }
    }

    fn set_pod(&mut self, pod: &Pod) {
        let Some(info) = PodInfo::of(pod).map(Arc::new) else { return };
        self.known_pods.insert(info.key.clone());
        if info.finished {
            return self.forget_pod(&info.key);
        }
        match &info.node_name {
            Some(node) => {
                self.assumed.remove(&info.key);
                self.queue.remove(&info.key);
                self.nodes.place_pod(node, info.clone());
            }
            None if self.assumed.contains(&info.key) => {}
            None if info.scheduler_name != self.options.scheduler_name || info.terminating => {
                self.queue.remove(&info.key)
            }
            None => self.queue.set(info),
        }
    }

    fn forget_pod(&mut self, key: &PodKey) {
        self.known_pods.remove(key);
        self.assumed.remove(key);
        self.queue.remove(key);
        if self.nodes.remove_pod(key) {
            self.queue.happened(Event::PodGone, Instant::now());
        }
    }

    fn on_node(&mut self, event: Result<WatchEvent<Node>, watcher::Error>) {
        match event {
            Ok(WatchEvent::Apply(node)) => self.set_node(&node),
            Ok(WatchEvent::InitApply(node)) => {
                if let (Some(seen), Some(name)) = (&mut self.relisted_nodes, &node.metadata.name) {
                    seen.insert(name.clone());
                }
                self.set_node(&node);
            }
            Ok(WatchEvent::Delete(node)) => self.nodes.remove_node(node.metadata.name.as_deref().unwrap_or("")),
            Ok(WatchEvent::Init) => self.relisted_nodes = Some(HashSet::new()),
            Ok(WatchEvent::InitDone) => {
                let seen = self.relisted_nodes.take().unwrap_or_default();
                let gone: Vec<String> = self.nodes.names.iter().filter(|name| !seen.contains(*name)).cloned().collect();
                gone.iter().for_each(|name| self.nodes.remove_node(name));
                self.synchronized.1 = true;
            }
            Err(error) => tracing::warn!(%error, "the scheduler's watch of nodes failed and goes on"),
        }
    }

    fn set_node(&mut self, node: &Node) {
        let change = self.nodes.set_node(node);
        if change != Default::default() {
            self.queue.happened(Event::Node(change), Instant::now());
        }
    }

    fn on_outcome(&mut self, outcome: Outcome) {
        let key = &outcome.pod.key;
        if outcome.bound || !self.assumed.remove(key) {
            return;
        }
        self.nodes.remove_pod(key);
        self.queue.failed(key, Instant::now());
        self.queue.happened(Event::PodGone, Instant::now());
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
                Decision::Node(row) => self.assume_and_bind(pod, self.nodes.names[row].clone()),
                Decision::Unschedulable(diagnosis) => self.give_back(pod, diagnosis),
            }
        }
    }

    fn assume_and_bind(&mut self, pod: Arc<PodInfo>, node: String) {
        self.nodes.place_pod(&node, pod.clone());
        self.assumed.insert(pod.key.clone());
        let (report, outcomes, bindings) = (self.report.clone(), self.outcomes.0.clone(), self.bindings.clone());
        tokio::spawn(async move {
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
        self.queue.unschedulable(&pod.key, diagnosis.plugins, Instant::now());
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
