//! Those who wait until the feed has come to a revision.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client::{CallError, Client};
use crate::Revision;
use crate::shared::Shared;

/// Each is woken once, by the step that it waits for, however many wait.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: Mutex<BTreeMap<(Revision, u64), oneshot::Sender<()>>>,
    serial: AtomicU64,
}

impl Waiters {
    /// Wakes those who wait for a revision up to this.
    pub fn reached(&self, revision: Revision) {
        let due = {
            let mut waiting = self.waiting.lock();
            let later = waiting.split_off(&(revision + 1, 0));
            std::mem::replace(&mut *waiting, later)
        };
        // Who no longer waits need not be told.
        due.into_values().for_each(|waiter| _ = waiter.send(()));
    }

    pub async fn wait(&self, revision: Revision, is_reached: impl Fn() -> bool) {
        if is_reached() {
            return;
        }
        let (waiter, reached) = oneshot::channel();
        let place = Place { waiters: self, key: (revision, self.serial.fetch_add(1, Ordering::Relaxed)) };
        self.waiting.lock().insert(place.key, waiter);
        // The step may have been taken before the place was.
        if !is_reached() {
            let _ = reached.await;
        }
    }
}

/// Gives the place back, whether or not what was waited for came.
struct Place<'a> {
    waiters: &'a Waiters,
    key: (Revision, u64),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.waiters.waiting.lock().remove(&self.key);
    }
}

/// Waits for the feed.
pub(super) struct CatchUp<A> {
    pub shared: Arc<Shared<A>>,
    pub client: Arc<Client>,
    pub waiters: Arc<Waiters>,
}

impl<A> CatchUp<A> {
    /// Returns when the index stands at `revision` or later.
    pub async fn to(&self, revision: Revision, deadline: Instant) -> Result<(), CallError> {
        let is_reached = || self.shared.dispatched.load(Ordering::Acquire) >= revision;
        if is_reached() {
            return Ok(());
        }
        self.client.want(revision);
        let waited = tokio::time::timeout_at(deadline, self.waiters.wait(revision, is_reached)).await;
        waited.map_err(|_| CallError::timed_out())
    }
}

impl<A> Clone for CatchUp<A> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), client: self.client.clone(), waiters: self.waiters.clone() }
    }
}
