//! Journals: what makes writes durable and gives them back after a restart.
//!
//! `wal` is the default, a log in a folder. `memory` keeps nothing beyond the process, for tests and simulations.

mod chain;
pub mod compact;
pub mod disk;
pub(crate) mod frame;
pub mod inspect;
mod lost;
pub mod memory;
mod past;
mod recover;
pub mod restore;
mod retention;
pub mod scrub;
pub(crate) mod segment;
pub(crate) mod snapshot;
mod transformed;
pub mod wal;

use std::io;
use std::path::PathBuf;

use crate::{EventKind, Histogram, Revision};

pub use memory::Memory;
pub use past::Past;
pub(crate) use past::{Found, Range};
pub use retention::Retention;
pub use transformed::{Opened, Transformer};
pub(crate) use transformed::{Transformed, seal};
pub use wal::{Wal, WalOptions};

/// One write, or one entry of a snapshot (then always a put).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Put or delete.
    pub kind: EventKind,
    /// The whole key.
    pub key: &'a str,
    /// The revision that created the key.
    pub create_revision: Revision,
    /// The revision of this write.
    pub revision: Revision,
    /// The bytes with the revision in them; of a deletion the last state.
    pub value: &'a [u8],
    /// Where the revision's digits begin in the value.
    pub revision_at: Option<u32>,
    /// Unix seconds of the key's expiry, 0 for never.
    pub expires_at: u64,
}

/// What becomes durable together.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// History before this revision is no longer promised; never goes backwards.
    pub compact_revision: Revision,
    /// When it was written, in Unix milliseconds. Clocks are set, so it may go backwards.
    pub time: u64,
    /// Writes in the order of their revisions, each one more than the one before. May be empty (only the compaction counts).
    pub records: &'a [Record<'a>],
}

/// Receives what a journal holds, in this order: `snapshot` and its `entry`s (once, or not at all), then `record`s.
pub trait Visitor {
    /// The state begins at this revision; its entries follow.
    fn snapshot(&mut self, revision: Revision);
    /// One entry of the snapshot.
    fn entry(&mut self, record: Record<'_>);
    /// One write after the snapshot.
    fn record(&mut self, record: Record<'_>);
    /// A compaction; may come at any point and repeatedly.
    fn compacted(&mut self, revision: Revision);
}

/// Makes batches durable. Called from one thread.
pub trait Journal: Send {
    /// Reads everything. Called once, before the first append.
    fn replay(&mut self, visitor: &mut dyn Visitor) -> Result<(), JournalError>;

    /// Makes a batch durable. After [`JournalError::Full`] and [`JournalError::Seal`] the journal is as it was before the call and may be tried again; after
    /// any other error but [`JournalError::Seal`] the store never calls `append` again.
    fn append(&mut self, batch: Batch<'_>) -> Result<(), JournalError>;

    /// Whether it is time to write a snapshot of a state of this size, so that old log can be dropped.
    fn snapshot_due(&self, state_bytes: u64) -> bool {
        let _ = state_bytes;
        false
    }

    /// Begins a snapshot of the state after the last append. The sink may be used from another thread while appends go on.
    fn begin_snapshot(&mut self, revision: Revision, compact: Revision) -> Result<Box<dyn SnapshotSink>, JournalError> {
        let _ = (revision, compact);
        Err(JournalError::Failed { doing: "write a snapshot", source: io::ErrorKind::Unsupported.into() })
    }

    /// Reads what was, beside appends and snapshots, out of what the journal still has.
    fn past(&self) -> Option<Past> {
        None
    }

    /// Numbers.
    fn stats(&self) -> JournalStats {
        JournalStats::default()
    }
}

/// Where a snapshot is written to. Dropping it unfinished leaves nothing behind that counts.
pub trait SnapshotSink: Send {
    /// Adds an entry; entries come in the order of keys.
    fn write(&mut self, record: Record<'_>) -> Result<(), JournalError>;
    /// Makes the snapshot durable, and then drops the log that it replaces. Gives back the snapshot's bytes.
    fn finish(self: Box<Self>) -> Result<u64, JournalError>;
}

/// A journal's numbers since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// Bytes written to the log, framing included.
    pub bytes_written: u64,
    /// Bytes in log segments since the last snapshot.
    pub log_bytes: u64,
    /// Log segments begun.
    pub segments: u64,
    /// Duration of the fsyncs of the log alone.
    pub sync_duration: Histogram,
    /// Bytes dropped from the end of the log when it was opened: a write that was under way in a crash.
    pub torn_bytes: u64,
}

/// What can go wrong with a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// No room; nothing was changed.
    #[error("no space left for {doing}")]
    Full {
        /// What was being done.
        doing: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The disk failed.
    #[error("failed to {doing}")]
    Failed {
        /// What was being done.
        doing: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// What was durable once cannot be read.
    #[error(
        "{} is damaged at offset {offset}: {detail}. Nothing was changed. Restore a backup, or move the folder away to start \
         empty; what was written before this point is intact",
        file.display()
    )]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// Where.
        offset: u64,
        /// What.
        detail: String,
    },
    /// Written by a newer version of this program.
    #[error("{} has format version {version}, this program reads up to {known}: use the program that wrote it", file.display())]
    Version {
        /// The file.
        file: PathBuf,
        /// Its version.
        version: u32,
        /// The newest known.
        known: u32,
    },
    /// A value could not be turned into what is kept; nothing was changed.
    #[error("failed to seal the value of {key}: {reason}")]
    Seal {
        /// Whose value.
        key: String,
        /// Why.
        reason: String,
    },
    /// A kept value could not be turned back.
    #[error("failed to open the value kept of {key}: {reason}")]
    Open {
        /// Whose value.
        key: String,
        /// Why.
        reason: String,
    },
    /// The etcd that holds everything could not be read.
    #[error("no etcd could be read: {reason}")]
    Etcd {
        /// Why the last attempt failed.
        reason: String,
    },
    /// Another process serves the folder.
    #[error("{} is in use by another server", folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
    },
}
