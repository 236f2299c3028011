//! Whether a schema is structural: every value has a schema of its own outside of logical junctors, which only restrict.

use machinery::field::{Error, ErrorList, Path};
use serde_json::{Value, json};

use crate::structural::{Schema, compile_pattern};
use crate::value::{boolean, list, text};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Keywords that a value validation may not use: what they say belongs to the structure.
const FORBIDDEN: &[(&str, &str)] = &[
    ("type", "must be empty to be structural"),
    ("additionalProperties", "must be undefined to be structural"),
    ("default", "must be undefined to be structural"),
    ("title", "must be empty to be structural"),
    ("description", "must be empty to be structural"),
    ("nullable", "must be false to be structural"),
    ("x-kubernetes-preserve-unknown-fields", "must be false to be structural"),
    ("x-kubernetes-embedded-resource", "must be false to be structural"),
    ("x-kubernetes-int-or-string", "must be false to be structural"),
    ("x-kubernetes-list-map-keys", "must be empty to be structural"),
    ("x-kubernetes-list-type", "must be undefined to be structural"),
    ("x-kubernetes-map-type", "must be undefined to be structural"),
    ("x-kubernetes-validations", "must be empty to be structural"),
];
/// The keywords that hold lists of value validations.
const JUNCTORS: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// What keeps a schema from being structural, in the order of the texts.
pub fn validate(schema: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    invariants(schema, Level::Root, path, &mut errors);
    value_completeness(schema, Some(schema), path, path, &mut errors);
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

/// Whether a schema can be compiled and is structural.
pub fn is_structural(schema: &Value) -> bool {
    Schema::parse(schema).is_ok() && validate(schema, &Path::root()).is_empty()
}

fn invariants(schema: &Value, level: Level, path: &Path, errors: &mut ErrorList) {
    let kind = text(schema, "/type");
    let (embedded, preserves) = (flag(schema, "x-kubernetes-embedded-resource"), preserves(schema));
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    match schema.get("items").filter(|items| items.is_object()) {
        None if kind == "array" => errors.push(Error::required(&path.child("items"), "must be specified")),
        None => {}
        Some(items) => invariants(items, Level::Item, &path.child("items"), errors),
    }
    let properties = path.child("properties");
    for (name, property) in fields(schema, "properties") {
        invariants(property, Level::Field, &properties.key(name), errors);
    }
    let additional = schema.get("additionalProperties").filter(|additional| !additional.is_null());
    let additional_path = path.child("additionalProperties");
    if additional.is_some() && level == Level::Root {
        errors.push(Error::forbidden(&additional_path, "must not be used at the root"));
    }
    if let Some(additional) = additional.filter(|additional| additional.is_object()) {
        invariants(additional, Level::Field, &additional_path, errors);
    }
    for (set, keyword) in [
        (int_or_string && preserves, "x-kubernetes-preserve-unknown-fields"),
        (int_or_string && embedded, "x-kubernetes-embedded-resource"),
    ] {
        if set {
            let detail = "must be false if x-kubernetes-int-or-string is true";
            errors.push(Error::invalid(&path.child(keyword), true, detail));
        }
    }
    value_validation(schema, path, errors);
    let kind_path = path.child("type");
    if embedded && kind != "object" {
        let detail = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(if kind.is_empty() {
            Error::required(&kind_path, detail)
        } else {
            Error::invalid(&kind_path, kind, detail)
        });
    } else if kind.is_empty() && !int_or_string && !preserves {
        let place = match level {
            Level::Root => "at the root",
            Level::Item => "for specified array items",
            Level::Field => "for specified object fields",
        };
        errors.push(Error::required(&kind_path, format!("must not be empty {place}")));
    }
    if embedded && additional.is_some() {
        let detail = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(Error::forbidden(&additional_path, detail));
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.push(Error::invalid(&kind_path, kind, "must be object at the root"));
    }
    resource_fields(schema, level, embedded, &properties, errors);
    if embedded && !preserves && fields(schema, "properties").next().is_none() {
        let detail =
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(Error::required(&properties, detail));
    }
}

/// The type and the metadata of a resource have their own schema; a definition may only restrict names.
fn resource_fields(schema: &Value, level: Level, embedded: bool, properties: &Path, errors: &mut ErrorList) {
    let is_resource = level == Level::Root || embedded;
    let property = |name: &str| schema.get("properties").and_then(|properties| properties.get(name));
    for name in ["kind", "apiVersion"] {
        if let Some(own) = property(name).filter(|own| is_resource && text(own, "/type") != "string") {
            errors.push(Error::invalid(&properties.key(name).child("type"), text(own, "/type"), "must be string"));
        }
    }
    let Some(metadata) = property("metadata") else { return };
    let path = properties.key("metadata");
    if is_resource && text(metadata, "/type") != "object" {
        errors.push(Error::invalid(&path.child("type"), text(metadata, "/type"), "must be object"));
    }
    if level == Level::Root && says_more_than_names(metadata) {
        let detail = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        errors.push(Error::forbidden(&path, detail));
    }
}

fn says_more_than_names(metadata: &Value) -> bool {
    metadata.as_object().into_iter().flatten().any(|(keyword, value)| match keyword.as_str() {
        "type" | "default" => false,
        "properties" => fields(metadata, "properties").any(|(name, _)| !matches!(name, "name" | "generateName")),
        _ => !matches!(value, Value::Null | Value::Bool(false)),
    })
}

/// `type: integer` or `type: string` in an anyOf, as int-or-string is often written.
fn is_int_or_string(any_of: Option<&Value>) -> bool {
    any_of.is_some_and(|any_of| *any_of == json!([{ "type": "integer" }, { "type": "string" }]))
}

fn value_validation(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let first_all_of = list(schema, "/allOf").first();
    let skip_any_of = is_int_or_string(schema.get("anyOf"));
    let skip_first = is_int_or_string(first_all_of.and_then(|first| first.get("anyOf")));
    own_values(schema, skip_any_of, skip_first, path, errors);
}

fn own_values(schema: &Value, skip_any_of: bool, skip_first: bool, path: &Path, errors: &mut ErrorList) {
    for keyword in JUNCTORS {
        if keyword == "anyOf" && skip_any_of {
            continue;
        }
        let junctor = path.child(keyword);
        for (index, part) in list(schema, &format!("/{keyword}")).iter().enumerate() {
            nested(part, keyword == "allOf" && skip_first && index == 0, &junctor.index(index), errors);
        }
    }
    if let Some(not) = schema.get("not").filter(|not| not.is_object()) {
        nested(not, false, &path.child("not"), errors);
    }
    let pattern = text(schema, "/pattern");
    if !pattern.is_empty()
        && let Err(problem) = compile_pattern(pattern)
    {
        let detail = format!("must be a valid regular expression, but isn't: {problem}");
        errors.push(Error::invalid(&path.child("pattern"), pattern, detail));
    }
}

fn nested(part: &Value, skip_any_of: bool, path: &Path, errors: &mut ErrorList) {
    own_values(part, skip_any_of, false, path, errors);
    if let Some(items) = part.get("items").filter(|items| items.is_object()) {
        nested(items, false, &path.child("items"), errors);
    }
    let properties = path.child("properties");
    for (name, property) in fields(part, "properties") {
        nested(property, false, &properties.key(name), errors);
    }
    for (keyword, detail) in FORBIDDEN {
        let is_set = match part.get(keyword) {
            None | Some(Value::Null) => false,
            // An additionalProperties of false counts as none.
            Some(Value::Bool(on)) => *on,
            Some(Value::String(text)) => !text.is_empty(),
            Some(Value::Array(items)) => *keyword == "default" || !items.is_empty(),
            Some(_) => true,
        };
        let is_false_default = *keyword == "default" && part.get(keyword) == Some(&Value::Bool(false));
        if is_set || is_false_default {
            errors.push(Error::forbidden(&path.child(keyword), *detail));
        }
    }
    if part.get("properties").is_some_and(|properties| properties.get("metadata").is_some()) {
        let detail = "must not be specified in a nested context";
        errors.push(Error::forbidden(&properties.key("metadata"), detail));
    }
}

/// Whatever a value validation speaks of has a schema in the structure.
fn value_completeness(value: &Value, own: Option<&Value>, own_path: &Path, path: &Path, errors: &mut ErrorList) {
    if let Some(not) = value.get("not").filter(|not| not.is_object()) {
        nested_completeness(not, own, own_path, &path.child("not"), errors);
    }
    for keyword in JUNCTORS {
        let junctor = path.child(keyword);
        for (index, part) in list(value, &format!("/{keyword}")).iter().enumerate() {
            nested_completeness(part, own, own_path, &junctor.index(index), errors);
        }
    }
}

fn nested_completeness(part: &Value, own: Option<&Value>, own_path: &Path, path: &Path, errors: &mut ErrorList) {
    let Some(own) = own else {
        return errors.push(Error::required(own_path, format!("because it is defined in {path}")));
    };
    value_completeness(part, Some(own), own_path, path, errors);
    if let Some(items) = part.get("items").filter(|items| items.is_object()) {
        let below = own.get("items").filter(|items| items.is_object());
        nested_completeness(items, below, &own_path.child("items"), &path.child("items"), errors);
    }
    let (own_properties, properties) = (own_path.child("properties"), path.child("properties"));
    for (name, property) in fields(part, "properties") {
        let below = own.get("properties").and_then(|properties| properties.get(name));
        nested_completeness(property, below, &own_properties.key(name), &properties.key(name), errors);
    }
}

fn fields<'v>(schema: &'v Value, keyword: &str) -> impl Iterator<Item = (&'v str, &'v Value)> {
    schema.get(keyword).and_then(Value::as_object).into_iter().flatten().map(|(key, value)| (key.as_str(), value))
}

fn flag(schema: &Value, keyword: &str) -> bool {
    boolean(schema, &format!("/{keyword}"))
}

fn preserves(schema: &Value) -> bool {
    flag(schema, "x-kubernetes-preserve-unknown-fields")
}
