//! List, then watch, for ever: keeps a sink equal to what the server has of one resource. One decode an object, straight
//! from the answer's bytes; nothing is polled.
//!
//! A watch that ends well is taken up from the last revision; an expired one (410) starts over with a list; errors back
//! off from 100 ms to 30 s.

use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::environment::Environment;
use crate::object::Object;
use crate::request::{self, ApiError};
use crate::store::Store;

/// How many objects a page of a list holds.
const PAGE_SIZE: usize = 500;
/// The longest event taken in; no API object is larger.
const EVENT_BYTES_MAX: usize = 32 << 20;
const BACKOFF_MS_MIN: u64 = 100;
const BACKOFF_MS_MAX: u64 = 30_000;
/// A watch that lasted this long shows that the server is well.
const HEALTHY_WATCH: Duration = Duration::from_secs(5);

/// What to reflect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Collection {
    /// Path of the collection ("/apis/apps/v1/replicasets").
    pub path: String,
    /// Only objects with these fields.
    pub field_selector: Option<String>,
    /// Only objects with these labels.
    pub label_selector: Option<String>,
    /// Ask for metadata only.
    pub metadata_only: bool,
}

impl Collection {
    /// All objects below a path.
    pub fn all(path: impl Into<String>) -> Self {
        Self { path: path.into(), field_selector: None, label_selector: None, metadata_only: false }
    }

    fn accept(&self) -> (&'static str, &'static str) {
        if self.metadata_only {
            (
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
                "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
            )
        } else {
            ("application/json", "application/json")
        }
    }

    fn query(&self, parameters: &str) -> String {
        let mut query = format!("{}?{parameters}", self.path);
        if let Some(selector) = &self.field_selector {
            query.push_str("&fieldSelector=");
            query.push_str(&request::query_escape(selector));
        }
        if let Some(selector) = &self.label_selector {
            query.push_str("&labelSelector=");
            query.push_str(&request::query_escape(selector));
        }
        query
    }
}

/// Where a reflector puts what it sees.
pub trait Sink<K>: Send + Sync {
    /// Everything there is, at this revision.
    fn replace(&self, objects: Vec<K>, revision: u64);
    /// One object, new or changed.
    fn apply(&self, object: K);
    /// One object that is gone.
    fn remove(&self, object: K);
    /// Nothing new up to this revision.
    fn advance(&self, revision: u64);
}

impl<K: Object> Sink<K> for Store<K> {
    fn replace(&self, objects: Vec<K>, revision: u64) {
        Store::replace(self, objects, revision);
    }

    fn apply(&self, object: K) {
        Store::apply(self, object);
    }

    fn remove(&self, object: K) {
        Store::remove(self, &object.key(), object.meta_ref().resource_version);
    }

    fn advance(&self, revision: u64) {
        Store::advance(self, revision);
    }
}

/// Runs until cancelled.
pub async fn reflect<K: Object>(
    client: kube::Client,
    collection: Collection,
    sink: &dyn Sink<K>,
    environment: Environment,
    cancel: CancellationToken,
) {
    let forever = async {
        let mut backoff_ms = BACKOFF_MS_MIN;
        let mut revision: Option<String> = None;
        loop {
            let started = tokio::time::Instant::now();
            let round = round(&client, &collection, sink, &environment, &mut revision).await;
            if started.elapsed() >= HEALTHY_WATCH {
                backoff_ms = BACKOFF_MS_MIN;
            }
            match round {
                Ok(()) if started.elapsed() >= HEALTHY_WATCH => continue,
                // A server that ends watches at once must not be asked without pause.
                Ok(()) => debug!(path = collection.path, "watch ended early"),
                Err(error) if error.is_expired() && revision.is_some() => {
                    debug!(path = collection.path, "watch expired, listing again");
                    revision = None;
                }
                Err(error) => warn!(path = collection.path, %error, "failed to reflect, trying again"),
            }
            let jitter = environment.random_below(backoff_ms / 2 + 1);
            tokio::time::sleep(Duration::from_millis(backoff_ms + jitter)).await;
            backoff_ms = (backoff_ms * 2).min(BACKOFF_MS_MAX);
        }
    };
    tokio::select! {
        () = forever => {}
        () = cancel.cancelled() => {}
    }
}

/// A list if there is no revision to go on from, then one watch to its end.
async fn round<K: Object>(
    client: &kube::Client,
    collection: &Collection,
    sink: &dyn Sink<K>,
    environment: &Environment,
    revision: &mut Option<String>,
) -> Result<(), ApiError> {
    let from = match revision.clone() {
        Some(revision) => revision,
        None => {
            let (objects, listed) = list(client, collection).await?;
            sink.replace(objects, listed.parse().unwrap_or(0));
            *revision = Some(listed.clone());
            listed
        }
    };
    let outcome = watch(client, collection, sink, environment, from, revision).await;
    match outcome {
        // A connection that broke in the middle of a watch is nothing special: go on where it stopped.
        Err(ApiError::Malformed(message)) => {
            *revision = None;
            Err(ApiError::Malformed(message))
        }
        other => other,
    }
}

#[derive(Deserialize)]
struct ListBody<'a> {
    metadata: ListMeta,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: Option<String>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// All pages of a list and its revision.
pub async fn list<K: Object>(client: &kube::Client, collection: &Collection) -> Result<(Vec<K>, String), ApiError> {
    let mut objects = Vec::new();
    let mut next = String::new();
    loop {
        let parameters = match next.is_empty() {
            true => format!("limit={PAGE_SIZE}"),
            false => format!("limit={PAGE_SIZE}&continue={}", request::query_escape(&next)),
        };
        let get = request::build(Method::GET, &collection.query(&parameters), collection.accept().0, None)?;
        let bytes = request::call(client, get).await?;
        let body: ListBody<'_> = serde_json::from_slice(&bytes).map_err(malformed)?;
        for item in body.items.unwrap_or_default() {
            objects.push(serde_json::from_str(item.get()).map_err(malformed)?);
        }
        match body.metadata.next {
            Some(token) if !token.is_empty() => next = token,
            _ => return Ok((objects, body.metadata.resource_version.unwrap_or_default())),
        }
    }
}

#[derive(Deserialize)]
struct EventBody<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Bookmark {
    metadata: ListMeta,
}

async fn watch<K: Object>(
    client: &kube::Client,
    collection: &Collection,
    sink: &dyn Sink<K>,
    environment: &Environment,
    from: String,
    revision: &mut Option<String>,
) -> Result<(), ApiError> {
    // Uneven ends keep many watches from starting anew at the same moment.
    let timeout_seconds = 300 + environment.random_below(300);
    let parameters =
        format!("watch=true&allowWatchBookmarks=true&resourceVersion={from}&timeoutSeconds={timeout_seconds}");
    let get = request::build(Method::GET, &collection.query(&parameters), collection.accept().1, None)?;
    let mut body = request::open(client, get).await?;
    let mut buffer = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Ok(()) };
        let Some(data) = frame.data_ref() else { continue };
        let mut searched = buffer.len();
        buffer.extend_from_slice(data);
        while let Some(end) = buffer[searched..].iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(searched + end + 1);
            searched = 0;
            if !line.trim_ascii().is_empty() {
                take_event(&line, sink, revision)?;
            }
        }
        if buffer.len() > EVENT_BYTES_MAX {
            return Err(ApiError::Malformed(format!("an event longer than {EVENT_BYTES_MAX} bytes")));
        }
        if buffer.is_empty() {
            // Gives back what a large event needed.
            buffer = BytesMut::new();
        }
    }
    Ok(())
}

fn take_event<K: Object>(line: &[u8], sink: &dyn Sink<K>, revision: &mut Option<String>) -> Result<(), ApiError> {
    let event: EventBody<'_> = serde_json::from_slice(line).map_err(malformed)?;
    match event.kind {
        "ADDED" | "MODIFIED" | "DELETED" => {
            let object: K = serde_json::from_str(event.object.get()).map_err(malformed)?;
            *revision = Some(object.meta_ref().resource_version.to_string());
            if event.kind == "DELETED" { sink.remove(object) } else { sink.apply(object) }
        }
        "BOOKMARK" => {
            let bookmark: Bookmark = serde_json::from_str(event.object.get()).map_err(malformed)?;
            if let Some(version) = bookmark.metadata.resource_version {
                sink.advance(version.parse().unwrap_or(0));
                *revision = Some(version);
            }
        }
        "ERROR" => return Err(ApiError::from_answer(500, event.object.get().as_bytes(), None)),
        other => return Err(ApiError::Malformed(format!("unknown watch event {other:?}"))),
    }
    Ok(())
}

fn malformed(error: serde_json::Error) -> ApiError {
    ApiError::Malformed(error.to_string())
}
