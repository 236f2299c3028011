//! A journal that keeps batches in memory: for tests, simulations, and rehearsals on a copy.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::journal::{Batch, Journal, JournalError, Record, Visitor};
use crate::{EventKind, Revision};

/// Keeps everything in memory. Clones share it, so a store can be "restarted" from a clone.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    records: Vec<Owned>,
    compact_revision: Revision,
}

#[derive(Debug)]
struct Owned {
    kind: EventKind,
    key: Box<str>,
    create_revision: Revision,
    revision: Revision,
    value: Box<[u8]>,
    revision_at: Option<u32>,
    expires_at: u64,
}

impl Journal for Memory {
    fn replay(&mut self, visitor: &mut dyn Visitor) -> Result<(), JournalError> {
        let log = self.log.lock();
        visitor.compacted(log.compact_revision);
        for owned in &log.records {
            let Owned { kind, create_revision, revision, revision_at, expires_at, .. } = *owned;
            let (key, value) = (&*owned.key, &*owned.value);
            visitor.record(Record { kind, key, create_revision, revision, value, revision_at, expires_at });
        }
        Ok(())
    }

    fn append(&mut self, batch: Batch<'_>) -> Result<(), JournalError> {
        let mut log = self.log.lock();
        log.compact_revision = log.compact_revision.max(batch.compact_revision);
        log.records.extend(batch.records.iter().map(|record| Owned {
            kind: record.kind,
            key: record.key.into(),
            create_revision: record.create_revision,
            revision: record.revision,
            value: record.value.into(),
            revision_at: record.revision_at,
            expires_at: record.expires_at,
        }));
        Ok(())
    }
}
