//! From the JSON of `openAPIV3Schema` to the compiled schema.

use regex::Regex;
use serde_json::Value;

use super::{Additional, Limits, ListType, Pattern, Rule, Schema};

/// Keywords of JSON schema that no structural schema may use.
const UNSUPPORTED: [&str; 7] =
    ["id", "$schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions"];

impl Schema {
    /// Compiles a schema; the error says which keyword it may not use.
    pub fn parse(value: &Value) -> Result<Schema, String> {
        for keyword in UNSUPPORTED {
            if value.get(keyword).is_some_and(is_set) {
                let name = if keyword == "$schema" { "schema" } else { keyword };
                return Err(format!("OpenAPIV3Schema '{name}' is not supported"));
            }
        }
        let preserve = value.get("x-kubernetes-preserve-unknown-fields").and_then(Value::as_bool);
        if preserve == Some(false) {
            return Err("internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined".to_owned());
        }
        let items = match value.get("items") {
            Some(Value::Array(_)) => return Err("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned()),
            Some(items @ Value::Object(_)) => Some(Box::new(Schema::parse(items)?)),
            _ => None,
        };
        let additional = match value.get("additionalProperties") {
            Some(Value::Bool(allowed)) => Some(Additional::Any(*allowed)),
            Some(schema @ Value::Object(_)) => Some(Additional::Schema(Box::new(Schema::parse(schema)?))),
            _ => None,
        };
        let properties = value.get("properties").and_then(Value::as_object).into_iter().flatten();
        let int_or_string = flag(value, "x-kubernetes-int-or-string");
        let kind = text(value, "type").to_owned();
        Ok(Schema {
            limits: limits(value, &kind, int_or_string)?,
            kind,
            default: value.get("default").filter(|default| !default.is_null()).cloned(),
            nullable: flag(value, "nullable"),
            properties: properties
                .map(|(name, schema)| Ok((name.clone(), Schema::parse(schema)?)))
                .collect::<Result<_, String>>()?,
            additional,
            items,
            preserve_unknown_fields: preserve == Some(true),
            embedded_resource: flag(value, "x-kubernetes-embedded-resource"),
            int_or_string,
            list_type: match text(value, "x-kubernetes-list-type") {
                "set" => Some(ListType::Set),
                "map" => Some(ListType::Map),
                "atomic" => Some(ListType::Atomic),
                _ => None,
            },
            list_map_keys: texts(value, "x-kubernetes-list-map-keys"),
            atomic_map: text(value, "x-kubernetes-map-type") == "atomic",
            rules: list(value, "x-kubernetes-validations").iter().map(rule).collect(),
        })
    }
}

fn limits(value: &Value, kind: &str, int_or_string: bool) -> Result<Limits, String> {
    let format = text(value, "format");
    // A format that is not known, or not for this type, says nothing.
    let format = if super::formats::applies(if int_or_string { "" } else { kind }, format) { format } else { "" };
    Ok(Limits {
        format: format.to_owned(),
        maximum: number(value, "maximum"),
        exclusive_maximum: flag(value, "exclusiveMaximum"),
        minimum: number(value, "minimum"),
        exclusive_minimum: flag(value, "exclusiveMinimum"),
        multiple_of: number(value, "multipleOf"),
        max_length: integer(value, "maxLength"),
        min_length: integer(value, "minLength"),
        pattern: Some(text(value, "pattern")).filter(|text| !text.is_empty()).map(Pattern::new),
        max_items: integer(value, "maxItems"),
        min_items: integer(value, "minItems"),
        unique_items: flag(value, "uniqueItems"),
        max_properties: integer(value, "maxProperties"),
        min_properties: integer(value, "minProperties"),
        required: texts(value, "required"),
        enumeration: list(value, "enum").to_vec(),
        all_of: schemas(value, "allOf")?,
        any_of: schemas(value, "anyOf")?,
        one_of: schemas(value, "oneOf")?,
        not: match value.get("not") {
            Some(not @ Value::Object(_)) => Some(Box::new(Schema::parse(not)?)),
            _ => None,
        },
    })
}

impl Pattern {
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), regex: compile(text) }
    }
}

/// Compiles a regular expression of upstream's syntax; the error is in upstream's words.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    cel::compile_regex(pattern)
}

fn rule(value: &Value) -> Rule {
    let own = |key: &str| text(value, key).to_owned();
    Rule {
        rule: own("rule"),
        message: own("message"),
        message_expression: own("messageExpression"),
        reason: value.get("reason").and_then(Value::as_str).map(str::to_owned),
        field_path: own("fieldPath"),
        optional_old_self: value.get("optionalOldSelf").and_then(Value::as_bool),
    }
}

/// Empty strings, lists and maps are as good as absent.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        _ => true,
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn flag(value: &Value, key: &str) -> bool {
    value.get(key).and_then(Value::as_bool).unwrap_or_default()
}

fn integer(value: &Value, key: &str) -> Option<i64> {
    value.get(key).and_then(Value::as_i64)
}

fn number(value: &Value, key: &str) -> Option<f64> {
    value.get(key).and_then(Value::as_f64)
}

fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    list(value, key).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn schemas(value: &Value, key: &str) -> Result<Vec<Schema>, String> {
    list(value, key).iter().map(Schema::parse).collect()
}
