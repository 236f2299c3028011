//! Kubernetes' protobuf at the edge: bodies that come in it and answers that go out in it. The codec is machinery's; here
//! is only which type a body is read as and an answer written as.

use std::sync::Arc;

use bytes::Bytes;
use machinery::codec;
use machinery::codec::protobuf;
use machinery::schema::{self, TypeId};
use machinery::status::Status;
use serde_json::Value;
use store::Entry;

use super::Scope;
use super::body::{self, Expected};
use crate::registry::Attrs;

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// Events of a watch.
pub const STREAM_MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// The apiVersion that a body claims.
pub fn claimed_version(bytes: &[u8]) -> Option<String> {
    protobuf::unwrap_envelope(bytes).ok().map(|envelope| envelope.api_version)
}

/// A body as the JSON that it stands for. Its type is checked first: a message says nothing about itself.
pub fn decode(bytes: &[u8], expected: &Expected) -> Result<Value, Status> {
    let envelope = protobuf::unwrap_envelope(bytes)
        .map_err(|error| Status::bad_request(codec::unrecognized(expected.kind, &error.to_string(), bytes)))?;
    body::check_type(expected, &envelope.api_version, &envelope.kind)?;
    let own = expected.type_ref().ok_or_else(|| Status::internal("the type has no schema"))?;
    protobuf::decode(&own.types, own.id, envelope.raw)
        .map_err(|error| expected.refused(expected.kind, expected.version(), error))
}

/// An answer in protobuf; `None` for what has no message (/version).
pub fn encode(answer: &Value) -> Option<Vec<u8>> {
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    let (api_version, kind) = (text("apiVersion")?, text("kind")?);
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let types = schema::builtin();
    let metadata = || answer.get("metadata").unwrap_or(&Value::Null);
    let message = match (type_of(group, version, kind), answer.get("items")) {
        (None, None) if kind == "PartialObjectMetadata" => protobuf::encode_partial(types, metadata()),
        (None, Some(Value::Array(items))) if kind == "PartialObjectMetadataList" => {
            protobuf::encode_partial_list(types, metadata(), items)
        }
        (Some(id), _) => protobuf::encode(types, id, answer),
        // Old versions have no types of their own, so their lists have none either.
        (None, Some(Value::Array(items))) => {
            let item = type_of(group, version, kind.strip_suffix("List")?)?;
            protobuf::encode_list(types, item, answer.get("metadata")?, items)
        }
        (None, _) => return None,
    };
    match message {
        Ok(message) => Some(protobuf::wrap_envelope(api_version, kind, &message)),
        Err(error) => {
            tracing::warn!(kind, "an answer has no form in protobuf: {error}");
            None
        }
    }
}

/// A stored object's message without its envelope. `None` where the stored form is not what the request's version is sent
/// as, and for what has no message.
pub fn message_of(scope: &Scope, entry: &Entry<Attrs>) -> Option<Bytes> {
    if !scope.version.storage || scope.version.convert.is_some() || scope.kind.custom.is_some() {
        return None;
    }
    let types = schema::builtin();
    entry.attrs(|entry| Attrs::of(scope.kind, entry)).message(|| {
        let id = types.id(scope.version.schema)?;
        let object: Value = serde_json::from_slice(&entry.value).ok()?;
        protobuf::encode(types, id, &object).ok()
    })
}

/// A list of stored objects in its envelope, if all of them have a message.
pub fn list_of(scope: &Scope, metadata: &Value, entries: &[Arc<Entry<Attrs>>]) -> Option<Vec<u8>> {
    let messages: Option<Vec<Bytes>> = entries.iter().map(|entry| message_of(scope, entry)).collect();
    let messages = messages?;
    let list =
        protobuf::encode_list_of(schema::builtin(), metadata, messages.iter().map(|message| &message[..])).ok()?;
    Some(protobuf::wrap_envelope(&scope.version.api_version(scope.kind), scope.kind.list_kind, &list))
}

/// A stored object in its envelope.
pub fn object_of(scope: &Scope, entry: &Entry<Attrs>) -> Option<Vec<u8>> {
    let message = message_of(scope, entry)?;
    Some(protobuf::wrap_envelope(&scope.version.api_version(scope.kind), scope.kind.kind, &message))
}

fn type_of(group: &str, version: &str, kind: &str) -> Option<TypeId> {
    let types = schema::builtin();
    let served = || api::find_kind(group, version, kind).and_then(|(_, version)| types.id(version.schema));
    types.by_kind(group, version, kind).or_else(served)
}
