//! Rings of events, one per resource and one for the whole store, from which all watchers of a resource read.
//!
//! A ring is bounded. Events are pushed once, whatever the number of watchers; each watcher keeps a cursor and a watcher whose
//! next event has left the ring is told so. `floor` is the newest revision whose event may be missing: a watch can begin after
//! it, not before.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::Notify;

use crate::narrow::{Narrow, NarrowRings};
use crate::options::Layout;
use crate::{Event, Revision};

pub(crate) struct Ring<A> {
    state: RwLock<State<A>>,
    /// Woken after a push and at the end of the store.
    pub changed: Notify,
}

struct State<A> {
    events: VecDeque<Arc<Event<A>>>,
    /// Of parts of the resource, fed from here.
    narrow: NarrowRings<A>,
    /// Number of the first event kept, counted from the ring's beginning.
    first: u64,
    floor: Revision,
    closed: bool,
}

/// What a reader finds at its cursor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Events,
    Empty,
    Fallen,
    Closed,
}

impl<A> Ring<A> {
    pub(crate) fn new(floor: Revision, closed: bool) -> Self {
        Self::begin(VecDeque::new(), floor, closed)
    }

    fn begin(events: VecDeque<Arc<Event<A>>>, floor: Revision, closed: bool) -> Self {
        let state = State { events, narrow: NarrowRings::default(), first: 0, floor, closed };
        Self { state: RwLock::new(state), changed: Notify::new() }
    }

    /// Adds events and drops the oldest beyond the bound; gives the rings of parts that got any. Does not wake: the caller does,
    /// when all rings are filled.
    fn push(
        &self,
        events: impl Iterator<Item = Arc<Event<A>>>,
        layout: Layout,
        events_max: usize,
    ) -> Vec<Arc<Ring<A>>> {
        let mut state = self.state.write();
        let mut touched = Vec::new();
        for event in events {
            state.narrow.push(&event, layout, state.floor, &mut touched);
            state.events.push_back(event);
            while state.events.len() > events_max.max(1) {
                state.drop_first();
            }
        }
        touched
    }

    /// Adds an event and drops what the whole resource has dropped, so that a part holds no more than it does.
    pub(crate) fn push_after(&self, floor: Revision, event: Arc<Event<A>>) {
        let mut state = self.state.write();
        state.events.push_back(event);
        state.drop_to(floor);
    }

    /// The ring of a part, and the cursor there of a watch that has seen everything up to `after`.
    pub fn narrow(&self, narrow: Narrow<'_>, layout: Layout, after: Revision) -> Result<(Arc<Ring<A>>, u64), Revision> {
        let mut state = self.state.write();
        if after < state.floor {
            return Err(state.floor);
        }
        let State { events, narrow: rings, floor, closed, .. } = &mut *state;
        let ring = rings.of(narrow, || {
            let events = events.iter().filter(|event| narrow.takes(event, layout)).cloned().collect();
            Ring::begin(events, *floor, *closed)
        });
        let cursor = ring.cursor(after)?;
        Ok((ring, cursor))
    }

    /// The cursor of a watch that has seen everything up to `after`.
    pub fn cursor(&self, after: Revision) -> Result<u64, Revision> {
        let state = self.state.read();
        if after < state.floor {
            return Err(state.floor);
        }
        let seen = state.events.partition_point(|event| event.revision <= after);
        Ok(state.first + seen as u64)
    }

    /// Copies up to `chunk` events from the cursor on and moves it.
    pub fn read(&self, cursor: &mut u64, chunk: usize, out: &mut VecDeque<Arc<Event<A>>>) -> Read {
        let state = self.state.read();
        let Some(from) = cursor.checked_sub(state.first) else { return Read::Fallen };
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(state.events.len());
        let count = chunk.min(state.events.len() - from);
        if count == 0 {
            return if state.closed { Read::Closed } else { Read::Empty };
        }
        out.extend(state.events.range(from..from + count).cloned());
        *cursor += count as u64;
        Read::Events
    }

    /// Drops events up to a revision. With `strict`, watches from before it are refused even if nothing was dropped.
    fn trim(&self, revision: Revision, strict: bool) {
        let mut state = self.state.write();
        state.drop_to(revision);
        state.narrow.tidy();
        state.narrow.iter().for_each(|ring| ring.trim(revision, strict));
        if strict {
            state.floor = state.floor.max(revision);
        }
        if state.events.len() < state.events.capacity() / 4 {
            state.events.shrink_to_fit();
        }
    }

    /// Begins anew after a gap: no reader can go on, wherever it is. Gives all rings that this one feeds, and itself.
    fn reset(self: &Arc<Self>, floor: Revision) -> Vec<Arc<Self>> {
        let mut state = self.state.write();
        let narrow = std::mem::take(&mut state.narrow);
        state.first += state.events.len() as u64 + 1;
        state.events.clear();
        state.floor = floor;
        drop(state);
        narrow.iter().flat_map(|ring| ring.reset(floor)).chain([self.clone()]).collect()
    }

    fn close(&self) {
        let mut state = self.state.write();
        state.closed = true;
        state.narrow.iter().for_each(|ring| ring.close());
        drop(state);
        self.changed.notify_waiters();
    }
}

impl<A> State<A> {
    fn drop_first(&mut self) {
        if let Some(event) = self.events.pop_front() {
            self.first += 1;
            self.floor = self.floor.max(event.revision);
        }
    }

    fn drop_to(&mut self, revision: Revision) {
        while self.events.front().is_some_and(|event| event.revision <= revision) {
            self.drop_first();
        }
    }
}

/// All rings of a store.
pub(crate) struct Rings<A> {
    all: Arc<Ring<A>>,
    by_resource: RwLock<HashMap<Box<str>, Arc<Ring<A>>>>,
    /// Floor of rings made later: events up to here were never in memory, or were compacted on demand.
    base: AtomicU64,
    closed: std::sync::atomic::AtomicBool,
    layout: Layout,
    events_max: usize,
}

impl<A> Rings<A> {
    pub fn new(base: Revision, layout: Layout, events_max: usize) -> Self {
        Self {
            all: Arc::new(Ring::new(base, false)),
            by_resource: RwLock::default(),
            base: AtomicU64::new(base),
            closed: false.into(),
            layout,
            events_max,
        }
    }

    /// The ring that carries every event of a prefix.
    pub fn of(&self, prefix: &str) -> Arc<Ring<A>> {
        let resource = &prefix[..(self.layout.resource_of)(prefix)];
        if resource.is_empty() {
            return self.all.clone();
        }
        if let Some(ring) = self.by_resource.read().get(resource) {
            return ring.clone();
        }
        let mut rings = self.by_resource.write();
        let make = || Arc::new(Ring::new(self.base.load(Ordering::Acquire), self.closed.load(Ordering::Acquire)));
        rings.entry(resource.into()).or_insert_with(make).clone()
    }

    /// Adds events in revision order and gives back the rings whose watchers are to be woken.
    pub fn push(&self, events: &[Arc<Event<A>>]) -> Vec<Arc<Ring<A>>> {
        let mut touched = self.all.push(events.iter().cloned(), self.layout, self.events_max);
        touched.push(self.all.clone());
        let resource = |event: &Arc<Event<A>>| (self.layout.resource_of)(&event.entry.key);
        // Neighbours of one resource are pushed under one lock.
        for run in events.chunk_by(|a, b| a.entry.key[..resource(a)] == b.entry.key[..resource(b)]) {
            if resource(&run[0]) == 0 {
                continue;
            }
            let ring = self.of(&run[0].entry.key);
            touched.extend(ring.push(run.iter().cloned(), self.layout, self.events_max));
            if !touched.iter().any(|known| Arc::ptr_eq(known, &ring)) {
                touched.push(ring);
            }
        }
        touched
    }

    pub fn trim(&self, revision: Revision, strict: bool) {
        // The map's lock is held so that no ring can be made with the old base meanwhile.
        let rings = self.by_resource.write();
        if strict {
            self.base.fetch_max(revision, Ordering::AcqRel);
        }
        for ring in rings.values().chain([&self.all]) {
            ring.trim(revision, strict);
        }
    }

    /// Begins anew at a revision; gives back the rings whose watchers are to be woken.
    pub fn reset(&self, revision: Revision) -> Vec<Arc<Ring<A>>> {
        let rings = self.by_resource.write();
        self.base.store(revision, Ordering::Release);
        rings.values().chain([&self.all]).flat_map(|ring| ring.reset(revision)).collect()
    }

    pub fn close(&self) {
        let rings = self.by_resource.write();
        self.closed.store(true, Ordering::Release);
        rings.values().chain([&self.all]).for_each(|ring| ring.close());
    }
}
