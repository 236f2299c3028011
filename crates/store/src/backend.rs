//! What is behind a store's handle, a journal or an etcd, and how the one takes the other's place while the store is in use.
//!
//! A write holds `writing` together with all others; a [`Pause`] holds it alone. So a pause begins when the last write under way
//! is answered, and what is begun later waits and then goes to whatever is behind the handle. Example: put of a is being
//! synced, the pause waits; put of b comes and waits for the pause; the rest is copied to etcd, etcd takes the journal's place, b
//! is written to etcd.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, oneshot, watch};

use crate::etcd::Etcd;
use crate::sequencer::{Change, Request, WriteResult};
use crate::shared::{Reached, Shared};
use crate::{Entry, EventKind, NewValue, Precondition, Snapshot, Store, WriteError};

/// What all clones of a store point to.
pub(crate) struct Handle<A> {
    pub backend: ArcSwap<Backend<A>>,
    pub writing: Arc<RwLock<()>>,
    /// Whether an etcd is behind it.
    pub is_shared: watch::Sender<bool>,
}

impl<A> Handle<A> {
    pub fn new(backend: Backend<A>) -> Self {
        Self {
            is_shared: watch::Sender::new(backend.etcd.is_some()),
            backend: ArcSwap::from_pointee(backend),
            writing: Arc::default(),
        }
    }
}

pub(crate) struct Backend<A> {
    pub shared: Arc<Shared<A>>,
    /// The committer's, or the one that follows etcd.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Where etcd is in the journal's place.
    pub etcd: Option<Etcd<A>>,
}

impl<A> Backend<A> {
    pub fn new(shared: Arc<Shared<A>>, thread: Option<JoinHandle<()>>, etcd: Option<Etcd<A>>) -> Self {
        Self { shared, thread: Mutex::new(thread), etcd }
    }

    fn begin_to_close(&self) {
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

impl<A> Drop for Backend<A> {
    fn drop(&mut self) {
        self.begin_to_close();
        self.join();
    }
}

impl<A: Send + Sync + 'static> Backend<A> {
    pub async fn close(self: Arc<Self>) {
        self.begin_to_close();
        // The join waits for an fsync at most, but that is too long for an async thread.
        let _ = tokio::task::spawn_blocking(move || self.join()).await;
    }

    pub async fn write(
        &self,
        kind: EventKind,
        key: &str,
        value: NewValue,
        precondition: Precondition,
    ) -> WriteResult<A> {
        let shared = &self.shared;
        let (bytes, bytes_max) = (value.bytes.len() + key.len(), shared.options.value_bytes_max);
        if bytes > bytes_max {
            return Err(WriteError::TooLarge { bytes, bytes_max });
        }
        if let Some(transformer) = &shared.options.transformer {
            transformer.ready(key).map_err(|reason| WriteError::Unsealed(reason.into()))?;
        }
        if let Some(etcd) = &self.etcd {
            // Boxed, so that writes to a journal do not carry what these need.
            return Box::pin(etcd.write(kind, key, value, precondition)).await;
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
        match answer {
            // The sender is only dropped unanswered if the committer died.
            Ok(answer) => {
                answer.await.unwrap_or_else(|_| Err(WriteError::Closed("the journal's thread is gone".into())))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns when what was handed to the journal's thread is written, or has failed: a writer may be gone before its answer.
    async fn flush(&self) {
        let (reply, answer) = oneshot::channel();
        {
            let compacted = self.shared.history.lock().compacted;
            let mut sequencer = self.shared.sequencer.lock();
            if self.etcd.is_some() || sequencer.closed.is_some() {
                return;
            }
            sequencer.submit_compact(compacted, reply);
            self.shared.wake(sequencer);
        }
        // Refused or dropped: either way nothing is under way any more.
        let _ = answer.await;
    }
}

impl<A: Send + Sync + 'static> Store<A> {
    /// Whether other servers may write too: an etcd is in the journal's place.
    pub fn is_shared(&self) -> bool {
        *self.handle.is_shared.borrow()
    }

    /// Returns when [`Store::is_shared`] is no longer `was`.
    pub async fn moved(&self, was: bool) {
        // The sender lives as long as the handle.
        let _ = self.handle.is_shared.subscribe().wait_for(|now| *now != was).await;
    }

    /// Waits for the writes under way and lets no further one begin while the pause is there.
    pub async fn pause(&self) -> Pause<A> {
        let alone = self.handle.writing.clone().write_owned().await;
        let backend = self.handle.backend.load_full();
        backend.shared.is_paused.store(true, Ordering::Release);
        let pause = Pause { store: self.clone(), _alone: alone };
        backend.flush().await;
        pause
    }
}

/// While it is there, a store's writers wait.
pub struct Pause<A> {
    store: Store<A>,
    _alone: OwnedRwLockWriteGuard<()>,
}

impl<A: Send + Sync + 'static> Pause<A> {
    /// The last state before the pause.
    pub fn snapshot(&self) -> Snapshot<A> {
        self.store.snapshot()
    }

    /// The one who pauses may write.
    pub async fn put(
        &self,
        key: &str,
        value: NewValue,
        precondition: Precondition,
    ) -> Result<Arc<Entry<A>>, WriteError<A>> {
        let backend = self.store.handle.backend.load_full();
        backend.write(EventKind::Put, key, value, precondition).await
    }

    /// What is behind `next` takes the place of what was behind the store; that is closed. Every watch ends and has to be begun
    /// anew, and nobody resumes from before the revision at which `next` stands: it must hold the state of
    /// [`Pause::snapshot`], under revisions that are no older.
    pub async fn go_on_with(self, next: Store<A>) {
        let handle = &self.store.handle;
        let next = next.handle.backend.load_full();
        let revision = next.shared.published.load().revision;
        next.shared.forget(revision);
        let is_shared = next.etcd.is_some();
        let before = handle.backend.swap(next);
        handle.is_shared.send_if_modified(|was| std::mem::replace(was, is_shared) != is_shared);
        for ring in before.shared.rings.reset(revision) {
            ring.changed.notify_waiters();
        }
        before.shared.revisions.send_replace(Reached::End);
        drop(self);
        before.close().await;
    }
}

impl<A> Drop for Pause<A> {
    fn drop(&mut self) {
        self.store.handle.backend.load().shared.is_paused.store(false, Ordering::Release);
    }
}
