//! The errors of the store's calls.

use std::fmt;
use std::sync::Arc;

use crate::journal::JournalError;
use crate::{Entry, Revision};

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the store: {0}")]
pub struct OpenError(#[from] pub JournalError);

/// Why a write did not happen.
#[derive(thiserror::Error)]
pub enum WriteError<A> {
    /// The precondition does not hold; this is the key's current, durable state.
    #[error("the key has changed or does not meet the precondition")]
    Conflict(Option<Arc<Entry<A>>>),
    /// The disk or the quota is full. Reads go on; writes work again by themselves when there is room.
    #[error("the store is full: {0}")]
    Full(Arc<str>),
    /// The value could not be encrypted (whatever the transformer does); other keys are not affected.
    #[error("{0}")]
    Unsealed(Arc<str>),
    /// etcd could not be reached or did not say in time whether it was written; in its words.
    #[error("{0}")]
    Unavailable(Arc<str>),
    /// One value is larger than the journal takes.
    #[error("the value has {bytes} bytes, the store takes at most {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// The store takes no writes any more: it was closed, or the journal failed and only a restart can tell what is on disk.
    #[error("the store takes no more writes: {0}")]
    Closed(Arc<str>),
}

impl<A> fmt::Debug for WriteError<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Conflict(current) => f.debug_tuple("Conflict").field(current).finish(),
            other => fmt::Display::fmt(other, f),
        }
    }
}

/// Why a revision cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is older than what is kept.
    #[error("revision has been compacted; the oldest available is {oldest}")]
    Compacted {
        /// The oldest revision that the same call would take.
        oldest: Revision,
    },
    /// It has not been written yet.
    #[error("revision is newer than the current one, {current}")]
    Future {
        /// The newest published revision.
        current: Revision,
    },
    /// The store was closed while waiting.
    #[error("the store is closed")]
    Closed,
}

/// Why an old state or version cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// It is not there.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It could not be read.
    #[error("failed to read the history that is kept")]
    Journal(#[from] JournalError),
}

/// Why nobody can tell what the newest state is: etcd's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BarrierError(pub Arc<str>);

/// Why history was not compacted.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The revision is compacted already or does not exist yet.
    #[error(transparent)]
    Revision(#[from] ReadError),
    /// It could not be recorded.
    #[error(transparent)]
    Write(#[from] WriteError<()>),
}

/// Why a watch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The watcher read too slowly: events it had not seen have left the ring. List again.
    #[error("the watcher was too slow, its events are no longer kept")]
    Slow,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
