//! A JSON value to message bytes, byte for byte as upstream's generated code writes the same object.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::wire;
use super::{Layout, Part, ProtobufError, number};
use crate::codec::json_kind;
use crate::quantity::Quantity;
use crate::schema::{Alternative, Field, Shape, TypeId, Types};
use crate::time;

type Written = Result<(), ProtobufError>;

/// Encodes an object as a message of this type. Fields that the type does not have are left out, and so are apiVersion
/// and kind of the object itself, which belong into the envelope.
pub fn encode(types: &Types, id: TypeId, value: &Value) -> Result<Vec<u8>, ProtobufError> {
    let mut out = Vec::new();
    let shape = types.get(id).scalar.clone().unwrap_or(Shape::Ref(id));
    Encoder { types }.message(&shape, "", value, &mut out)?;
    Ok(out)
}

/// Encodes a list of objects: every list type is a ListMeta and the items, so there need not be a type of the list.
pub fn encode_list<'v>(
    types: &Types,
    item: TypeId,
    metadata: &Value,
    items: impl IntoIterator<Item = &'v Value>,
) -> Result<Vec<u8>, ProtobufError> {
    let encoder = Encoder { types };
    let mut out = Vec::new();
    encoder.metadata("ListMeta", metadata, &mut out)?;
    for value in items {
        encoder.value(&Shape::Ref(item), "items", number::LIST_ITEMS, value, &mut out)?;
    }
    Ok(out)
}

/// The same of objects that are encoded already.
pub fn encode_list_of<'m>(
    types: &Types,
    metadata: &Value,
    messages: impl IntoIterator<Item = &'m [u8]>,
) -> Result<Vec<u8>, ProtobufError> {
    let mut out = Vec::new();
    Encoder { types }.metadata("ListMeta", metadata, &mut out)?;
    for message in messages {
        wire::put_bytes(&mut out, number::LIST_ITEMS, message);
    }
    Ok(out)
}

/// Encodes a PartialObjectMetadata, which no published schema has: the metadata is all of it.
pub fn encode_partial(types: &Types, metadata: &Value) -> Result<Vec<u8>, ProtobufError> {
    let mut out = Vec::new();
    Encoder { types }.metadata("ObjectMeta", metadata, &mut out)?;
    Ok(out)
}

/// Encodes a PartialObjectMetadataList.
pub fn encode_partial_list(types: &Types, metadata: &Value, items: &[Value]) -> Result<Vec<u8>, ProtobufError> {
    let encoder = Encoder { types };
    let mut out = Vec::new();
    encoder.metadata("ListMeta", metadata, &mut out)?;
    for item in items {
        let metadata = item.get("metadata").unwrap_or(&Value::Null);
        wire::put_message(&mut out, number::LIST_ITEMS, |out| encoder.metadata("ObjectMeta", metadata, out))?;
    }
    Ok(out)
}

struct Encoder<'t> {
    types: &'t Types,
}

impl Encoder<'_> {
    /// The metadata of an object or list, which every message of either begins with.
    fn metadata(&self, ty: &str, metadata: &Value, out: &mut Vec<u8>) -> Written {
        let id = self.types.id(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{ty}"));
        let id = id.ok_or_else(|| ProtobufError::Refused(format!("the table has no {ty}")))?;
        self.value(&Shape::Ref(id), "metadata", number::METADATA, metadata, out)
    }

    fn fields(&self, layout: Layout, map: &Map<String, Value>, out: &mut Vec<u8>) -> Written {
        for part in layout.parts() {
            match part {
                Part::Field(field) => self.field(field, map.get(field.name.as_ref()).unwrap_or(&Value::Null), out)?,
                // Inlined structs are no pointers: they are written even when nothing in them is set.
                Part::Inlined(number, fields) => {
                    wire::put_message(out, number, |out| self.fields(layout.inner(fields), map, out))?;
                }
            }
        }
        Ok(())
    }

    fn field(&self, field: &Field, value: &Value, out: &mut Vec<u8>) -> Written {
        let Some(proto) = &field.proto else { return Ok(()) };
        let (name, number) = (field.name.as_ref(), proto.number);
        match (&field.shape, value) {
            // Lists, maps and bytes are absent when they are nil, pointers when they are null.
            (Shape::List(_) | Shape::Map(_) | Shape::Bytes, Value::Null) => Ok(()),
            (_, Value::Null) if field.pointer => Ok(()),
            (Shape::List(item), Value::Array(items)) if proto.is_repeated() => {
                items.iter().try_for_each(|value| self.value(item, name, number, value, out))
            }
            (Shape::Map(item), Value::Object(map)) => self.entries(item, name, number, map, out),
            (Shape::Map(_), other) => Err(mismatch(name, other)),
            (Shape::List(_), other) if proto.is_repeated() => Err(mismatch(name, other)),
            (shape, value) => self.value(shape, name, number, value, out),
        }
    }

    fn entries(&self, item: &Shape, name: &str, number: u32, map: &Map<String, Value>, out: &mut Vec<u8>) -> Written {
        let mut entries: Vec<(&String, &Value)> = map.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        for (key, value) in entries {
            wire::put_message(out, number, |out| {
                wire::put_bytes(out, number::MAP_KEY, key.as_bytes());
                if *item == Shape::Bytes && value.is_null() {
                    return Ok(());
                }
                self.value(item, name, number::MAP_VALUE, value, out)
            })?;
        }
        Ok(())
    }

    /// A field with its tag; null stands for the zero value.
    fn value(&self, shape: &Shape, name: &str, number: u32, value: &Value, out: &mut Vec<u8>) -> Written {
        match (shape, value) {
            (Shape::String, Value::String(text)) => wire::put_bytes(out, number, text.as_bytes()),
            (Shape::String | Shape::Bytes, Value::Null) => wire::put_bytes(out, number, b""),
            (Shape::Bytes, Value::String(text)) => {
                let bytes = STANDARD.decode(text).map_err(|_| mismatch(name, value))?;
                wire::put_bytes(out, number, &bytes);
            }
            (Shape::Bool, Value::Bool(on)) => wire::put_integer(out, number, i64::from(*on)),
            (Shape::Bool | Shape::Int32 | Shape::Int64, Value::Null) => wire::put_integer(out, number, 0),
            (Shape::Int32, given @ Value::Number(_)) => wire::put_integer(out, number, int32(name, given)?),
            (Shape::Int64, Value::Number(given)) => {
                wire::put_integer(out, number, given.as_i64().ok_or_else(|| mismatch(name, value))?);
            }
            (Shape::Float64, Value::Number(given)) => {
                wire::put_double(out, number, given.as_f64().ok_or_else(|| mismatch(name, value))?);
            }
            (Shape::Float64, Value::Null) => wire::put_double(out, number, 0.0),
            (
                Shape::String
                | Shape::Bytes
                | Shape::Bool
                | Shape::Int32
                | Shape::Int64
                | Shape::Float64
                | Shape::Map(_),
                other,
            ) => return Err(mismatch(name, other)),
            (message, value) => return wire::put_message(out, number, |out| self.message(message, name, value, out)),
        }
        Ok(())
    }

    /// The content of a message.
    fn message(&self, shape: &Shape, name: &str, value: &Value, out: &mut Vec<u8>) -> Written {
        match (shape, value) {
            (Shape::Ref(id), Value::Object(map)) => self.fields(Layout::of(self.types.get(*id)), map, out),
            (Shape::Ref(id), Value::Null) => self.fields(Layout::of(self.types.get(*id)), &Map::new(), out),
            (Shape::RefOr(id, alternative), value) => self.union(*id, *alternative, name, value, out),
            (Shape::Time | Shape::MicroTime, Value::Null) => Ok(()),
            (Shape::Time, Value::String(text)) => timestamp(time::parse_rfc3339(text), false, out),
            (Shape::MicroTime, Value::String(text)) => timestamp(time::parse_rfc3339_micros(text), true, out),
            (Shape::Quantity, Value::Null) => {
                wire::put_bytes(out, number::QUANTITY_STRING, b"0");
                Ok(())
            }
            (Shape::Quantity, value) => {
                let quantity = Quantity::from_json(value).map_err(|error| ProtobufError::Refused(error.to_string()))?;
                wire::put_bytes(out, number::QUANTITY_STRING, quantity.to_string().as_bytes());
                Ok(())
            }
            (Shape::IntOrString, value) => int_or_string(name, value, out),
            (Shape::Any, Value::Null) => Ok(()),
            (Shape::Any, value) => {
                wire::put_bytes(out, number::RAW, value.to_string().as_bytes());
                Ok(())
            }
            (Shape::List(item), Value::Array(items)) => {
                items.iter().try_for_each(|value| self.value(item, name, number::ITEMS, value, out))
            }
            (Shape::List(_), Value::Null) => Ok(()),
            (_, other) => Err(mismatch(name, other)),
        }
    }

    fn union(&self, id: TypeId, alternative: Alternative, name: &str, value: &Value, out: &mut Vec<u8>) -> Written {
        let schema = Shape::Ref(id);
        match (alternative, value) {
            (Alternative::Bool, Value::Null) => wire::put_integer(out, number::OR_BOOL_ALLOWS, 0),
            (Alternative::Bool, Value::Bool(on)) => wire::put_integer(out, number::OR_BOOL_ALLOWS, i64::from(*on)),
            (Alternative::Bool, Value::Object(_)) => {
                wire::put_integer(out, number::OR_BOOL_ALLOWS, 1);
                self.value(&schema, name, number::OR_BOOL_SCHEMA, value, out)?;
            }
            (Alternative::List | Alternative::Strings, Value::Null) => {}
            (Alternative::List | Alternative::Strings, Value::Object(_)) => {
                self.value(&schema, name, number::OR_LIST_SCHEMA, value, out)?;
            }
            (Alternative::List, Value::Array(items)) => {
                items.iter().try_for_each(|item| self.value(&schema, name, number::OR_LIST_ITEMS, item, out))?;
            }
            (Alternative::Strings, Value::Array(items)) => {
                items.iter().try_for_each(|item| self.value(&Shape::String, name, number::OR_LIST_ITEMS, item, out))?;
            }
            (_, other) => return Err(mismatch(name, other)),
        }
        Ok(())
    }
}

fn int32(name: &str, value: &Value) -> Result<i64, ProtobufError> {
    value.as_i64().filter(|number| i32::try_from(*number).is_ok()).ok_or_else(|| mismatch(name, value))
}

fn mismatch(field: &str, value: &Value) -> ProtobufError {
    ProtobufError::Mismatch { field: field.to_owned(), found: json_kind(value) }
}

/// Upstream's zero time is an empty message; a Time carries whole seconds, a MicroTime whole micros.
fn timestamp(time: Result<Timestamp, String>, micros: bool, out: &mut Vec<u8>) -> Written {
    const ZERO_SECONDS: i64 = -62_135_596_800;
    let time = time.map_err(ProtobufError::Refused)?;
    // A second counts upwards from its start also before 1970.
    let (mut seconds, mut nanos) = (time.as_second(), time.subsec_nanosecond());
    if nanos < 0 {
        seconds -= 1;
        nanos += 1_000_000_000;
    }
    if seconds == ZERO_SECONDS && nanos == 0 {
        return Ok(());
    }
    wire::put_integer(out, number::TIME_SECONDS, seconds);
    wire::put_integer(out, number::TIME_NANOS, if micros { i64::from(nanos / 1000 * 1000) } else { 0 });
    Ok(())
}

fn int_or_string(name: &str, value: &Value, out: &mut Vec<u8>) -> Written {
    let (kind, integer, text) = match value {
        Value::Null => (0, 0, ""),
        Value::Number(_) => (0, int32(name, value)?, ""),
        Value::String(text) => (1, 0, text.as_str()),
        other => return Err(mismatch(name, other)),
    };
    wire::put_integer(out, number::INT_OR_STRING_TYPE, kind);
    wire::put_integer(out, number::INT_OR_STRING_INT, integer);
    wire::put_bytes(out, number::INT_OR_STRING_STRING, text.as_bytes());
    Ok(())
}
