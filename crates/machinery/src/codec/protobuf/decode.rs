//! Message bytes to a JSON value. Fields that the type does not have are stepped over; a field that comes again replaces
//! its value, adds to its list or map, or goes on filling its object, as proto2 wants it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::wire::{self, Reader, Tag};
use super::{Layout, Part, ProtobufError, number};
use crate::codec::{Limits, json};
use crate::quantity::Quantity;
use crate::schema::{Alternative, Field, Shape, TypeId, Types, canonicalize};
use crate::time;

/// A message can be two bytes and its object, with the fields that are always written, a kilobyte. Real objects hold some
/// thousands of messages; more than this is an attack.
const MESSAGES_MAX: usize = 1 << 17;

/// Messages in messages, as other readers of protobuf bound them; the deepest real ones (schemas of custom resources) have
/// some thirty levels.
const DEPTH_MAX: usize = 100;

/// Decodes a message of this type into the canonical JSON value, apiVersion and kind of the object itself left out (the
/// envelope has them).
pub fn decode(types: &Types, id: TypeId, bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut decoder = Decoder { types, depth: 0, messages: 0 };
    let shape = types.get(id).scalar.clone().unwrap_or(Shape::Ref(id));
    let mut value = decoder.message(&shape, bytes, None)?;
    canonicalize(types, id, &mut value);
    Ok(value)
}

struct Decoder<'t> {
    types: &'t Types,
    depth: usize,
    messages: usize,
}

impl<'t> Decoder<'t> {
    /// A message with this number of levels around it.
    fn within<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, ProtobufError>) -> Result<T, ProtobufError> {
        self.messages += 1;
        if self.messages > MESSAGES_MAX {
            return Err(ProtobufError::TooMany);
        }
        if self.depth >= DEPTH_MAX {
            return Err(ProtobufError::TooDeep);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn fields(&mut self, layout: Layout<'t>, map: &mut Map<String, Value>, bytes: &[u8]) -> Result<(), ProtobufError> {
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag(layout.ty.short_name())? {
            match layout.find(tag.number) {
                Some(Part::Field(field)) => self.field(field, tag, &mut reader, map)?,
                Some(Part::Inlined(_, fields)) => {
                    let bytes = reader.bytes(tag, layout.ty.short_name())?;
                    self.fields(layout.inner(fields), map, bytes)?;
                }
                None => reader.skip(tag)?,
            }
        }
        Ok(())
    }

    fn field(
        &mut self,
        field: &'t Field,
        tag: Tag,
        reader: &mut Reader,
        map: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        let name = field.name.as_ref();
        match &field.shape {
            // A named list is a message of its own and no repeated field.
            Shape::List(item) if field.proto.as_ref().is_some_and(|proto| proto.is_repeated()) => {
                let items = list_mut(slot(map, name));
                if is_packed(item, tag) {
                    return packed(item, reader.bytes(tag, name)?, items);
                }
                let value = self.value(item, tag, name, reader, None)?;
                items.push(value);
            }
            Shape::Map(item) => {
                let entry = reader.bytes(tag, name)?;
                let (key, value) = self.entry(item, name, entry)?;
                map_mut(slot(map, name)).insert(key, value);
            }
            shape => {
                let before = map.get_mut(name).map(Value::take);
                let value = self.value(shape, tag, name, reader, before)?;
                map.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    fn entry(&mut self, item: &'t Shape, name: &str, bytes: &[u8]) -> Result<(String, Value), ProtobufError> {
        let mut key = String::new();
        let mut value = None;
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag(name)? {
            match tag.number {
                number::MAP_KEY => key = reader.text(tag, name)?,
                number::MAP_VALUE => value = Some(self.value(item, tag, name, &mut reader, None)?),
                _ => reader.skip(tag)?,
            }
        }
        let value = match (value, item) {
            (Some(value), _) => value,
            (None, Shape::String | Shape::Bytes) => Value::String(String::new()),
            (None, Shape::Int32 | Shape::Int64 | Shape::Float64) => Value::from(0),
            (None, Shape::Bool) => Value::Bool(false),
            (None, shape) => self.message(shape, b"", None)?,
        };
        Ok((key, value))
    }

    /// One value; `before` is what an earlier occurrence of the same field left.
    fn value(
        &mut self,
        shape: &'t Shape,
        tag: Tag,
        name: &str,
        reader: &mut Reader,
        before: Option<Value>,
    ) -> Result<Value, ProtobufError> {
        Ok(match shape {
            Shape::String => Value::String(reader.text(tag, name)?),
            Shape::Bytes => Value::String(STANDARD.encode(reader.bytes(tag, name)?)),
            // Upstream keeps the low bits of what does not fit.
            Shape::Int32 => Value::from(reader.integer(tag, name)? as i32),
            Shape::Int64 => Value::from(reader.integer(tag, name)? as i64),
            Shape::Bool => Value::Bool(reader.integer(tag, name)? != 0),
            Shape::Float64 => double(reader.double(tag, name)?)?,
            message => self.message(message, reader.bytes(tag, name)?, before)?,
        })
    }

    /// The value of a message's content.
    fn message(&mut self, shape: &Shape, bytes: &[u8], before: Option<Value>) -> Result<Value, ProtobufError> {
        let types = self.types;
        match shape {
            Shape::Ref(id) => self.within(|this| {
                let mut map = into_map(before);
                this.fields(Layout::of(types.get(*id)), &mut map, bytes)?;
                Ok(Value::Object(map))
            }),
            Shape::RefOr(id, alternative) => self.within(|this| this.union(*id, *alternative, bytes)),
            Shape::Time | Shape::MicroTime => timestamp(shape, bytes),
            Shape::Quantity => quantity(bytes),
            Shape::IntOrString => int_or_string(bytes),
            Shape::Any => self.raw(bytes),
            Shape::List(_) => named_list(bytes),
            Shape::String
            | Shape::Bytes
            | Shape::Int32
            | Shape::Int64
            | Shape::Bool
            | Shape::Float64
            | Shape::Map(_) => Err(ProtobufError::Refused("a plain value is no message".to_owned())),
        }
    }

    /// The unions of JSON schema. A list counts more than a schema, a schema more than a bool, as upstream's JSON encoding
    /// chooses among what is set.
    fn union(&mut self, id: TypeId, alternative: Alternative, bytes: &[u8]) -> Result<Value, ProtobufError> {
        let mut schema = None;
        let mut items = Vec::new();
        let mut allows = false;
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("JSONSchemaProps")? {
            match (alternative, tag.number) {
                (Alternative::Bool, number::OR_BOOL_ALLOWS) => allows = reader.integer(tag, "allows")? != 0,
                (Alternative::Bool, number::OR_BOOL_SCHEMA)
                | (Alternative::List | Alternative::Strings, number::OR_LIST_SCHEMA) => {
                    schema = Some(self.message(&Shape::Ref(id), reader.bytes(tag, "schema")?, schema.take())?);
                }
                (Alternative::List, number::OR_LIST_ITEMS) => {
                    items.push(self.message(&Shape::Ref(id), reader.bytes(tag, "JSONSchemas")?, None)?);
                }
                (Alternative::Strings, number::OR_LIST_ITEMS) => items.push(reader.text(tag, "property")?.into()),
                _ => reader.skip(tag)?,
            }
        }
        if !items.is_empty() {
            return Ok(Value::Array(items));
        }
        Ok(match (schema, alternative) {
            (Some(schema), _) => schema,
            (None, Alternative::Bool) => Value::Bool(allows),
            (None, _) => Value::Null,
        })
    }

    /// Any JSON, carried as text.
    fn raw(&self, bytes: &[u8]) -> Result<Value, ProtobufError> {
        let mut content: &[u8] = b"";
        let mut reader = Reader::new(bytes);
        while let Some(tag) = reader.tag("RawExtension")? {
            match tag.number {
                number::RAW => content = reader.bytes(tag, "Raw")?,
                _ => reader.skip(tag)?,
            }
        }
        if content.is_empty() {
            return Ok(Value::Null);
        }
        let limits = Limits { depth: Limits::default().depth - self.depth, bytes: content.len() };
        json::parse(content, limits).map(|parsed| parsed.value).map_err(ProtobufError::Refused)
    }
}

fn slot<'m>(map: &'m mut Map<String, Value>, name: &str) -> &'m mut Value {
    // Only the first occurrence of a field costs its name.
    if !map.contains_key(name) {
        map.insert(name.to_owned(), Value::Null);
    }
    &mut map[name]
}

fn list_mut(value: &mut Value) -> &mut Vec<Value> {
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(items) => items,
        _ => unreachable!("it was made a list above"),
    }
}

fn map_mut(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("it was made a map above"),
    }
}

fn into_map(value: Option<Value>) -> Map<String, Value> {
    match value {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Numbers in a list may come packed, whoever wrote them.
fn is_packed(item: &Shape, tag: Tag) -> bool {
    tag.wire_type == wire::LENGTH && matches!(item, Shape::Int32 | Shape::Int64 | Shape::Bool)
}

fn packed(item: &Shape, bytes: &[u8], items: &mut Vec<Value>) -> Result<(), ProtobufError> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let number = reader.varint()?;
        items.push(match item {
            Shape::Bool => Value::Bool(number != 0),
            Shape::Int32 => Value::from(number as i32),
            _ => Value::from(number as i64),
        });
    }
    Ok(())
}

/// Go writes a whole number without a fraction.
fn double(number: f64) -> Result<Value, ProtobufError> {
    const EXACT_MAX: f64 = (1u64 << 53) as f64;
    match serde_json::Number::from_f64(number) {
        Some(_) if number.fract() == 0.0 && number.abs() <= EXACT_MAX => Ok(Value::from(number as i64)),
        Some(number) => Ok(Value::Number(number)),
        None => Err(ProtobufError::Refused(format!("json: unsupported value: {number}"))),
    }
}

/// An empty message is upstream's zero time, null in JSON. A Time's nanos are dropped, a MicroTime's cut to micros.
fn timestamp(shape: &Shape, bytes: &[u8]) -> Result<Value, ProtobufError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag("Timestamp")? {
        match tag.number {
            number::TIME_SECONDS => seconds = reader.integer(tag, "Seconds")? as i64,
            number::TIME_NANOS => nanos = reader.integer(tag, "Nanos")? as i32,
            _ => reader.skip(tag)?,
        }
    }
    let micros = *shape == Shape::MicroTime;
    let time = Timestamp::new(seconds, if micros { nanos } else { 0 })
        .map_err(|_| ProtobufError::Refused(format!("time is out of range: {seconds} seconds")))?;
    if !(0..=9999).contains(&time.to_zoned(jiff::tz::TimeZone::UTC).year()) {
        return Err(ProtobufError::Refused(format!("time is out of range: {seconds} seconds")));
    }
    let text = if micros { time::format_rfc3339_micros(time) } else { time::format_rfc3339_seconds(time) };
    Ok(Value::String(text))
}

fn quantity(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut text = None;
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag("Quantity")? {
        match tag.number {
            number::QUANTITY_STRING => text = Some(reader.text(tag, "String_")?),
            _ => reader.skip(tag)?,
        }
    }
    let Some(text) = text else { return Ok(Value::String("0".to_owned())) };
    let quantity = Quantity::parse(&text).map_err(|error| ProtobufError::Refused(error.to_string()))?;
    Ok(Value::String(quantity.to_string()))
}

fn int_or_string(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let (mut kind, mut integer, mut text) = (0, 0, String::new());
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag("IntOrString")? {
        match tag.number {
            number::INT_OR_STRING_TYPE => kind = reader.integer(tag, "Type")? as i64,
            number::INT_OR_STRING_INT => integer = reader.integer(tag, "IntVal")? as i32,
            number::INT_OR_STRING_STRING => text = reader.text(tag, "StrVal")?,
            _ => reader.skip(tag)?,
        }
    }
    match kind {
        0 => Ok(Value::from(integer)),
        1 => Ok(Value::String(text)),
        _ => Err(ProtobufError::Refused("impossible IntOrString.Type".to_owned())),
    }
}

/// A list of strings that is a named type upstream.
fn named_list(bytes: &[u8]) -> Result<Value, ProtobufError> {
    let mut items = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some(tag) = reader.tag("ExtraValue")? {
        match tag.number {
            number::ITEMS => items.push(Value::String(reader.text(tag, "Items")?)),
            _ => reader.skip(tag)?,
        }
    }
    Ok(Value::Array(items))
}
