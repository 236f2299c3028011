//! The committer: takes what has gathered, makes it durable, publishes it, answers the writers.
//!
//! It owns the journal and is the only place of blocking IO. While it waits for the disk, writers go on gathering the next group;
//! when the disk answers, that group is taken whole. No timer: a lone writer waits for one fsync, many share one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc;

use tokio::sync::oneshot;

use crate::copy::record;
use crate::error::chain;
use crate::journal::{Batch, Journal, JournalError, Record};
use crate::sequencer::{Group, Pending};
use crate::shared::{Reached, Shared, Superseded, Work};
use crate::{CompactError, Event, EventKind, Revision, Snapshot, WriteError};

/// Superseded states that may wait to be freed, and the size of a group from which on it is worth waking a thread for.
const REAPER_QUEUE: usize = 4;
const REAPER_EVENTS: usize = 8;

type Rewritten = oneshot::Sender<Result<(), Arc<str>>>;

pub(crate) struct Committer<A> {
    shared: Arc<Shared<A>>,
    journal: Box<dyn Journal>,
    /// Answers when the snapshot under way is done.
    snapshot: Option<mpsc::Receiver<()>>,
    /// Tells the snapshot under way to give up.
    ending: Arc<AtomicBool>,
    /// Who wait for a snapshot that has not been begun yet.
    rewrites: Vec<Rewritten>,
    /// The last append found no room, which has been logged.
    full: bool,
    /// To the thread that frees what is superseded, while the next group is appended.
    reaper: Option<mpsc::SyncSender<Superseded<A>>>,
}

impl<A: Send + Sync + 'static> Committer<A> {
    pub fn new(shared: Arc<Shared<A>>, journal: Box<dyn Journal>) -> Self {
        let committer = Self {
            shared,
            journal,
            snapshot: None,
            ending: Arc::default(),
            rewrites: Vec::new(),
            full: false,
            reaper: None,
        };
        committer.shared.counters.appends.lock().journal = committer.journal.stats();
        committer
    }

    /// Works until the store is closed.
    pub fn run(mut self) {
        let (reaper, superseded) = mpsc::sync_channel(REAPER_QUEUE);
        let thread = std::thread::Builder::new().name("store-reaper".into());
        if thread.spawn(move || superseded.into_iter().for_each(drop)).is_ok() {
            self.reaper = Some(reaper);
        }
        loop {
            match self.shared.wait() {
                Work::Group(group) => self.commit(group),
                Work::Upkeep => {
                    self.shared.upkeep();
                    // One that had to wait for another to be done.
                    if !self.rewrites.is_empty() {
                        self.begin_snapshot_if_due();
                    }
                }
                Work::End => break,
            }
        }
    }

    /// One group from gathered to answered.
    pub fn commit(&mut self, group: Group<A>) {
        let Group { items, after } = group;
        let events: Vec<Arc<Event<A>>> = items.iter().filter_map(Pending::event).cloned().collect();
        let compact = items.iter().filter_map(Pending::compact).max();
        let mut published = None;
        if !events.is_empty() || compact.is_some() {
            if let Err(error) = self.append(&events, compact) {
                return self.fail(items, error);
            }
            self.full = false;
            published = Some(self.shared.publish(&events, after, compact));
        }
        for item in items {
            match item {
                Pending::Rewrite { reply } => self.rewrites.push(reply),
                item => item.answer(),
            }
        }
        if let Some((touched, superseded)) = published {
            drop(touched);
            if let (Some(reaper), true) = (&self.reaper, events.len() >= REAPER_EVENTS) {
                // Freed here after all if the thread does not keep up.
                drop(reaper.try_send(superseded));
            }
        }
        self.begin_snapshot_if_due();
    }

    fn append(&mut self, events: &[Arc<Event<A>>], compact: Option<Revision>) -> Result<(), JournalError> {
        let records: Vec<Record<'_>> = events.iter().map(|event| record(event.kind, &event.entry)).collect();
        let compact_revision = self.shared.history.lock().compacted.max(compact.unwrap_or(0));
        let clock = &self.shared.options.clock;
        let begun = clock.monotonic();
        self.journal.append(Batch { compact_revision, time: clock.unix_millis(), records: &records })?;
        let taken = clock.monotonic().saturating_sub(begun);
        let counters = &self.shared.counters;
        let bytes: usize = events.iter().map(|event| event.entry.key.len() + event.entry.value.len()).sum();
        counters.writes.fetch_add(events.len() as u64, Relaxed);
        counters.bytes_accepted.fetch_add(bytes as u64, Relaxed);
        let mut appends = counters.appends.lock();
        appends.duration.observe(taken);
        appends.writes_max = appends.writes_max.max(events.len());
        appends.journal = self.journal.stats();
        Ok(())
    }

    /// Nothing of the group happened. What has gathered behind it was decided on top of it, so it fails too.
    fn fail(&mut self, mut items: Vec<Pending<A>>, error: JournalError) {
        let error: Failure = match error {
            JournalError::Full { .. } => {
                // Once, not for each write: logs need room too.
                if !std::mem::replace(&mut self.full, true) {
                    tracing::warn!(
                        error = chain(&error),
                        "the store's disk is full, writes are refused until there is room"
                    );
                }
                Failure::Full(chain(&error).into())
            }
            JournalError::Seal { .. } => {
                tracing::warn!(error = chain(&error), "the store cannot keep a value");
                Failure::Unsealed(chain(&error).into())
            }
            error => {
                tracing::error!(error = chain(&error), "the store's journal failed, no write is taken any more");
                Failure::Closed(chain(&error).into())
            }
        };
        {
            let mut sequencer = self.shared.sequencer.lock();
            items.extend(sequencer.reset(&self.shared.published.load()));
            if let Failure::Closed(reason) = &error {
                sequencer.closed.get_or_insert_with(|| reason.clone());
            }
        }
        self.shared.room.notify_waiters();
        for event in items.iter().filter_map(Pending::event) {
            // A deletion by expiry is to be tried again.
            if let (EventKind::Delete, Some(previous)) = (event.kind, &event.previous)
                && previous.meta.expires_at != 0
            {
                let expiry = (previous.meta.expires_at, previous.key.clone());
                self.shared.expiries.lock().push(std::cmp::Reverse(expiry));
            }
        }
        items.into_iter().for_each(|item| item.refuse(&error));
    }

    fn begin_snapshot_if_due(&mut self) {
        match self.snapshot.as_ref().map(|done| done.try_recv()) {
            Some(Err(mpsc::TryRecvError::Empty)) => return,
            _ => self.snapshot = None,
        }
        let state = self.shared.published.load_full();
        if self.rewrites.is_empty() && !self.journal.snapshot_due(state.index.total().bytes) {
            return;
        }
        let rewrites = std::mem::take(&mut self.rewrites);
        let compacted = self.shared.history.lock().compacted;
        let mut sink = match self.journal.begin_snapshot(state.revision, compacted) {
            Ok(sink) => sink,
            // The log goes on growing and the next append asks again; a log that cannot be written fails there.
            Err(error) => {
                rewrites.into_iter().for_each(|reply| drop(reply.send(Err(chain(&error).into()))));
                return snapshot_failed(&self.shared, &error);
            }
        };
        let (done, wait) = mpsc::channel();
        let (shared, ending) = (self.shared.clone(), self.ending.clone());
        (self.shared.options.spawn)(Box::new(move || {
            let snapshot = Snapshot(state);
            let write = || {
                for entry in snapshot.range("", None) {
                    if ending.load(Relaxed) {
                        // The unfinished file is removed at the next start, the log is still whole.
                        return Ok(None);
                    }
                    sink.write(record(EventKind::Put, entry))?;
                }
                sink.finish().map(Some)
            };
            let written = write();
            let answer = match &written {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err(Arc::from("the store was closed")),
                Err(error) => Err(chain(error).into()),
            };
            match written {
                Ok(Some(bytes)) => {
                    shared.counters.snapshots.fetch_add(1, Relaxed);
                    shared.counters.snapshot_bytes.fetch_add(bytes, Relaxed);
                }
                Ok(None) => {}
                Err(error) => snapshot_failed(&shared, &error),
            }
            rewrites.into_iter().for_each(|reply| drop(reply.send(answer.clone())));
            drop(shared);
            drop(done);
        }));
        self.snapshot = Some(wait);
    }
}

impl<A> Drop for Committer<A> {
    /// However it ends (a panic too): nobody waits for it any longer, and when it is gone nobody touches the journal's files.
    fn drop(&mut self) {
        self.shared.close("the journal's thread is gone");
        // Dropping what has gathered tells its writers.
        let gathered = self.shared.sequencer.lock().reset(&self.shared.published.load());
        drop(gathered);
        self.shared.rings.close();
        self.shared.revisions.send_replace(Reached::End);
        self.ending.store(true, Relaxed);
        if let Some(done) = self.snapshot.take() {
            // An error says that the snapshot's thread is gone, which is all that is asked.
            let _ = done.recv();
        }
    }
}

fn snapshot_failed<A>(shared: &Shared<A>, error: &JournalError) {
    shared.counters.snapshots_failed.fetch_add(1, Relaxed);
    tracing::warn!(error = chain(error), "failed to write a snapshot of the store, its log is kept");
}

enum Failure {
    Full(Arc<str>),
    Unsealed(Arc<str>),
    Closed(Arc<str>),
}

impl Failure {
    fn reason(&self) -> &Arc<str> {
        match self {
            Self::Full(reason) | Self::Unsealed(reason) | Self::Closed(reason) => reason,
        }
    }

    fn error<A>(&self) -> WriteError<A> {
        match self {
            Self::Full(reason) => WriteError::Full(reason.clone()),
            Self::Unsealed(reason) => WriteError::Unsealed(reason.clone()),
            Self::Closed(reason) => WriteError::Closed(reason.clone()),
        }
    }
}

impl<A> Pending<A> {
    fn event(&self) -> Option<&Arc<Event<A>>> {
        match self {
            Self::Write { event, .. } => Some(event),
            _ => None,
        }
    }

    fn compact(&self) -> Option<Revision> {
        match self {
            Self::Compact { revision, .. } => Some(*revision),
            _ => None,
        }
    }

    // A writer that no longer waits is no error: its write happened or failed all the same.
    fn answer(self) {
        match self {
            Self::Write { event, reply } => drop(reply.send(Ok(event.entry.clone()))),
            Self::Conflict { current, reply } => drop(reply.send(Err(WriteError::Conflict(current)))),
            Self::Compact { reply, .. } => drop(reply.send(Ok(()))),
            // Answered when the snapshot is written.
            Self::Rewrite { .. } => {}
        }
    }

    fn refuse(self, failure: &Failure) {
        match self {
            Self::Write { reply, .. } | Self::Conflict { reply, .. } => drop(reply.send(Err(failure.error()))),
            Self::Compact { reply, .. } => drop(reply.send(Err(CompactError::Write(failure.error())))),
            Self::Rewrite { reply } => drop(reply.send(Err(failure.reason().clone()))),
        }
    }
}
