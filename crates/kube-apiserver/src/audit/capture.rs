//! Takes what a record wants out of a request and its answer, and puts both together again.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use machinery::codec::{self, Limits, protobuf};
use machinery::schema;
use serde_json::Value;

use super::{Record, Stage};
use crate::{Body, Response, body};

/// Bodies above this, or of unknown size, pass by the record. Requests are bounded to about this anyway.
const SIZE_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Reads the request's body for the record, if it wants it.
pub async fn request(record: &Record, request: http::Request<Body>) -> http::Request<Body> {
    if !record.wants_request() || !is_known(request.body()) {
        return request;
    }
    let (mut parts, content) = request.into_parts();
    // An answer that is recorded must be readable.
    if record.wants_response() {
        parts.headers.remove(header::ACCEPT_ENCODING);
    }
    // A body that breaks off is given on as far as it came: whoever serves the request refuses it.
    let bytes = content.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    if let Some(object) = parse(&parts.headers, &bytes) {
        record.request_object(object);
    }
    http::Request::from_parts(parts, body::full(bytes))
}

/// Puts the answer into the record, and ends the record when its last byte is sent.
pub async fn response(record: Arc<Record>, long_running: bool, response: Response) -> Response {
    let (parts, content) = response.into_parts();
    let code = parts.status.as_u16();
    if long_running && parts.status.is_success() || parts.status == http::StatusCode::SWITCHING_PROTOCOLS {
        record.answered(code, None);
        record.stage(Stage::ResponseStarted).await;
        return Response::from_parts(parts, body::guarded(content, record));
    }
    let wanted = record.wants_response() || record.may_answer_status() || code >= 400;
    if !wanted || !is_known(&content) {
        record.answered(code, None);
        return Response::from_parts(parts, body::guarded(content, record));
    }
    let bytes = content.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let object = parse(&parts.headers, &bytes);
    record.answered(code, object.as_ref().filter(|object| object["kind"] == "Status"));
    if let Some(object) = object.filter(|_| record.wants_response()) {
        record.response_object(object);
    }
    Response::from_parts(parts, body::guarded(body::full(bytes), record))
}

fn is_known(content: &Body) -> bool {
    content.size_hint().exact().is_some_and(|size| (1..=SIZE_MAX_BYTES).contains(&size))
}

/// A body as JSON, if it is an object in one of the API's forms.
fn parse(headers: &HeaderMap, bytes: &Bytes) -> Option<Value> {
    let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim();
    if media == "application/vnd.kubernetes.protobuf" {
        let envelope = protobuf::unwrap_envelope(bytes).ok()?;
        let (group, version) = envelope.api_version.split_once('/').unwrap_or(("", &envelope.api_version));
        let types = schema::builtin();
        let id = types.by_kind(group, version, &envelope.kind)?;
        let mut value = serde_json::json!({ "kind": envelope.kind, "apiVersion": envelope.api_version });
        let decoded = protobuf::decode(types, id, envelope.raw).ok()?;
        value.as_object_mut()?.extend(decoded.as_object()?.clone());
        return Some(value);
    }
    if media.ends_with("yaml") {
        return codec::yaml::parse(bytes, Limits::default()).ok().map(|parsed| parsed.value);
    }
    codec::json::parse(bytes, Limits::default()).ok().map(|parsed| parsed.value)
}
