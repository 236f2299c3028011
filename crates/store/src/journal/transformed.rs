//! A journal that keeps values in another form than the store serves them: encrypted.
//!
//! The index, the watches and the history in memory hold values as they were written; only what a disk or another machine
//! keeps goes through the [`Transformer`]. A read therefore costs nothing more.
//!
//! Old forms go by themselves: when replay met a value that would be kept otherwise today, or the transformer changed since
//! the last snapshot, the next snapshot is due at once, and it holds everything in the present form.

use std::borrow::Cow;
use std::sync::Arc;

use crate::Revision;
use crate::journal::{Batch, Journal, JournalError, JournalStats, Past, Record, SnapshotSink, Visitor};

/// Turns values into what a journal keeps, and back.
pub trait Transformer: Send + Sync {
    /// Whether a write of this key could be kept now; the reason if not. Asked before the write is taken, so that one
    /// resource whose key service is away fails alone.
    fn ready(&self, key: &str) -> Result<(), String>;
    /// What is kept of a value.
    fn seal<'v>(&self, key: &str, value: &'v [u8]) -> Result<Cow<'v, [u8]>, String>;
    /// The value that was kept.
    fn open<'v>(&self, key: &str, kept: &'v [u8]) -> Result<Opened<'v>, String>;
    /// Changes whenever [`Transformer::seal`] may give another form.
    fn generation(&self) -> u64;
}

/// A value as the store serves it.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened<'v> {
    /// The value.
    pub value: Cow<'v, [u8]>,
    /// It would be kept in another form today.
    pub stale: bool,
}

/// A journal behind a transformer.
pub(crate) struct Transformed {
    inner: Box<dyn Journal>,
    transformer: Arc<dyn Transformer>,
    /// The generation in whose form everything is kept; unknown until a snapshot was begun under one.
    kept: Option<u64>,
}

impl Transformed {
    pub fn new(inner: Box<dyn Journal>, transformer: Arc<dyn Transformer>) -> Self {
        let kept = Some(transformer.generation());
        Self { inner, transformer, kept }
    }
}

impl Journal for Transformed {
    fn replay(&mut self, visitor: &mut dyn Visitor) -> Result<(), JournalError> {
        let mut opening = Opening { visitor, transformer: &*self.transformer, stale: false, error: None };
        self.inner.replay(&mut opening)?;
        let Opening { stale, error, .. } = opening;
        if stale {
            self.kept = None;
        }
        error.map_or(Ok(()), Err)
    }

    fn append(&mut self, batch: Batch<'_>) -> Result<(), JournalError> {
        let sealed = batch.records.iter().map(|record| seal(&*self.transformer, record));
        let sealed: Vec<Cow<'_, [u8]>> = sealed.collect::<Result<_, _>>()?;
        let records: Vec<Record<'_>> =
            batch.records.iter().zip(&sealed).map(|(record, value)| Record { value, ..*record }).collect();
        self.inner.append(Batch { records: &records, ..batch })
    }

    fn snapshot_due(&self, state_bytes: u64) -> bool {
        self.kept != Some(self.transformer.generation()) || self.inner.snapshot_due(state_bytes)
    }

    fn begin_snapshot(&mut self, revision: Revision, compact: Revision) -> Result<Box<dyn SnapshotSink>, JournalError> {
        // Also if it fails: the next attempt comes with the next change or when the log has grown, as for any snapshot.
        self.kept = Some(self.transformer.generation());
        let inner = self.inner.begin_snapshot(revision, compact)?;
        Ok(Box::new(Sealing { inner, transformer: self.transformer.clone() }))
    }

    fn past(&self) -> Option<Past> {
        // It gives values as they are kept; whoever reads it opens them.
        self.inner.past()
    }

    fn stats(&self) -> JournalStats {
        self.inner.stats()
    }
}

/// What is kept of a record's value.
pub(crate) fn seal<'v>(transformer: &dyn Transformer, record: &Record<'v>) -> Result<Cow<'v, [u8]>, JournalError> {
    let value = transformer.seal(record.key, record.value);
    value.map_err(|reason| JournalError::Seal { key: record.key.to_owned(), reason })
}

struct Sealing {
    inner: Box<dyn SnapshotSink>,
    transformer: Arc<dyn Transformer>,
}

impl SnapshotSink for Sealing {
    fn write(&mut self, record: Record<'_>) -> Result<(), JournalError> {
        let value = seal(&*self.transformer, &record)?;
        self.inner.write(Record { value: &value, ..record })
    }

    fn finish(self: Box<Self>) -> Result<u64, JournalError> {
        self.inner.finish()
    }
}

struct Opening<'a> {
    visitor: &'a mut dyn Visitor,
    transformer: &'a dyn Transformer,
    stale: bool,
    /// The first value that could not be opened; nothing behind it is handed on.
    error: Option<JournalError>,
}

impl Opening<'_> {
    fn hand_on(&mut self, record: Record<'_>, to: fn(&mut dyn Visitor, Record<'_>)) {
        if self.error.is_some() {
            return;
        }
        match self.transformer.open(record.key, record.value) {
            Ok(Opened { value, stale }) => {
                self.stale |= stale;
                to(self.visitor, Record { value: &value, ..record });
            }
            Err(reason) => self.error = Some(JournalError::Open { key: record.key.to_owned(), reason }),
        }
    }
}

impl Visitor for Opening<'_> {
    fn snapshot(&mut self, revision: Revision) {
        self.visitor.snapshot(revision);
    }

    fn entry(&mut self, record: Record<'_>) {
        self.hand_on(record, |visitor, record| visitor.entry(record));
    }

    fn record(&mut self, record: Record<'_>) {
        self.hand_on(record, |visitor, record| visitor.record(record));
    }

    fn compacted(&mut self, revision: Revision) {
        self.visitor.compacted(revision);
    }
}
