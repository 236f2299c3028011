//! What is wrong with an object of a custom kind: its type, its metadata, then what its schema says.

use machinery::field::{Error, ErrorKind, ErrorList, Path};
use machinery::meta_validation;
use serde_json::Value;

use super::behaviour::{OwnVersion, pointer};
use super::{Behaviour, validations};
use crate::structural::{self, Correlated};
use crate::value::text;
use crate::{erase, names};

pub fn create(behaviour: &Behaviour, object: &Value) -> ErrorList {
    let Some(version) = behaviour.version_of(object) else { return wrong_type(behaviour, object) };
    let errors = wrong_type(behaviour, object);
    if !errors.is_empty() {
        return errors;
    }
    let root = Path::root();
    let (namespaced, path) = (behaviour.namespaced, Path::new("metadata"));
    let mut errors = meta_validation::validate_object_meta_generic(object, namespaced, names::subdomain, &path);
    errors.extend(structural::validate(object, &version.schema, &root));
    errors.extend(scale_spec(version, object));
    errors.extend(scale_status(version, object));
    errors.extend(structural::validate_embedded(object, &version.schema, &root));
    errors.extend(structural::validate_lists(object, &version.schema, &root));
    expressions(version, object, None, &mut errors);
    errors
}

pub fn update(behaviour: &Behaviour, new: &Value, old: &Value) -> ErrorList {
    let Some(version) = behaviour.version_of(new) else { return wrong_type(behaviour, new) };
    let errors = wrong_type(behaviour, new);
    if !errors.is_empty() {
        return errors;
    }
    let root = Path::root();
    let mut errors = erase::metadata_update_generic(new, old, behaviour.namespaced, None);
    errors.extend(structural::validate_update(&Correlated::new(new, old, &version.schema), &version.schema, &root));
    errors.extend(scale_spec(version, new));
    errors.extend(scale_status(version, new));
    errors.extend(structural::validate_embedded(new, &version.schema, &root));
    errors.extend(new_list_errors(version, new, old));
    expressions(version, new, Some(old), &mut errors);
    errors
}

pub fn update_status(behaviour: &Behaviour, new: &Value, old: &Value) -> ErrorList {
    let Some(version) = behaviour.version_of(new) else { return wrong_type(behaviour, new) };
    let mut errors = erase::metadata_update_generic(new, old, behaviour.namespaced, None);
    if let (Some(status), Some(schema)) = (new.get("status"), version.schema.properties.get("status")) {
        let before = old.get("status").unwrap_or(&Value::Null);
        let path = Path::new("status");
        errors.extend(structural::validate_update(&Correlated::new(status, before, schema), schema, &path));
    }
    errors.extend(scale_status(version, new));
    errors.extend(new_list_errors(version, new, old));
    expressions(version, new, Some(old), &mut errors);
    errors
}

/// Rules that an update breaks no more than the object did before.
pub fn warnings(behaviour: &Behaviour, new: &Value, old: &Value) -> Vec<String> {
    let Some(version) = behaviour.version_of(new) else { return Vec::new() };
    let Some(rules) = &version.rules else { return Vec::new() };
    rules.unchanged(new, old, &version.schema).iter().map(ToString::to_string).collect()
}

/// The rules of the schema, which are only looked at where no value is too large or of another type: they could cost more
/// than was thought when the schema was taken.
fn expressions(version: &OwnVersion, object: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    let Some(rules) = &version.rules else { return };
    let blocks = |error: &Error| {
        matches!(
            error.kind,
            ErrorKind::NotSupported
                | ErrorKind::Required
                | ErrorKind::TooLong
                | ErrorKind::TooMany
                | ErrorKind::TypeInvalid
        )
    };
    if errors.iter().any(blocks) {
        errors.push(validations::unchecked());
    } else {
        errors.extend(rules.check(object, old, &version.schema));
    }
}

/// Lists that were wrong before may stay so.
fn new_list_errors(version: &OwnVersion, new: &Value, old: &Value) -> ErrorList {
    let root = Path::root();
    let errors = structural::validate_lists(new, &version.schema, &root);
    if errors.is_empty() || !structural::validate_lists(old, &version.schema, &root).is_empty() {
        return ErrorList::new();
    }
    errors
}

/// Admission may have changed what an object is.
fn wrong_type(behaviour: &Behaviour, object: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let (api_version, kind) = (text(object, "/apiVersion"), text(object, "/kind"));
    if kind != behaviour.kind {
        errors.push(Error::invalid(&Path::new("kind"), kind, format!("must be {}", behaviour.kind)));
    }
    if behaviour.version_of(object).is_none() || !api_version.starts_with(behaviour.group.as_str()) {
        let path = Path::new("apiVersion");
        errors.push(Error::invalid(&path, api_version, format!("must be of the group {}", behaviour.group)));
    }
    errors
}

fn scale_spec(version: &OwnVersion, object: &Value) -> ErrorList {
    version.scale.as_ref().map(|scale| replicas(object, &scale.spec)).unwrap_or_default()
}

fn scale_status(version: &OwnVersion, object: &Value) -> ErrorList {
    let Some(scale) = &version.scale else { return ErrorList::new() };
    let mut errors = replicas(object, &scale.status);
    if let Some(path) = scale.selector.as_deref().filter(|path| !path.is_empty())
        && let Some(problem) = not_of_type(object, path, "string", Value::is_string)
    {
        errors.push(Error::invalid(&Path::new(path), "", problem));
    }
    errors
}

fn replicas(object: &Value, path: &str) -> ErrorList {
    let place = Path::new(path);
    if let Some(problem) = not_of_type(object, path, "int64", Value::is_i64) {
        return vec![Error::invalid(&place, 0, problem)];
    }
    let number = object.pointer(&pointer(path)).and_then(Value::as_i64).unwrap_or_default();
    if number < 0 {
        return vec![Error::invalid(&place, number, "should be a non-negative integer")];
    }
    if number > i64::from(i32::MAX) {
        let detail = format!("should be less than or equal to {}", i32::MAX);
        return vec![Error::invalid(&place, number, detail)];
    }
    ErrorList::new()
}

/// How upstream words a field of another type on the way.
fn not_of_type(object: &Value, path: &str, wanted: &str, is: fn(&Value) -> bool) -> Option<String> {
    let mut at = object;
    let path = path.strip_prefix('.').unwrap_or(path);
    let full = format!(".{path}");
    for step in path.split('.') {
        let Value::Object(fields) = at else {
            let shown = machinery::go_text::plain(at);
            let own = go_type(at);
            return Some(format!(
                "{full} accessor error: {shown} is of the type {own}, expected map[string]interface{{}}"
            ));
        };
        at = fields.get(step)?;
    }
    if is(at) {
        return None;
    }
    let shown = machinery::go_text::plain(at);
    Some(format!("{full} accessor error: {shown} is of the type {}, expected {wanted}", go_type(at)))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}
