//! Events for people. The same event again raises its count instead of making another; many alike are combined; an object
//! that is complained about too often falls silent. Recording never blocks and never fails: at the bound events are lost.

pub mod correlator;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use crate::environment::Environment;
use crate::plan::Note;
use crate::request::{self, ApiError};
use correlator::{Correlator, Occurrence, Verdict};

/// How many events may wait to be sent.
const QUEUE_LENGTH_MAX: usize = 1000;
const ATTEMPTS_MAX: u32 = 5;

/// Records events in the name of a component. Cheap to clone.
#[derive(Clone)]
pub struct EventRecorder {
    sender: mpsc::Sender<Note>,
}

impl EventRecorder {
    /// A recorder that writes through `client` as `component` (on `host`, for node components; else empty).
    /// Its task ends when the last clone is dropped.
    pub fn new(client: kube::Client, component: &str, host: &str, environment: Environment) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE_LENGTH_MAX);
        let writer = Writer { client, component: component.to_owned(), host: host.to_owned(), environment };
        tokio::spawn(writer.run(receiver));
        Self { sender }
    }

    /// Records an event, or drops it if too many are waiting.
    pub fn record(&self, note: Note) {
        if let Err(error) = self.sender.try_send(note) {
            debug!(%error, "event dropped");
        }
    }
}

struct Writer {
    client: kube::Client,
    component: String,
    host: String,
    environment: Environment,
}

impl Writer {
    async fn run(self, mut receiver: mpsc::Receiver<Note>) {
        let mut correlator = Correlator::default();
        while let Some(note) = receiver.recv().await {
            let now = self.environment.now();
            let Some(occurrence) = correlator.observe(&note, now) else { continue };
            if let Err(error) = self.write(&occurrence).await {
                warn!(%error, reason = note.reason, message = note.message, "failed to record an event");
            }
        }
    }

    async fn write(&self, occurrence: &Occurrence) -> Result<(), ApiError> {
        let mut attempt = 1;
        let mut create = occurrence.verdict == Verdict::New;
        loop {
            let sent = if create { self.create(occurrence).await } else { self.raise_count(occurrence).await };
            match sent {
                Ok(()) => return Ok(()),
                Err(error) if error.is_namespace_terminating() => return Ok(()),
                // The server forgets events after an hour.
                Err(error) if error.is_not_found() && !create => create = true,
                Err(error) if attempt >= ATTEMPTS_MAX || (400..500).contains(&error.code()) && error.code() != 429 => {
                    return Err(error);
                }
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(100 << attempt) * 5).await;
                    attempt += 1;
                }
            }
        }
    }

    async fn create(&self, occurrence: &Occurrence) -> Result<(), ApiError> {
        let path = format!("/api/v1/namespaces/{}/events", occurrence.namespace());
        self.send(Method::POST, &path, "application/json", &self.body(occurrence)).await
    }

    async fn raise_count(&self, occurrence: &Occurrence) -> Result<(), ApiError> {
        let path = format!("/api/v1/namespaces/{}/events/{}", occurrence.namespace(), occurrence.name);
        let patch = json!({
            "count": occurrence.count,
            "lastTimestamp": seconds(occurrence.last),
            "message": occurrence.note.message,
        });
        self.send(Method::PATCH, &path, "application/merge-patch+json", &patch).await
    }

    async fn send(&self, method: Method, path: &str, kind: &'static str, body: &Value) -> Result<(), ApiError> {
        let bytes = serde_json::to_vec(body).map_err(|error| ApiError::Malformed(error.to_string()))?;
        request::call(&self.client, request::build(method, path, "application/json", Some((kind, bytes)))?).await?;
        Ok(())
    }

    fn body(&self, occurrence: &Occurrence) -> Value {
        let mut source = json!({"component": self.component});
        if !self.host.is_empty() {
            source["host"] = json!(self.host);
        }
        json!({
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": occurrence.name, "namespace": occurrence.namespace()},
            "involvedObject": occurrence.note.about,
            "reason": occurrence.note.reason,
            "message": occurrence.note.message,
            "source": source,
            "firstTimestamp": seconds(occurrence.first),
            "lastTimestamp": seconds(occurrence.last),
            "count": occurrence.count,
            "type": occurrence.note.kind.as_str(),
            "eventTime": null,
            "reportingComponent": self.component,
            "reportingInstance": self.host,
        })
    }
}

fn seconds(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
