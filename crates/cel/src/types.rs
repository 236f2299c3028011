//! Types: what the checker knows about values, and how large declared values may get.
//!
//! A `Type` is what an expression has. A `Declaration` is what a variable or a field is declared to be: a type with the bounds
//! that cost estimates need, and with what is needed to read JSON as such a value. Worked example: a property
//! `{type: array, maxItems: 5, items: {type: string}}` is a declaration of type `list(string)` with at most 5 items.

mod builtin;
mod declaration;
mod escape;

use std::fmt;
use std::sync::Arc;

pub use builtin::{declare_builtin, declare_builtin_rooted};
pub use declaration::{Declaration, Field, ListKind, ObjectBuilder, ObjectType, REQUEST_BYTES_MAX, Shape};
pub use escape::{escape_name, is_reserved, unescape_name};

/// The type of an expression.
#[derive(Clone, Debug)]
pub enum Type {
    /// Known only when evaluated.
    Dyn,
    /// The same, of what is declared to be one of a few plain types; whoever asks for a type can tell it from `Dyn`.
    Any,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Arc<Type>),
    Map(Arc<(Type, Type)>),
    /// An object with known fields; equal by name.
    Object(Arc<ObjectType>),
    Optional(Arc<Type>),
    /// The type of types, with the type that the value is where that is known.
    Type(Option<Arc<Type>>),
    /// A value of which only functions know the inside, e.g. `kubernetes.Quantity`.
    Opaque(&'static str),
    /// A name in a function's signature that stands for any one type.
    Param(&'static str),
    /// What the checker has yet to find out.
    Variable(u32),
    /// Something is wrong; reported elsewhere.
    Error,
}

impl Type {
    /// `list(element)`.
    pub fn list(element: Type) -> Self {
        Type::List(Arc::new(element))
    }

    /// `map(key, value)`.
    pub fn map(key: Type, value: Type) -> Self {
        Type::Map(Arc::new((key, value)))
    }

    /// `optional_type(value)`.
    pub fn optional(value: Type) -> Self {
        Type::Optional(Arc::new(value))
    }

    /// `type(of)`.
    pub fn type_of(of: Type) -> Self {
        Type::Type(Some(Arc::new(of)))
    }

    pub fn is_dyn(&self) -> bool {
        matches!(self, Type::Dyn | Type::Any)
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Type::Dyn | Type::Any | Type::Error)
    }

    /// The name that values of the type give when asked.
    pub fn runtime_name(&self) -> &str {
        match self {
            Type::Dyn => "dyn",
            Type::Any => "google.protobuf.Any",
            Type::Null => "null_type",
            Type::Bool => "bool",
            Type::Int => "int",
            Type::Uint => "uint",
            Type::Double => "double",
            Type::String => "string",
            Type::Bytes => "bytes",
            Type::Timestamp => "google.protobuf.Timestamp",
            Type::Duration => "google.protobuf.Duration",
            Type::List(_) => "list",
            Type::Map(_) => "map",
            Type::Object(object) => &object.name,
            Type::Optional(_) => "optional_type",
            Type::Type(_) => "type",
            Type::Opaque(name) => name,
            Type::Param(name) => name,
            Type::Variable(_) => "dyn",
            Type::Error => "!error!",
        }
    }

    /// Whether values of the type have one size, whatever they are.
    pub(crate) fn is_scalar(&self) -> bool {
        match self {
            Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
            Type::Optional(value) => value.is_scalar(),
            _ => false,
        }
    }
}

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => a == b,
            (Type::Map(a), Type::Map(b)) => a == b,
            (Type::Object(a), Type::Object(b)) => a.name == b.name,
            (Type::Opaque(a), Type::Opaque(b)) | (Type::Param(a), Type::Param(b)) => a == b,
            (Type::Variable(a), Type::Variable(b)) => a == b,
            // The type of types does not tell what it is the type of.
            (Type::Type(_), Type::Type(_)) => true,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

impl Eq for Type {}

/// As messages show it.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Null => f.write_str("null"),
            Type::Any => f.write_str("any"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::Duration => f.write_str("duration"),
            Type::List(element) => write!(f, "list({element})"),
            Type::Map(types) => write!(f, "map({}, {})", types.0, types.1),
            Type::Optional(value) => write!(f, "optional_type({value})"),
            Type::Type(Some(of)) => write!(f, "type({of})"),
            Type::Variable(number) => write!(f, "_var{number}"),
            other => f.write_str(other.runtime_name()),
        }
    }
}
