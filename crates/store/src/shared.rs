//! What the store's handles, its watches and its committer share, and the two steps that more than one of them takes:
//! publishing a durable group, and upkeep (compaction by time, expiry).

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, watch};

use crate::history::{Dropped, History};
use crate::index::Published;
use crate::past::PastReads;
use crate::ring::{Ring, Rings};
use crate::sequencer::{Answer, Change, Group, Request, Sequencer};
use crate::stats::Counters;
use crate::{Event, EventKind, Options, Precondition, Revision, WriteError};

/// How often upkeep runs while there is something to keep up.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Percent of the quota that there is a warning from on, and that ends it: writes around a limit do not fill the log.
const QUOTA_ALARM: u64 = 80;
const QUOTA_ALARM_END: u64 = 75;

type Expiries = BinaryHeap<Reverse<(u64, Arc<str>)>>;

pub(crate) struct Shared<A> {
    pub options: Options,
    pub sequencer: Mutex<Sequencer<A>>,
    /// Wakes the committer.
    pub work: Condvar,
    /// Wakes writers that wait for room in the group.
    pub room: Notify,
    /// The durable state that readers see.
    pub published: ArcSwap<Published<A>>,
    pub history: Mutex<History<A>>,
    pub past: PastReads<A>,
    pub rings: Rings<A>,
    /// Everything up to here is in the rings.
    pub dispatched: AtomicU64,
    pub revisions: watch::Sender<Reached>,
    /// Keys with an expiry; an entry that has changed since is passed over when its time comes.
    pub expiries: Mutex<Expiries>,
    /// Nothing is deleted for its age: see [`crate::Pause`].
    pub is_paused: AtomicBool,
    pub counters: Counters,
}

/// How far the store has come, for those who wait for it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reached {
    Revision(Revision),
    /// No further.
    End,
}

/// What the committer is to do next.
pub(crate) enum Work<A> {
    Group(Group<A>),
    Upkeep,
    End,
}

/// Rings with new events, whose watchers are woken when it is dropped. Whoever has to answer writers does that first: there may be a
/// thousand watchers, and writers take their next step meanwhile.
pub(crate) struct Touched<A>(Vec<Arc<Ring<A>>>);

/// What nobody but old readers sees any more: the state before, and history that is forgotten. To free it is to look at as many nodes
/// of the index as the group had writes, and at every entry in them.
pub(crate) struct Superseded<A> {
    _before: Arc<Published<A>>,
    _dropped: Dropped<A>,
}

impl<A> Drop for Touched<A> {
    fn drop(&mut self) {
        self.0.iter().for_each(|ring| ring.changed.notify_waiters());
    }
}

impl<A: Send + Sync + 'static> Shared<A> {
    pub fn new(options: Options, history: History<A>, rings: Rings<A>, expiries: Expiries) -> Arc<Self> {
        let present = history.present.clone();
        let shared = Arc::new(Self {
            options,
            sequencer: Mutex::new(Sequencer::new(&present)),
            work: Condvar::new(),
            room: Notify::new(),
            dispatched: AtomicU64::new(present.revision),
            revisions: watch::Sender::new(Reached::Revision(present.revision)),
            published: ArcSwap::new(present),
            history: Mutex::new(history),
            past: PastReads::default(),
            rings,
            expiries: Mutex::new(expiries),
            is_paused: AtomicBool::new(false),
            counters: Counters::default(),
        });
        shared.watch_quota();
        shared
    }

    /// Waits for something to do.
    pub fn wait(&self) -> Work<A> {
        let mut sequencer = self.sequencer.lock();
        loop {
            if sequencer.has_work() {
                let group = sequencer.take();
                drop(sequencer);
                self.room.notify_waiters();
                return Work::Group(group);
            }
            if sequencer.closed.is_some() {
                return Work::End;
            }
            sequencer.idle = true;
            let timed_out = self.work.wait_for(&mut sequencer, UPKEEP_INTERVAL).timed_out();
            sequencer.idle = false;
            if timed_out && !sequencer.has_work() && sequencer.closed.is_none() {
                return Work::Upkeep;
            }
        }
    }

    /// Numbers a write and hands it to the committer. `None` if the group has no room left at the moment.
    pub fn submit(&self, request: &mut Option<Request<'_>>) -> Option<Result<Answer<A>, WriteError<A>>> {
        let mut sequencer = self.sequencer.lock();
        if sequencer.gathered_bytes >= self.options.group_bytes_max && sequencer.closed.is_none() {
            return None;
        }
        let answer = sequencer.submit(request.take()?, self.options.quota_bytes, || self.published.load_full());
        self.wake(sequencer);
        Some(answer)
    }

    /// Shows a durable group to readers first, to watchers second.
    pub fn publish(
        &self,
        events: &[Arc<Event<A>>],
        after: Published<A>,
        compact: Option<Revision>,
    ) -> (Touched<A>, Superseded<A>) {
        let revision = after.revision;
        let after = Arc::new(after);
        let (before, dropped, compacted) = {
            let mut history = self.history.lock();
            let before = history.present.clone();
            if !events.is_empty() {
                history.push(events, after.clone(), self.options.clock.monotonic());
                // Within the lock, so that whoever reads history finds it to reach as far as the published state.
                self.published.store(after);
            }
            let (dropped, compacted) = self.trim_history(&mut history, compact);
            (before, dropped, compacted)
        };
        self.add_expiries(events);
        let rings = if events.is_empty() { Vec::new() } else { self.rings.push(events) };
        self.dispatched.store(revision, Ordering::Release);
        self.rings_follow(compacted, compact);
        self.revisions.send_replace(Reached::Revision(revision));
        self.watch_quota();
        (Touched(rings), Superseded { _before: before, _dropped: dropped })
    }

    /// Says so when most of the quota is used, well before writes are refused.
    fn watch_quota(&self) {
        let (quota_bytes, alarm) = (self.options.quota_bytes, &self.counters.quota_alarm);
        if quota_bytes == 0 {
            return;
        }
        let bytes = self.published.load().index.total().bytes;
        let is_on = alarm.load(Ordering::Relaxed);
        let limit = quota_bytes / 100 * if is_on { QUOTA_ALARM_END } else { QUOTA_ALARM };
        if (bytes >= limit) == is_on {
            return;
        }
        alarm.store(!is_on, Ordering::Relaxed);
        if is_on {
            tracing::info!(bytes, quota_bytes, "the store has room again");
        } else {
            tracing::warn!(
                bytes,
                quota_bytes,
                "most of the store's quota is used; without room it takes deletions alone"
            );
        }
    }

    /// Moves on to a revision at which nothing happened here.
    pub fn advance(&self, revision: Revision) {
        {
            let mut history = self.history.lock();
            if revision <= history.present.revision {
                return;
            }
            let present = Arc::new(Published { index: history.present.index.clone(), revision });
            history.advance(present.clone());
            self.published.store(present);
        }
        self.dispatched.store(revision, Ordering::Release);
        self.revisions.send_replace(Reached::Revision(revision));
    }

    /// Begins anew with another state: what lies between is not known, so every watch ends.
    pub fn reset(&self, state: Published<A>) {
        let revision = state.revision;
        let state = Arc::new(state);
        let old = {
            let mut history = self.history.lock();
            self.published.store(state.clone());
            std::mem::replace(&mut *history, History::new(state))
        };
        let touched = Touched(self.rings.reset(revision));
        self.dispatched.store(revision, Ordering::Release);
        drop((touched, old));
        self.revisions.send_replace(Reached::Revision(revision));
    }

    /// Forgets history before a revision because that was asked for.
    pub fn forget(&self, revision: Revision) {
        let (dropped, compacted) = self.trim_history(&mut self.history.lock(), Some(revision));
        self.rings_follow(compacted, Some(revision));
        drop(dropped);
    }

    fn add_expiries(&self, events: &[Arc<Event<A>>]) {
        let lives = |event: &&Arc<Event<A>>| event.kind == EventKind::Put && event.entry.meta.expires_at != 0;
        let mut new = events.iter().filter(lives).peekable();
        if new.peek().is_some() {
            let expiry = |event: &Arc<Event<A>>| Reverse((event.entry.meta.expires_at, event.entry.key.clone()));
            self.expiries.lock().extend(new.map(expiry));
        }
    }

    fn trim_history(&self, history: &mut History<A>, compact: Option<Revision>) -> (Dropped<A>, Option<Revision>) {
        let (keep, bytes_max) = (self.options.history, self.options.history_bytes_max);
        let due = history.due(self.options.clock.monotonic(), keep, bytes_max).max(compact.unwrap_or(0));
        let before = history.compacted;
        let dropped = history.compact(due);
        (dropped, (history.compacted > before).then_some(history.compacted))
    }

    /// Rings drop what history has dropped. Watches of quiet prefixes stay possible, unless compaction was asked for.
    fn rings_follow(&self, compacted: Option<Revision>, asked: Option<Revision>) {
        if let Some(revision) = compacted {
            self.rings.trim(revision, false);
        }
        if let Some(revision) = asked {
            self.rings.trim(revision, true);
        }
    }

    /// Compaction by time, and deletion of what has expired.
    pub fn upkeep(&self) {
        let (dropped, compacted) = {
            let mut history = self.history.lock();
            self.trim_history(&mut history, None)
        };
        self.rings_follow(compacted, None);
        drop(dropped);
        self.past.upkeep(self.options.clock.monotonic());
        if !self.is_paused.load(Ordering::Acquire) {
            self.expire();
        }
    }

    fn expire(&self) {
        let now = self.options.clock.unix_seconds();
        let state = self.published.load_full();
        loop {
            let (expires_at, key) = {
                let mut expiries = self.expiries.lock();
                match expiries.peek() {
                    Some(Reverse((expires_at, _))) if *expires_at <= now => {}
                    _ => return,
                }
                let Some(Reverse(expiry)) = expiries.pop() else { return };
                expiry
            };
            let Some(entry) = state.index.get(&key).filter(|entry| entry.meta.expires_at == expires_at) else {
                continue;
            };
            let precondition = Precondition::Revision(entry.revision);
            let mut request =
                Some(Request { kind: EventKind::Delete, key: &key, value: Change::Current, precondition });
            if self.submit(&mut request).is_none() {
                // No room in the group: the rest is left to the next upkeep.
                self.expiries.lock().push(Reverse((expires_at, key)));
                return;
            }
        }
    }
}

impl<A> Shared<A> {
    /// Wakes the committer if it sleeps; while it is at work it will look by itself.
    pub fn wake(&self, sequencer: parking_lot::MutexGuard<'_, Sequencer<A>>) {
        let wake = sequencer.idle && (sequencer.has_work() || sequencer.closed.is_some());
        drop(sequencer);
        if wake {
            self.work.notify_one();
        }
    }

    /// Takes no more writes; what has been numbered is still made durable.
    pub fn close(&self, reason: &str) {
        let mut sequencer = self.sequencer.lock();
        sequencer.closed.get_or_insert_with(|| reason.into());
        self.wake(sequencer);
        self.room.notify_waiters();
    }
}
