//! Reads a parsed body as a type: checks every value's type, removes unknown fields and nulls, and words what is wrong
//! as upstream does.
//!
//! Upstream decodes on after a value of a wrong type and reports the first such at the end, but stops at once at a
//! value that its type refuses to parse (a time, a quantity); so the latter wins. Fields that are unknown or stand twice
//! are reported only when nothing else is wrong, in the order of the document: as an error (Strict), as warnings (Warn)
//! or not at all (Ignore).

use serde_json::{Map, Value};

use super::bytes;
use super::go;
use super::types::{Alternative, Field, Shape, Type, TypeId, Types};
use crate::codec::Parsed;
use crate::quantity::Quantity;
use crate::time;

/// What to do about unknown and duplicate fields: the request's `fieldValidation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    Ignore,
    #[default]
    Warn,
    Strict,
}

impl FieldValidation {
    /// The mode that a request names; no name means Warn.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "Ignore" => Some(FieldValidation::Ignore),
            "Warn" | "" => Some(FieldValidation::Warn),
            "Strict" => Some(FieldValidation::Strict),
            _ => None,
        }
    }
}

/// A body that fits its type.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    pub value: Value,
    /// Texts of warnings, e.g. `unknown field "spec.foo"`.
    pub warnings: Vec<String>,
}

/// A body that does not fit its type; answered with 400.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A value of a wrong type, or one that its type refuses.
    #[error("{0}")]
    Malformed(String),
    /// Unknown or duplicate fields under Strict.
    #[error("strict decoding error: {}", .0.join(", "))]
    Strict(Vec<String>),
}

/// More unknown and duplicate fields than this are not collected, as upstream.
const STRICT_ERRORS_MAX: usize = 100;

/// Decodes a value that came from no text, so that nothing in it stands twice.
pub fn decode(types: &Types, id: TypeId, value: Value, mode: FieldValidation) -> Result<Decoded, DecodeError> {
    decode_parsed(types, id, Parsed::from(value), mode)
}

/// Decodes a parsed body, duplicates included.
pub fn decode_parsed(types: &Types, id: TypeId, parsed: Parsed, mode: FieldValidation) -> Result<Decoded, DecodeError> {
    let Parsed { mut value, duplicates, yaml_duplicates } = parsed;
    let strict = mode != FieldValidation::Ignore;
    let mut walker = Walker {
        types,
        strict,
        track: strict && !duplicates.is_empty(),
        unknown: Vec::new(),
        opaque: Vec::new(),
        first_mismatch: None,
        refused: None,
    };
    if value.is_null() {
        value = Value::Object(Map::new());
    }
    walker.object(types.get(id), &mut value, None);
    if let Some(message) = walker.refused.or(walker.first_mismatch) {
        return Err(DecodeError::Malformed(message));
    }
    if !strict {
        return Ok(Decoded { value, warnings: Vec::new() });
    }
    let mut findings = walker.unknown;
    for duplicate in duplicates {
        let inside = |at: &[u32]| duplicate.at.len() > at.len() && duplicate.at.starts_with(at);
        let hidden = findings.iter().any(|unknown| inside(&unknown.at) || unknown.path == duplicate.path)
            || walker.opaque.iter().any(|at| inside(at));
        if !hidden {
            findings.push(Finding { what: "duplicate", path: duplicate.path, at: duplicate.at });
        }
    }
    findings.sort_by(|a, b| a.at.cmp(&b.at));
    findings.truncate(STRICT_ERRORS_MAX);
    let texts = findings.iter().map(|finding| format!("{} field \"{}\"", finding.what, finding.path));
    if mode == FieldValidation::Warn {
        let warnings = yaml_duplicates.into_iter().chain(texts).collect();
        return Ok(Decoded { value, warnings });
    }
    let mut errors: Vec<String> = texts.collect();
    if !yaml_duplicates.is_empty() {
        errors.insert(0, format!("yaml: unmarshal errors:\n  {}", yaml_duplicates.join("\n  ")));
    }
    if errors.is_empty() { Ok(Decoded { value, warnings: Vec::new() }) } else { Err(DecodeError::Strict(errors)) }
}

/// An unknown or duplicate field. `at` orders findings as in the document; it is empty for unknown fields unless there
/// are duplicates to be ordered among them.
struct Finding {
    what: &'static str,
    path: String,
    at: Vec<u32>,
}

/// The way from the top to a value, as a list on the stack; read only when there is something to report.
struct Frame<'a> {
    parent: Option<&'a Frame<'a>>,
    step: Step<'a>,
    position: u32,
}

enum Step<'a> {
    /// A field and the type that has it.
    Field(&'a Type, &'a str),
    Key(&'a str),
    Index,
}

struct Walker<'t> {
    types: &'t Types,
    strict: bool,
    /// Whether places in the document matter.
    track: bool,
    unknown: Vec<Finding>,
    /// Places of values that no schema looks into.
    opaque: Vec<Vec<u32>>,
    first_mismatch: Option<String>,
    refused: Option<String>,
}

impl<'t> Walker<'t> {
    /// `value` must not be null.
    fn object(&mut self, ty: &'t Type, value: &mut Value, frame: Option<&Frame>) {
        if let Some(shape) = &ty.scalar {
            let field = Field::new("", shape.clone());
            return self.value(&field, shape, value, frame);
        }
        let Value::Object(map) = value else {
            return self.mismatch(go::type_name(ty).to_owned(), go::found(value, &Shape::Any), frame);
        };
        let mut position = 0;
        map.retain(|key, value| {
            let place = position;
            position += 1;
            if self.refused.is_some() {
                return true;
            }
            let Some(field) = ty.find(key) else {
                self.unknown_field(key, place, frame);
                return false;
            };
            if value.is_null() {
                return false;
            }
            let frame = Frame { parent: frame, step: Step::Field(ty, &field.name), position: place };
            self.value(field, &field.shape, value, Some(&frame));
            true
        });
    }

    fn value(&mut self, field: &Field, shape: &'_ Shape, value: &mut Value, frame: Option<&Frame>) {
        let fits = match shape {
            Shape::String => value.is_string(),
            Shape::Bool => value.is_boolean(),
            Shape::Float64 => value.is_number(),
            Shape::Int64 => value.is_i64(),
            Shape::Int32 => fits_int32(value),
            Shape::IntOrString => {
                if !value.is_string() && !fits_int32(value) {
                    let message = self.type_error("int32", &go::found(value, shape), frame);
                    self.refused.get_or_insert(message);
                }
                true
            }
            Shape::Any => {
                if self.track {
                    self.opaque.push(places(frame));
                }
                true
            }
            Shape::Bytes => match value {
                Value::String(text) => {
                    if let Err(message) = bytes::check(text) {
                        self.first_mismatch.get_or_insert(message);
                    }
                    true
                }
                _ => false,
            },
            Shape::Time | Shape::MicroTime => return self.time(shape, value, frame),
            Shape::Quantity => return self.quantity(value),
            Shape::Ref(id) => {
                let types = self.types;
                return self.object(types.get(*id), value, frame);
            }
            Shape::RefOr(id, alternative) => return self.alternative(field, *id, *alternative, value, frame),
            Shape::List(item) => match value {
                Value::Array(items) => return self.list(field, item, items, frame),
                _ => false,
            },
            Shape::Map(item) => match value {
                Value::Object(map) => return self.map(field, item, map, frame),
                _ => false,
            },
        };
        if !fits {
            let wanted = go::field_type(self.types, field, shape);
            self.mismatch(wanted, go::found(value, shape), frame);
        }
    }

    fn list(&mut self, field: &Field, item: &Shape, items: &mut [Value], frame: Option<&Frame>) {
        for (index, value) in items.iter_mut().enumerate() {
            if value.is_null() {
                *value = zero(item);
                continue;
            }
            let frame = Frame { parent: frame, step: Step::Index, position: index as u32 };
            self.value(field, item, value, Some(&frame));
            if self.refused.is_some() {
                return;
            }
        }
    }

    fn map(&mut self, field: &Field, item: &Shape, map: &mut Map<String, Value>, frame: Option<&Frame>) {
        for (index, (key, value)) in map.iter_mut().enumerate() {
            if value.is_null() {
                *value = zero(item);
                continue;
            }
            let frame = Frame { parent: frame, step: Step::Key(key), position: index as u32 };
            self.value(field, item, value, Some(&frame));
            if self.refused.is_some() {
                return;
            }
        }
    }

    /// The unions of JSON schema. Upstream reads them with a decoder of its own, which reports no unknown fields.
    fn alternative(
        &mut self,
        field: &Field,
        id: TypeId,
        alternative: Alternative,
        value: &mut Value,
        frame: Option<&Frame>,
    ) {
        let strict = std::mem::replace(&mut self.strict, false);
        if self.track {
            self.opaque.push(places(frame));
        }
        let types = self.types;
        match (alternative, &mut *value) {
            (_, Value::Object(_)) => self.object(types.get(id), value, frame),
            (Alternative::Bool, Value::Bool(_)) => {}
            (Alternative::Bool, _) => {
                self.refused.get_or_insert("boolean or JSON schema expected".to_owned());
            }
            (Alternative::List, Value::Array(items)) => self.list(field, &Shape::Ref(id), items, frame),
            (Alternative::Strings, Value::Array(items)) => self.list(field, &Shape::String, items, frame),
            // Upstream drops anything else; an empty schema says the same.
            (Alternative::List | Alternative::Strings, _) => *value = Value::Object(Map::new()),
        }
        self.strict = strict;
    }

    fn time(&mut self, shape: &Shape, value: &mut Value, frame: Option<&Frame>) {
        let Value::String(text) = value else {
            let message = self.type_error("string", &go::found(value, &Shape::String), frame);
            self.refused.get_or_insert(message);
            return;
        };
        let parsed = if *shape == Shape::Time { time::parse_rfc3339(text) } else { time::parse_rfc3339_micros(text) };
        if let Err(message) = parsed {
            self.refused.get_or_insert(message);
        }
    }

    /// The canonical form is `canonicalize`'s work, but what stays behind is text.
    fn quantity(&mut self, value: &mut Value) {
        match Quantity::from_json(value) {
            Ok(quantity) if value.is_number() => *value = Value::String(quantity.to_string()),
            Ok(_) => {}
            Err(message) => {
                self.refused.get_or_insert(message.to_string());
            }
        }
    }

    fn unknown_field(&mut self, key: &str, place: u32, frame: Option<&Frame>) {
        if !self.strict || self.unknown.len() >= STRICT_ERRORS_MAX {
            return;
        }
        let mut path = document_path(frame);
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
        let mut at = Vec::new();
        if self.track {
            at = places(frame);
            at.push(2 * place + 1);
        }
        self.unknown.push(Finding { what: "unknown", path, at });
    }

    fn mismatch(&mut self, wanted: String, found: String, frame: Option<&Frame>) {
        if self.first_mismatch.is_none() {
            self.first_mismatch = Some(self.type_error(&wanted, &found, frame));
        }
    }

    /// Upstream names the struct that holds the innermost field and the JSON names of all fields on the way, without
    /// list indexes and map keys.
    fn type_error(&self, wanted: &str, found: &str, frame: Option<&Frame>) -> String {
        let fields: Vec<(&Type, &str)> = frames(frame)
            .filter_map(|frame| match frame.step {
                Step::Field(owner, name) => Some((owner, name)),
                _ => None,
            })
            .collect();
        let Some((owner, _)) = fields.first() else {
            return format!("json: cannot unmarshal {found} into Go value of type {wanted}");
        };
        let path: Vec<&str> = fields.iter().rev().map(|(_, name)| *name).collect();
        let (owner, path) = (owner.short_name(), path.join("."));
        format!("json: cannot unmarshal {found} into Go struct field {owner}.{path} of type {wanted}")
    }
}

/// From the innermost frame outwards.
fn frames<'a>(frame: Option<&'a Frame<'a>>) -> impl Iterator<Item = &'a Frame<'a>> {
    std::iter::successors(frame, |frame| frame.parent)
}

/// `spec.containers[0].env`
fn document_path(frame: Option<&Frame>) -> String {
    let frames: Vec<&Frame> = frames(frame).collect();
    let mut path = String::new();
    for frame in frames.iter().rev() {
        match frame.step {
            Step::Field(_, name) | Step::Key(name) => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(name);
            }
            Step::Index => path.push_str(&format!("[{}]", frame.position)),
        }
    }
    path
}

/// The place in the document, comparable with `codec::Duplicate::at`.
fn places(frame: Option<&Frame>) -> Vec<u32> {
    let mut at: Vec<u32> = frames(frame).map(|frame| 2 * frame.position + 1).collect();
    at.reverse();
    at
}

fn fits_int32(value: &Value) -> bool {
    value.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
}

/// What upstream makes of a null among list items or map values.
fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::String | Shape::Bytes => Value::String(String::new()),
        Shape::Int32 | Shape::Int64 | Shape::Float64 | Shape::IntOrString => Value::from(0),
        Shape::Bool => Value::Bool(false),
        Shape::Quantity => Value::String("0".to_owned()),
        Shape::Ref(_) | Shape::RefOr(..) => Value::Object(Map::new()),
        Shape::Time | Shape::MicroTime | Shape::Any | Shape::List(_) | Shape::Map(_) => Value::Null,
    }
}
