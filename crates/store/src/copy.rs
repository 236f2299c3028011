//! Carrying a whole state from one store to another, of whatever kind the two are: a log in a folder, an etcd.
//!
//! Revisions never go backwards by it. Into a folder a state goes with its own revisions, and the log goes on there or beyond. An etcd numbers
//! its writes itself, so it is raised first: it takes writes of a key that nobody reads until it stands where the state does.

use std::cmp::Ordering;
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
    /// Begins a log with this state that goes on at `revision`, which is no older, in a folder that has none; see [`restore`]. A store on an
    /// etcd does not know what expires when, so `stay` says it; `now` is in Unix seconds.
    pub fn save(
        &self,
        folder: &Path,
        revision: Revision,
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
        restore(folder, options, revision, records)
    }

    /// Writes into another store what this state has and `before` has not, and deletes what only `before` has: all of it without
    /// a `before`. The writes get revisions of that store, which must hold `before` and nothing else: the first key that says
    /// otherwise is a conflict. What has expired stays behind, and so does what `stay` says. Gives the number of writes.
    pub async fn copy_to<B: Send + Sync + 'static>(
        &self,
        before: Option<&Self>,
        to: &Store<B>,
        stay: impl Fn(&str) -> Stay,
    ) -> Result<usize, WriteError<B>> {
        let now = to.now();
        let mut writing = JoinSet::new();
        let mut writes = 0;
        for change in self.changes_since(before) {
            let (Change::New(entry) | Change::Other(entry) | Change::Gone(entry)) = change;
            let stays = stay(&entry.key);
            let value = match change {
                _ if stays == Stay::Not => continue,
                Change::Gone(_) => None,
                Change::New(_) | Change::Other(_) => match entry.again(now) {
                    None => continue,
                    value => value,
                },
            };
            let value = value.map(|value| match stays {
                Stay::For(ttl) => value.with_ttl(ttl),
                _ => value,
            });
            let key = entry.key.clone();
            let precondition = match change {
                // It may have come to its end in one place and not yet in the other.
                _ if entry.expires() || stays != Stay::Always => Precondition::Any,
                Change::New(_) => Precondition::Absent,
                Change::Other(_) | Change::Gone(_) => Precondition::Exists,
            };
            if writing.len() == WRITERS {
                join(&mut writing).await?;
            }
            writes += 1;
            let to = to.clone();
            writing.spawn(async move {
                match value {
                    Some(value) => to.put(&key, value, precondition).await.map(drop),
                    None if precondition == Precondition::Any => remove(&to, &key, NewValue::default()).await,
                    None => to.delete(&key, NewValue::default(), precondition).await.map(drop),
                }
            });
        }
        while !writing.is_empty() {
            join(&mut writing).await?;
        }
        Ok(writes)
    }

    /// The entries of either state whose key the other has not.
    pub fn in_one_of<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Arc<Entry<A>>> {
        self.changes_since(Some(other)).filter_map(|change| match change {
            Change::New(entry) | Change::Gone(entry) => Some(entry),
            Change::Other(_) => None,
        })
    }

    /// Two walks in the order of keys, side by side.
    fn changes_since<'a>(&'a self, before: Option<&'a Self>) -> impl Iterator<Item = Change<'a, A>> {
        let mut old = before.into_iter().flat_map(|state| state.range("", None)).peekable();
        let mut new = self.range("", None).peekable();
        std::iter::from_fn(move || {
            loop {
                let order = match (old.peek(), new.peek()) {
                    (None, None) => return None,
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(old), Some(new)) => old.key.cmp(&new.key),
                };
                match order {
                    Ordering::Less => return old.next().map(Change::Gone),
                    Ordering::Greater => return new.next().map(Change::New),
                    Ordering::Equal => {
                        let known = old.next().map(|entry| entry.revision);
                        if let Some(entry) = new.next().filter(|entry| Some(entry.revision) != known) {
                            return Some(Change::Other(entry));
                        }
                    }
                }
            }
        })
    }
}

/// A step from one state to another.
enum Change<'a, A> {
    New(&'a Arc<Entry<A>>),
    Other(&'a Arc<Entry<A>>),
    Gone(&'a Arc<Entry<A>>),
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
                remove(&store, &key, value).await
            });
        }
        while !writing.is_empty() {
            join(&mut writing).await?;
        }
        Ok(())
    }
}

/// Whether or not it is there.
async fn remove<A: Send + Sync + 'static>(store: &Store<A>, key: &str, last: NewValue) -> Result<(), WriteError<A>> {
    match store.delete(key, last, Precondition::Any).await {
        Err(error) if !matches!(error, WriteError::Conflict(_)) => Err(error),
        _ => Ok(()),
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
