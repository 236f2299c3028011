//! delete of one object and of a collection.

use bytes::Bytes;
use http::StatusCode;
use machinery::codec::{self, Limits};
use machinery::go_text;
use machinery::status::Status;
use serde_json::Value;

use super::body::Expected;
use super::list;
use super::media::Output;
use super::options::{self, List};
use super::selector::Selector;
use super::{Scope, as_admit, body, protobuf};
use crate::admission::Request;
use crate::registry::{DeleteOptions, encode, group_resource, keys, object, strategies};
use crate::{Body, Response, body as http_body};

const OPTIONS_SCHEMA: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

pub async fn serve(scope: &Scope, request: Body) -> Result<Response, Status> {
    let options = read_options(scope, request).await?;
    let admission = Request { options: options.to_value(), ..scope.admission("", &scope.name, options.dry_run) };
    let registry = &scope.server.registry;
    let deleted = registry.delete(scope.kind, &scope.namespace, &scope.name, &options, as_admit(&admission)).await?;
    if deleted.gone && !strategies::of(scope.kind).returns_deleted() {
        let status = Status::deleted(&group_resource(scope.kind), &scope.name, object::uid(&deleted.object));
        return Ok(http_body::status(&status));
    }
    // Dependents are to go first and the object waits for them: accepted, not done.
    let accepted = !deleted.gone && options.orphan_dependents == Some(false);
    let code = if accepted { StatusCode::ACCEPTED } else { StatusCode::OK };
    let bytes = encode::encode_unwritten(scope.kind, &deleted.object)?;
    scope.object(code, &bytes.into())
}

pub async fn serve_collection(scope: &Scope, request: Body) -> Result<Response, Status> {
    let options = read_options(scope, request).await?;
    let list_options = List::parse(&scope.query, false)?;
    let selector = Selector::parse(scope)?;
    let page = list::read(scope, &list_options, &selector).await?;
    let registry = &scope.server.registry;
    for entry in &page.entries {
        let Some((namespace, name)) = keys::parse(scope.kind, &entry.key) else { continue };
        // The request names no object, so admission sees and tells no name either.
        let admission = Request { options: options.to_value(), ..scope.admission("", "", options.dry_run) };
        match registry.delete(scope.kind, namespace, name, &options, as_admit(&admission)).await {
            Ok(_) => {}
            // Somebody else was faster.
            Err(status) if status.is_not_found() => {}
            Err(status) => return Err(status),
        }
    }
    match &scope.output {
        Output::Object => list::stored(scope, page),
        _ => Ok(http_body::status(&Status::success())),
    }
}

/// DeleteOptions from the body, else from the query.
async fn read_options(scope: &Scope, request: Body) -> Result<DeleteOptions, Status> {
    let bytes = body::read(scope, request).await?;
    let given = if bytes.is_empty() { Value::Null } else { parse(scope, &bytes)? };
    let mut options = options::delete(&scope.query, &given)?;
    options.orphan_by_default = scope.kind.orphan_by_default;
    let is_silent = options.propagation.is_none() && options.orphan_dependents.is_none();
    if let Some(warning) = scope.kind.delete_warning.filter(|_| is_silent) {
        scope.ctx.warn(warning);
    }
    Ok(options)
}

fn parse(scope: &Scope, bytes: &Bytes) -> Result<Value, Status> {
    if body::media_type(&scope.content_type) == protobuf::MEDIA_TYPE {
        let api_version = protobuf::claimed_version(bytes).unwrap_or_default();
        let expected = Expected::builtin("DeleteOptions", api_version, OPTIONS_SCHEMA);
        return protobuf::decode(bytes, &expected);
    }
    let limits = Limits { bytes: bytes.len(), ..Limits::default() };
    let unreadable =
        |problem: String| Status::bad_request(format!("couldn't get version/kind; json parse error: {problem}"));
    let parsed = match body::media_type(&scope.content_type) {
        "" | "application/json" => codec::json::parse(bytes, limits).map_err(unreadable)?,
        "application/yaml" => codec::yaml::parse(bytes, limits).map_err(Status::bad_request)?,
        other => return Err(Status::unsupported_media_type(other, &ACCEPTED)),
    };
    let (api_version, kind) = codec::type_meta(&parsed.value).map_err(unreadable)?;
    if !kind.is_empty() && kind != "DeleteOptions" {
        return Err(Status::bad_request(format!(
            "no kind {} is registered for version {} in scheme \"pkg/apis/meta/internalversion/scheme/register.go:27\"",
            go_text::quote(kind),
            go_text::quote(api_version)
        )));
    }
    Ok(if parsed.value.is_null() { serde_json::json!({}) } else { parsed.value })
}
