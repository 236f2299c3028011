//! A watch: a cursor in a shared ring, a prefix, and the promise of every event after a revision, once, in order.

use std::collections::VecDeque;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::ring::{Read, Ring};
use crate::shared::Shared;
use crate::{Event, Revision, WatchError};

/// How many events a watcher takes from the ring under one lock.
const CHUNK: usize = 64;

/// Delivers the events of a prefix. Dropping it ends it.
pub struct Watch<A> {
    shared: Arc<Shared<A>>,
    ring: Arc<Ring<A>>,
    prefix: Box<str>,
    cursor: u64,
    /// Where it began.
    after: Revision,
    /// Everything up to here has been delivered, or was known to the watcher before.
    revision: Revision,
    buffer: VecDeque<Arc<Event<A>>>,
    end: Option<WatchError>,
    ended: bool,
}

impl<A> Watch<A> {
    pub(crate) fn new(shared: Arc<Shared<A>>, ring: Arc<Ring<A>>, prefix: &str, cursor: u64, after: Revision) -> Self {
        shared.counters.watchers.fetch_add(1, Ordering::Relaxed);
        let buffer = VecDeque::new();
        Self { shared, ring, prefix: prefix.into(), cursor, after, revision: after, buffer, end: None, ended: false }
    }

    /// The next event; waits for it. After an error comes `None`. Safe to drop and to call again at any time.
    pub async fn next(&mut self) -> Option<Result<Arc<Event<A>>, WatchError>> {
        loop {
            let ring = self.ring.clone();
            let mut changed = pin!(ring.changed.notified());
            // Registered before looking, so that a push between the look and the wait is not missed.
            changed.as_mut().enable();
            if let Some(result) = self.try_next() {
                return Some(result);
            }
            if self.ended {
                return None;
            }
            changed.await;
        }
    }

    /// The next event if there is one now.
    pub fn try_next(&mut self) -> Option<Result<Arc<Event<A>>, WatchError>> {
        loop {
            if let Some(event) = self.buffer.pop_front() {
                // Events up to `after` can still arrive if the watch began at a revision just published.
                if event.revision > self.after {
                    self.revision = event.revision;
                    if event.entry.key.starts_with(&*self.prefix) {
                        return Some(Ok(event));
                    }
                }
                continue;
            }
            if let Some(end) = self.end.take() {
                self.ended = true;
                return Some(Err(end));
            }
            if self.ended || !self.fill() {
                return None;
            }
        }
    }

    /// Everything up to this revision has been delivered: what a bookmark may say. Moves on while nothing happens to the prefix.
    pub fn revision(&mut self) -> Revision {
        // Leading events that this watch does not deliver are passed over; the first that it does stays in the buffer.
        loop {
            while let Some(event) = self.buffer.front() {
                if event.revision > self.after {
                    if event.entry.key.starts_with(&*self.prefix) {
                        // Of one transaction some may have been delivered and this not.
                        return self.revision.min(event.revision - 1);
                    }
                    self.revision = event.revision;
                }
                self.buffer.pop_front();
            }
            if self.ended || self.end.is_some() || !self.fill() || self.end.is_some() {
                return self.revision;
            }
        }
    }

    /// Reads from the ring into the empty buffer. False if there is nothing (yet).
    fn fill(&mut self) -> bool {
        // Taken before looking: what is dispatched by now is in the ring by now.
        let dispatched = self.shared.dispatched.load(Ordering::Acquire);
        match self.ring.read(&mut self.cursor, CHUNK, &mut self.buffer) {
            Read::Events => true,
            Read::Empty => {
                self.revision = self.revision.max(dispatched);
                false
            }
            Read::Fallen => {
                self.shared.counters.watchers_slow.fetch_add(1, Ordering::Relaxed);
                self.end = Some(WatchError::Slow);
                true
            }
            Read::Closed => {
                self.end = Some(WatchError::Closed);
                true
            }
        }
    }
}

impl<A> fmt::Debug for Watch<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch of {:?} at {}", self.prefix, self.revision)
    }
}

impl<A> Drop for Watch<A> {
    fn drop(&mut self) {
        self.shared.counters.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
