//! Pods that wait for a node: the active ones in order of priority and age, those that back off after a failure, those
//! that nothing has happened for yet, and those held back by scheduling gates. A pure structure; time is handed in.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::nodes::Nodes;
use crate::plugins::{self, Event, PluginSet, PodChange};
use crate::pod_info::{PodInfo, PodKey};

const BACKOFF_INITIAL: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A pod that no event concerned is tried again after this long all the same.
const UNSCHEDULABLE_MAX: Duration = Duration::from_secs(5 * 60);

type Order = (Reverse<i32>, Timestamp, PodKey);

/// All pods that wait.
#[derive(Default)]
pub struct SchedulingQueue {
    pods: HashMap<PodKey, Waiting>,
    active: BTreeSet<Order>,
    backing_off: BTreeSet<(Instant, PodKey)>,
    /// Those that nothing has happened for, with the plugins that rejected them; `None` where there was no node at all.
    unschedulable: HashMap<PodKey, Option<PluginSet>>,
}

struct Waiting {
    pod: Arc<PodInfo>,
    attempts: u32,
    place: Place,
}

enum Place {
    Active,
    BackingOff(Instant),
    /// Since when, and which plugins rejected it; `None` where there was no node at all.
    Unschedulable(Instant, Option<PluginSet>),
    /// Taken out by `pop`, not yet bound or given back.
    InFlight,
    Gated,
}

impl SchedulingQueue {
    /// Adds a pod or notes that it changed. A changed pod that did not fit is tried again if the change can help.
    pub fn set(&mut self, pod: Arc<PodInfo>, now: Instant) {
        let key = pod.key.clone();
        let Some(known) = self.pods.remove(&key) else {
            let place = if pod.gated { Place::Gated } else { Place::Active };
            return self.put(Waiting { pod, attempts: 0, place });
        };
        self.take_out(&known);
        let same = known.pod.uid == pod.uid;
        let attempts = if same { known.attempts } else { 0 };
        let place = match known.place {
            _ if pod.gated => Place::Gated,
            Place::Gated => Place::Active,
            _ if !same => Place::Active,
            // A change of its own status, such as the condition that we write, is no reason to try again.
            Place::Unschedulable(since, plugins) if change_helps(&known.pod, &pod, plugins) => {
                waiting_place(since, attempts, now)
            }
            place => place,
        };
        self.put(Waiting { pod, attempts, place });
    }

    pub fn remove(&mut self, key: &PodKey) {
        if let Some(waiting) = self.pods.remove(key) {
            self.take_out(&waiting);
        }
    }

    /// The next pod to try.
    pub fn pop(&mut self) -> Option<Arc<PodInfo>> {
        let (_, _, key) = self.active.pop_first()?;
        let waiting = self.pods.get_mut(&key)?;
        waiting.attempts += 1;
        waiting.place = Place::InFlight;
        Some(waiting.pod.clone())
    }

    /// Gives back a pod that fits nowhere, with the plugins that rejected it, none of them if there are no nodes.
    pub fn unschedulable(&mut self, key: &PodKey, plugins: &BTreeSet<&'static str>, now: Instant) {
        let Some(mut waiting) = self.pods.remove(key) else { return };
        let plugins = (!plugins.is_empty()).then(|| PluginSet::named(plugins));
        waiting.place = Place::Unschedulable(now, plugins);
        self.put(waiting);
    }

    /// Gives back a pod whose binding failed.
    pub fn failed(&mut self, key: &PodKey, now: Instant) {
        let Some(mut waiting) = self.pods.remove(key) else { return };
        waiting.place = Place::BackingOff(now + backoff(waiting.attempts));
        self.put(waiting);
    }

    /// Something happened: pods that it can help are tried again, after what is left of their back-off.
    pub fn happened(&mut self, event: &Event<'_>, nodes: &Nodes, now: Instant) {
        let concerned = PluginSet::concerned_by(event);
        let moved = self.unschedulable.iter().filter(|(key, rejecting)| {
            let Some(rejecting) = rejecting else { return matches!(event, Event::Node(_, change) if change.added) };
            let plugins = rejecting.and(concerned);
            !plugins.is_empty()
                && self.pods.get(key).is_some_and(|waiting| plugins::may_help(plugins, event, &waiting.pod, nodes))
        });
        let moved: Vec<PodKey> = moved.map(|(key, _)| key.clone()).collect();
        for key in moved {
            self.wake(&key, now);
        }
    }

    /// Moves pods on whose time has come; tells when to call again.
    pub fn advance(&mut self, now: Instant) -> Option<Instant> {
        while self.backing_off.first().is_some_and(|(until, _)| *until <= now) {
            let Some((_, key)) = self.backing_off.pop_first() else { break };
            if let Some(mut waiting) = self.pods.remove(&key) {
                waiting.place = Place::Active;
                self.put(waiting);
            }
        }
        let mut next = self.backing_off.first().map(|(until, _)| *until);
        let mut overdue = Vec::new();
        for key in self.unschedulable.keys() {
            if let Some(Waiting { place: Place::Unschedulable(since, _), .. }) = self.pods.get(key) {
                let due = *since + UNSCHEDULABLE_MAX;
                if due <= now {
                    overdue.push(key.clone());
                } else {
                    next = Some(next.map_or(due, |next| next.min(due)));
                }
            }
        }
        for key in overdue {
            self.wake(&key, now);
        }
        next
    }

    pub fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    fn wake(&mut self, key: &PodKey, now: Instant) {
        let Some(mut waiting) = self.pods.remove(key) else { return };
        self.take_out(&waiting);
        if let Place::Unschedulable(since, _) = waiting.place {
            waiting.place = waiting_place(since, waiting.attempts, now);
        }
        self.put(waiting);
    }

    fn put(&mut self, waiting: Waiting) {
        let key = waiting.pod.key.clone();
        match &waiting.place {
            Place::Active => drop(self.active.insert(order(&waiting.pod))),
            Place::BackingOff(until) => drop(self.backing_off.insert((*until, key.clone()))),
            Place::Unschedulable(_, plugins) => drop(self.unschedulable.insert(key.clone(), *plugins)),
            Place::InFlight | Place::Gated => {}
        }
        self.pods.insert(key, waiting);
    }

    fn take_out(&mut self, waiting: &Waiting) {
        let key = &waiting.pod.key;
        match &waiting.place {
            Place::Active => drop(self.active.remove(&order(&waiting.pod))),
            Place::BackingOff(until) => drop(self.backing_off.remove(&(*until, key.clone()))),
            Place::Unschedulable(..) => drop(self.unschedulable.remove(key)),
            Place::InFlight | Place::Gated => {}
        }
    }
}

/// Where a pod goes that may fit now, having failed for the last time at `since`.
fn waiting_place(since: Instant, attempts: u32, now: Instant) -> Place {
    let until = since + backoff(attempts);
    if until <= now { Place::Active } else { Place::BackingOff(until) }
}

fn order(pod: &PodInfo) -> Order {
    (Reverse(pod.priority), pod.created, pod.key.clone())
}

/// Whether a waiting pod changed in what its rejecting plugins look at.
fn change_helps(before: &PodInfo, now: &PodInfo, rejecting: Option<PluginSet>) -> bool {
    let change = PodChange {
        labels: before.labels() != now.labels(),
        tolerations: before.tolerations != now.tolerations,
        requests: before.requests != now.requests,
    };
    let concerned = PluginSet::concerned_by(&Event::Own(change));
    rejecting.is_some_and(|rejecting| !rejecting.and(concerned).is_empty())
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF_INITIAL.saturating_mul(1 << attempts.saturating_sub(1).min(8)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::nodes::NodeChange;
    use crate::nodes::tests::node;
    use crate::pod_info::tests::pod;

    fn waiting(name: &str, priority: i32) -> Arc<PodInfo> {
        Arc::new(pod(name, json!({"priority": priority})))
    }

    fn popped(queue: &mut SchedulingQueue) -> Option<String> {
        queue.pop().map(|pod| pod.key.name.clone())
    }

    #[test]
    fn the_most_important_pod_comes_first() {
        let mut queue = SchedulingQueue::default();
        for (name, priority) in [("low", 0), ("high", 10), ("also-low", 0)] {
            queue.set(waiting(name, priority), Instant::now());
        }
        let order: Vec<_> = std::iter::from_fn(|| popped(&mut queue)).collect();
        assert_eq!(order, ["high", "also-low", "low"]);
    }

    /// A queue whose only pod was just rejected by these plugins for the first time.
    fn rejected(spec: serde_json::Value, plugins: &[&'static str], now: Instant) -> SchedulingQueue {
        let mut queue = SchedulingQueue::default();
        queue.set(Arc::new(pod("p", spec)), now);
        let pod = queue.pop().unwrap();
        queue.unschedulable(&pod.key, &plugins.iter().copied().collect(), now);
        queue
    }

    fn cluster(spec: serde_json::Value) -> Nodes {
        let mut nodes = Nodes::default();
        nodes.set_node(&node("a", "2", "1Gi", spec));
        nodes
    }

    #[test]
    fn only_events_that_can_help_bring_a_pod_back_and_not_before_its_back_off() {
        let (start, nodes) = (Instant::now(), cluster(json!({})));
        let mut queue = rejected(json!({}), &["NodeResourcesFit"], start);
        queue.happened(&Event::Node(0, NodeChange { labels: true, ..NodeChange::default() }), &nodes, start);
        assert_eq!(queue.advance(start + Duration::from_secs(2)), Some(start + UNSCHEDULABLE_MAX));
        let gone = pod("gone", json!({}));
        queue.happened(&Event::PodGone(Some(0), &gone), &nodes, start);
        assert_eq!(popped(&mut queue), None);
        assert_eq!(queue.advance(start), Some(start + BACKOFF_INITIAL));
        queue.advance(start + BACKOFF_INITIAL);
        assert_eq!(popped(&mut queue).as_deref(), Some("p"));
        // The second failure waits twice as long, but not beyond that: what is left of it counts.
        let key = PodKey { namespace: "default".into(), name: "p".into() };
        queue.unschedulable(&key, &BTreeSet::from(["NodeResourcesFit"]), start);
        queue.happened(&Event::PodGone(Some(0), &gone), &nodes, start + BACKOFF_INITIAL);
        assert_eq!(queue.advance(start), Some(start + 2 * BACKOFF_INITIAL));
    }

    #[test]
    fn what_happens_on_a_node_that_stays_out_of_the_question_is_no_attempt() {
        let start = Instant::now();
        let later = start + Duration::from_secs(2);
        let taints = NodeChange { taints: true, ..NodeChange::default() };
        // The cordon is lifted first and its taint taken away after it: only then the pod has a chance.
        let taint = json!({"taints": [{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]});
        let mut queue = rejected(json!({}), &["NodeUnschedulable"], start);
        queue.happened(&Event::Node(0, taints), &cluster(taint.clone()), later);
        assert_eq!(popped(&mut queue), None);
        queue.happened(&Event::Node(0, taints), &cluster(json!({})), later);
        assert_eq!(popped(&mut queue).as_deref(), Some("p"));
        // Room on a node that the pod may not use is no room.
        let mut queue = rejected(json!({}), &["NodeResourcesFit"], start);
        let gone = pod("gone", json!({}));
        queue.happened(&Event::PodGone(Some(0), &gone), &cluster(taint), later);
        assert_eq!(popped(&mut queue), None);
        queue.happened(&Event::PodGone(Some(0), &gone), &cluster(json!({})), later);
        assert_eq!(popped(&mut queue).as_deref(), Some("p"));
        // A port helps only who waits for it.
        let takes =
            |port: u16| json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": port}]}]});
        let mut queue = rejected(takes(80), &["NodePorts"], start);
        queue.happened(&Event::PodGone(Some(0), &pod("gone", takes(81))), &cluster(json!({})), later);
        assert_eq!(popped(&mut queue), None);
        queue.happened(&Event::PodGone(Some(0), &pod("gone", takes(80))), &cluster(json!({})), later);
        assert_eq!(popped(&mut queue).as_deref(), Some("p"));
    }

    #[test]
    fn a_change_of_the_pod_counts_where_it_matters() {
        let start = Instant::now();
        let later = start + Duration::from_secs(2);
        let tolerant = json!({"tolerations": [{"operator": "Exists"}]});
        let mut queue = rejected(json!({}), &["NodeResourcesFit"], start);
        queue.set(Arc::new(pod("p", tolerant.clone())), later);
        assert_eq!(popped(&mut queue), None);
        let mut queue = rejected(json!({}), &["TaintToleration"], start);
        queue.set(Arc::new(pod("p", json!({}))), later);
        assert_eq!(popped(&mut queue), None);
        queue.set(Arc::new(pod("p", tolerant)), later);
        assert_eq!(popped(&mut queue).as_deref(), Some("p"));
    }

    #[test]
    fn without_any_node_only_a_node_helps() {
        let start = Instant::now();
        let later = start + Duration::from_secs(2);
        let mut queue = rejected(json!({}), &[], start);
        queue.happened(&Event::PodGone(None, &pod("gone", json!({}))), &Nodes::default(), later);
        assert_eq!(popped(&mut queue), None);
        let added = NodeChange { added: true, ..NodeChange::default() };
        queue.happened(&Event::Node(0, added), &cluster(json!({})), later);
        assert_eq!(popped(&mut queue).as_deref(), Some("p"));
    }

    #[test]
    fn a_pod_that_nothing_happened_for_is_tried_again_in_the_end() {
        let start = Instant::now();
        let mut queue = rejected(json!({}), &["NodeName"], start);
        queue.advance(start + UNSCHEDULABLE_MAX);
        assert_eq!(popped(&mut queue).as_deref(), Some("p"));
    }

    #[test]
    fn gates_hold_a_pod_back_until_they_are_gone() {
        let mut queue = SchedulingQueue::default();
        queue.set(Arc::new(pod("p", json!({"schedulingGates": [{"name": "wait"}]}))), Instant::now());
        assert!(popped(&mut queue).is_none());
        queue.set(waiting("p", 0), Instant::now());
        assert_eq!(popped(&mut queue).as_deref(), Some("p"));
    }
}
