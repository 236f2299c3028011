//! Carrying a whole state from one store to another, of whatever kind the two are: a log in a folder, an etcd.
//!
//! Revisions never go backwards by it. Into a folder a state goes with its own revisions, of which the log goes on. An etcd numbers its writes
//! itself, so it is raised first: it takes writes of a key that nobody reads until it stands where the state does.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::journal::{JournalError, Record, Transformer, WalOptions, restore::restore, seal};
use crate::{Entry, EventKind, NewValue, Precondition, Revision, Snapshot, Store, WriteError};

/// Writes at once. Each waits for a sync of the other side.
const WRITERS: usize = 64;

/// How long a key stays in the place it is carried to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// Until somebody deletes it.
    Always,
    /// So long, at most.
    For(Duration),
    /// It stays behind.
    Not,
}

impl<A: Send + Sync + 'static> Snapshot<A> {
    /// Begins a log with this state, in a folder that is empty or not there; see [`restore`]. A store on an etcd does not know
    /// what expires when, so `stay` says it; `now` is in Unix seconds.
    pub fn save(
        &self,
        folder: &Path,
        options: WalOptions,
        transformer: Option<&dyn Transformer>,
        now: u64,
        stay: impl Fn(&str) -> Stay,
    ) -> Result<(), JournalError> {
        let staying = self.range("", None).filter_map(|entry| match stay(&entry.key) {
            Stay::Always => Some((entry, entry.meta.expires_at)),
            Stay::For(ttl) => Some((entry, now.saturating_add(ttl.as_secs()))),
            Stay::Not => None,
        });
        // Sealed beforehand, for a record borrows what is sealed.
        let sealed = staying.map(|(entry, expires_at)| {
            let record = Record { expires_at, ..record(EventKind::Put, entry) };
            let value = transformer.map(|transformer| seal(transformer, &record)).transpose()?;
            Ok((record, value))
        });
        let entries: Vec<_> = sealed.collect::<Result<_, JournalError>>()?;
        let records = entries.iter().map(|(record, sealed)| match sealed {
            Some(value) => Record { value, ..*record },
            None => *record,
        });
        restore(folder, options, self.revision(), records)
    }

    /// Writes every entry of this state into another store, under new revisions of that store. What has expired stays behind.
    pub async fn copy_to<B: Send + Sync + 'static>(&self, to: &Store<B>) -> Result<(), WriteError<B>> {
        let now = to.now();
        let mut writing = JoinSet::new();
        for entry in self.range("", None) {
            let Some(value) = entry.again(now) else { continue };
            if writing.len() == WRITERS {
                join(&mut writing).await?;
            }
            let (to, key) = (to.clone(), entry.key.clone());
            writing.spawn(async move { to.put(&key, value, Precondition::Absent).await.map(drop) });
        }
        while !writing.is_empty() {
            join(&mut writing).await?;
        }
        Ok(())
    }
}

impl<A> Entry<A> {
    /// Whether the store deletes the key by itself some time.
    pub fn expires(&self) -> bool {
        self.meta.expires_at != 0
    }

    /// The value as it was handed in, without its revision; `None` if it has expired.
    fn again(&self, now: u64) -> Option<NewValue> {
        let ttl = match self.meta.expires_at {
            0 => None,
            at => Some(Duration::from_secs(at.checked_sub(now).filter(|left| *left > 0)?)),
        };
        let bytes = self.without_revision();
        Some(NewValue { bytes, revision_at: self.meta.revision_at.map(|at| at as usize), ttl })
    }
}

impl<A: Send + Sync + 'static> Store<A> {
    /// Writes keys below `scratch` until the store stands at `revision` or later, and removes them. Each write raises a store by one.
    pub async fn raise(&self, scratch: &str, value: &NewValue, revision: Revision) -> Result<(), WriteError<A>> {
        let left = revision.saturating_sub(self.revision());
        if left == 0 {
            return Ok(());
        }
        let left = Arc::new(AtomicU64::new(left));
        let mut writing = JoinSet::new();
        for writer in 0..WRITERS {
            let (store, left, key) = (self.clone(), left.clone(), format!("{scratch}/{writer:02}"));
            let value = value.clone();
            writing.spawn(async move {
                while left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok() {
                    store.put(&key, value.clone(), Precondition::Any).await?;
                }
                match store.delete(&key, value, Precondition::Any).await {
                    Err(error) if !matches!(error, WriteError::Conflict(_)) => Err(error),
                    _ => Ok(()),
                }
            });
        }
        while !writing.is_empty() {
            join(&mut writing).await?;
        }
        Ok(())
    }
}

/// One of the writes.
async fn join<A: 'static>(writing: &mut JoinSet<Result<(), WriteError<A>>>) -> Result<(), WriteError<A>> {
    match writing.join_next().await {
        Some(Ok(written)) => written,
        Some(Err(_)) => Err(WriteError::Closed("a write was given up".into())),
        None => Ok(()),
    }
}

/// An entry as a journal takes it.
pub(crate) fn record<A>(kind: EventKind, entry: &Entry<A>) -> Record<'_> {
    Record {
        kind,
        key: &entry.key,
        create_revision: entry.create_revision,
        revision: entry.revision,
        value: &entry.value,
        revision_at: entry.meta.revision_at,
        expires_at: entry.meta.expires_at,
    }
}
