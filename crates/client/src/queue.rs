//! Keys that want to be looked at. Each key waits at most once, is worked on by one at a time, and after a failure comes
//! back with a delay that doubles from 5 ms to 1000 s.
//!
//! Bound: a key is held once whatever happens, so the queue is never longer than there are objects (and names of objects
//! that were deleted and not yet looked at). A key has one pending delay at most: being looked at earlier drops it,
//! because a decision says anew when it wants to look again.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

const BACKOFF_MIN: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(1000);

/// The queue.
pub struct WorkQueue<T> {
    state: Mutex<State<T>>,
    wake: Notify,
}

struct State<T> {
    ready: VecDeque<T>,
    waiting: HashSet<T>,
    running: HashSet<T>,
    delayed: BTreeSet<(Instant, T)>,
    due: HashMap<T, Instant>,
    failures: HashMap<T, u32>,
}

impl<T> Default for WorkQueue<T> {
    fn default() -> Self {
        let state = State {
            ready: VecDeque::new(),
            waiting: HashSet::new(),
            running: HashSet::new(),
            delayed: BTreeSet::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
        };
        Self { state: Mutex::new(state), wake: Notify::new() }
    }
}

impl<T: Clone + Eq + Hash + Ord> State<T> {
    fn add(&mut self, key: T) {
        self.undelay(&key);
        if self.waiting.insert(key.clone()) && !self.running.contains(&key) {
            self.ready.push_back(key);
        }
    }

    fn undelay(&mut self, key: &T) {
        if let Some(due) = self.due.remove(key) {
            self.delayed.remove(&(due, key.clone()));
        }
    }

    /// Moves what is due to the ready keys; tells when the next one is.
    fn ripen(&mut self, now: Instant) -> Option<Instant> {
        while let Some((due, key)) = self.delayed.first().cloned() {
            if due > now {
                return Some(due);
            }
            self.add(key);
        }
        None
    }
}

impl<T: Clone + Eq + Hash + Ord> WorkQueue<T> {
    /// Wants a key looked at now.
    pub fn add(&self, key: T) {
        self.state.lock().add(key);
        self.wake.notify_one();
    }

    /// Wants a key looked at after a while, unless it is looked at earlier anyway.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.state.lock();
        let due = Instant::now() + delay.min(Duration::from_secs(365 * 86_400));
        if state.waiting.contains(&key) || state.due.get(&key).is_some_and(|known| *known <= due) {
            return;
        }
        state.undelay(&key);
        state.due.insert(key.clone(), due);
        state.delayed.insert((due, key));
        drop(state);
        self.wake.notify_one();
    }

    /// Wants a key looked at again after its back-off, which doubles.
    pub fn retry(&self, key: T) {
        let delay = {
            let mut state = self.state.lock();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            let delay = backoff(*failures);
            *failures = failures.saturating_add(1);
            delay
        };
        self.add_after(key, delay);
    }

    /// How often a key has failed in a row.
    pub fn failures(&self, key: &T) -> u32 {
        self.state.lock().failures.get(key).copied().unwrap_or(0)
    }

    /// Forgets a key's failures.
    pub fn forget(&self, key: &T) {
        self.state.lock().failures.remove(key);
    }

    /// The next key; it is running until [`Self::done`].
    pub async fn next(&self) -> T {
        loop {
            let next_due = {
                let mut state = self.state.lock();
                let next_due = state.ripen(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.waiting.remove(&key);
                    state.running.insert(key.clone());
                    return key;
                }
                next_due
            };
            match next_due {
                Some(due) => tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = self.wake.notified() => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    /// Ends the work on a key; if it was added meanwhile it is ready again.
    pub fn done(&self, key: &T) {
        let mut state = self.state.lock();
        state.running.remove(key);
        if state.waiting.contains(key) {
            state.ready.push_back(key.clone());
            drop(state);
            self.wake.notify_one();
        }
    }

    /// How many keys are ready.
    pub fn len(&self) -> usize {
        self.state.lock().ready.len()
    }

    /// Whether no key is ready.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn backoff(failures: u32) -> Duration {
    BACKOFF_MIN.saturating_mul(1_u32.checked_shl(failures.min(31)).unwrap_or(u32::MAX)).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test(start_paused = true)]
    async fn a_key_waits_once_and_is_worked_on_by_one() {
        let queue = WorkQueue::default();
        queue.add("a");
        queue.add("a");
        queue.add("b");
        assert_eq!(queue.next().await, "a");
        queue.add("a");
        assert_eq!(queue.next().await, "b");
        assert!(queue.next().now_or_never().is_none(), "a is still being worked on");
        queue.done(&"a");
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test(start_paused = true)]
    async fn delays_are_kept_and_the_earliest_wins() {
        let queue = WorkQueue::default();
        let start = Instant::now();
        queue.add_after("late", Duration::from_secs(60));
        queue.add_after("soon", Duration::from_secs(5));
        queue.add_after("soon", Duration::from_secs(9));
        assert_eq!(queue.next().await, "soon");
        assert_eq!(start.elapsed().as_secs(), 5);
        queue.done(&"soon");
        queue.add("late");
        assert_eq!(queue.next().await, "late");
        queue.done(&"late");
        assert!(tokio::time::timeout(Duration::from_secs(600), queue.next()).await.is_err(), "no second waking");
    }

    #[test]
    fn back_off_doubles_up_to_its_bound() {
        assert_eq!([0, 1, 2, 10].map(|n| backoff(n).as_millis()), [5, 10, 20, 5120]);
        assert_eq!([18, 31, 1000].map(|n| backoff(n).as_secs()), [1000, 1000, 1000]);
    }
}
