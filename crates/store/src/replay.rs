//! From a journal back to a running state: index, history, rings, expiries.
//!
//! Writes found after the snapshot become history and watch events again, so that clients resume their watches over a restart.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use bytes::Bytes;

use crate::entry::Meta;
use crate::history::History;
use crate::index::{Index, Published};
use crate::journal::{Journal, JournalError, Record, Visitor};
use crate::ring::Rings;
use crate::shared::Shared;
use crate::{Entry, Event, EventKind, Options, Revision};

/// Events that go to history and rings at a time.
const CHUNK: usize = 256;

/// The revision of an empty store.
const FIRST: Revision = 1;

pub(crate) fn replay<A: Send + Sync + 'static>(
    journal: &mut dyn Journal,
    options: Options,
) -> Result<Arc<Shared<A>>, JournalError> {
    let index = Index::new(options.layout());
    let mut replay = Replay { options, index, revision: FIRST, compacted: 0, chunk: Vec::new(), begun: None };
    journal.replay(&mut replay)?;
    replay.flush();
    let compacted = replay.compacted;
    let expiries: BinaryHeap<_> = replay
        .index
        .iter()
        .filter(|entry| entry.meta.expires_at != 0)
        .map(|entry| Reverse((entry.meta.expires_at, entry.key.clone())))
        .collect();
    let (mut history, rings) = replay.begin();
    let compacted = compacted.min(history.present.revision);
    history.times_unknown_to(history.present.revision);
    drop(history.compact(compacted));
    rings.trim(compacted, true);
    Ok(Shared::new(replay.options, history, rings, expiries))
}

struct Replay<A> {
    options: Options,
    index: Index<A>,
    revision: Revision,
    compacted: Revision,
    chunk: Vec<Arc<Event<A>>>,
    /// Made when the snapshot is complete.
    begun: Option<(History<A>, Rings<A>)>,
}

impl<A> Replay<A> {
    fn present(&self) -> Arc<Published<A>> {
        Arc::new(Published { index: self.index.clone(), revision: self.revision })
    }

    fn begin(&mut self) -> (History<A>, Rings<A>) {
        let (layout, ring_events_max) = (self.options.layout(), self.options.ring_events_max);
        let fresh =
            |replay: &Self| (History::new(replay.present()), Rings::new(replay.revision, layout, ring_events_max));
        self.begun.take().unwrap_or_else(|| fresh(self))
    }

    fn entry_of(&self, record: &Record<'_>) -> Arc<Entry<A>> {
        let key = self.index.get(record.key).map_or_else(|| record.key.into(), |known| known.key.clone());
        let meta = Meta { revision_at: record.revision_at, expires_at: record.expires_at, malformed: false };
        Entry::new(key, record.create_revision, record.revision, Bytes::copy_from_slice(record.value), meta)
    }

    fn flush(&mut self) {
        if self.chunk.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.chunk);
        let present = self.present();
        let Some((history, rings)) = &mut self.begun else { return };
        let now = self.options.clock.monotonic();
        history.push(&events, present, now);
        let due = history.due(now, self.options.history, self.options.history_bytes_max);
        drop(history.compact(due));
        rings.push(&events);
    }
}

impl<A> Visitor for Replay<A> {
    fn snapshot(&mut self, revision: Revision) {
        self.revision = revision;
    }

    fn entry(&mut self, record: Record<'_>) {
        self.index.insert(self.entry_of(&record));
    }

    fn record(&mut self, record: Record<'_>) {
        if self.begun.is_none() {
            self.begun = Some(self.begin());
        }
        let previous = self.index.get(record.key).cloned();
        let event = Event::new(record.kind, self.entry_of(&record), previous);
        debug_assert!(event.kind == EventKind::Put || event.previous.is_some(), "only what is there is deleted");
        self.index.apply(&event);
        self.revision = record.revision;
        self.chunk.push(event);
        if self.chunk.len() == CHUNK {
            self.flush();
        }
    }

    fn compacted(&mut self, revision: Revision) {
        self.compacted = self.compacted.max(revision);
    }
}
