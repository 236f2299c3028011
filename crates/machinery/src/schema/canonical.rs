//! The form in which objects are stored and sent: fields in upstream's order, its rules about zero values, canonical
//! quantities and times, maps sorted by key.
//!
//! A field is written or left out so:
//! - `pointer`: written when present; without `omit_empty` null stands for absent;
//! - an object or other struct-like value that is no pointer: always written, its zero form if need be (`"spec":{}`,
//!   a null time, a quantity of "0");
//! - any other value: with `omit_empty` left out when zero or empty; without it always written (`""`, 0, false, null
//!   for a list or map).

use serde_json::{Map, Value};

use super::types::{Alternative, Field, Shape, Type, TypeId, Types};
use crate::quantity::Quantity;
use crate::time;

/// Brings an object into canonical form, in place. Fields that the type does not know are kept, at the end.
pub fn canonicalize(types: &Types, id: TypeId, value: &mut Value) {
    root(types, id, value, Empty::Absent);
}

/// The same for an object as a client gave it: where null would be written, an empty list or map stays what it is. It is
/// a value that somebody stated, until it is stored.
pub fn canonicalize_given(types: &Types, id: TypeId, value: &mut Value) {
    root(types, id, value, Empty::Kept);
}

/// What becomes of empty lists and maps in fields that are always written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Empty {
    Absent,
    Kept,
}

fn root(types: &Types, id: TypeId, value: &mut Value, empty: Empty) {
    let ty = types.get(id);
    match (&ty.scalar, &mut *value) {
        (Some(shape), _) => canonical_value(types, shape, value, empty),
        (None, Value::Object(map)) => object(types, ty, map, empty),
        (None, _) => {}
    }
}

fn object(types: &Types, ty: &Type, map: &mut Map<String, Value>, empty: Empty) {
    let mut slots: Vec<(usize, String, Value)> = Vec::with_capacity(map.len() + 2);
    for (key, mut value) in std::mem::take(map) {
        let Some(position) = ty.position(&key) else {
            slots.push((usize::MAX, key, value));
            continue;
        };
        let field = &ty.fields[position];
        canonical_value(types, &field.shape, &mut value, empty);
        if is_written(field, &mut value, empty) {
            slots.push((position, key, value));
        }
    }
    // Stable, so that unknown fields keep their order among themselves.
    slots.sort_by_key(|(position, ..)| *position);
    let mut out = Map::with_capacity(slots.len() + ty.always_written().len());
    let mut slots = slots.into_iter().peekable();
    for missing in ty.always_written() {
        let missing = *missing as usize;
        while let Some((_, key, value)) = slots.next_if(|(position, ..)| *position < missing) {
            out.insert(key, value);
        }
        if slots.peek().is_none_or(|(position, ..)| *position != missing) {
            let field = &ty.fields[missing];
            out.insert(field.name.to_string(), zero_field(types, field));
        }
    }
    out.extend(slots.map(|(_, key, value)| (key, value)));
    *map = out;
}

/// Whether a present value is written; a value that stands for absent in a field that is always written is left to the
/// caller, which puts the zero form there.
fn is_written(field: &Field, value: &mut Value, empty: Empty) -> bool {
    if value.is_null() {
        return false;
    }
    if field.pointer {
        return true;
    }
    match (&field.shape, &*value) {
        (Shape::List(_) | Shape::Map(_), _) if empty == Empty::Kept && !field.omit_empty => true,
        (Shape::List(_), Value::Array(items)) => !items.is_empty() || field.keeps_empty_list(),
        (Shape::Map(_), Value::Object(map)) => !map.is_empty(),
        _ if !field.omit_empty => true,
        (Shape::String | Shape::Bytes, Value::String(text)) => !text.is_empty(),
        (Shape::Bool, Value::Bool(on)) => *on,
        (Shape::Int32 | Shape::Int64 | Shape::Float64, Value::Number(number)) => number.as_f64() != Some(0.0),
        _ => true,
    }
}

fn zero_field(types: &Types, field: &Field) -> Value {
    if field.pointer {
        return Value::Null;
    }
    match &field.shape {
        Shape::String => Value::String(String::new()),
        Shape::Int32 | Shape::Int64 | Shape::Float64 | Shape::IntOrString => Value::from(0),
        Shape::Bool => Value::Bool(false),
        Shape::Quantity => Value::String("0".to_owned()),
        Shape::Ref(id) => {
            let mut zero = Map::new();
            object(types, types.get(*id), &mut zero, Empty::Absent);
            Value::Object(zero)
        }
        Shape::List(_) if field.keeps_empty_list() => Value::Array(Vec::new()),
        Shape::Bytes
        | Shape::Time
        | Shape::MicroTime
        | Shape::Any
        | Shape::RefOr(..)
        | Shape::List(_)
        | Shape::Map(_) => Value::Null,
    }
}

fn canonical_value(types: &Types, shape: &Shape, value: &mut Value, empty: Empty) {
    match (shape, &mut *value) {
        (Shape::Ref(id), Value::Object(map)) => object(types, types.get(*id), map, empty),
        (Shape::RefOr(id, _), Value::Object(map)) => object(types, types.get(*id), map, empty),
        (Shape::RefOr(id, Alternative::List), Value::Array(items)) => {
            for item in items {
                canonical_value(types, &Shape::Ref(*id), item, empty);
            }
        }
        (Shape::List(item), Value::Array(items)) if !is_plain(item) => {
            for value in items {
                canonical_value(types, item, value, empty);
            }
        }
        (Shape::Map(item), Value::Object(map)) => {
            if !map.keys().is_sorted() {
                map.sort_keys();
            }
            if !is_plain(item) {
                for (_, value) in map {
                    canonical_value(types, item, value, empty);
                }
            }
        }
        (Shape::Time | Shape::MicroTime, Value::String(text)) => {
            if let Some(canonical) = canonical_time(shape, text) {
                *value = canonical;
            }
        }
        (Shape::Quantity, Value::String(_) | Value::Number(_)) => {
            if let Some(canonical) = canonical_quantity(value) {
                *value = Value::String(canonical);
            }
        }
        _ => {}
    }
}

/// Shapes whose values have one form only.
fn is_plain(shape: &Shape) -> bool {
    matches!(
        shape,
        Shape::String
            | Shape::Bytes
            | Shape::Bool
            | Shape::Int32
            | Shape::Int64
            | Shape::Float64
            | Shape::IntOrString
            | Shape::Any
    )
}

/// The canonical form, if it is another. Hooks and patches may leave other forms of a time than decoding does (`+00:00`,
/// more or fewer digits). Upstream writes its zero time as null.
fn canonical_time(shape: &Shape, text: &str) -> Option<Value> {
    let micros = *shape == Shape::MicroTime;
    if is_canonical_time(micros, text) {
        return None;
    }
    let time = time::parse_rfc3339(text).ok()?;
    let canonical = if micros { time::format_rfc3339_micros(time) } else { time::format_rfc3339_seconds(time) };
    if canonical.starts_with("0001-01-01T00:00:00") {
        return Some(Value::Null);
    }
    (canonical != text).then_some(Value::String(canonical))
}

/// Nearly all times are, and this is much cheaper than to parse and print them.
fn is_canonical_time(micros: bool, text: &str) -> bool {
    const PATTERN: &[u8] = b"0000-00-00T00:00:00.000000";
    let length = if micros { 26 } else { 19 };
    let Some(head) = text.as_bytes().strip_suffix(b"Z") else { return false };
    let fits = |(byte, pattern): (&u8, &u8)| if *pattern == b'0' { byte.is_ascii_digit() } else { byte == pattern };
    head.len() == length && head.iter().zip(PATTERN).all(fits) && !head.starts_with(b"0001")
}

/// The canonical form, if it is another. Small plain integers, by far the most, are their own.
fn canonical_quantity(value: &Value) -> Option<String> {
    if let Value::String(text) = value {
        let bytes = text.as_bytes();
        if (1..4).contains(&bytes.len()) && bytes[0] != b'0' && bytes.iter().all(u8::is_ascii_digit) {
            return None;
        }
    }
    let canonical = Quantity::from_json(value).ok()?.to_string();
    (value.as_str() != Some(&canonical)).then_some(canonical)
}
