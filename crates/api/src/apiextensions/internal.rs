//! Upstream's internal form of parts of a definition, as messages show it: every field by its Go name, absent ones too.

use serde_json::{Map, Value, json};

use super::spec::VersionView;

/// How a field's absence is written.
#[derive(Clone, Copy)]
enum Zero {
    Text,
    False,
    Null,
}

/// The fields of a schema in order: Go name, JSON name, zero value.
const FIELDS: &[(&str, &str, Zero)] = &[
    ("ID", "id", Zero::Text),
    ("Schema", "$schema", Zero::Text),
    ("Ref", "$ref", Zero::Null),
    ("Description", "description", Zero::Text),
    ("Type", "type", Zero::Text),
    ("Nullable", "nullable", Zero::False),
    ("Format", "format", Zero::Text),
    ("Title", "title", Zero::Text),
    ("Default", "default", Zero::Null),
    ("Maximum", "maximum", Zero::Null),
    ("ExclusiveMaximum", "exclusiveMaximum", Zero::False),
    ("Minimum", "minimum", Zero::Null),
    ("ExclusiveMinimum", "exclusiveMinimum", Zero::False),
    ("MaxLength", "maxLength", Zero::Null),
    ("MinLength", "minLength", Zero::Null),
    ("Pattern", "pattern", Zero::Text),
    ("MaxItems", "maxItems", Zero::Null),
    ("MinItems", "minItems", Zero::Null),
    ("UniqueItems", "uniqueItems", Zero::False),
    ("MultipleOf", "multipleOf", Zero::Null),
    ("Enum", "enum", Zero::Null),
    ("MaxProperties", "maxProperties", Zero::Null),
    ("MinProperties", "minProperties", Zero::Null),
    ("Required", "required", Zero::Null),
    ("Items", "items", Zero::Null),
    ("AllOf", "allOf", Zero::Null),
    ("OneOf", "oneOf", Zero::Null),
    ("AnyOf", "anyOf", Zero::Null),
    ("Not", "not", Zero::Null),
    ("Properties", "properties", Zero::Null),
    ("AdditionalProperties", "additionalProperties", Zero::Null),
    ("PatternProperties", "patternProperties", Zero::Null),
    ("Dependencies", "dependencies", Zero::Null),
    ("AdditionalItems", "additionalItems", Zero::Null),
    ("Definitions", "definitions", Zero::Null),
    ("ExternalDocs", "externalDocs", Zero::Null),
    ("Example", "example", Zero::Null),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", Zero::Null),
    ("XEmbeddedResource", "x-kubernetes-embedded-resource", Zero::False),
    ("XIntOrString", "x-kubernetes-int-or-string", Zero::False),
    ("XListMapKeys", "x-kubernetes-list-map-keys", Zero::Null),
    ("XListType", "x-kubernetes-list-type", Zero::Null),
    ("XMapType", "x-kubernetes-map-type", Zero::Null),
    ("XValidations", "x-kubernetes-validations", Zero::Null),
];

/// The Go names of the fields that a schema sets, in order.
pub fn set_fields(value: &Value) -> impl Iterator<Item = &'static str> {
    FIELDS.iter().filter(|(_, json, _)| value.get(json).is_some_and(is_set)).map(|(go, ..)| *go)
}

/// Whether a value is not what absence would be.
fn is_set(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::String(text) => !text.is_empty(),
        _ => true,
    }
}

pub fn schema(value: &Value) -> Value {
    let fields = FIELDS.iter().map(|(go, json, zero)| {
        let shown = match value.get(json).filter(|value| !value.is_null()) {
            Some(value) => field(go, value),
            None => match zero {
                Zero::Text => "".into(),
                Zero::False => false.into(),
                Zero::Null => Value::Null,
            },
        };
        ((*go).to_owned(), shown)
    });
    Value::Object(fields.collect())
}

fn field(go: &str, value: &Value) -> Value {
    match (go, value) {
        ("Items", value) => items(value),
        ("AllOf" | "OneOf" | "AnyOf", Value::Array(list)) => list.iter().map(schema).collect(),
        ("Not", value) => schema(value),
        ("Properties" | "PatternProperties" | "Definitions", Value::Object(map)) => {
            let mut sorted: Map<String, Value> = map.iter().map(|(key, value)| (key.clone(), schema(value))).collect();
            sorted.sort_keys();
            sorted.into()
        }
        ("AdditionalProperties" | "AdditionalItems", Value::Bool(allows)) => {
            json!({ "Allows": allows, "Schema": null })
        }
        ("AdditionalProperties" | "AdditionalItems", value) => json!({ "Allows": true, "Schema": schema(value) }),
        ("ExternalDocs", value) => {
            let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
            json!({ "Description": text("description"), "URL": text("url") })
        }
        ("XValidations", Value::Array(rules)) => rules.iter().map(rule).collect(),
        (_, value) => value.clone(),
    }
}

/// The schema of items, or of each of them.
pub fn items(value: &Value) -> Value {
    match value {
        Value::Array(list) => {
            json!({ "Schema": null, "JSONSchemas": list.iter().map(schema).collect::<Vec<_>>() })
        }
        value => json!({ "Schema": schema(value), "JSONSchemas": null }),
    }
}

pub fn rule(value: &Value) -> Value {
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    json!({
        "Rule": text("rule"),
        "Message": text("message"),
        "MessageExpression": text("messageExpression"),
        "Reason": value.get("reason"),
        "FieldPath": text("fieldPath"),
        "OptionalOldSelf": value.get("optionalOldSelf"),
    })
}

pub fn version(view: &VersionView) -> Value {
    let value = view.value;
    let flag = |key: &str| value.get(key).and_then(Value::as_bool).unwrap_or_default();
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let columns = |column: &Value| {
        json!({
            "Name": text(column, "name"),
            "Type": text(column, "type"),
            "Format": text(column, "format"),
            "Description": text(column, "description"),
            "Priority": column.get("priority").and_then(Value::as_i64).unwrap_or_default(),
            "JSONPath": text(column, "jsonPath"),
        })
    };
    json!({
        "Name": text(value, "name"),
        "Served": flag("served"),
        "Storage": flag("storage"),
        "Deprecated": flag("deprecated"),
        "DeprecationWarning": value.get("deprecationWarning"),
        "Schema": view.validation.map(|own| json!({ "OpenAPIV3Schema": own.get("openAPIV3Schema").map(schema) })),
        "Subresources": view.subresources.map(|own| {
            let scale = own.get("scale").map(|scale| {
                json!({
                    "SpecReplicasPath": text(scale, "specReplicasPath"),
                    "StatusReplicasPath": text(scale, "statusReplicasPath"),
                    "LabelSelectorPath": scale.get("labelSelectorPath"),
                })
            });
            json!({ "Status": own.get("status"), "Scale": scale })
        }),
        "AdditionalPrinterColumns": view.columns.map(|own| own.iter().map(columns).collect::<Vec<_>>()),
        "SelectableFields": view.selectable.map(|own| {
            own.iter().map(|field| json!({ "JSONPath": text(field, "jsonPath") })).collect::<Vec<_>>()
        }),
    })
}
