//! Resources within resources: their types and metadata have the form that all resources' have, whatever the schema says.

use machinery::codec::Parsed;
use machinery::field::{Error, ErrorList, Path};
use machinery::gvk;
use machinery::schema::{self, DecodeError, FieldValidation, TypeId};
use machinery::{meta_validation, names};
use serde_json::{Map, Value};

use super::Schema;
use crate::names::path_segment;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// What to do about metadata that has not its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    Refuse,
    /// What was stored before is read without those fields.
    Drop,
}

/// Brings the metadata of embedded resources into form. Fields that metadata does not have are dropped; their paths go to
/// `unknown`.
pub fn coerce(
    value: &mut Value,
    schema: &Schema,
    path: &Path,
    malformed: Malformed,
    unknown: &mut Vec<String>,
) -> Result<(), Box<Error>> {
    match value {
        Value::Object(fields) => {
            if schema.embedded_resource {
                coerce_resource(fields, path, malformed, unknown)?;
            }
            for (key, value) in fields.iter_mut() {
                if let Some(below) = schema.properties.get(key) {
                    coerce(value, below, &path.child(key), malformed, unknown)?;
                } else if let Some(below) = schema.additional_schema() {
                    coerce(value, below, &path.key(key), malformed, unknown)?;
                }
            }
        }
        Value::Array(items) => {
            let Some(below) = schema.items.as_deref() else { return Ok(()) };
            for (index, item) in items.iter_mut().enumerate() {
                coerce(item, below, &path.index(index), malformed, unknown)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The same for a resource as a whole, without regard to what its metadata does not have.
pub fn coerce_root(value: &mut Value, schema: &Schema) -> Result<(), Box<Error>> {
    coerce_resource_root(value, schema, Malformed::Refuse, &mut Vec::new())
}

/// The same, with the paths of what was dropped.
pub fn coerce_resource_root(
    value: &mut Value,
    schema: &Schema,
    malformed: Malformed,
    unknown: &mut Vec<String>,
) -> Result<(), Box<Error>> {
    let root = Path::root();
    if let Some(fields) = value.as_object_mut() {
        coerce_resource(fields, &root, malformed, unknown)?;
    }
    coerce(value, schema, &root, malformed, unknown)
}

fn coerce_resource(
    fields: &mut Map<String, Value>,
    path: &Path,
    malformed: Malformed,
    unknown: &mut Vec<String>,
) -> Result<(), Box<Error>> {
    for key in ["apiVersion", "kind"] {
        match fields.get(key) {
            Some(value) if !value.is_string() => match malformed {
                Malformed::Refuse => return Err(Box::new(Error::invalid(&path.child(key), value, "must be a string"))),
                Malformed::Drop => drop(fields.shift_remove(key)),
            },
            _ => {}
        }
    }
    let Some(metadata) = fields.get_mut("metadata") else { return Ok(()) };
    let given = metadata.clone();
    match object_meta(std::mem::take(metadata), malformed) {
        Ok((value, fields)) => {
            *metadata = value;
            let path = path.child("metadata").to_string();
            unknown.extend(fields.into_iter().map(|field| format!("{path}.{field}")));
            Ok(())
        }
        Err(message) => Err(Box::new(Error::invalid(&path.child("metadata"), given, message))),
    }
}

/// Metadata in its form, and the fields that it does not have.
pub fn object_meta(metadata: Value, malformed: Malformed) -> Result<(Value, Vec<String>), String> {
    let types = schema::builtin();
    let id = types.id(OBJECT_META).ok_or("no schema for ObjectMeta")?;
    let refused = match decode(id, metadata.clone()) {
        Ok(decoded) => return Ok(decoded),
        Err(message) => message,
    };
    let (Malformed::Drop, Value::Object(fields)) = (malformed, metadata) else { return Err(refused) };
    // Field by field: what is malformed goes, the rest stays.
    let mut kept = Map::new();
    let mut unknown = Vec::new();
    for (key, value) in fields {
        let single = Map::from_iter([(key, value)]);
        if let Ok((Value::Object(field), dropped)) = decode(id, single.into()) {
            kept.extend(field);
            unknown.extend(dropped);
        }
    }
    Ok((kept.into(), unknown))
}

fn decode(id: TypeId, metadata: Value) -> Result<(Value, Vec<String>), String> {
    let types = schema::builtin();
    // A null is empty metadata.
    let decoded = schema::decode_parsed(types, id, Parsed::from(metadata), FieldValidation::Warn);
    let decoded = decoded.map_err(|error| match error {
        DecodeError::Malformed(message) => message,
        strict @ DecodeError::Strict(_) => strict.to_string(),
    })?;
    let mut value = decoded.value;
    schema::canonicalize(types, id, &mut value);
    if let Value::Object(fields) = &mut value {
        fields.retain(|_, value| !value.is_null());
    }
    let name = |warning: String| {
        warning.strip_prefix("unknown field \"").and_then(|rest| rest.strip_suffix('"')).map(str::to_owned)
    };
    Ok((value, decoded.warnings.into_iter().filter_map(name).collect()))
}

/// What is wrong with the types and the metadata of embedded resources.
pub fn validate(value: &Value, schema: &Schema, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    node(value, schema, path, &mut errors);
    errors
}

fn node(value: &Value, schema: &Schema, path: &Path, errors: &mut ErrorList) {
    match value {
        Value::Object(fields) => {
            if schema.embedded_resource {
                errors.extend(resource(value, path));
            }
            for (key, value) in fields {
                if let Some(below) = schema.properties.get(key) {
                    node(value, below, &path.child(key), errors);
                } else if let Some(below) = schema.additional_schema() {
                    node(value, below, &path.key(key), errors);
                }
            }
        }
        Value::Array(items) => {
            if let Some(below) = schema.items.as_deref() {
                items.iter().enumerate().for_each(|(at, item)| node(item, below, &path.index(at), errors));
            }
        }
        _ => {}
    }
}

/// One resource: it has a type, and metadata need not have a name.
pub fn resource(value: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let (version, kind) = (path.child("apiVersion"), path.child("kind"));
    for (key, path) in [("apiVersion", &version), ("kind", &kind)] {
        match value.get(key) {
            None => errors.push(Error::required(path, "")),
            Some(Value::String(text)) if text.is_empty() => errors.push(Error::invalid(path, "", "must not be empty")),
            Some(Value::String(_)) => {}
            Some(other) => errors.push(Error::invalid(path, other, "must be a string")),
        }
    }
    let text = |key: &str| value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    if let Some(text) = text("apiVersion")
        && let Err(problem) = gvk::parse(text)
    {
        errors.push(Error::invalid(&version, text, problem.to_string()));
    }
    if let Some(text) = text("kind") {
        let problems = names::is_dns1035_label(&text.to_lowercase());
        if !problems.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
            errors.push(Error::invalid(&kind, text, detail));
        }
    }
    if let Some(metadata) = value.get("metadata") {
        let path = path.child("metadata");
        match object_meta(metadata.clone(), Malformed::Refuse) {
            Err(message) => errors.push(Error::invalid(&path, metadata, message)),
            Ok((metadata, _)) => errors.extend(metadata_errors(metadata, &path)),
        }
    }
    errors
}

fn metadata_errors(mut metadata: Value, path: &Path) -> ErrorList {
    let text = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default();
    let namespaced = !text("namespace").is_empty();
    if text("name").is_empty() {
        // Embedded resources need no name.
        metadata["name"] = "fakename".into();
    }
    let object = serde_json::json!({ "metadata": metadata });
    meta_validation::validate_object_meta_generic(&object, namespaced, path_segment, path)
}
