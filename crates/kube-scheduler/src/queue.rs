//! Pods that wait for a node: the active ones in order of priority and age, those that back off after a failure, those
//! that nothing has happened for yet, and those held back by scheduling gates. A pure structure; time is handed in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::plugins::{self, Event};
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
    backing_off: BTreeMap<(Instant, PodKey), ()>,
}

struct Waiting {
    pod: Arc<PodInfo>,
    attempts: u32,
    place: Place,
}

enum Place {
    Active,
    BackingOff(Instant),
    /// Since when, and which plugins rejected it.
    Unschedulable(Instant, BTreeSet<&'static str>),
    /// Taken out by `pop`, not yet bound or given back; whether something happened meanwhile that may concern it.
    InFlight(bool),
    Gated,
}

impl SchedulingQueue {
    /// Adds a pod or notes that it changed. A changed pod that did not fit is tried again.
    pub fn set(&mut self, pod: Arc<PodInfo>) {
        let key = pod.key.clone();
        let known = self.pods.remove(&key);
        let attempts =
            known.as_ref().filter(|waiting| waiting.pod.uid == pod.uid).map_or(0, |waiting| waiting.attempts);
        let place = match known {
            Some(waiting) => {
                self.take_out(&waiting);
                match waiting.place {
                    _ if pod.gated => Place::Gated,
                    Place::BackingOff(until) => Place::BackingOff(until),
                    // A change of its own status, such as the condition that we write, is no reason to try again.
                    Place::Unschedulable(since, plugins) if !differs(&waiting.pod, &pod) => {
                        Place::Unschedulable(since, plugins)
                    }
                    Place::InFlight(moved) => Place::InFlight(moved || differs(&waiting.pod, &pod)),
                    _ => Place::Active,
                }
            }
            None if pod.gated => Place::Gated,
            None => Place::Active,
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
        waiting.place = Place::InFlight(false);
        Some(waiting.pod.clone())
    }

    /// Gives back a pod that fits nowhere. If something happened since it was taken that may concern it, it only backs off.
    pub fn unschedulable(&mut self, key: &PodKey, plugins: BTreeSet<&'static str>, now: Instant) {
        let Some(mut waiting) = self.pods.remove(key) else { return };
        waiting.place = match waiting.place {
            Place::InFlight(true) => Place::BackingOff(now + backoff(waiting.attempts)),
            _ => Place::Unschedulable(now, plugins),
        };
        self.put(waiting);
    }

    /// Gives back a pod whose binding failed.
    pub fn failed(&mut self, key: &PodKey, now: Instant) {
        let Some(mut waiting) = self.pods.remove(key) else { return };
        waiting.place = Place::BackingOff(now + backoff(waiting.attempts));
        self.put(waiting);
    }

    /// Something happened: pods whose rejecting plugins care are tried again, after what is left of their back-off.
    pub fn happened(&mut self, event: Event, now: Instant) {
        let cares = |name: &&str| plugins::ALL.iter().any(|plugin| plugin.name() == *name && plugin.may_help(event));
        let mut moved = Vec::new();
        for (key, waiting) in &mut self.pods {
            match &mut waiting.place {
                // Rejected without any plugin: there were no nodes at all.
                Place::Unschedulable(_, plugins) if plugins.is_empty() || plugins.iter().any(cares) => {
                    moved.push(key.clone())
                }
                Place::InFlight(something) => *something = true,
                _ => {}
            }
        }
        for key in moved {
            self.wake(&key, now);
        }
    }

    /// Moves pods on whose time has come; tells when to call again.
    pub fn advance(&mut self, now: Instant) -> Option<Instant> {
        while let Some(entry) = self.backing_off.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let ((_, key), ()) = entry.remove_entry();
            if let Some(mut waiting) = self.pods.remove(&key) {
                waiting.place = Place::Active;
                self.put(waiting);
            }
        }
        let mut next = self.backing_off.first_key_value().map(|((until, _), ())| *until);
        let mut overdue = Vec::new();
        for (key, waiting) in &self.pods {
            if let Place::Unschedulable(since, _) = &waiting.place {
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
        if let Place::Unschedulable(since, _) = waiting.place {
            let until = since + backoff(waiting.attempts);
            waiting.place = if until <= now { Place::Active } else { Place::BackingOff(until) };
        }
        self.put(waiting);
    }

    fn put(&mut self, waiting: Waiting) {
        let key = waiting.pod.key.clone();
        match waiting.place {
            Place::Active => drop(self.active.insert(order(&waiting.pod))),
            Place::BackingOff(until) => drop(self.backing_off.insert((until, key.clone()), ())),
            _ => {}
        }
        self.pods.insert(key, waiting);
    }

    fn take_out(&mut self, waiting: &Waiting) {
        match waiting.place {
            Place::Active => drop(self.active.remove(&order(&waiting.pod))),
            Place::BackingOff(until) => drop(self.backing_off.remove(&(until, waiting.pod.key.clone()))),
            _ => {}
        }
    }
}

fn order(pod: &PodInfo) -> Order {
    (Reverse(pod.priority), pod.created, pod.key.clone())
}

/// Whether a pod changed in what decisions depend on.
fn differs(one: &PodInfo, other: &PodInfo) -> bool {
    one.uid != other.uid
        || one.gated != other.gated
        || one.requests != other.requests
        || one.tolerations != other.tolerations
        || one.affinity != other.affinity
        || one.nominated_node != other.nominated_node
}

fn backoff(attempts: u32) -> Duration {
    BACKOFF_INITIAL.saturating_mul(1 << attempts.saturating_sub(1).min(8)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::nodes::NodeChange;
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
            queue.set(waiting(name, priority));
        }
        let order: Vec<_> = std::iter::from_fn(|| popped(&mut queue)).collect();
        assert_eq!(order, ["high", "also-low", "low"]);
    }

    #[test]
    fn only_events_that_can_help_bring_a_pod_back_and_not_before_its_back_off() {
        let mut queue = SchedulingQueue::default();
        let start = Instant::now();
        queue.set(waiting("p", 0));
        let pod = queue.pop().unwrap();
        queue.unschedulable(&pod.key, BTreeSet::from(["NodeResourcesFit"]), start);
        queue.happened(Event::Node(NodeChange { labels: true, ..NodeChange::default() }), start);
        assert_eq!(queue.advance(start + Duration::from_secs(2)), Some(start + UNSCHEDULABLE_MAX));
        queue.happened(Event::PodGone, start);
        assert_eq!(popped(&mut queue), None);
        assert_eq!(queue.advance(start), Some(start + BACKOFF_INITIAL));
        queue.advance(start + BACKOFF_INITIAL);
        assert_eq!(popped(&mut queue).as_deref(), Some("p"));
        // The second failure waits twice as long; what happens while the pod is being tried is not lost.
        queue.happened(Event::PodGone, start);
        queue.unschedulable(&pod.key, BTreeSet::from(["NodeResourcesFit"]), start);
        assert_eq!(queue.advance(start), Some(start + 2 * BACKOFF_INITIAL));
    }

    #[test]
    fn a_pod_that_nothing_happened_for_is_tried_again_in_the_end() {
        let mut queue = SchedulingQueue::default();
        let start = Instant::now();
        queue.set(waiting("p", 0));
        let pod = queue.pop().unwrap();
        queue.unschedulable(&pod.key, BTreeSet::from(["NodeName"]), start);
        queue.advance(start + UNSCHEDULABLE_MAX);
        assert_eq!(popped(&mut queue).as_deref(), Some("p"));
    }

    #[test]
    fn gates_hold_a_pod_back_until_they_are_gone() {
        let mut queue = SchedulingQueue::default();
        queue.set(Arc::new(pod("p", json!({"schedulingGates": [{"name": "wait"}]}))));
        assert!(popped(&mut queue).is_none());
        queue.set(waiting("p", 0));
        assert_eq!(popped(&mut queue).as_deref(), Some("p"));
    }
}
