//! The store's handle: what the API server calls.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::backend::{Backend, Handle};
use crate::committer::Committer;
use crate::etcd::EtcdOptions;
use crate::history::Found;
use crate::journal::{Journal, Transformed};
use crate::sequencer::WriteResult;
use crate::shared::{Reached, Shared};
use crate::{
    BarrierError, CompactError, Entry, EventKind, Narrow, NewValue, OpenError, Options, Precondition, ReadError,
    Revision, Snapshot, Stats, Watch, WriteError,
};

/// A store of keys with the bytes of their values. Clones are handles to the same store; it closes when the last one goes.
///
/// `A` is what the caller derives from an entry and caches in it, see [`Entry::attrs`].
pub struct Store<A> {
    pub(crate) handle: Arc<Handle<A>>,
}

impl<A> Clone for Store<A> {
    fn clone(&self) -> Self {
        Self { handle: self.handle.clone() }
    }
}

impl<A> fmt::Debug for Store<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store at {}", self.handle.backend.load().shared.published.load().revision)
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
        shared.past.read_from(journal.past());
        let committer = Committer::new(shared.clone(), journal);
        Ok((shared, committer))
    }

    pub(crate) fn assemble(shared: Arc<Shared<A>>, thread: Option<std::thread::JoinHandle<()>>) -> Self {
        Self { handle: Arc::new(Handle::new(Backend::new(shared, thread, None))) }
    }

    /// Follows an etcd and starts to serve when the index is complete; blocks until then.
    pub fn open_etcd(etcd: EtcdOptions, options: Options) -> Result<Self, OpenError> {
        let (etcd, thread) = crate::etcd::open(etcd, options)?;
        let backend = Backend::new(etcd.shared.clone(), Some(thread), Some(etcd));
        Ok(Self { handle: Arc::new(Handle::new(backend)) })
    }

    /// What is behind the handle now. A write holds the handle's `writing` too, so that it is not changed under it.
    fn backend(&self) -> arc_swap::Guard<Arc<Backend<A>>> {
        self.handle.backend.load()
    }

    /// False once another one has taken its place.
    fn is_behind(&self, backend: &Arc<Backend<A>>) -> bool {
        Arc::ptr_eq(backend, &self.backend())
    }

    pub(crate) fn shared(&self) -> Arc<Shared<A>> {
        self.backend().shared.clone()
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
        let _writing = self.handle.writing.read().await;
        let backend = self.handle.backend.load_full();
        let result = backend.write(kind, key, value, precondition).await;
        let counters = &backend.shared.counters;
        match &result {
            Err(WriteError::Conflict(_)) => drop(counters.conflicts.fetch_add(1, Ordering::Relaxed)),
            Err(WriteError::Full(_)) => drop(counters.full.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        }
        result
    }

    /// Returns when whatever any server wrote before the call is published here. With a journal that is always so.
    pub async fn barrier(&self) -> Result<(), BarrierError> {
        loop {
            let backend = self.handle.backend.load_full();
            let Some(etcd) = &backend.etcd else { return Ok(()) };
            match etcd.barrier().await {
                Err(_) if !self.is_behind(&backend) => {}
                result => return result.map_err(BarrierError),
            }
        }
    }

    /// Unix seconds by the store's clock.
    pub(crate) fn now(&self) -> u64 {
        self.backend().shared.options.clock.unix_seconds()
    }

    /// The newest entry of a key.
    pub fn get(&self, key: &str) -> Option<Arc<Entry<A>>> {
        self.backend().shared.published.load().index.get(key).cloned()
    }

    /// The newest published revision.
    pub fn revision(&self) -> Revision {
        self.backend().shared.published.load().revision
    }

    /// The oldest revision that [`Store::snapshot_at`] takes.
    pub fn compact_revision(&self) -> Revision {
        self.backend().shared.history.lock().compacted
    }

    /// A consistent view of the present. Costs nothing, whatever the size of the store.
    pub fn snapshot(&self) -> Snapshot<A> {
        Snapshot(self.backend().shared.published.load_full())
    }

    /// The view as it was at a revision that is in memory; see [`Store::past`] for older ones.
    pub fn snapshot_at(&self, revision: Revision) -> Result<Snapshot<A>, ReadError> {
        let shared = &self.backend().shared;
        let found = shared.history.lock().find(revision)?;
        Ok(Snapshot(match found {
            Found::State(state) => state,
            Found::Undo(undo) => {
                let state = undo.run();
                shared.history.lock().remember(state.clone());
                state
            }
        }))
    }

    /// Every event after `after` of keys that start with `prefix`, in order. `after` may lie in the future: then nothing comes
    /// until the store is past it. Revision 0 means nothing special here (an empty store stands at 1). It is `Compacted` if an
    /// event after it may have been dropped; a quiet resource can be
    /// resumed from before [`Store::compact_revision`].
    pub fn watch(&self, prefix: &str, after: Revision) -> Result<Watch<A>, ReadError> {
        let shared = self.shared();
        let ring = shared.rings.of(prefix);
        let cursor = ring.cursor(after).map_err(|oldest| ReadError::Compacted { oldest })?;
        Ok(Watch::new(shared, ring, prefix, cursor, after))
    }

    /// The same of a part of one resource, which `prefix` must lie in. Costs a watcher nothing while others write to the rest of it.
    pub fn watch_narrow(&self, prefix: &str, narrow: Narrow<'_>, after: Revision) -> Result<Watch<A>, ReadError> {
        let shared = self.shared();
        let found = shared.rings.of(prefix).narrow(narrow, shared.options.layout(), after);
        let (ring, cursor) = found.map_err(|oldest| ReadError::Compacted { oldest })?;
        Ok(Watch::new(shared, ring, prefix, cursor, after))
    }

    /// Returns when `revision` is published (and in the hands of the watches).
    pub async fn wait_for(&self, revision: Revision) -> Result<(), ReadError> {
        let enough = |reached: &Reached| match reached {
            Reached::Revision(current) => *current >= revision,
            Reached::End => true,
        };
        loop {
            let backend = self.handle.backend.load_full();
            match backend.shared.revisions.subscribe().wait_for(enough).await.as_deref() {
                Ok(Reached::Revision(_)) => return Ok(()),
                _ if self.revision() >= revision => return Ok(()),
                _ if !self.is_behind(&backend) => {}
                _ => return Err(ReadError::Closed),
            }
        }
    }

    /// Forgets history before `revision`, durably. What a journal with retention keeps in its files stays there.
    pub async fn compact(&self, revision: Revision) -> Result<(), CompactError> {
        let backend = self.handle.backend.load_full();
        let shared = &backend.shared;
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
        if let Some(etcd) = &backend.etcd {
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

    /// Writes the whole state anew and drops the files before it, as is done by itself when the log has grown: whatever has
    /// become of them on the disk. An error says why that was not possible; what is there then stays.
    pub async fn rewrite(&self) -> Result<(), Arc<str>> {
        let backend = self.handle.backend.load_full();
        let (reply, answer) = oneshot::channel();
        {
            let mut sequencer = backend.shared.sequencer.lock();
            if let Some(reason) = &sequencer.closed {
                return Err(reason.clone());
            }
            if backend.etcd.is_some() {
                return Err("there are no files".into());
            }
            sequencer.submit_rewrite(reply);
            backend.shared.wake(sequencer);
        }
        answer.await.unwrap_or_else(|_| Err("the store was closed".into()))
    }

    /// Compaction by time and expiry now. The store does this by itself every few seconds; a simulation does it after moving
    /// its clock.
    pub fn upkeep(&self) {
        self.backend().shared.upkeep();
    }

    /// Takes no more writes, makes durable what was taken, ends the watches and lets go of the journal. Reads go on.
    pub async fn close(&self) {
        self.handle.backend.load_full().close().await;
    }

    /// The store's numbers.
    pub fn stats(&self) -> Stats {
        let shared = &self.backend().shared;
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
