//! Values. Those that come from JSON borrow it: a list or map of a large object is a reference and a declaration, and its
//! items become values when an expression reaches them.

mod compare;
mod containers;
mod convert;
mod json;
mod moment;
mod text;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub use crate::library::opaque::Opaque;
pub(crate) use compare::{Steps, compare, equal, identity, key_identity};
pub use containers::{Key, List, Map, Object};
pub(crate) use convert::{duration_text, float_text};
pub use moment::Moment;

use crate::errors::EvalError;
use crate::types::Type;

pub(crate) type EvalResult<'a> = Result<Value<'a>, EvalError>;

/// A value of the language.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    Timestamp(Moment),
    /// Nanoseconds.
    Duration(i64),
    List(List<'a>),
    Map(Map<'a>),
    Type(Type),
    Optional(Option<Arc<Value<'a>>>),
    /// An object that the expression made.
    Object(Arc<Object<'a>>),
    /// A value of a library.
    Opaque(Opaque<'a>),
    /// A variable whose fields are computed when they are reached; the number is the activation's.
    Fields(usize),
}

/// Text, borrowed from JSON or shared.
#[derive(Clone)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Value::String(Text::Shared(text.into()))
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Value::String(Text::Borrowed(text))
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value<'_> {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl<'a> Value<'a> {
    /// A list of these.
    pub fn list(items: Vec<Value<'a>>) -> Self {
        Value::List(List::Items(Arc::new(items)))
    }

    /// `optional.of(value)`.
    pub fn some(value: Value<'a>) -> Self {
        Value::Optional(Some(Arc::new(value)))
    }

    /// `optional.none()`.
    pub fn none() -> Self {
        Value::Optional(None)
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The type that the value has, as far as it tells: lists and maps do not know what they hold.
    pub fn type_of(&self) -> Type {
        match self {
            Value::Null => Type::Null,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Uint(_) => Type::Uint,
            Value::Double(_) => Type::Double,
            Value::String(_) => Type::String,
            Value::Bytes(_) => Type::Bytes,
            Value::Timestamp(_) => Type::Timestamp,
            Value::Duration(_) => Type::Duration,
            Value::List(_) => Type::list(Type::Dyn),
            Value::Map(_) | Value::Fields(_) => Type::map(Type::Dyn, Type::Dyn),
            Value::Type(_) => Type::Type(None),
            Value::Optional(_) => Type::optional(Type::Dyn),
            Value::Object(object) => Type::Object(object.ty.clone()),
            Value::Opaque(opaque) => Type::Opaque(opaque.type_name()),
        }
    }

    /// The size of what has one: characters of text, bytes, items, entries.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Value::String(text) => Some(text.chars().count() as u64),
            Value::Bytes(bytes) => Some(bytes.len() as u64),
            Value::List(list) => Some(list.len() as u64),
            Value::Map(map) => Some(map.len() as u64),
            _ => None,
        }
    }

    /// What `optional.ofNonZeroValue` takes for nothing.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::Int(value) => *value == 0,
            Value::Uint(value) => *value == 0,
            Value::Double(value) => *value == 0.0,
            Value::String(text) => text.is_empty(),
            Value::Bytes(bytes) => bytes.is_empty(),
            Value::Duration(nanos) => *nanos == 0,
            Value::List(list) => list.is_empty(),
            Value::Map(map) => map.is_empty(),
            Value::Optional(value) => value.is_none(),
            Value::Object(object) => object.fields.is_empty(),
            Value::Timestamp(time) => *time == Moment::ZERO,
            Value::Type(_) | Value::Opaque(_) | Value::Fields(_) => false,
        }
    }

    /// The same value without borrowing anything but what it cannot copy. Used for constants.
    pub(crate) fn string(text: &Arc<str>) -> Value<'static> {
        Value::String(Text::Shared(text.clone()))
    }
}
