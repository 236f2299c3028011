//! Reading untyped objects: cells, selectable fields and strategies look at a few fields of many objects, for which
//! decoding the whole struct would be the larger part of the work.

use machinery::quantity::Quantity;
use serde_json::Value;

/// The string at a JSON pointer; "" when there is none.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The integer at a JSON pointer; 0 when there is none.
pub fn integer(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// The list at a JSON pointer; empty when there is none.
pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The bool at a JSON pointer; false when there is none.
pub fn boolean(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).and_then(Value::as_bool).unwrap_or(false)
}

/// Whether two fields mean the same: absent, null, `""`-less empty lists and empty maps are alike, and quantities are
/// compared by value, wherever the schema has quantities.
pub fn semantically_equal(a: Option<&Value>, b: Option<&Value>) -> bool {
    same(a.unwrap_or(&Value::Null), b.unwrap_or(&Value::Null), false)
}

fn same(a: &Value, b: &Value, quantity: bool) -> bool {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            x.iter().all(|(k, v)| same(v, y.get(k).unwrap_or(&Value::Null), quantity || holds_quantities(k)))
                && y.iter().all(|(k, v)| x.contains_key(k) || same(&Value::Null, v, false))
        }
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| same(x, y, quantity)),
        (Value::String(x), Value::String(y)) if quantity && x != y => match (Quantity::parse(x), Quantity::parse(y)) {
            (Ok(x), Ok(y)) => x.cmp(&y) == std::cmp::Ordering::Equal,
            _ => false,
        },
        _ if is_empty(a) && is_empty(b) => true,
        _ => a == b,
    }
}

/// Field names whose strings (or the strings of whose map) are quantities in every built-in type.
fn holds_quantities(field: &str) -> bool {
    matches!(
        field,
        "requests"
            | "limits"
            | "overhead"
            | "hard"
            | "used"
            | "capacity"
            | "allocatable"
            | "allocatedResources"
            | "sizeLimit"
            | "divisor"
            | "min"
            | "max"
            | "default"
            | "defaultRequest"
            | "maxLimitRequestRatio"
    )
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.values().all(is_empty) && map.is_empty(),
        _ => false,
    }
}
