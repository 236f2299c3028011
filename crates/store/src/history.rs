//! Old versions: the recent events in full, and a snapshot of the index every so many of them.
//!
//! The state at revision r is the next later checkpoint (or the present) with the events after r taken back, newest first.
//! Example: checkpoints at 1024 and 2048, present 2100. The state at 2000 is checkpoint 2048 with 48 events undone; the state at
//! 2090 is the present with ten undone. A checkpoint shares all nodes with its neighbours that did not change between them, so it
//! costs less than the versions that the events keep: measured, all in all an event costs the old value and some 600 bytes.
//! The last few states asked for are kept: the pages of a list come in a row.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::index::Published;
use crate::{Event, ReadError, Revision};

const CHECKPOINT_EVENTS: u64 = 1024;
const RECENT_STATES: usize = 4;
const MARK_INTERVAL: Duration = Duration::from_millis(500);

pub(crate) struct History<A> {
    /// In the order of revisions, all after `compacted`. Not all revisions need have an event, and one may have several: in
    /// an etcd there are the keys of others, and transactions.
    events: VecDeque<Arc<Event<A>>>,
    bytes: usize,
    checkpoints: VecDeque<Arc<Published<A>>>,
    recent: VecDeque<Arc<Published<A>>>,
    /// Times at which a revision became the newest, oldest first: states before it are superseded since then.
    marks: VecDeque<(Duration, Revision)>,
    /// Up to here marks say when this process heard of a revision, not when it was written.
    untimed: Revision,
    /// States from this revision on can be had.
    pub compacted: Revision,
    /// The newest published state.
    pub present: Arc<Published<A>>,
}

impl<A> History<A> {
    pub fn new(present: Arc<Published<A>>) -> Self {
        Self {
            events: VecDeque::new(),
            bytes: 0,
            checkpoints: VecDeque::new(),
            recent: VecDeque::new(),
            marks: VecDeque::new(),
            untimed: present.revision,
            compacted: present.revision,
            present,
        }
    }

    /// The events of a key that are kept.
    pub fn events_of(&self, key: &str) -> impl Iterator<Item = &Arc<Event<A>>> {
        self.events.iter().filter(move |event| *event.entry.key == *key)
    }

    /// Nobody here was told at once of revisions up to this one.
    pub fn times_unknown_to(&mut self, revision: Revision) {
        self.untimed = self.untimed.max(revision);
    }

    /// When a revision was the newest, to half a second, if that is known.
    pub fn time_of(&self, revision: Revision) -> Option<Duration> {
        if revision <= self.untimed {
            return None;
        }
        let at = self.marks.partition_point(|(_, own)| *own < revision);
        self.marks.get(at).map(|(time, _)| *time)
    }

    /// The newest revision at a time, if that is known.
    pub fn revision_at(&self, time: Duration) -> Option<Revision> {
        let count = self.marks.partition_point(|(own, _)| *own <= time);
        Some(self.marks.get(count.checked_sub(1)?)?.1)
    }

    /// Adds the events that lead to the new present.
    pub fn push(&mut self, events: &[Arc<Event<A>>], present: Arc<Published<A>>, now: Duration) {
        let last_checkpoint = self.checkpoints.back().map_or(self.compacted, |state| state.revision);
        self.bytes += events.iter().map(|event| event.retained_bytes()).sum::<usize>();
        self.events.extend(events.iter().cloned());
        if present.revision - last_checkpoint >= CHECKPOINT_EVENTS {
            self.checkpoints.push_back(present.clone());
        }
        // Marks keep their distance, however fast writes come: the newest one moves until it is far enough from its elder.
        let elder = self.marks.len().checked_sub(2).map(|at| self.marks[at].0);
        if elder.is_some_and(|time| now.saturating_sub(time) < MARK_INTERVAL) {
            self.marks.pop_back();
        }
        self.marks.push_back((now, present.revision));
        self.present = present;
    }

    /// Moves the present to a revision that changed nothing here.
    pub fn advance(&mut self, present: Arc<Published<A>>) {
        self.present = present;
    }

    /// The exact state at a revision, or what to undo for it (outside of any lock).
    pub fn find(&self, revision: Revision) -> Result<Found<A>, ReadError> {
        if revision > self.present.revision {
            return Err(ReadError::Future { current: self.present.revision });
        }
        if revision < self.compacted {
            return Err(ReadError::Compacted { oldest: self.compacted });
        }
        if let Some(state) = self.recent.iter().chain([&self.present]).find(|state| state.revision == revision) {
            return Ok(Found::State(state.clone()));
        }
        let after = self.checkpoints.partition_point(|state| state.revision < revision);
        let base = self.checkpoints.get(after).unwrap_or(&self.present).clone();
        let place = |revision: Revision| self.events.partition_point(|event| event.revision <= revision);
        let events = self.events.range(place(revision)..place(base.revision)).cloned().collect();
        Ok(Found::Undo(Undo { base, events, revision }))
    }

    /// Keeps a state that was worked out, for the next page of the same list.
    pub fn remember(&mut self, state: Arc<Published<A>>) {
        if state.revision < self.compacted || self.recent.iter().any(|known| known.revision == state.revision) {
            return;
        }
        if self.recent.len() == RECENT_STATES {
            self.recent.pop_front();
        }
        self.recent.push_back(state);
    }

    /// The revision up to which history has outlived its time or its room.
    pub fn due(&mut self, now: Duration, keep: Duration, bytes_max: usize) -> Revision {
        let mut target = self.compacted;
        while let Some((time, revision)) = self.marks.front().copied() {
            if time + keep > now {
                break;
            }
            target = target.max(revision);
            self.marks.pop_front();
            // What is told of older ones by others has no mark any more.
            self.untimed = self.untimed.max(revision);
        }
        // When the room is used up, an eighth of it is freed at once, so that this is rare.
        let bytes_max = if self.bytes > bytes_max { bytes_max - bytes_max / 8 } else { bytes_max };
        let mut bytes = self.bytes;
        for event in &self.events {
            if event.revision > target && bytes <= bytes_max {
                break;
            }
            bytes -= event.retained_bytes();
            target = target.max(event.revision);
        }
        target
    }

    /// Forgets the states before a revision; gives back what is to be dropped, so that it is dropped outside of the lock.
    #[must_use]
    pub fn compact(&mut self, revision: Revision) -> Dropped<A> {
        let revision = revision.min(self.present.revision);
        if revision <= self.compacted {
            return Dropped::default();
        }
        let count = self.events.partition_point(|event| event.revision <= revision);
        let events: Vec<_> = self.events.drain(..count).collect();
        self.bytes -= events.iter().map(|event| event.retained_bytes()).sum::<usize>();
        let old = self.checkpoints.partition_point(|state| state.revision < revision);
        let mut states: Vec<_> = self.checkpoints.drain(..old).collect();
        states.extend(self.recent.iter().filter(|state| state.revision < revision).cloned());
        self.recent.retain(|state| state.revision >= revision);
        self.compacted = revision;
        if self.events.len() < self.events.capacity() / 4 {
            self.events.shrink_to_fit();
        }
        Dropped { _events: events, _states: states }
    }

    pub fn len(&self) -> (usize, usize) {
        (self.events.len(), self.bytes)
    }
}

/// Old events and states on their way out.
pub(crate) struct Dropped<A> {
    _events: Vec<Arc<Event<A>>>,
    _states: Vec<Arc<Published<A>>>,
}

impl<A> Default for Dropped<A> {
    fn default() -> Self {
        Self { _events: Vec::new(), _states: Vec::new() }
    }
}

/// A state at a revision, or how to get it.
pub(crate) enum Found<A> {
    State(Arc<Published<A>>),
    Undo(Undo<A>),
}

pub(crate) struct Undo<A> {
    base: Arc<Published<A>>,
    events: Vec<Arc<Event<A>>>,
    revision: Revision,
}

impl<A> Undo<A> {
    pub fn run(self) -> Arc<Published<A>> {
        let mut index = self.base.index.clone();
        for event in self.events.iter().rev() {
            index.undo(event);
        }
        Arc::new(Published { index, revision: self.revision })
    }
}
