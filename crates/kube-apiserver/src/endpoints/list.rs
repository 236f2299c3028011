//! list: a consistent view of a collection, whole or page by page.
//!
//! A page's continue token names the revision of the first page and the key to go on after, so that all pages show one
//! state. The answer is put together from stored bytes; objects are decoded only for selectors and other shapes.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, StatusCode, header};
use machinery::status::Status;
use serde_json::{Value, json};
use store::{Entry, PastError, ReadError, Snapshot};

use super::media::{Encoding, Output, is_a_list};
use super::options::{List, VersionMatch};
use super::selector::Selector;
use super::{Scope, continue_token, get, past, protobuf};
use crate::registry::{Attrs, encode, keys, readable};
use crate::table::{self, Include};
use crate::{Response, body};

/// How long a list waits for a revision that this server has not seen yet.
const FRESHNESS_TIMEOUT: Duration = Duration::from_secs(3);
/// Answers up to this size are sent whole, larger ones in chunks of about this size.
const CHUNK_BYTES: usize = 256 * 1024;

/// The objects of one answer.
pub struct Page {
    pub entries: Vec<Arc<Entry<Attrs>>>,
    pub revision: u64,
    /// Where to go on, if there is more.
    pub next: Option<String>,
    pub remaining: Option<usize>,
}

pub async fn serve(scope: &Scope) -> Result<Response, Status> {
    if matches!(scope.output, Output::Partial(_)) {
        return Err(is_a_list(scope));
    }
    let options = List::parse(&scope.query, false)?;
    let selector = Selector::parse(scope)?;
    let page = read(scope, &options, &selector).await?;
    let revision = page.revision;
    let response = answer(scope, page)?;
    Ok(if scope.query.get("at").is_some() { past::told(response, revision) } else { response })
}

/// The list as it was asked for.
pub fn answer(scope: &Scope, page: Page) -> Result<Response, Status> {
    match &scope.output {
        Output::Object => stored(scope, page),
        Output::Table(version) => {
            let include = Include::of(&scope.query)?;
            let mut rows = Vec::with_capacity(page.entries.len());
            let mut objects =
                page.entries.iter().map(|entry| encode::decode(&entry.value)).collect::<Result<Vec<_>, _>>()?;
            if let Some(rank) = scope.kind.row_rank {
                objects.sort_by_key(rank);
            }
            for stored in objects {
                let sent = scope.sent(&stored)?;
                rows.push(table::row(
                    (scope.kind, scope.version),
                    version,
                    &stored,
                    &sent,
                    include,
                    scope.ctx.received,
                ));
            }
            let table = table::of_rows(version, list_metadata(&page), table::columns(scope.kind, scope.version), rows);
            Ok(scope.value(StatusCode::OK, &table))
        }
        Output::Partial(version) | Output::PartialList(version) => {
            let mut items = Vec::with_capacity(page.entries.len());
            for entry in &page.entries {
                items.push(encode::decode(table::partial_of_stored(version, &entry.value)?.as_bytes())?);
            }
            let list = json!({
                "kind": "PartialObjectMetadataList",
                "apiVersion": version,
                "metadata": list_metadata(&page),
                "items": items,
            });
            Ok(scope.value(StatusCode::OK, &list))
        }
    }
}

/// The objects a list is about.
pub async fn read(scope: &Scope, options: &List, selector: &Selector) -> Result<Page, Status> {
    let prefix = keys::namespace_prefix(scope.kind, &scope.namespace);
    let (snapshot, start_after) = open(scope, options, &prefix).await?;
    let revision = snapshot.revision();
    if let (Some(name), true) = (selector.name(), !scope.kind.namespaced || !scope.namespace.is_empty()) {
        let key = format!("{prefix}{name}");
        let is_after = start_after.as_ref().is_none_or(|start| key > *start);
        let entry = snapshot.get(&key).filter(|entry| is_after && selector.matches(entry)).cloned();
        return Ok(Page { entries: entry.into_iter().collect(), revision, next: None, remaining: None });
    }
    let mut entries: Vec<Arc<Entry<Attrs>>> = Vec::new();
    let mut range = selector.range(&snapshot, &prefix, start_after.as_deref());
    let mut more = false;
    for entry in range.by_ref() {
        if options.limit != 0 && entries.len() == options.limit {
            more = true;
            break;
        }
        readable(entry)?;
        if selector.matches(entry) {
            entries.push(entry.clone());
        }
    }
    let last = entries.last().filter(|_| more).map(|entry| entry.key[prefix.len()..].to_owned());
    let remaining = (more && selector.is_everything()).then(|| 1 + range.count());
    Ok(Page { next: last.map(|last| continue_token::at(revision, &last)), entries, revision, remaining })
}

/// The state to list and the key to start after.
async fn open(scope: &Scope, options: &List, prefix: &str) -> Result<(Snapshot<Attrs>, Option<String>), Status> {
    let store = scope.server.registry.store();
    if !options.continue_token.is_empty() {
        let (revision, last) = continue_token::parse(&options.continue_token)?;
        if !matches!(options.resource_version.as_str(), "" | "0") {
            return Err(Status::bad_request("specifying resource version is not allowed when using continue"));
        }
        let start_after = Some(format!("{prefix}{last}"));
        // A negative revision asks for whatever is there now: the way on from a token that is too old.
        let Ok(revision) = u64::try_from(revision) else { return Ok((store.snapshot(), start_after)) };
        return match past::snapshot(scope, prefix, revision).await {
            Ok(snapshot) => Ok((snapshot, start_after)),
            Err(PastError::Read(ReadError::Future { current })) => Err(Status::future_revision(revision, current)),
            Err(PastError::Read(_)) => Err(continue_token::expired(&last)),
            Err(error) => Err(past::broken(&error)),
        };
    }
    if let Some(snapshot) = past::list_at(scope, prefix).await? {
        return Ok((snapshot, None));
    }
    let wanted = match options.resource_version.as_str() {
        "" => return Ok((store.snapshot(), None)),
        text => text.parse::<u64>().map_err(|_| get::invalid_version(text))?,
    };
    if wanted == 0 {
        return Ok((store.snapshot(), None));
    }
    wait_for(scope, wanted).await?;
    let is_exact = match options.version_match {
        VersionMatch::Exact => true,
        VersionMatch::NotOlderThan => false,
        VersionMatch::Unset => options.limit > 0,
    };
    if !is_exact {
        return Ok((store.snapshot(), None));
    }
    match past::snapshot(scope, prefix, wanted).await {
        Ok(snapshot) => Ok((snapshot, None)),
        Err(PastError::Read(ReadError::Future { current })) => Err(Status::future_revision(wanted, current)),
        Err(PastError::Read(_)) => Err(Status::expired("The resourceVersion for the provided list is too old.")),
        Err(error) => Err(past::broken(&error)),
    }
}

/// Waits a little until the store stands at a revision.
pub async fn wait_for(scope: &Scope, revision: u64) -> Result<(), Status> {
    let store = scope.server.registry.store();
    if store.revision() >= revision {
        return Ok(());
    }
    match tokio::time::timeout(FRESHNESS_TIMEOUT, store.wait_for(revision)).await {
        Ok(_) if store.revision() >= revision => Ok(()),
        _ => Err(Status::future_revision(revision, store.revision())),
    }
}

/// ListMeta of a page.
pub fn list_metadata(page: &Page) -> Value {
    // What was made for the question is of no revision.
    let of_store = page.revision > 0;
    let mut metadata = if of_store { json!({ "resourceVersion": page.revision.to_string() }) } else { json!({}) };
    if let Some(next) = &page.next {
        metadata["continue"] = next.clone().into();
    }
    if let Some(remaining) = page.remaining {
        metadata["remainingItemCount"] = remaining.into();
    }
    metadata
}

/// The list in JSON, its items cut out of the stored bytes (items of built-in lists carry no type of their own).
pub fn stored(scope: &Scope, page: Page) -> Result<Response, Status> {
    if scope.encoding == Encoding::Protobuf
        && let Some(list) = protobuf::list_of(scope, &list_metadata(&page), &page.entries)
    {
        let mut response = Response::new(body::full(list));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(protobuf::MEDIA_TYPE));
        return Ok(response);
    }
    let head = format!(
        "{}\"metadata\":{},\"items\":[",
        encode::prefix_of(scope.kind.list_kind, &scope.version.api_version(scope.kind)),
        list_metadata(&page)
    );
    let prefix = Bytes::from(encode::prefix_of(scope.kind.kind, &scope.version.api_version(scope.kind)));
    if scope.kind.custom.is_some() {
        return Ok(body::json_line(StatusCode::OK, custom(scope, &page)?.to_string().as_bytes()));
    }
    let convert = scope.version.convert.is_some();
    let total: usize = page.entries.iter().map(|entry| entry.value.len()).sum();
    if total <= CHUNK_BYTES || convert {
        let mut bytes = BytesMut::with_capacity(head.len() + total + 3);
        bytes.extend_from_slice(head.as_bytes());
        for (index, entry) in page.entries.iter().enumerate() {
            let value = if convert { scope.in_version(&entry.value)? } else { entry.value.clone() };
            let own = if convert { prefix.len() } else { encode::prefix(scope.kind).len() };
            push_item(&mut bytes, index == 0, &value, own);
        }
        bytes.extend_from_slice(b"]}\n");
        return Ok(body::json_bytes(StatusCode::OK, bytes.freeze()));
    }
    let own = encode::prefix(scope.kind).len();
    let mut entries = page.entries.into_iter().enumerate();
    let mut head = Some(head);
    let mut done = false;
    let chunks = std::iter::from_fn(move || {
        if done {
            return None;
        }
        let mut bytes = BytesMut::with_capacity(CHUNK_BYTES + CHUNK_BYTES / 8);
        bytes.extend_from_slice(head.take().unwrap_or_default().as_bytes());
        for (index, entry) in entries.by_ref() {
            push_item(&mut bytes, index == 0, &entry.value, own);
            if bytes.len() >= CHUNK_BYTES {
                return Some(Ok(bytes.freeze()));
            }
        }
        bytes.extend_from_slice(b"]}\n");
        done = true;
        Some(Ok(bytes.freeze()))
    });
    let mut response = Response::new(body::stream(futures::stream::iter(chunks)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The list of a custom kind, converted all at once; its items carry their types.
fn custom(scope: &Scope, page: &Page) -> Result<Value, Status> {
    let items: Result<Vec<Value>, Status> = page.entries.iter().map(|entry| encode::decode(&entry.value)).collect();
    let mut items = items?;
    if let Some(custom) = scope.kind.custom {
        items = custom.read(items, scope.version.name)?;
        items.iter_mut().for_each(|item| custom.canonicalize(item));
    }
    let mut metadata = list_metadata(page);
    if page.next.is_none() {
        // Lists without types always say how they go on.
        metadata["continue"] = "".into();
    }
    Ok(json!({
        "apiVersion": scope.version.api_version(scope.kind),
        "items": items,
        "kind": scope.kind.list_kind,
        "metadata": metadata,
    }))
}

/// Everything of a stored object but its type, which takes up the first `own` bytes.
fn push_item(bytes: &mut BytesMut, first: bool, value: &[u8], own: usize) {
    bytes.extend_from_slice(if first { b"{" } else { b",{" });
    bytes.extend_from_slice(value.get(own..).unwrap_or_default());
}
