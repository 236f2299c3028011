//! Request bodies: read within the limit, parsed as their content type says, decoded by the schema of their kind.

use api::{Custom, TypeRef};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use machinery::codec::{self, Limits, Parsed};
use machinery::field::{Error, Path};
use machinery::go_text;
use machinery::gvk::GroupKind;
use machinery::schema::{self, FieldValidation};
use machinery::status::Status;
use serde_json::Value;

use super::{Scope, protobuf};
use crate::Body;
use crate::registry::object;

const ACCEPTED: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// Of a body that is too large this many bytes more are read and dropped: a client that is still sending when its stream
/// is closed reports a broken connection instead of the answer.
const DROPPED_BYTES_MAX: usize = 32 << 20;

/// Reads a whole body.
pub async fn read(scope: &Scope, mut body: Body) -> Result<Bytes, Status> {
    let limit = scope.server.config.max_request_body_bytes;
    let mut bytes = BytesMut::new();
    let mut dropped = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Status::bad_request(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if dropped == 0 && bytes.len() + data.len() <= limit {
            bytes.extend_from_slice(&data);
            continue;
        }
        bytes.clear();
        dropped += data.len();
        if dropped > DROPPED_BYTES_MAX {
            break;
        }
    }
    match dropped {
        0 => Ok(bytes.freeze()),
        _ => Err(Status::request_entity_too_large(format!("limit is {limit}"))),
    }
}

/// The media type of a Content-Type header, without parameters.
pub fn media_type(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// What a body is to be.
pub struct Expected<'a> {
    pub kind: &'a str,
    pub api_version: String,
    pub schema: &'a str,
    /// What decodes objects of a custom kind; its `schema` says nothing.
    pub custom: Option<&'static dyn Custom>,
}

impl<'a> Expected<'a> {
    /// An object of the request's own kind and version.
    pub fn of(scope: &'a Scope) -> Self {
        let custom = scope.kind.custom;
        Self { custom, ..Self::builtin(scope.kind.kind, scope.version.api_version(scope.kind), scope.version.schema) }
    }

    /// An object of a built-in type.
    pub fn builtin(kind: &'a str, api_version: impl Into<String>, schema: &'a str) -> Self {
        Self { kind, api_version: api_version.into(), schema, custom: None }
    }

    /// The type, and the table that it is in.
    pub fn type_ref(&self) -> Option<TypeRef> {
        match self.custom {
            Some(custom) => custom.types(self.version()),
            None => TypeRef::builtin(self.schema),
        }
    }

    pub fn version(&self) -> &str {
        self.api_version.rsplit('/').next().unwrap_or_default()
    }

    pub fn refused(&self, kind: &str, version: &str, reason: impl std::fmt::Display) -> Status {
        let expected = self.kind;
        Status::bad_request(format!(
            "{kind} in version {} cannot be handled as a {expected}: {reason}",
            go_text::quote(version)
        ))
    }
}

/// Parses a body by its content type.
fn parse(scope: &Scope, bytes: &[u8], expected: &Expected) -> Result<Parsed, Status> {
    let limits = Limits { bytes: scope.server.config.max_request_body_bytes, ..Limits::default() };
    let unrecognized = |problem: String| Status::bad_request(codec::unrecognized(expected.kind, &problem, bytes));
    match media_type(&scope.content_type) {
        "" | "application/json" => codec::json::parse(bytes, limits)
            .map_err(|problem| Status::bad_request(codec::unrecognized_json(expected.kind, &problem, bytes))),
        "application/yaml" => codec::yaml::parse(bytes, limits).map_err(unrecognized),
        other => Err(Status::unsupported_media_type(other, &ACCEPTED)),
    }
}

/// Decodes a body as what it is expected to be; warnings go to the client. Content types are looked at before content.
pub fn decode(scope: &Scope, bytes: &[u8], expected: &Expected, mode: FieldValidation) -> Result<Value, Status> {
    if media_type(&scope.content_type) == protobuf::MEDIA_TYPE && expected.custom.is_none() {
        let value = protobuf::decode(bytes, expected)?;
        return decode_parsed(scope, value.into(), expected, mode)
            .map_err(|reason| expected.refused(expected.kind, expected.version(), reason));
    }
    let parsed = parse(scope, bytes, expected)?;
    let (api_version, kind) = codec::type_meta(&parsed.value)
        .map_err(|problem| Status::bad_request(codec::unrecognized_json(expected.kind, &problem, bytes)))?;
    if expected.custom.is_some() {
        check_custom_type(expected, bytes, &parsed.value, (api_version, kind))?;
    } else {
        check_type(expected, api_version, kind)?;
    }
    decode_parsed(scope, parsed, expected, mode)
        .map_err(|reason| expected.refused(expected.kind, expected.version(), reason))
}

/// The apiVersion that a body claims for itself, before anything is expected of it.
pub fn claimed_version(scope: &Scope, bytes: &[u8]) -> Option<String> {
    if media_type(&scope.content_type) == protobuf::MEDIA_TYPE {
        return protobuf::claimed_version(bytes);
    }
    let value: Value = serde_json::from_slice(bytes).ok()?;
    codec::type_meta(&value).ok().map(|(api_version, _)| api_version.to_owned())
}

/// Decodes by the schema; the error is the reason alone.
pub fn decode_parsed(
    scope: &Scope,
    parsed: Parsed,
    expected: &Expected,
    mode: FieldValidation,
) -> Result<Value, String> {
    let decoded = match expected.custom {
        Some(custom) => custom.decode(expected.version(), parsed, mode)?,
        None => {
            let own = expected.type_ref().ok_or_else(|| format!("no schema for {}", expected.schema))?;
            schema::decode_parsed(&own.types, own.id, parsed, mode).map_err(|error| error.to_string())?
        }
    };
    for warning in decoded.warnings {
        scope.ctx.warn(warning);
    }
    let mut value = decoded.value;
    if !value.is_object() {
        value = Value::Object(serde_json::Map::new());
    }
    value["apiVersion"] = expected.api_version.clone().into();
    value["kind"] = expected.kind.into();
    Ok(value)
}

/// An object of a custom kind says what it is, and its version is the path's before its kind is looked at.
fn check_custom_type(expected: &Expected, bytes: &[u8], object: &Value, of: (&str, &str)) -> Result<(), Status> {
    let (api_version, kind) = of;
    if kind.is_empty() {
        let problem = format!("Object 'Kind' is missing in '{}'", String::from_utf8_lossy(bytes));
        return Err(Status::bad_request(codec::unrecognized(expected.kind, &problem, bytes)));
    }
    if api_version != expected.api_version {
        return Err(other_version(expected, api_version));
    }
    if kind == expected.kind {
        return Ok(());
    }
    let error = Error::invalid(&Path::new("kind"), kind, format!("must be {}", expected.kind));
    let group = expected.api_version.split_once('/').map_or("", |(group, _)| group);
    Err(Status::invalid(&GroupKind::new(group, kind), object::name(object), vec![error]))
}

fn other_version(expected: &Expected, api_version: &str) -> Status {
    Status::bad_request(format!(
        "the API version in the data ({api_version}) does not match the expected API version ({})",
        expected.api_version
    ))
}

/// A body may leave its type out; what it says must be what the path says.
pub fn check_type(expected: &Expected, api_version: &str, kind: &str) -> Result<(), Status> {
    let own_version = api_version.is_empty() || api_version == expected.api_version;
    if own_version && (kind.is_empty() || kind == expected.kind) {
        return Ok(());
    }
    let (group, version) = match api_version.split_once('/') {
        Some((group, version)) => (group, version),
        None if api_version.is_empty() => expected.api_version.split_once('/').unwrap_or(("", &expected.api_version)),
        None => ("", api_version),
    };
    let name = if kind.is_empty() { expected.kind } else { kind };
    if schema::builtin().by_kind(group, version, name).is_none() && api::find_kind(group, version, name).is_none() {
        let (own_group, _) = expected.api_version.split_once('/').unwrap_or_default();
        let is_extension = own_group == api::apiextensions::GROUP;
        let scheme = if is_extension { "pkg/apiserver/apiserver.go:55" } else { "pkg/api/legacyscheme/scheme.go:30" };
        let api_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
        let reason = format!(
            "no kind {} is registered for version {} in scheme {}",
            go_text::quote(name),
            go_text::quote(&api_version),
            go_text::quote(scheme)
        );
        return Err(expected.refused(name, version, reason));
    }
    if !own_version {
        return Err(other_version(expected, api_version));
    }
    let package = if group.is_empty() { "core" } else { group.split('.').next().unwrap_or_default() };
    let reason = format!("converting ({version}.{name}) to ({package}.{}): unknown conversion", expected.kind);
    Err(expected.refused(name, version, reason))
}

/// Brings a decoded object of the request's version into the storage version, with all defaults.
pub fn to_storage(scope: &Scope, mut object: Value) -> Result<Value, Status> {
    if !scope.version.storage {
        if let Some(convert) = &scope.version.convert {
            (convert.to_storage)(&mut object);
        }
        if let Some(default) = scope.version.default {
            default(&mut object);
        }
        if let Some(fields) = object.as_object_mut().filter(|_| scope.kind.custom.is_none()) {
            fields.insert("apiVersion".to_owned(), scope.kind.storage_api_version().into());
        }
    }
    scope.kind.default(&mut object)?;
    Ok(object)
}

/// The namespace in the object must be the request's; an object may leave it out.
pub fn check_namespace(scope: &Scope, object: &mut Value) -> Result<(), Status> {
    if scope.namespace.is_empty() {
        // What lies in no namespace names none, whatever a client says.
        object::set_metadata(object, "namespace", None);
        return Ok(());
    }
    let own = object::namespace(object);
    if own.is_empty() || own == scope.namespace {
        object::set_metadata(object, "namespace", Some(scope.namespace.clone().into()));
        return Ok(());
    }
    Err(Status::bad_request("the namespace of the provided object does not match the namespace sent on the request"))
}

/// Takes out owner references that stand twice, and says so.
pub fn dedup_owners(scope: &Scope, object: &mut Value) {
    let owners = object.pointer_mut("/metadata/ownerReferences").and_then(Value::as_array_mut);
    let Some(owners) = owners.filter(|owners| owners.len() > 1) else { return };
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut twice: Vec<String> = Vec::new();
    for owner in owners.drain(..) {
        if kept.contains(&owner) {
            twice.push(object::text(&owner, "/uid").to_owned());
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    if !twice.is_empty() {
        twice.dedup();
        scope.ctx.warn(format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            twice.join(", ")
        ));
    }
}

/// The name in the object must be the path's.
pub fn check_name(scope: &Scope, object: &Value) -> Result<(), Status> {
    let (own, path) = (object::name(object), &scope.name);
    if own.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({path} based on URL) was undeterminable: name must be provided"
        )));
    }
    if own == path {
        return Ok(());
    }
    Err(Status::bad_request(format!("the name of the object ({own}) does not match the name on the URL ({path})")))
}
