//! From an object to the bytes that are stored and sent, and back.
//!
//! The stored bytes are the canonical JSON of the storage version with `kind` and `apiVersion` first. The revision is not
//! known before the write is sequenced, so the encoding says at which offset it belongs:
//! `{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a","uid":"..","resourceVersion":"<here>",...`

use api::{Kind, Version};
use machinery::schema;
use machinery::status::Status;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::object;

/// The bytes of an object and where its revision is to be put in.
pub struct Encoded {
    pub bytes: Vec<u8>,
    pub revision_at: usize,
}

/// What the bytes of every stored object of this kind begin with, up to and with the comma.
pub fn prefix(kind: &Kind) -> String {
    prefix_of(kind.kind, &kind.storage_api_version())
}

/// The same for another kind or version.
pub fn prefix_of(kind: &str, api_version: &str) -> String {
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",")
}

/// Brings an object of the storage version into canonical form.
pub fn canonicalize(kind: &Kind, object: &mut Value) {
    if let Some(custom) = kind.custom {
        return custom.canonicalize(object);
    }
    if let Some(own) = kind.storage_version().type_ref(kind) {
        schema::canonicalize(&own.types, own.id, object);
    }
}

/// Encodes a canonical object for the store; a resourceVersion in it is left out in favour of the place for the new one.
pub fn encode(kind: &Kind, object: &Value) -> Result<Encoded, Status> {
    encode_as(kind.kind, &api_version(kind, object), object)
}

/// The same for a kind that nobody has declared.
pub fn encode_as(kind: &str, api_version: &str, object: &Value) -> Result<Encoded, Status> {
    let mut bytes = prefix_of(kind, api_version).into_bytes();
    let mut revision_at = None;
    let fields = object.as_object().into_iter().flatten().filter(|(key, _)| *key != "kind" && *key != "apiVersion");
    for (key, value) in fields {
        if bytes.last() != Some(&b',') {
            bytes.push(b',');
        }
        write_key(&mut bytes, key)?;
        match (key.as_str(), value) {
            ("metadata", Value::Object(metadata)) => revision_at = Some(encode_metadata(&mut bytes, metadata)?),
            _ => write_value(&mut bytes, value)?,
        }
    }
    bytes.push(b'}');
    let revision_at = revision_at.ok_or_else(|| Status::internal("an object without metadata cannot be stored"))?;
    Ok(Encoded { bytes, revision_at })
}

/// Writes metadata with an empty resourceVersion after `uid` (its canonical place) and says where it is.
fn encode_metadata(bytes: &mut Vec<u8>, metadata: &serde_json::Map<String, Value>) -> Result<usize, Status> {
    const BEFORE: [&str; 5] = ["name", "generateName", "namespace", "selfLink", "uid"];
    bytes.push(b'{');
    let mut at = None;
    for (key, value) in metadata.iter().filter(|(key, _)| *key != "resourceVersion") {
        if at.is_none() && !BEFORE.contains(&key.as_str()) {
            at = Some(write_revision_place(bytes));
        }
        separate(bytes);
        write_key(bytes, key)?;
        write_value(bytes, value)?;
    }
    let at = at.unwrap_or_else(|| write_revision_place(bytes));
    bytes.push(b'}');
    Ok(at)
}

fn write_revision_place(bytes: &mut Vec<u8>) -> usize {
    separate(bytes);
    bytes.extend_from_slice(b"\"resourceVersion\":\"");
    let at = bytes.len();
    bytes.push(b'"');
    at
}

fn separate(bytes: &mut Vec<u8>) {
    if bytes.last() != Some(&b'{') {
        bytes.push(b',');
    }
}

fn write_key(bytes: &mut Vec<u8>, key: &str) -> Result<(), Status> {
    serde_json::to_writer(&mut *bytes, key).map_err(|error| Status::internal(error.to_string()))?;
    bytes.push(b':');
    Ok(())
}

fn write_value(bytes: &mut Vec<u8>, value: &Value) -> Result<(), Status> {
    serde_json::to_writer(bytes, value).map_err(|error| Status::internal(error.to_string()))
}

/// The object in stored bytes.
pub fn decode(bytes: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(bytes).map_err(undecodable)
}

/// A stored object is not the JSON that was written.
fn undecodable(error: serde_json::Error) -> Status {
    Status::internal(format!("a stored object cannot be decoded: {error}"))
}

/// The metadata of a stored object as it stands there; the rest is passed over, not decoded.
pub fn metadata(stored: &[u8]) -> Result<&RawValue, Status> {
    #[derive(Deserialize)]
    struct Stored<'a> {
        #[serde(borrow)]
        metadata: &'a RawValue,
    }
    let stored: Stored<'_> = serde_json::from_slice(stored).map_err(undecodable)?;
    Ok(stored.metadata)
}

/// The version that an object is in: of a built-in kind always the storage version.
fn api_version(kind: &Kind, object: &Value) -> String {
    match object::text(object, "/apiVersion") {
        own if kind.custom.is_some() && !own.is_empty() => own.to_owned(),
        _ => kind.storage_api_version(),
    }
}

/// A stored object of a custom kind in one of its versions; others lie in the one storage form that all their hooks know.
pub fn in_version(kind: &Kind, version: &Version, stored: Value) -> Result<Value, Status> {
    let Some(custom) = kind.custom else { return Ok(stored) };
    let mut read = custom.read(vec![stored], version.name)?;
    let mut object = read.pop().ok_or_else(|| Status::internal("a conversion lost an object"))?;
    custom.canonicalize(&mut object);
    Ok(object)
}

/// What is stored for an object: one of a custom kind is brought into the storage version.
pub fn to_stored(kind: &Kind, object: Value) -> Result<Value, Status> {
    let Some(custom) = kind.custom else { return Ok(object) };
    let mut converted = custom.convert(vec![object], kind.storage_version().name)?;
    let mut object = converted.pop().ok_or_else(|| Status::internal("a conversion lost an object"))?;
    custom.canonicalize(&mut object);
    Ok(object)
}

/// Puts `kind` and `apiVersion` of the storage version first.
pub fn set_type(kind: &Kind, object: &mut Value) {
    let api_version = api_version(kind, object);
    let Value::Object(fields) = object else { return };
    let mut typed = serde_json::Map::with_capacity(fields.len() + 2);
    typed.insert("kind".to_owned(), kind.kind.into());
    typed.insert("apiVersion".to_owned(), api_version.into());
    for (key, value) in std::mem::take(fields) {
        if key != "kind" && key != "apiVersion" {
            typed.insert(key, value);
        }
    }
    *fields = typed;
}

/// The bytes of an object that was not written (a dry run): as encoded, with the resourceVersion it carries, if any.
pub fn encode_unwritten(kind: &Kind, object: &Value) -> Result<Vec<u8>, Status> {
    let mut object = object.clone();
    set_type(kind, &mut object);
    if object::resource_version(&object).is_empty() {
        object::set_metadata(&mut object, "resourceVersion", None);
    }
    serde_json::to_vec(&object).map_err(|error| Status::internal(error.to_string()))
}
