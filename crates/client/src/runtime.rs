//! Runs controllers: changes become keys, keys become views, views become plans, plans become writes. Before a key is
//! looked at again the caches must have seen what was written for it, so that no decision is made twice.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::Key;
use crate::apply::Applier;
use crate::controller::{Controller, Outside, Snapshotters, Sources};
use crate::environment::Environment;
use crate::events::EventRecorder;
use crate::queue::WorkQueue;
use crate::reflectors::Reflectors;
use crate::request::ApiError;
use crate::view::Failure;

/// How long a decision waits for the cache to show the last one's writes.
const CACHE_PATIENCE: Duration = Duration::from_secs(30);

/// What controllers run on.
#[derive(Clone)]
pub struct Runtime {
    /// The process' caches.
    pub reflectors: Arc<Reflectors>,
    /// Time and chance.
    pub environment: Environment,
}

struct Running<C> {
    controller: C,
    snapshotters: Arc<Snapshotters>,
    queue: Arc<WorkQueue<Key>>,
    applier: Applier,
    client: kube::Client,
    runtime: Runtime,
    /// Only keys whose last plan failed are here.
    failures: Mutex<HashMap<Key, Failure>>,
}

impl Runtime {
    /// Runs a controller that writes through `client` and records events as `component`, until cancelled.
    pub async fn run<C: Controller>(
        &self,
        controller: C,
        client: kube::Client,
        component: &str,
        cancel: CancellationToken,
    ) {
        let mut sources = Sources::new(&self.reflectors);
        controller.sources(&mut sources);
        let Sources { snapshotters, connects, synced, periodic, .. } = sources;
        let queue = Arc::new(WorkQueue::default());
        let snapshotters = Arc::new(snapshotters);
        let recorder = EventRecorder::new(client.clone(), component, "", self.environment.clone());
        let running = Running {
            controller,
            snapshotters: snapshotters.clone(),
            queue: queue.clone(),
            applier: Applier::new(client.clone(), recorder),
            client,
            runtime: self.clone(),
            failures: Mutex::default(),
        };
        let work = async {
            // Listening starts before the first list so that it is heard object by object, working only after it.
            for connect in connects {
                let queue = queue.clone();
                connect(snapshotters.clone(), Arc::new(move |key| queue.add(key)));
            }
            for ready in synced {
                ready.await;
            }
            for key in periodic.values().flatten() {
                queue.add(key.clone());
            }
            info!(controller = C::NAME, "controller started");
            running.work(&periodic).await;
        };
        tokio::select! {
            () = work => {}
            () = cancel.cancelled() => {}
        }
    }
}

impl<C: Controller> Running<C> {
    async fn work(&self, periodic: &std::collections::BTreeMap<Duration, Vec<Key>>) {
        let mut in_work = FuturesUnordered::new();
        loop {
            tokio::select! {
                key = self.queue.next(), if in_work.len() < C::CONCURRENCY => in_work.push(self.look_at(key, periodic)),
                Some(()) = in_work.next(), if !in_work.is_empty() => {}
            }
        }
    }

    async fn look_at(&self, key: Key, periodic: &std::collections::BTreeMap<Duration, Vec<Key>>) {
        match self.decide_and_act(&key).await {
            Ok(look_again_in) => {
                self.queue.forget(&key);
                let period = periodic.iter().find(|(_, keys)| keys.contains(&key)).map(|(period, _)| *period);
                let soonest = look_again_in.into_iter().chain(period).min();
                if let Some(delay) = soonest {
                    self.queue.add_after(key.clone(), delay);
                }
            }
            Err(error) => self.come_back(&key, &error),
        }
        self.queue.done(&key);
    }

    async fn decide_and_act(&self, key: &Key) -> Result<Option<Duration>, ApiError> {
        let now = self.runtime.environment.now();
        let failure = self.failures.lock().get(key).cloned();
        let mut view = self.snapshotters.view().with_failure(failure);
        let outside = Outside { client: self.client.clone(), now };
        self.controller.observe(&outside, key, &mut view).await?;
        let plan = self.controller.reconcile(&view, key, now);
        drop(view);
        if !plan.reasons.is_empty() {
            debug!(controller = C::NAME, %key, writes = plan.writes.len(), reasons = ?plan.reasons, "planned");
        }
        let outcome = self.applier.apply(&plan.writes).await;
        self.runtime.reflectors.wait_seen(&outcome.written, CACHE_PATIENCE).await;
        let mut failures = self.failures.lock();
        match outcome.failure {
            None => {
                failures.remove(key);
                Ok(plan.requeue_after)
            }
            Some(failure) => {
                let error = failure.error.clone();
                // A conflict says that the view was old, nothing about the decision.
                if error.is_conflict() {
                    failures.remove(key)
                } else {
                    failures.insert(key.clone(), failure)
                };
                Err(error)
            }
        }
    }

    fn come_back(&self, key: &Key, error: &ApiError) {
        if error.is_conflict() {
            debug!(controller = C::NAME, %key, %error, "acted on an old view, looking again");
        } else {
            let failures = self.queue.failures(key);
            warn!(controller = C::NAME, %key, %error, failures, "failed to carry out a plan, trying again");
        }
        match error {
            ApiError::Status { retry_after_seconds: Some(seconds), .. } => {
                self.queue.add_after(key.clone(), Duration::from_secs(*seconds));
            }
            _ => self.queue.retry(key.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
