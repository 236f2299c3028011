//! The schema of a version: which keywords it may use where, what its defaults are, and that it is structural.

mod defaults;
mod rules;

use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::options::Options;
use super::{internal, structure};
use crate::structural::Schema;
use crate::value::{boolean, list, text};

pub use defaults::has_unpruned as has_unpruned_default;

/// More fields of one version cannot be selected by.
pub const SELECTABLE_FIELDS_MAX: usize = 8;
const TYPES: &[&str] = &["array", "boolean", "integer", "number", "object", "string"];
/// What may stand at the root of a schema whose status has rules of its own.
const ALLOWED_AT_ROOT: &[&str] = &[
    "Description",
    "Type",
    "Format",
    "Title",
    "Maximum",
    "ExclusiveMaximum",
    "Minimum",
    "ExclusiveMinimum",
    "MaxLength",
    "MinLength",
    "Pattern",
    "MaxItems",
    "MinItems",
    "UniqueItems",
    "MultipleOf",
    "Required",
    "Items",
    "Properties",
    "ExternalDocs",
    "Example",
    "XPreserveUnknownFields",
    "XValidations",
];
const UNSUPPORTED: &[(&str, &str)] = &[
    ("id", "id is not supported"),
    ("additionalItems", "additionalItems is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("$ref", "$ref is not supported"),
];

/// Whether a version of ConversionReview is known.
pub fn is_review(version: &str) -> bool {
    matches!(version, "v1" | "v1beta1")
}

/// Visits a schema and all below it, itself first.
pub fn each_schema<'v>(schema: &'v Value, visit: &mut impl FnMut(&'v Value)) {
    visit(schema);
    match schema.get("items") {
        Some(Value::Array(items)) => items.iter().for_each(|item| each_schema(item, visit)),
        Some(items @ Value::Object(_)) => each_schema(items, visit),
        _ => {}
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        list(schema, &format!("/{keyword}")).iter().for_each(|part| each_schema(part, visit));
    }
    for keyword in ["not", "additionalProperties", "additionalItems"] {
        if let Some(below) = schema.get(keyword).filter(|below| below.is_object()) {
            each_schema(below, visit);
        }
    }
    for keyword in ["properties", "patternProperties", "definitions"] {
        let fields = schema.get(keyword).and_then(Value::as_object);
        fields.into_iter().flatten().for_each(|(_, below)| each_schema(below, visit));
    }
}

/// Validates `schema` (or, shared by all versions, `validation`).
pub fn validation(value: &Value, has_status: bool, options: &Options, version: &str, path: &Path) -> ErrorList {
    let Some(schema) = value.get("openAPIV3Schema").filter(|schema| schema.is_object()) else {
        return ErrorList::new();
    };
    let mut errors = ErrorList::new();
    if has_status {
        errors.extend(root_beside_status(schema, path));
    }
    if boolean(schema, "/nullable") {
        errors.push(Error::forbidden(&path.child("openAPIV3Schema.nullable"), "nullable cannot be true at the root"));
    }
    let path = path.child("openAPIV3Schema");
    let mut unparsable = None;
    let mut compiled = None;
    if options.structural {
        match Schema::parse(schema) {
            Err(problem) => unparsable = Some(Error::invalid(&path, "", problem)),
            Ok(parsed) => {
                let found = structure::validate(schema, &path);
                let found =
                    if found.is_empty() { defaults::validate(&parsed, options.pruned_defaults, &path) } else { found };
                if found.is_empty() {
                    compiled = Some(parsed);
                }
                errors.extend(found);
            }
        }
    }
    let mut checker = Checker { options, schema_errors: ErrorList::new() };
    checker.node(schema, &path, &Place { is_root: true, ..Place::default() });
    let faults = checker.schema_errors;
    let ruled = compiled
        .map(|compiled| rules::validate(schema, &compiled, options.unchanged.contains(version), &faults, &path));
    errors.extend(faults);
    errors.extend(ruled.into_iter().flatten());
    if errors.is_empty() {
        errors.extend(unparsable);
    }
    errors
}

/// The schema of the status is taken out of the root's, which would lose what else the root says.
fn root_beside_status(schema: &Value, path: &Path) -> Option<Error> {
    for field in internal::set_fields(schema) {
        let kind = text(schema, "/type");
        if field == "Type" && kind != "object" {
            let detail =
                "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
            return Some(Error::invalid(&path.child("openAPIV3Schema.type"), kind, detail));
        }
        if field != "Type" && !ALLOWED_AT_ROOT.contains(&field) {
            let detail = format!(
                "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                ALLOWED_AT_ROOT.join(" ")
            );
            return Some(Error::invalid(&path.child("openAPIV3Schema"), internal::schema(schema), detail));
        }
    }
    None
}

/// Where a schema stands.
#[derive(Clone, Default)]
struct Place {
    is_root: bool,
    in_metadata: bool,
    /// Why there may be no defaults here.
    no_defaults: Option<String>,
}

struct Checker<'o> {
    options: &'o Options<'o>,
    schema_errors: ErrorList,
}

impl Checker<'_> {
    fn node(&mut self, schema: &Value, path: &Path, place: &Place) {
        self.keywords(schema, path, place);
        if boolean(schema, "/uniqueItems") {
            let detail = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
            self.schema_errors.push(Error::forbidden(&path.child("uniqueItems"), detail));
        }
        let inner = Place { is_root: false, ..place.clone() };
        self.additional_properties(schema, path, &inner);
        self.properties(schema, path, place, &inner);
        if let Some(not) = schema.get("not").filter(|not| not.is_object()) {
            self.node(not, &path.child("not"), &inner);
        }
        for keyword in ["allOf", "oneOf", "anyOf"] {
            let junctor = path.child(keyword);
            for (index, part) in list(schema, &format!("/{keyword}")).iter().enumerate() {
                self.node(part, &junctor.index(index), &inner);
            }
        }
        let items_path = path.child("items");
        match schema.get("items") {
            Some(items @ Value::Object(_)) => self.node(items, &items_path, &inner),
            Some(Value::Array(items)) => {
                for (index, item) in items.iter().enumerate() {
                    self.node(item, &items_path.index(index), &inner);
                }
            }
            _ => {}
        }
        self.extensions(schema, path);
        rules::form(schema, path, &mut self.schema_errors);
    }

    fn keywords(&mut self, schema: &Value, path: &Path, place: &Place) {
        let errors = &mut self.schema_errors;
        let kind = text(schema, "/type");
        if self.options.property_type && has_unknown_type(schema) {
            errors.push(Error::not_supported(&path.child("type"), kind, TYPES));
        }
        if let (Some(reason), Some(_)) = (&place.no_defaults, schema.get("default").filter(|own| !own.is_null())) {
            errors.push(Error::forbidden(&path.child("default"), format!("must not be set {reason}")));
        }
        for (keyword, detail) in UNSUPPORTED {
            let is_set = match schema.get(keyword) {
                None | Some(Value::Null) => false,
                Some(Value::String(text)) => !text.is_empty(),
                Some(Value::Object(fields)) => {
                    matches!(*keyword, "dependencies" | "additionalItems") || !fields.is_empty()
                }
                Some(_) => true,
            };
            if is_set {
                errors.push(Error::forbidden(&path.child(keyword), *detail));
            }
        }
        if kind == "null" {
            let detail = "type cannot be set to null, use nullable as an alternative";
            errors.push(Error::forbidden(&path.child("type"), detail));
        }
        if schema.get("items").and_then(Value::as_array).is_some_and(|items| !items.is_empty()) {
            let detail = "items must be a schema object and not an array";
            errors.push(Error::forbidden(&path.child("items"), detail));
        }
        if place.in_metadata && flag(schema, "x-kubernetes-embedded-resource") {
            let detail = "must not be used inside of resource meta";
            errors.push(Error::forbidden(&path.child("x-kubernetes-embedded-resource"), detail));
        }
    }

    fn additional_properties(&mut self, schema: &Value, path: &Path, inner: &Place) {
        let Some(additional) = schema.get("additionalProperties").filter(|own| !own.is_null()) else { return };
        let path = path.child("additionalProperties");
        let has_properties = schema.get("properties").and_then(Value::as_object).is_some_and(|own| !own.is_empty());
        if has_properties && *additional != Value::Bool(true) {
            let detail = "additionalProperties and properties are mutual exclusive";
            self.schema_errors.push(Error::forbidden(&path, detail));
        }
        if !additional.is_object() {
            return;
        }
        let mut inner = inner.clone();
        if inner.in_metadata {
            inner.no_defaults = Some("inside additionalProperties applying to object metadata".to_owned());
        }
        self.node(additional, &path, &inner);
    }

    fn properties(&mut self, schema: &Value, path: &Path, place: &Place, inner: &Place) {
        let properties = path.child("properties");
        let mut fields: Vec<_> = schema.get("properties").and_then(Value::as_object).into_iter().flatten().collect();
        fields.sort_by_key(|(name, _)| *name);
        for (name, property) in fields {
            let mut inner = inner.clone();
            let is_resource = place.is_root || flag(schema, "x-kubernetes-embedded-resource");
            if is_resource && matches!(name.as_str(), "metadata" | "kind" | "apiVersion") {
                inner.in_metadata = true;
                if place.is_root {
                    inner.no_defaults = Some(format!("in top-level {name}"));
                }
            }
            self.node(property, &properties.key(name), &inner);
        }
    }

    fn extensions(&mut self, schema: &Value, path: &Path) {
        let preserve = "x-kubernetes-preserve-unknown-fields";
        if schema.get(preserve) == Some(&Value::Bool(false)) {
            self.schema_errors.push(Error::invalid(&path.child(preserve), false, "must be true or undefined"));
        }
        self.map_type(schema, path);
        self.list_type(schema, path);
        if self.options.map_list_keys {
            self.schema_errors.extend(map_list_errors(schema, path));
        }
    }

    fn wrong_type(&mut self, kind: &str, path: &Path, detail: &str) {
        let path = path.child("type");
        self.schema_errors.push(match kind {
            "" => Error::required(&path, detail),
            kind => Error::invalid(&path, kind, detail),
        });
    }

    fn map_type(&mut self, schema: &Value, path: &Path) {
        let keyword = "x-kubernetes-map-type";
        let Some(own) = schema.get(keyword).and_then(Value::as_str) else { return };
        let kind = text(schema, "/type");
        if kind != "object" {
            self.wrong_type(kind, path, "must be object if x-kubernetes-map-type is specified");
        }
        if !matches!(own, "atomic" | "granular") {
            self.schema_errors.push(Error::not_supported(&path.child(keyword), own, &["atomic", "granular"]));
        }
    }

    fn list_type(&mut self, schema: &Value, path: &Path) {
        let keyword = "x-kubernetes-list-type";
        let own = schema.get(keyword).and_then(Value::as_str);
        let kind = text(schema, "/type");
        if own.is_some() && kind != "array" {
            self.wrong_type(kind, path, "must be array if x-kubernetes-list-type is specified");
        } else if self.options.atomic_set_items {
            self.schema_errors.extend(set_items(schema, path));
        }
        if own.is_some_and(|own| !matches!(own, "atomic" | "set" | "map")) {
            self.schema_errors.push(Error::not_supported(&path.child(keyword), own, &["atomic", "set", "map"]));
        }
        let keys: Vec<&str> = super::spec::texts(schema, "/x-kubernetes-list-map-keys");
        let detail = "must be map if x-kubernetes-list-map-keys is non-empty";
        match own {
            None if !keys.is_empty() => self.schema_errors.push(Error::required(&path.child(keyword), detail)),
            Some(own) if !keys.is_empty() && own != "map" => {
                self.schema_errors.push(Error::invalid(&path.child(keyword), own, detail));
            }
            _ => {}
        }
        if own == Some("map") {
            self.map_keys(schema, &keys, path);
        }
    }

    fn map_keys(&mut self, schema: &Value, keys: &[&str], path: &Path) {
        let errors = &mut self.schema_errors;
        let keys_path = path.child("x-kubernetes-list-map-keys");
        if keys.is_empty() {
            errors.push(Error::required(&keys_path, "must not be empty if x-kubernetes-list-type is map"));
        }
        let items_path = path.child("items");
        let items = match schema.get("items") {
            None | Some(Value::Null) => {
                let detail = "must have a schema if x-kubernetes-list-type is map";
                return errors.push(Error::required(&items_path, detail));
            }
            Some(items @ Value::Array(_)) => {
                let detail = "must only have a single schema if x-kubernetes-list-type is map";
                return errors.push(Error::invalid(&items_path, internal::items(items), detail));
            }
            Some(items) => items,
        };
        let kind = text(items, "/type");
        if kind != "object" {
            let detail = "must be object if parent array's x-kubernetes-list-type is map";
            return errors.push(Error::invalid(&items_path.child("type"), kind, detail));
        }
        for (index, key) in keys.iter().enumerate() {
            match items.get("properties").and_then(|properties| properties.get(key)) {
                None => {
                    errors.push(Error::invalid(&keys_path, keys, "entries must all be names of item properties"));
                }
                Some(property) if matches!(text(property, "/type"), "array" | "object") => {
                    let properties = items_path.child("properties");
                    let detail = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                    errors.push(Error::invalid(&properties.key(key).child("type"), kind, detail));
                }
                Some(_) => {}
            }
            if keys[..index].contains(key) {
                errors.push(Error::invalid(&keys_path, keys, "must not contain duplicate entries"));
            }
        }
    }
}

fn flag(schema: &Value, keyword: &str) -> bool {
    schema.get(keyword).and_then(Value::as_bool).unwrap_or_default()
}

/// Whether the type is none that there is.
pub fn has_unknown_type(schema: &Value) -> bool {
    let kind = text(schema, "/type");
    !kind.is_empty() && !TYPES.contains(&kind)
}

/// Whether a set has items that are merged in parts.
pub fn has_granular_set_item(schema: &Value) -> bool {
    set_items(schema, &Path::root()).is_some()
}

fn set_items(schema: &Value, path: &Path) -> Option<Error> {
    if text(schema, "/x-kubernetes-list-type") != "set" {
        return None;
    }
    let items = schema.get("items").filter(|items| items.is_object())?;
    let own = |keyword: &str| items.get(keyword).and_then(Value::as_str);
    let (keyword, granular) = match text(items, "/type") {
        "array" => ("x-kubernetes-list-type", own("x-kubernetes-list-type").is_some_and(|own| own != "atomic")),
        "object" => ("x-kubernetes-map-type", own("x-kubernetes-map-type") != Some("atomic")),
        _ => return None,
    };
    let items_path = path.child("items");
    let detail = "must be atomic as item of a list with x-kubernetes-list-type=set";
    granular.then(|| Error::invalid(&items_path.child(keyword), own("x-kubernetes-list-type"), detail))
}

/// Items of maps and sets are there, and so are the keys of maps.
pub fn map_list_errors(schema: &Value, path: &Path) -> ErrorList {
    let kind = text(schema, "/x-kubernetes-list-type");
    let Some(items) = schema.get("items").filter(|items| items.is_object() && matches!(kind, "set" | "map")) else {
        return ErrorList::new();
    };
    let mut errors = ErrorList::new();
    let items_path = path.child("items");
    if boolean(items, "/nullable") {
        let detail = format!("cannot be nullable when x-kubernetes-list-type is {kind}");
        errors.push(Error::forbidden(&items_path.child("nullable"), detail));
    }
    if kind != "map" {
        return errors;
    }
    let properties = items_path.child("properties");
    let required = super::spec::texts(items, "/required");
    for key in super::spec::texts(schema, "/x-kubernetes-list-map-keys") {
        let Some(property) = items.get("properties").and_then(|properties| properties.get(key)) else { continue };
        let path = properties.key(key);
        if !required.contains(&key) && property.get("default").is_none_or(Value::is_null) {
            let detail =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(Error::required(&path.child("default"), detail));
        }
        if boolean(property, "/nullable") {
            let detail = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(Error::forbidden(&path.child("nullable"), detail));
        }
    }
    errors
}
