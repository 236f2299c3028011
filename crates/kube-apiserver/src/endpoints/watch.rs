//! watch: the changes of a collection as they happen: one JSON event a line, or protobuf messages each behind its length.
//!
//! With a selector an object that begins to match is ADDED and one that ceases to is DELETED (in its last matching
//! state), whatever happened to it in the store. The stream ends with its time, with the store, or with a 410 ERROR event
//! when the client was too slow; the client then lists again.
//!
//! A chunk of the body holds all events that are ready. The first event after a rest is sent at once; on a busy resource the
//! next chunk for a client outside waits until [`PACE`] after the last: each chunk costs a TLS record and a system call on
//! either side, and a hundred watchers of 2,000 writes a second would cost 200,000 of each.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use machinery::status::Status;
use machinery::{codec, go_text};
use rand::RngExt;
use serde_json::{Value, json};
use store::{Entry, Event, EventKind, ReadError, Watch, WatchError};
use tokio::time::Instant;

use super::Scope;
use super::list::wait_for;
use super::media::{Encoding, Output};
use super::options::List;
use super::protobuf;
use super::selector::Selector;
use crate::metrics::WatchCounters;
use crate::registry::{Attrs, encode, keys, object, readable};
use crate::table::{self, Include};
use crate::{BoxError, Response, body};

/// How often a quiet watch that wants bookmarks gets one.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);
/// The least time between two chunks of live events to a client outside.
const PACE: Duration = Duration::from_millis(5);
/// No event is added to a chunk of this size.
const CHUNK_BYTES: usize = 64 << 10;
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

pub async fn serve(scope: Scope, name: &str) -> Result<Response, Status> {
    let options = List::parse(&scope.query, true)?;
    let selector = Selector::parse(&scope)?.and_name(name);
    let include = if matches!(scope.output, Output::Table(_)) { Include::of(&scope.query)? } else { Include::None };
    let version = match options.resource_version.as_str() {
        "" => 0,
        text => text.parse::<u64>().map_err(|_| {
            let quoted = go_text::quote(text);
            Status::unexpected(format!(
                "resourceVersion: Invalid value: {quoted}: strconv.ParseUint: parsing {quoted}: invalid syntax"
            ))
        })?,
    };
    let timeout = timeout(&scope, &options);
    let (kind, served) = (scope.kind, scope.version.name);
    // No two alike, so that many watches of one resource do not all send in the same moment.
    let pace = if scope.ctx.is_remote { PACE.mul_f64(rand::rng().random_range(0.75..1.25)) } else { Duration::ZERO };
    let counters = scope.server.metrics.watch(kind.group, served, kind.plural);
    let mut stream = Stream {
        encoder: Encoder { scope, include, columns_sent: false },
        selector,
        queue: VecDeque::new(),
        watch: None,
        bookmarks: options.allow_bookmarks,
        next_bookmark: Instant::now() + BOOKMARK_INTERVAL,
        end: Instant::now() + timeout,
        not_before: Instant::now(),
        pace,
        over: false,
        counters,
    };
    stream.begin(&options, version).await?;
    let media_type = if stream.encoder.is_protobuf() { protobuf::STREAM_MEDIA_TYPE } else { "application/json" };
    let events = futures::stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((Ok::<Bytes, BoxError>(chunk), stream))
    });
    let mut response = Response::new(body::stream(events));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    Ok(response)
}

fn timeout(scope: &Scope, options: &List) -> Duration {
    match options.timeout_seconds {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds.min(60 * 60 * 24)),
        // Spread, so that the watches of a restarted server do not all come back at once.
        _ => {
            let min = scope.server.config.min_request_timeout;
            min.mul_f64(1.0 + rand::rng().random_range(0.0..1.0))
        }
    }
}

struct Stream {
    counters: WatchCounters,
    encoder: Encoder,
    selector: Selector,
    /// Events that are due before those of the store.
    queue: VecDeque<Due>,
    watch: Option<Watch<Attrs>>,
    bookmarks: bool,
    next_bookmark: Instant,
    end: Instant,
    /// When the next chunk of live events may be sent.
    not_before: Instant,
    pace: Duration,
    over: bool,
}

/// The initial state is kept as entries: it is encoded as fast as the client reads.
enum Due {
    Added(Arc<Entry<Attrs>>),
    Encoded(Bytes),
}

impl Stream {
    /// Puts the initial state in the queue if it is asked for, and takes the place from which events follow.
    async fn begin(&mut self, options: &List, version: u64) -> Result<(), Status> {
        let store = self.encoder.scope.server.registry.store().clone();
        let prefix = keys::namespace_prefix(self.encoder.scope.kind, &self.encoder.scope.namespace);
        let wants_state = match options.send_initial_events {
            Some(wanted) => wanted,
            None => version == 0,
        };
        let after = if wants_state {
            if version > 0 {
                wait_for(&self.encoder.scope, version).await?;
            }
            let snapshot = store.snapshot();
            for entry in self.selector.range(&snapshot, &prefix, None).filter(|entry| self.selector.matches(entry)) {
                self.queue.push_back(Due::Added(entry.clone()));
            }
            let revision = snapshot.revision();
            if options.send_initial_events == Some(true) && self.bookmarks {
                self.queue.push_back(Due::Encoded(self.encoder.bookmark(revision, true)));
            }
            revision
        } else if version == 0 {
            store.revision()
        } else {
            version
        };
        match self.selector.watch(&store, &self.encoder.scope.namespace, &prefix, after) {
            Ok(watch) => self.watch = Some(watch),
            Err(error) => {
                self.queue.clear();
                self.queue.push_back(Due::Encoded(self.encoder.error(&read_failed(error, after))));
            }
        }
        Ok(())
    }

    /// The next chunk: everything that is ready once the first of it is.
    async fn next(&mut self) -> Option<Bytes> {
        let first = self.first().await?;
        self.counters.sent(first.len());
        let Some(second) = self.ready() else { return Some(first) };
        let mut chunk = BytesMut::with_capacity(first.len() + second.len());
        chunk.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(event) = next {
            self.counters.sent(event.len());
            chunk.extend_from_slice(&event);
            next = if chunk.len() < CHUNK_BYTES { self.ready() } else { None };
        }
        Some(chunk.freeze())
    }

    /// The next event if it is there already.
    fn ready(&mut self) -> Option<Bytes> {
        while !self.over {
            if let Some(due) = self.queue.pop_front() {
                return Some(self.due(due));
            }
            let event = self.watch.as_mut()?.try_next()?;
            if let Some(encoded) = self.live(event) {
                return Some(encoded);
            }
        }
        None
    }

    /// Waits for an event, and where the last chunk is too recent, for its time.
    async fn first(&mut self) -> Option<Bytes> {
        loop {
            if self.over {
                return None;
            }
            if let Some(due) = self.queue.pop_front() {
                return Some(self.due(due));
            }
            let watch = self.watch.as_mut()?;
            let bookmark_at = if self.bookmarks { self.next_bookmark } else { self.end };
            tokio::select! {
                biased;
                event = watch.next() => {
                    let Some(encoded) = self.live(event?) else { continue };
                    let now = Instant::now();
                    if now < self.not_before {
                        tokio::time::sleep_until(self.not_before).await;
                        self.not_before += self.pace;
                    } else {
                        self.not_before = now + self.pace;
                    }
                    return Some(encoded);
                },
                () = tokio::time::sleep_until(self.end) => {
                    self.over = true;
                    if !self.bookmarks {
                        return None;
                    }
                    let revision = watch.revision();
                    return Some(self.encoder.bookmark(revision, false));
                }
                () = tokio::time::sleep_until(bookmark_at), if self.bookmarks => {
                    self.next_bookmark = Instant::now() + BOOKMARK_INTERVAL;
                    let revision = watch.revision();
                    return Some(self.encoder.bookmark(revision, false));
                }
            }
        }
    }

    fn due(&mut self, due: Due) -> Bytes {
        match due {
            Due::Encoded(event) => event,
            Due::Added(entry) => {
                let encoded = self.encoder.event("ADDED", &entry, None);
                self.or_end(encoded)
            }
        }
    }

    /// What is sent of what the store's watch gave, if anything.
    fn live(&mut self, event: Result<Arc<Event<Attrs>>, WatchError>) -> Option<Bytes> {
        match event {
            Ok(event) => self.encode(&event),
            Err(error) => {
                self.over = true;
                (error == WatchError::Slow).then(|| {
                    self.encoder.error(&Status::expired("the watcher was too slow and has missed events; list again"))
                })
            }
        }
    }

    /// What an event of the store is to this watch.
    fn encode(&mut self, event: &Event<Attrs>) -> Option<Bytes> {
        let now_matches = event.kind == EventKind::Put && self.selector.matches(&event.entry);
        let matched: Option<&Arc<Entry<Attrs>>> =
            event.previous.as_ref().filter(|previous| self.selector.matches(previous));
        let encoded = match (event.kind, matched, now_matches) {
            (EventKind::Put, None, true) => self.encoder.event("ADDED", &event.entry, None),
            (EventKind::Put, Some(_), true) => self.encoder.event("MODIFIED", &event.entry, None),
            (EventKind::Put, Some(previous), false) => self.encoder.event("DELETED", previous, Some(event.revision)),
            (EventKind::Delete, Some(_), _) => self.encoder.event("DELETED", &event.entry, None),
            _ => return None,
        };
        Some(self.or_end(encoded))
    }

    /// An event that cannot be encoded ends the stream with the reason.
    fn or_end(&mut self, encoded: Result<Bytes, Status>) -> Bytes {
        encoded.unwrap_or_else(|status| {
            self.over = true;
            self.encoder.error(&status)
        })
    }
}

fn read_failed(error: ReadError, after: u64) -> Status {
    match error {
        ReadError::Compacted { oldest } => Status::expired(format!("too old resource version: {after} ({oldest})")),
        ReadError::Future { current } => Status::future_revision(after, current),
        ReadError::Closed => Status::service_unavailable(error.to_string()),
    }
}

/// Writes events in the version and shape of the request.
struct Encoder {
    scope: Scope,
    include: Include,
    columns_sent: bool,
}

impl Encoder {
    /// An event of a stored object; `revision` takes the place of its own resourceVersion when given.
    fn event(&mut self, kind: &str, entry: &Entry<Attrs>, revision: Option<u64>) -> Result<Bytes, Status> {
        readable(entry)?;
        let stored = &entry.value;
        if matches!(self.scope.output, Output::Object) && revision.is_none() {
            if !self.is_protobuf() {
                return Ok(frame(kind, &self.scope.in_version(stored)?));
            }
            if let Some(object) = protobuf::object_of(&self.scope, entry) {
                return Ok(codec::protobuf::frame_watch_event(kind, &object).into());
            }
        }
        if let (Output::Partial(version) | Output::PartialList(version), None) = (&self.scope.output, revision)
            && self.scope.kind.custom.is_none()
            && !self.is_protobuf()
        {
            return Ok(frame(kind, table::partial_of_stored(version, stored)?.as_bytes()));
        }
        let mut object = encode::decode(stored)?;
        if let Some(revision) = revision {
            object::set_metadata(&mut object, "resourceVersion", Some(revision.to_string().into()));
        }
        let sent = self.scope.sent(&object)?;
        let shaped = match &self.scope.output {
            Output::Object => sent,
            Output::Partial(version) | Output::PartialList(version) => table::partial(version, &sent),
            Output::Table(version) => {
                let columns = if std::mem::replace(&mut self.columns_sent, true) {
                    Value::Null
                } else {
                    table::columns(self.scope.kind, self.scope.version)
                };
                let metadata = json!({ "resourceVersion": object::resource_version(&object) });
                let row = table::row(
                    (self.scope.kind, self.scope.version),
                    version,
                    &object,
                    &sent,
                    self.include,
                    jiff::Timestamp::now(),
                );
                table::of_rows(version, metadata, columns, vec![row])
            }
        };
        self.frame(kind, &shaped)
    }

    fn is_protobuf(&self) -> bool {
        self.scope.encoding == Encoding::Protobuf
    }

    fn frame(&self, kind: &str, object: &Value) -> Result<Bytes, Status> {
        if !self.is_protobuf() {
            return Ok(frame(kind, object.to_string().as_bytes()));
        }
        let object = protobuf::encode(object).ok_or_else(|| Status::internal("the object has no form in protobuf"))?;
        Ok(codec::protobuf::frame_watch_event(kind, &object).into())
    }

    /// Says how far the watch is, and that the initial state is complete.
    fn bookmark(&self, revision: u64, initial_end: bool) -> Bytes {
        let mut metadata = json!({ "resourceVersion": revision.to_string() });
        if initial_end {
            metadata["annotations"] = json!({ INITIAL_EVENTS_END: "true" });
        }
        let scope = &self.scope;
        let (kind, api_version) = match &scope.output {
            Output::Object => (scope.kind.kind, scope.version.api_version(scope.kind)),
            Output::Partial(version) | Output::PartialList(version) => ("PartialObjectMetadata", version.clone()),
            Output::Table(version) => {
                let table = table::of_rows(version, metadata, Value::Null, Vec::new());
                return frame("BOOKMARK", table.to_string().as_bytes());
            }
        };
        let object = json!({ "kind": kind, "apiVersion": api_version, "metadata": metadata });
        self.frame("BOOKMARK", &object).unwrap_or_else(|status| self.error(&status))
    }

    fn error(&self, status: &Status) -> Bytes {
        let json = status.to_json();
        let in_protobuf = || self.frame("ERROR", &serde_json::from_slice(&json).ok()?).ok();
        in_protobuf().filter(|_| self.is_protobuf()).unwrap_or_else(|| frame("ERROR", &json))
    }
}

fn frame(kind: &str, object: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(object.len() + kind.len() + 24);
    bytes.extend_from_slice(b"{\"type\":\"");
    bytes.extend_from_slice(kind.as_bytes());
    bytes.extend_from_slice(b"\",\"object\":");
    bytes.extend_from_slice(object);
    bytes.extend_from_slice(b"}\n");
    bytes.into()
}
