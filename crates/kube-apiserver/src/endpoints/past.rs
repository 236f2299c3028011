//! Reads of what was: `at` on a get or a list (a revision, or an RFC 3339 time) answers with the state then, and
//! `history=true` on a get with the versions of one object, also when it is gone.
//!
//! Nothing of it is upstream's. Who may read an object now may read what it was: the path is the same, and authorization has
//! judged that. A header names the revision that was read, so that a client can tell a server that knows none of this.

use http::{HeaderName, HeaderValue, Method, StatusCode};
use jiff::Timestamp;
use machinery::go_text;
use machinery::status::Status;
use serde_json::{Map, Value, json};
use store::{EventKind, PastError, ReadError, Snapshot, Store, Version};
use tokio::sync::Semaphore;

use super::{Scope, list};
use crate::registry::{Attrs, encode, group_resource, keys, object, readable};
use crate::{Response, body};

/// The revision that an answer is about.
const REVISION: HeaderName = HeaderName::from_static("canopus-revision");
/// The most versions of one object in an answer.
const VERSIONS_MAX: usize = 1000;
/// Whole files may have to be read for one answer, so only so many are read at once.
static READERS: Semaphore = Semaphore::const_new(2);
/// Clocks of clients differ from ours; what is this much ahead is a mistake.
const AHEAD_MAX_MILLIS: i64 = 60_000;

/// Refuses both parameters where they mean nothing, so that no client takes the present for the past, nor changes the present
/// by what was.
pub fn check(scope: &Scope, method: &Method) -> Result<(), Status> {
    let info = &scope.ctx.info;
    let (at, history) = (scope.query.get("at"), wants_history(scope));
    if at.is_none() && !history {
        return Ok(());
    }
    let stored = matches!(*method, Method::GET | Method::HEAD)
        && !scope.kind.is_computed
        && !scope.kind.is_virtual
        && info.subresource.is_empty();
    if at.is_some() && (!stored || info.verb == "watch") {
        return Err(Status::bad_request("at is for reading stored objects and lists of them"));
    }
    if history && (!stored || scope.name.is_empty() || at.is_some()) {
        return Err(Status::bad_request("history is for reading one stored object"));
    }
    if at.is_some() && scope.query.get("resourceVersion").is_some_and(|version| !version.is_empty()) {
        return Err(Status::bad_request("at and resourceVersion cannot be given both"));
    }
    Ok(())
}

pub fn wants_history(scope: &Scope) -> bool {
    scope.query.boolean("history") == Some(true)
}

/// The revision that `at` names, if it is given.
pub async fn asked(scope: &Scope) -> Result<Option<u64>, Status> {
    let Some(text) = scope.query.get("at") else { return Ok(None) };
    if let Ok(revision) = text.parse::<u64>() {
        return if revision == 0 { Err(malformed(text)) } else { Ok(Some(revision)) };
    }
    let time: Timestamp = text.parse().map_err(|_| malformed(text))?;
    let (time, now) = (time.as_millisecond(), Timestamp::now().as_millisecond());
    if time > now + AHEAD_MAX_MILLIS {
        return Err(Status::bad_request(format!("invalid at: {} lies in the future", go_text::quote(text))));
    }
    // What was before 1970 nobody keeps.
    let time = u64::try_from(time).unwrap_or(0);
    read(scope, move |store| store.revision_at(time)).await.map(Some)
}

fn malformed(text: &str) -> Status {
    Status::bad_request(format!(
        "invalid at: {} is neither a resource version nor a time such as 2006-01-02T15:04:05Z",
        go_text::quote(text)
    ))
}

/// The objects below a prefix at a revision: from memory, else from files.
pub async fn snapshot(scope: &Scope, prefix: &str, revision: u64) -> Result<Snapshot<Attrs>, PastError> {
    let store = scope.server.registry.store();
    match store.snapshot_at(revision) {
        Err(ReadError::Compacted { .. }) => {}
        known => return Ok(known?),
    }
    let (store, prefix) = (store.clone(), prefix.to_owned());
    blocking(move || store.past(&prefix, revision)).await
}

/// get with `at`.
pub async fn get(scope: &Scope) -> Result<Response, Status> {
    let Some(revision) = asked(scope).await? else { return super::get::serve(scope).await };
    let key = keys::object(scope.kind, &scope.namespace, &scope.name);
    let snapshot = snapshot(scope, &key, revision).await.map_err(|error| failed(scope, error, revision))?;
    let entry = snapshot.get(&key);
    let entry = entry.ok_or_else(|| Status::not_found(&group_resource(scope.kind), &scope.name))?;
    readable(entry)?;
    Ok(told(scope.object(StatusCode::OK, &entry.value)?, revision))
}

/// The answer with the revision that it is about.
pub fn told(mut response: Response, revision: u64) -> Response {
    response.headers_mut().insert(REVISION, HeaderValue::from(revision));
    response
}

/// What cannot be read, for requests that ask for the past by name.
pub fn failed(scope: &Scope, error: PastError, revision: u64) -> Status {
    match error {
        PastError::Read(ReadError::Future { current }) => Status::future_revision(revision, current),
        PastError::Read(ReadError::Compacted { oldest }) => {
            let what = if scope.name.is_empty() { "list" } else { "get" };
            Status::expired(format!(
                "The resourceVersion for the provided {what} is too old: history is kept since revision {oldest}."
            ))
        }
        error => broken(&error),
    }
}

/// Files that cannot be read; the reason goes to the log.
pub fn broken(error: &PastError) -> Status {
    tracing::error!(error = error as &dyn std::error::Error, "failed to read the store's history");
    Status::internal("failed to read the history that is kept")
}

/// get with `history`.
pub async fn history(scope: &Scope) -> Result<Response, Status> {
    let key = keys::object(scope.kind, &scope.namespace, &scope.name);
    let limit = scope.query.integer("limit")?.and_then(|limit| usize::try_from(limit).ok()).filter(|limit| *limit > 0);
    let count = limit.unwrap_or(VERSIONS_MAX).min(VERSIONS_MAX);
    // One more, to say who wrote the oldest.
    let (versions, since) =
        read(scope, move |store| Ok((store.versions(&key, count + 1)?, store.kept_since()?))).await?;
    if versions.is_empty() {
        return Err(Status::not_found(&group_resource(scope.kind), &scope.name));
    }
    let mut items = Vec::with_capacity(versions.len());
    let mut before = None;
    for version in &versions {
        readable(&version.entry)?;
        let stored = encode::decode(&version.entry.value)?;
        let object = scope.value_in_version(&version.entry.value)?;
        items.push(item(version, object, writer(&stored, before.as_ref())));
        before = Some(stored);
    }
    let items = items.split_off(items.len().saturating_sub(count));
    let revision = scope.server.registry.store().revision();
    let mut metadata = json!({ "name": scope.name, "resourceVersion": revision.to_string() });
    if !scope.namespace.is_empty() {
        metadata["namespace"] = scope.namespace.as_str().into();
    }
    let answer = json!({
        "kind": "ObjectHistory",
        "apiVersion": "canopus.io/v1",
        "metadata": metadata,
        "keptSince": since.to_string(),
        "items": items,
    });
    Ok(told(body::json_line(StatusCode::OK, answer.to_string().as_bytes()), revision))
}

fn item(version: &Version<Attrs>, object: Value, writer: Option<&Value>) -> Value {
    let entry = &version.entry;
    let kind = match version.kind {
        EventKind::Delete => "DELETED",
        EventKind::Put if entry.create_revision == entry.revision => "ADDED",
        EventKind::Put => "MODIFIED",
    };
    let mut item = Map::new();
    item.insert("type".to_owned(), kind.into());
    item.insert("revision".to_owned(), entry.revision.to_string().into());
    let millis = version.time.and_then(|time| i64::try_from(time).ok());
    if let Some(time) = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok()) {
        item.insert("time".to_owned(), format!("{time:.3}").into());
    }
    // A deletion leaves no trace in the fields.
    for (field, pointer) in [("manager", "/manager"), ("operation", "/operation"), ("subresource", "/subresource")] {
        let text = writer.map_or("", |writer| object::text(writer, pointer));
        if version.kind == EventKind::Put && !text.is_empty() {
            item.insert(field.to_owned(), text.into());
        }
    }
    item.insert("object".to_owned(), object);
    Value::Object(item)
}

/// Who wrote a version: the entry of its managed fields that is new, or has another time or more fields than before; one that only has
/// fewer lost them to the writer. Times are whole seconds: two writes of the same fields in one leave no trace, and then, as where
/// the version before is not known, it is the latest entry.
fn writer<'v>(stored: &'v Value, before: Option<&Value>) -> Option<&'v Value> {
    const FIELDS: &str = "/metadata/managedFields";
    let known = before.map_or(&[][..], |before| object::list(before, FIELDS));
    let id = |entry: &Value| {
        ["/manager", "/operation", "/apiVersion", "/subresource"].map(|part| object::text(entry, part).to_owned())
    };
    let wrote = |entry: &&Value| {
        let old = known.iter().find(|old| id(old) == id(entry));
        old.is_none_or(|old| old["time"] != entry["time"] || has_more(&entry["fieldsV1"], &old["fieldsV1"]))
    };
    let latest = |entry: &&Value| object::text(entry, "/time").to_owned();
    let all = object::list(stored, FIELDS);
    all.iter().filter(wrote).max_by_key(latest).or_else(|| all.iter().max_by_key(latest))
}

/// Whether a set of fields has one that the other lacks.
fn has_more(fields: &Value, others: &Value) -> bool {
    let own = fields.as_object().into_iter().flatten();
    own.into_iter().any(|(field, below)| others.get(field).is_none_or(|others| has_more(below, others)))
}

/// Reads the store's past, where that may block.
async fn read<T: Send + 'static>(
    scope: &Scope,
    read: impl FnOnce(&Store<Attrs>) -> Result<T, PastError> + Send + 'static,
) -> Result<T, Status> {
    let store = scope.server.registry.store().clone();
    let result = blocking(move || read(&store)).await;
    result.map_err(|error| failed(scope, error, 0))
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, PastError> + Send + 'static,
) -> Result<T, PastError> {
    // Never closed.
    let _turn = READERS.acquire().await;
    // A panic there has been reported by the panic hook.
    tokio::task::spawn_blocking(read).await.unwrap_or(Err(ReadError::Closed.into()))
}

/// The state that a list with `at` begins with, if it is given.
pub async fn list_at(scope: &Scope, prefix: &str) -> Result<Option<Snapshot<Attrs>>, Status> {
    let Some(revision) = asked(scope).await? else { return Ok(None) };
    list::wait_for(scope, revision).await?;
    snapshot(scope, prefix, revision).await.map(Some).map_err(|error| failed(scope, error, revision))
}
