//! The buffer before a backend in batch mode, and the task that empties it.
//!
//! Events wait in a queue of bounded number and size; what does not fit is lost, and counted. A batch is written when it is
//! full or has waited long enough, so many a second, and a bounded number at once. At the end of the server everything that
//! waits is written without delay.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::event::Event;
use super::metrics::AuditMetrics;
use super::output::Output;
use super::settings::Options;

/// What waits has no more bytes than this, however few events these are.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Batches that are under way at once: a server that does not answer keeps no more than these.
const UNDER_WAY_MAX: usize = 16;
const PLUGIN: &str = "buffered";

pub struct Buffer {
    queue: mpsc::Sender<Event>,
    load: Arc<Load>,
    metrics: AuditMetrics,
    end: CancellationToken,
    task: parking_lot::Mutex<Option<JoinHandle<()>>>,
}

impl Buffer {
    pub fn new(output: Arc<Output>, options: Options, metrics: AuditMetrics) -> Self {
        let (queue, waiting) = mpsc::channel(options.batch.buffer_size);
        let (load, end) = (Arc::<Load>::default(), CancellationToken::new());
        let writer = Writer {
            waiting,
            load: load.clone(),
            held: None,
            throttle: Throttle::new(options.batch.throttle_qps, options.batch.throttle_burst),
            output,
            options,
            end: end.clone(),
        };
        let task = tokio::spawn(writer.run());
        Self { queue, load, metrics, end, task: parking_lot::Mutex::new(Some(task)) }
    }

    /// Never waits.
    pub fn put(&self, event: Event) {
        let size = event.len();
        self.load.events.fetch_add(1, Ordering::Relaxed);
        let fits = self.load.bytes.fetch_add(size, Ordering::Relaxed).saturating_add(size) <= BYTES_MAX;
        if !fits || self.queue.try_send(event).is_err() {
            self.load.bytes.fetch_sub(size, Ordering::Relaxed);
            self.load.events.fetch_sub(1, Ordering::Relaxed);
            tracing::error!("an audit event is lost: the buffer is full");
            self.metrics.failed(PLUGIN, 1);
        }
    }

    /// Writes what waits. What is not written in this time is lost.
    pub async fn flush(&self, within: Duration) {
        self.end.cancel();
        let Some(task) = self.task.lock().take() else { return };
        let abort = task.abort_handle();
        if tokio::time::timeout(within, task).await.is_err() {
            abort.abort();
            let lost = self.load.events.load(Ordering::Relaxed);
            tracing::error!(lost, "audit events are lost: the backend did not take them before the end");
            self.metrics.failed(PLUGIN, lost);
        }
    }
}

/// What has not been written yet.
#[derive(Default)]
struct Load {
    /// In the queue.
    bytes: AtomicUsize,
    /// In the queue and under way.
    events: AtomicUsize,
}

struct Writer {
    waiting: mpsc::Receiver<Event>,
    load: Arc<Load>,
    /// The event that did not fit into the last batch.
    held: Option<Event>,
    throttle: Throttle,
    output: Arc<Output>,
    options: Options,
    end: CancellationToken,
}

impl Writer {
    async fn run(mut self) {
        let (under_way, places) = (TaskTracker::new(), Arc::new(Semaphore::new(UNDER_WAY_MAX)));
        loop {
            let batch = self.next_batch().await;
            if batch.is_empty() {
                break;
            }
            if self.options.batch.throttle_enable {
                // Whoever ends does not dawdle.
                self.end.run_until_cancelled(self.throttle.wait()).await;
            }
            let Ok(place) = places.clone().acquire_owned().await else { break };
            let (output, load) = (self.output.clone(), self.load.clone());
            let write = async move {
                output.write(&batch).await;
                load.events.fetch_sub(batch.len(), Ordering::Relaxed);
                drop(place);
            };
            // Lines of a file go one after the other.
            if self.output.is_log() { write.await } else { drop(under_way.spawn(write)) }
        }
        under_way.close();
        under_way.wait().await;
    }

    /// Waits for events; none are left when the batch is empty.
    async fn next_batch(&mut self) -> Vec<Event> {
        let mut batch = Vec::new();
        let Some(first) = self.first().await else { return batch };
        let mut size = first.len();
        batch.push(first);
        let until = Instant::now() + self.options.batch.max_wait;
        while batch.len() < self.options.batch.max_size {
            let Some(event) = self.another(until).await else { break };
            let truncate = &self.options.truncate;
            if truncate.enabled && size + event.len() > truncate.max_batch_size {
                self.held = Some(event);
                break;
            }
            size += event.len();
            batch.push(event);
        }
        batch
    }

    async fn first(&mut self) -> Option<Event> {
        if let Some(held) = self.held.take() {
            return Some(held);
        }
        let event = match self.end.run_until_cancelled(self.waiting.recv()).await {
            Some(event) => event,
            None => {
                self.waiting.close();
                self.waiting.recv().await
            }
        };
        self.taken(event)
    }

    /// One more for the batch, if one comes in time.
    async fn another(&mut self, until: Instant) -> Option<Event> {
        if let Ok(event) = self.waiting.try_recv() {
            return self.taken(Some(event));
        }
        let more = self.end.run_until_cancelled(timeout_at(until, self.waiting.recv())).await;
        self.taken(more.and_then(Result::ok).flatten())
    }

    fn taken(&self, event: Option<Event>) -> Option<Event> {
        if let Some(event) = &event {
            self.load.bytes.fetch_sub(event.len(), Ordering::Relaxed);
        }
        event
    }
}

/// A bucket that fills up with so many tokens a second.
struct Throttle {
    per_second: f32,
    burst: f32,
    tokens: f32,
    filled: Instant,
}

impl Throttle {
    fn new(per_second: f32, burst: usize) -> Self {
        let burst = burst as f32;
        Self { per_second, burst, tokens: burst, filled: Instant::now() }
    }

    async fn wait(&mut self) {
        let now = Instant::now();
        let gained = now.duration_since(self.filled).as_secs_f32() * self.per_second;
        (self.tokens, self.filled) = ((self.tokens + gained).min(self.burst) - 1.0, now);
        if self.tokens < 0.0 {
            tokio::time::sleep(Duration::from_secs_f32(-self.tokens / self.per_second)).await;
        }
    }
}
