//! The store's handle: what the API server calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::committer::Committer;
use crate::etcd::{Etcd, EtcdOptions};
use crate::history::Found;
use crate::journal::{Journal, Transformed};
use crate::sequencer::{Change, Request, WriteResult};
use crate::shared::{Reached, Shared};
use crate::{
    BarrierError, CompactError, Entry, EventKind, NewValue, OpenError, Options, Precondition, ReadError, Revision,
    Snapshot, Stats, Watch, WriteError,
};

/// A store of keys with the bytes of their values. Clones are handles to the same store; it closes when the last one goes.
///
/// `A` is what the caller derives from an entry and caches in it, see [`Entry::attrs`].
pub struct Store<A> {
    handle: Arc<Handle<A>>,
}

impl<A> Clone for Store<A> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone() }
    }
}

impl<A> fmt::Debug for Store<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store at {}", self.handle.shared.published.load().revision)
    }
}

struct Handle<A> {
    shared: Arc<Shared<A>>,
    /// The committer's, or the one that follows etcd.
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    /// Where etcd is in the journal's place.
    etcd: Option<Etcd<A>>,
}

impl<A> Handle<A> {
    fn close(&self) {
        self.shared.close("the store was closed");
        if let Some(etcd) = &self.etcd {
            etcd.end();
        }
    }

    fn join(&self) {
        if let Some(thread) = self.thread.lock().take() {
            // A panic there has been reported by the panic hook; here the thread is gone either way.
            let _ = thread.join();
        }
    }
}

impl<A> Drop for Handle<A> {
    fn drop(&mut self) {
        self.close();
        self.join();
    }
}

impl<A: Send + Sync + 'static> Store<A> {
    /// Reads the journal and starts to serve.
    pub fn open(journal: Box<dyn Journal>, options: Options) -> Result<Self, OpenError> {
        let (shared, committer) = Self::prepare(journal, options)?;
        let thread = std::thread::Builder::new()
            .name("store-journal".into())
            .spawn(move || committer.run())
            .map_err(|source| crate::journal::JournalError::Failed { doing: "start the journal's thread", source })?;
        Ok(Self::assemble(shared, Some(thread)))
    }

    pub(crate) fn prepare(
        mut journal: Box<dyn Journal>,
        options: Options,
    ) -> Result<(Arc<Shared<A>>, Committer<A>), OpenError> {
        if let Some(transformer) = &options.transformer {
            journal = Box::new(Transformed::new(journal, transformer.clone()));
        }
        let shared = crate::replay::replay(&mut *journal, options)?;
        let committer = Committer::new(shared.clone(), journal);
        Ok((shared, committer))
    }

    pub(crate) fn assemble(shared: Arc<Shared<A>>, thread: Option<std::thread::JoinHandle<()>>) -> Self {
        Self { handle: Arc::new(Handle { shared, thread: Mutex::new(thread), etcd: None }) }
    }

    /// Follows an etcd and starts to serve when the index is complete; blocks until then.
    pub fn open_etcd(etcd: EtcdOptions, options: Options) -> Result<Self, OpenError> {
        let (etcd, thread) = crate::etcd::open(etcd, options)?;
        Ok(Self {
            handle: Arc::new(Handle {
                shared: etcd.shared.clone(),
                thread: Mutex::new(Some(thread)),
                etcd: Some(etcd),
            }),
        })
    }

    fn shared(&self) -> &Arc<Shared<A>> {
        &self.handle.shared
    }

    /// Writes a key. When it returns, the write is durable and visible to readers and watchers.
    pub async fn put(
        &self,
        key: &str,
        value: NewValue,
        precondition: Precondition,
    ) -> Result<Arc<Entry<A>>, WriteError<A>> {
        self.write(EventKind::Put, key, value, precondition).await
    }

    /// Deletes a key. `last_state` is what watchers see of it, with the deletion's revision spliced in, and what is returned.
    /// A key that is not there is a conflict, whatever the precondition.
    pub async fn delete(
        &self,
        key: &str,
        last_state: NewValue,
        precondition: Precondition,
    ) -> Result<Arc<Entry<A>>, WriteError<A>> {
        self.write(EventKind::Delete, key, last_state, precondition).await
    }

    async fn write(&self, kind: EventKind, key: &str, value: NewValue, precondition: Precondition) -> WriteResult<A> {
        let shared = self.shared();
        let (bytes, bytes_max) = (value.bytes.len() + key.len(), shared.options.value_bytes_max);
        if bytes > bytes_max {
            return Err(WriteError::TooLarge { bytes, bytes_max });
        }
        if let Some(transformer) = &shared.options.transformer {
            transformer.ready(key).map_err(|reason| WriteError::Unsealed(reason.into()))?;
        }
        if let Some(etcd) = &self.handle.etcd {
            // Boxed, so that writes to a journal do not carry what these need.
            return self.counted(Box::pin(etcd.write(kind, key, value, precondition)).await);
        }
        let expires_at = value.ttl.map_or(0, |ttl| shared.options.clock.unix_seconds().saturating_add(ttl.as_secs()));
        let mut request = Some(Request { kind, key, value: Change::New { value, expires_at }, precondition });
        let answer = loop {
            let room = shared.room.notified();
            if let Some(answer) = shared.submit(&mut request) {
                break answer;
            }
            room.await;
        };
        let result = match answer {
            // The sender is only dropped unanswered if the committer died.
            Ok(answer) => {
                answer.await.unwrap_or_else(|_| Err(WriteError::Closed("the journal's thread is gone".into())))
            }
            Err(error) => Err(error),
        };
        self.counted(result)
    }

    fn counted(&self, result: WriteResult<A>) -> WriteResult<A> {
        let counters = &self.shared().counters;
        match &result {
            Err(WriteError::Conflict(_)) => drop(counters.conflicts.fetch_add(1, Ordering::Relaxed)),
            Err(WriteError::Full(_)) => drop(counters.full.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        }
        result
    }

    /// Returns when whatever any server wrote before the call is published here. With a journal that is always so.
    pub async fn barrier(&self) -> Result<(), BarrierError> {
        match &self.handle.etcd {
            None => Ok(()),
            Some(etcd) => etcd.barrier().await.map_err(BarrierError),
        }
    }

    /// Unix seconds by the store's clock.
    pub(crate) fn now(&self) -> u64 {
        self.shared().options.clock.unix_seconds()
    }

    /// The newest entry of a key.
    pub fn get(&self, key: &str) -> Option<Arc<Entry<A>>> {
        self.shared().published.load().index.get(key).cloned()
    }

    /// The newest published revision.
    pub fn revision(&self) -> Revision {
        self.shared().published.load().revision
    }

    /// The oldest revision that [`Store::snapshot_at`] takes.
    pub fn compact_revision(&self) -> Revision {
        self.shared().history.lock().compacted
    }

    /// A consistent view of the present. Costs nothing, whatever the size of the store.
    pub fn snapshot(&self) -> Snapshot<A> {
        Snapshot(self.shared().published.load_full())
    }

    /// The view as it was at a revision.
    pub fn snapshot_at(&self, revision: Revision) -> Result<Snapshot<A>, ReadError> {
        let found = self.shared().history.lock().find(revision)?;
        Ok(Snapshot(match found {
            Found::State(state) => state,
            Found::Undo(undo) => {
                let state = undo.run();
                self.shared().history.lock().remember(state.clone());
                state
            }
        }))
    }

    /// Every event after `after` of keys that start with `prefix`, in order. `after` may lie in the future: then nothing comes
    /// until the store is past it. Revision 0 means nothing special here (an empty store stands at 1). It is `Compacted` if an
    /// event after it may have been dropped; a quiet resource can be
    /// resumed from before [`Store::compact_revision`].
    pub fn watch(&self, prefix: &str, after: Revision) -> Result<Watch<A>, ReadError> {
        let ring = self.shared().rings.of(prefix);
        let cursor = ring.cursor(after).map_err(|oldest| ReadError::Compacted { oldest })?;
        Ok(Watch::new(self.shared().clone(), ring, prefix, cursor, after))
    }

    /// Returns when `revision` is published (and in the hands of the watches).
    pub async fn wait_for(&self, revision: Revision) -> Result<(), ReadError> {
        let mut revisions = self.shared().revisions.subscribe();
        let enough = |reached: &Reached| match reached {
            Reached::Revision(current) => *current >= revision,
            Reached::End => true,
        };
        match revisions.wait_for(enough).await.as_deref() {
            Ok(Reached::Revision(_)) => Ok(()),
            _ if self.revision() >= revision => Ok(()),
            _ => Err(ReadError::Closed),
        }
    }

    /// Forgets history before `revision`, durably.
    pub async fn compact(&self, revision: Revision) -> Result<(), CompactError> {
        let shared = self.shared();
        let (compacted, current) = {
            let history = shared.history.lock();
            (history.compacted, history.present.revision)
        };
        if revision > current {
            return Err(ReadError::Future { current }.into());
        }
        if revision < compacted {
            return Err(ReadError::Compacted { oldest: compacted }.into());
        }
        if let Some(etcd) = &self.handle.etcd {
            return etcd.compact(revision).await;
        }
        let (reply, answer) = oneshot::channel();
        {
            let mut sequencer = shared.sequencer.lock();
            if let Some(reason) = &sequencer.closed {
                return Err(WriteError::Closed(reason.clone()).into());
            }
            sequencer.submit_compact(revision, reply);
            shared.wake(sequencer);
        }
        answer.await.unwrap_or_else(|_| Err(WriteError::Closed("the journal's thread is gone".into()).into()))
    }

    /// Compaction by time and expiry now. The store does this by itself every few seconds; a simulation does it after moving
    /// its clock.
    pub fn upkeep(&self) {
        self.shared().upkeep();
    }

    /// Takes no more writes, makes durable what was taken, ends the watches and lets go of the journal. Reads go on.
    pub async fn close(&self) {
        self.handle.close();
        let handle = self.handle.clone();
        // The join waits for an fsync at most, but that is too long for an async thread.
        let _ = tokio::task::spawn_blocking(move || handle.join()).await;
    }

    /// The store's numbers.
    pub fn stats(&self) -> Stats {
        let shared = self.shared();
        let state = shared.published.load_full();
        let mut stats = Stats {
            revision: state.revision,
            totals: state.index.total(),
            resources: state.index.resources(),
            quota_bytes: shared.options.quota_bytes,
            closed: shared.sequencer.lock().closed.clone(),
            ..Stats::default()
        };
        shared.counters.fill(&mut stats);
        let history = shared.history.lock();
        stats.compact_revision = history.compacted;
        (stats.history_events, stats.history_bytes) = history.len();
        stats
    }
}
