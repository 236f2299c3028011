//! Upstream's names of types as its decoder prints them: `v1.Container`, `[]v1.Container`, `map[string]string`.

use serde_json::Value;

use super::types::{Alternative, Field, Shape, Type, Types};
use crate::codec::json_kind;

/// Package and name of a type: the last two parts of its OpenAPI name.
pub fn type_name(ty: &Type) -> &str {
    match ty.name.rmatch_indices('.').nth(1) {
        Some((at, _)) => &ty.name[at + 1..],
        None => &ty.name,
    }
}

/// The type of a field's value (or, with `depth`, of what lies in its lists and maps).
pub fn field_type(types: &Types, field: &Field, shape: &Shape) -> String {
    match &field.go_type {
        Some(name) if *shape == field.shape => name.to_string(),
        Some(name) => match field.shape {
            Shape::List(_) => name.strip_prefix("[]").unwrap_or(name).to_owned(),
            _ => shape_type(types, shape),
        },
        None => shape_type(types, shape),
    }
}

fn shape_type(types: &Types, shape: &Shape) -> String {
    match shape {
        Shape::String => "string".to_owned(),
        Shape::Int32 | Shape::IntOrString => "int32".to_owned(),
        Shape::Int64 => "int64".to_owned(),
        Shape::Float64 => "float64".to_owned(),
        Shape::Bool => "bool".to_owned(),
        Shape::Bytes => "[]uint8".to_owned(),
        Shape::Time => "v1.Time".to_owned(),
        Shape::MicroTime => "v1.MicroTime".to_owned(),
        Shape::Quantity => "resource.Quantity".to_owned(),
        Shape::Any => "runtime.RawExtension".to_owned(),
        Shape::Ref(id) => type_name(types.get(*id)).to_owned(),
        Shape::RefOr(id, alternative) => {
            let suffix = match alternative {
                Alternative::Bool => "OrBool",
                Alternative::List => "OrArray",
                Alternative::Strings => "OrStringArray",
            };
            format!("{}{suffix}", type_name(types.get(*id)))
        }
        Shape::List(item) => format!("[]{}", shape_type(types, item)),
        Shape::Map(item) => format!("map[string]{}", shape_type(types, item)),
    }
}

/// What was found instead of the wanted type; a number that does not fit an integer is shown itself.
pub fn found(value: &Value, wanted: &Shape) -> String {
    match (value, wanted) {
        (Value::Number(number), Shape::Int32 | Shape::Int64 | Shape::IntOrString) => format!("number {number}"),
        _ => json_kind(value).to_owned(),
    }
}
