//! Defaults that the schema itself states (a port's protocol is TCP, a volume's pool is "rbd"). All other defaults are
//! behaviour and live in the hooks of the kinds.

use serde_json::{Map, Value};

use super::types::{Shape, Type, TypeId, Types};

/// Fills in absent fields, in place, at any depth that is present.
pub fn apply_defaults(types: &Types, id: TypeId, value: &mut Value) {
    if let Value::Object(map) = value {
        object(types, types.get(id), map);
    }
}

fn object(types: &Types, ty: &Type, map: &mut Map<String, Value>) {
    for (key, value) in map.iter_mut() {
        if let Some(field) = ty.find(key) {
            nested(types, &field.shape, value);
        }
    }
    for field in &ty.fields {
        let Some(default) = &field.default else { continue };
        if map.get(field.name.as_ref()).is_some_and(|value| !value.is_null()) {
            continue;
        }
        let mut value = default.clone();
        nested(types, &field.shape, &mut value);
        // Zero defaults only restate that upstream's field is no pointer; `canonicalize` writes them where they belong.
        if !is_zero(&value) {
            map.insert(field.name.to_string(), value);
        }
    }
}

fn nested(types: &Types, shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Ref(id) | Shape::RefOr(id, _), Value::Object(map)) => object(types, types.get(*id), map),
        (Shape::List(item), Value::Array(items)) if item.type_id().is_some() => {
            for value in items {
                nested(types, item, value);
            }
        }
        (Shape::Map(item), Value::Object(map)) if item.type_id().is_some() => {
            for (_, value) in map {
                nested(types, item, value);
            }
        }
        _ => {}
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(on) => !on,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}
