//! Bodies in Kubernetes' protobuf, read by the schema table: newer kubectl sends what it builds itself in this form.
//!
//! A body is `k8s\0` and a runtime.Unknown { typeMeta = 1 { apiVersion = 1, kind = 2 }, raw = 2 } whose raw bytes are the
//! object. Zero values that JSON would leave out are left out here too, so that the result is what the same client would
//! have sent as JSON. Answers are JSON: clients list it as their second choice.

mod reader;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use machinery::schema::{Field, Shape, TypeId, Types};
use serde_json::{Map, Number, Value};

use reader::{Reader, Wire};

pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";
/// Messages within messages; nothing real comes near.
const DEPTH_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    Magic,
    #[error("unexpected EOF")]
    Truncated,
    #[error("proto: illegal tag or wire type")]
    Wire,
    #[error("proto: nested too deeply")]
    Depth,
    #[error("proto: invalid UTF-8 in a string")]
    Text,
    #[error("proto: invalid JSON in a raw field")]
    Raw,
}

/// The envelope of a body.
pub struct Envelope<'b> {
    pub api_version: &'b str,
    pub kind: &'b str,
    raw: &'b [u8],
}

impl<'b> Envelope<'b> {
    pub fn open(body: &'b [u8]) -> Result<Self, ProtobufError> {
        let mut reader = Reader(body.strip_prefix(MAGIC).ok_or(ProtobufError::Magic)?);
        let mut envelope = Self { api_version: "", kind: "", raw: &[] };
        while let Some((number, wire)) = reader.next()? {
            match (number, wire) {
                (1, Wire::Bytes(meta)) => {
                    let mut meta = Reader(meta);
                    while let Some((number, wire)) = meta.next()? {
                        match (number, wire) {
                            (1, Wire::Bytes(value)) => envelope.api_version = text(value)?,
                            (2, Wire::Bytes(value)) => envelope.kind = text(value)?,
                            _ => {}
                        }
                    }
                }
                (2, Wire::Bytes(raw)) => envelope.raw = raw,
                _ => {}
            }
        }
        Ok(envelope)
    }

    /// The object in it, read as this type.
    pub fn decode(&self, types: &Types, id: TypeId) -> Result<Value, ProtobufError> {
        let mut object = Map::new();
        object.insert("kind".to_owned(), self.kind.into());
        object.insert("apiVersion".to_owned(), self.api_version.into());
        message(types, id, &[], self.raw, &mut object, 0)?;
        Ok(Value::Object(object))
    }
}

fn text(bytes: &[u8]) -> Result<&str, ProtobufError> {
    std::str::from_utf8(bytes).map_err(|_| ProtobufError::Text)
}

/// Reads a message of a type, or one inlined in it (`within` says where), into `out`.
fn message(
    types: &Types,
    id: TypeId,
    within: &[u32],
    bytes: &[u8],
    out: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    if depth > DEPTH_MAX {
        return Err(ProtobufError::Depth);
    }
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        let fields = || types.get(id).fields.iter().filter_map(|field| Some((field, field.proto.as_ref()?)));
        if let Some((field, _)) = fields().find(|(_, proto)| proto.within == within && proto.number == number) {
            put(types, field, &wire, out, depth)?;
            continue;
        }
        let mut inner = within.to_vec();
        inner.push(number);
        if let (Wire::Bytes(bytes), true) = (&wire, fields().any(|(_, proto)| proto.within.starts_with(&inner))) {
            message(types, id, &inner, bytes, out, depth + 1)?;
        }
    }
    Ok(())
}

fn put(
    types: &Types,
    field: &Field,
    wire: &Wire,
    out: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), ProtobufError> {
    let name = field.name.as_ref();
    match &field.shape {
        Shape::List(item) => {
            let item = value(types, item, wire, depth)?.unwrap_or_default();
            match out.entry(name).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(items) => items.push(item),
                other => *other = Value::Array(vec![item]),
            }
        }
        Shape::Map(shape) => {
            let Wire::Bytes(bytes) = wire else { return Err(ProtobufError::Wire) };
            let (mut key, mut content) = ("", None);
            let mut reader = Reader(bytes);
            while let Some((number, wire)) = reader.next()? {
                match (number, wire) {
                    (1, Wire::Bytes(bytes)) => key = text(bytes)?,
                    (2, wire) => content = map_value(types, shape, &wire, depth)?,
                    _ => {}
                }
            }
            let content = content.unwrap_or_else(|| empty(shape));
            if let Value::Object(map) = out.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                map.insert(key.to_owned(), content);
            }
        }
        shape => match value(types, shape, wire, depth)? {
            Some(value) if field.omit_empty && !field.pointer && is_zero(&value) => {}
            Some(value) => {
                out.insert(name.to_owned(), value);
            }
            None => {}
        },
    }
    Ok(())
}

/// Lists as map values stand in a message of their own.
fn map_value(types: &Types, shape: &Shape, wire: &Wire, depth: usize) -> Result<Option<Value>, ProtobufError> {
    let (Shape::List(item), Wire::Bytes(bytes)) = (shape, wire) else { return value(types, shape, wire, depth) };
    let mut items = Vec::new();
    let mut reader = Reader(bytes);
    while let Some((number, wire)) = reader.next()? {
        if number == 1 {
            items.extend(value(types, item, &wire, depth)?);
        }
    }
    Ok(Some(items.into()))
}

/// What a map's value is when the entry does not say.
fn empty(shape: &Shape) -> Value {
    match shape {
        Shape::String | Shape::Bytes => "".into(),
        Shape::Quantity => "0".into(),
        Shape::Int32 | Shape::Int64 => 0.into(),
        Shape::Bool => false.into(),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Ref(_) | Shape::RefOr(..) | Shape::Map(_) => Value::Object(Map::new()),
        _ => Value::Null,
    }
}

/// Structs are written even when they are empty, as JSON clients do.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Bool(set) => !set,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        _ => false,
    }
}

/// A single value; `None` for one that stands for absence (a time that is not set).
fn value(types: &Types, shape: &Shape, wire: &Wire, depth: usize) -> Result<Option<Value>, ProtobufError> {
    let value = match (shape, wire) {
        (Shape::String, Wire::Bytes(bytes)) => text(bytes)?.into(),
        (Shape::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        // Negative numbers are written as 64 bits whatever their size.
        (Shape::Int32 | Shape::Int64, Wire::Number(number)) => number.cast_signed().into(),
        (Shape::Bool, Wire::Number(number)) => (*number != 0).into(),
        (Shape::Float64, Wire::Number(bits)) => {
            Number::from_f64(f64::from_bits(*bits)).map_or(Value::Null, Value::Number)
        }
        (Shape::Time | Shape::MicroTime, Wire::Bytes(bytes)) => return time(shape, bytes),
        (Shape::Quantity, Wire::Bytes(bytes)) => match string_at(bytes, 1)? {
            Some(text) => text.into(),
            None => "0".into(),
        },
        (Shape::IntOrString, Wire::Bytes(bytes)) => int_or_string(bytes)?,
        (Shape::Any, Wire::Bytes(bytes)) => match bytes_at(bytes, 1)? {
            Some(raw) => serde_json::from_slice(raw).map_err(|_| ProtobufError::Raw)?,
            None => return Ok(None),
        },
        (Shape::Ref(id) | Shape::RefOr(id, _), Wire::Bytes(bytes)) => {
            let mut inner = Map::new();
            message(types, *id, &[], bytes, &mut inner, depth + 1)?;
            match &types.get(*id).scalar {
                Some(scalar) => return value(types, scalar, wire, depth + 1),
                None => Value::Object(inner),
            }
        }
        _ => return Err(ProtobufError::Wire),
    };
    Ok(Some(value))
}

fn bytes_at(bytes: &[u8], wanted: u32) -> Result<Option<&[u8]>, ProtobufError> {
    let mut reader = Reader(bytes);
    let mut found = None;
    while let Some((number, wire)) = reader.next()? {
        if let (true, Wire::Bytes(bytes)) = (number == wanted, wire) {
            found = Some(bytes);
        }
    }
    Ok(found)
}

fn string_at(bytes: &[u8], wanted: u32) -> Result<Option<&str>, ProtobufError> {
    bytes_at(bytes, wanted)?.map(text).transpose()
}

fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut is_string, mut number, mut string) = (false, 0i64, "");
    let mut reader = Reader(bytes);
    while let Some((field, wire)) = reader.next()? {
        match (field, wire) {
            (1, Wire::Number(kind)) => is_string = kind == 1,
            (2, Wire::Number(value)) => number = value.cast_signed(),
            (3, Wire::Bytes(value)) => string = text(value)?,
            _ => {}
        }
    }
    Ok(if is_string { string.into() } else { number.into() })
}

fn time(shape: &Shape, bytes: &[u8]) -> Result<Option<Value>, ProtobufError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0i64, 0i64);
    let mut reader = Reader(bytes);
    while let Some((field, wire)) = reader.next()? {
        match (field, wire) {
            (1, Wire::Number(value)) => seconds = value.cast_signed(),
            (2, Wire::Number(value)) => nanos = value.cast_signed(),
            _ => {}
        }
    }
    let nanos = i32::try_from(nanos).map_err(|_| ProtobufError::Wire)?;
    let at = Timestamp::new(seconds, nanos).map_err(|_| ProtobufError::Wire)?;
    let format = if *shape == Shape::MicroTime { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(Some(at.strftime(format).to_string().into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use machinery::schema;
    use serde_json::json;

    fn field(number: u32, content: &[u8]) -> Vec<u8> {
        let mut out = vec![u8::try_from(number << 3 | 2).unwrap(), u8::try_from(content.len()).unwrap()];
        out.extend_from_slice(content);
        out
    }

    fn body(raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, b"v1"), field(2, b"ConfigMap")].concat();
        [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
    }

    fn decode(raw: &[u8]) -> Result<Value, ProtobufError> {
        let types = schema::builtin();
        Envelope::open(&body(raw))?.decode(types, types.id("io.k8s.api.core.v1.ConfigMap").unwrap())
    }

    #[test]
    fn an_object_reads_as_its_json() {
        let metadata = [field(1, b"a"), field(3, b"")].concat();
        let data = [field(1, b"k"), field(2, b"v")].concat();
        let raw = [field(1, &metadata), field(2, &data)].concat();
        let expected =
            json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": "a" }, "data": { "k": "v" } });
        assert_eq!(decode(&raw).unwrap(), expected);
    }

    #[test]
    fn numbers_or_texts_times_and_quantities() {
        assert_eq!(int_or_string(&[0x08, 0, 0x10, 80]).unwrap(), 80);
        assert_eq!(int_or_string(&[0x08, 1, 0x1a, 2, b'h', b't']).unwrap(), "ht");
        assert_eq!(time(&Shape::Time, &[0x08, 1]).unwrap(), Some("1970-01-01T00:00:01Z".into()));
        assert_eq!(time(&Shape::Time, &[]).unwrap(), None);
        assert_eq!(string_at(&[0x0a, 2, b'1', b'G'], 1).unwrap(), Some("1G"));
    }

    #[test]
    fn broken_bodies_are_errors_and_never_more() {
        assert_eq!(Envelope::open(b"{}").err(), Some(ProtobufError::Magic));
        assert_eq!(decode(&[0x0a, 200]).err(), Some(ProtobufError::Truncated));
        assert_eq!(decode(&[0x0b]).err(), Some(ProtobufError::Wire));
        assert_eq!(decode(&[0x80; 12]).err(), Some(ProtobufError::Wire));
        let whole = body(&field(1, &field(1, b"name")));
        let types = schema::builtin();
        let id = types.id("io.k8s.api.core.v1.ConfigMap").unwrap();
        for end in 0..whole.len() {
            let _ = Envelope::open(&whole[..end]).and_then(|envelope| envelope.decode(types, id));
        }
    }
}
