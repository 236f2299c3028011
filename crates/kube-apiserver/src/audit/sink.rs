//! A backend with what stands before it: truncation, and the buffer or the wait that its mode wants.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;

use super::batch::Buffer;
use super::event::Event;
use super::metrics::AuditMetrics;
use super::output::Output;
use super::settings::{Mode, Options};

/// Last events of requests that nobody waits for any more, on their way to a server: more are lost.
const UNAWAITED_MAX: usize = 1000;

pub struct Sink {
    options: Options,
    output: Arc<Output>,
    /// In batch mode.
    buffer: Option<Buffer>,
    unawaited: Arc<Semaphore>,
    metrics: AuditMetrics,
}

impl Sink {
    /// Needs a runtime.
    pub fn new(output: Output, options: Options, metrics: AuditMetrics) -> Self {
        let output = Arc::new(output);
        let buffer = (options.mode == Mode::Batch).then(|| Buffer::new(output.clone(), options, metrics.clone()));
        Self { options, output, buffer, unawaited: Arc::new(Semaphore::new(UNAWAITED_MAX)), metrics }
    }

    /// Takes an event of which the request goes on only when it is written, where the mode says so; whether it may go on.
    pub async fn put(&self, event: &Event, value: &Value) -> bool {
        let Some(event) = self.fitted(event, value) else { return true };
        if let Some(buffer) = &self.buffer {
            buffer.put(event);
            return true;
        }
        self.output.write(&[event]).await || self.options.mode == Mode::Blocking
    }

    /// Takes an event of a request that is over.
    pub fn put_last(&self, event: &Event, value: &Value) {
        let Some(event) = self.fitted(event, value) else { return };
        if let Some(buffer) = &self.buffer {
            return buffer.put(event);
        }
        if self.output.is_log() {
            self.output.write_lines(&[event]);
            return;
        }
        let place = self.unawaited.clone().try_acquire_owned();
        let (Ok(place), Ok(runtime)) = (place, tokio::runtime::Handle::try_current()) else {
            tracing::error!("an audit event is lost: too many are on their way");
            self.metrics.failed("webhook", 1);
            return;
        };
        let output = self.output.clone();
        runtime.spawn(async move {
            output.write(&[event]).await;
            drop(place);
        });
    }

    /// Writes what waits, as far as there is time.
    pub async fn flush(&self, within: Duration) {
        if let Some(buffer) = &self.buffer {
            buffer.flush(within).await;
        }
        let all = u32::try_from(UNAWAITED_MAX).unwrap_or(u32::MAX);
        if tokio::time::timeout(within, self.unawaited.acquire_many(all)).await.is_err() {
            let lost = UNAWAITED_MAX - self.unawaited.available_permits();
            tracing::error!(lost, "audit events are lost: the server did not take them before the end");
            self.metrics.failed("webhook", lost);
        }
    }

    fn fitted(&self, event: &Event, value: &Value) -> Option<Event> {
        let fitted = event.clone().truncated(value, &self.options.truncate);
        if fitted.is_none() {
            tracing::error!("an audit event is lost: it is too large even without its objects");
            self.metrics.failed("truncate", 1);
        }
        fitted
    }
}
