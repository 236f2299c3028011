//! Declarations: types with bounds, built piece by piece.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Type, escape_name, is_reserved};

/// No value in a request is larger; what has no bound of its own is bounded by this.
pub const REQUEST_BYTES_MAX: u64 = 3 * 1024 * 1024;

/// How lists compare and add up: `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    /// By place.
    #[default]
    Atomic,
    /// As sets: order counts for nothing, a sum has each item once.
    Set,
    /// As maps by these keys: a sum takes the right side's items in place of the left's with the same keys.
    Map(Arc<[String]>),
}

/// How JSON is read.
#[derive(Clone, Debug)]
pub enum Shape {
    /// By its type alone.
    Plain,
    /// Text or a whole number.
    IntOrString,
    List {
        element: Arc<Declaration>,
        kind: ListKind,
    },
    Map {
        value: Arc<Declaration>,
    },
    Object(Arc<ObjectType>),
}

/// A type with bounds.
#[derive(Clone, Debug)]
pub struct Declaration {
    /// The type that expressions see.
    pub ty: Type,
    pub shape: Shape,
    /// At most so many items, entries or bytes.
    pub max: Option<u64>,
    /// A map's keys have at most so many bytes; 0 where nothing is said.
    pub key_max: u64,
    /// The fewest bytes of JSON that a value takes.
    pub min_bytes: u64,
}

impl From<Type> for Declaration {
    fn from(ty: Type) -> Self {
        let min_bytes = match ty {
            Type::String | Type::Bytes => 2,
            Type::Bool | Type::Null => 4,
            Type::Duration => 3,
            Type::Timestamp => 21,
            Type::List(_) | Type::Map(_) | Type::Object(_) => 2,
            _ => 1,
        };
        let shape = match &ty {
            Type::List(element) => {
                Shape::List { element: Arc::new(Declaration::from(Type::clone(element))), kind: ListKind::Atomic }
            }
            Type::Map(types) => Shape::Map { value: Arc::new(Declaration::from(types.1.clone())) },
            Type::Object(object) => Shape::Object(object.clone()),
            _ => Shape::Plain,
        };
        Declaration { ty, shape, max: None, key_max: 0, min_bytes }
    }
}

impl Declaration {
    /// Any JSON, known when evaluated.
    pub fn dynamic() -> Self {
        Declaration::from(Type::Dyn)
    }

    /// Text of at most so many characters; without a number, of at most so many as fit into a request.
    pub fn string(characters_max: Option<u64>) -> Self {
        let max = characters_max.map_or(REQUEST_BYTES_MAX - 2, |max| max.saturating_mul(4));
        Declaration { max: Some(max), ..Declaration::from(Type::String) }
    }

    /// Base64 text.
    pub fn bytes(max: Option<u64>) -> Self {
        Declaration { max: Some(max.unwrap_or(REQUEST_BYTES_MAX - 2)), ..Declaration::from(Type::Bytes) }
    }

    /// A moment: text with `format: date-time`.
    pub fn date_time() -> Self {
        Declaration { max: Some(32), ..Declaration::from(Type::Timestamp) }
    }

    /// A day: text with `format: date`.
    pub fn date() -> Self {
        Declaration { max: Some(12), min_bytes: 12, ..Declaration::from(Type::Timestamp) }
    }

    /// A span: text with `format: duration`.
    pub fn duration() -> Self {
        Declaration { max: Some(32), ..Declaration::from(Type::Duration) }
    }

    /// `x-kubernetes-int-or-string`.
    pub fn int_or_string(characters_max: Option<u64>) -> Self {
        let max = Declaration::string(characters_max).max;
        Declaration { max, shape: Shape::IntOrString, ..Declaration::from(Type::Dyn) }
    }

    /// A list; without a number, of at most so many of the smallest items as fit into a request.
    pub fn list(element: Declaration, items_max: Option<u64>, kind: ListKind) -> Self {
        let max = items_max.unwrap_or((REQUEST_BYTES_MAX - 2) / (element.min_bytes + 1));
        let ty = Type::list(element.ty.clone());
        Declaration {
            ty,
            shape: Shape::List { element: Arc::new(element), kind },
            max: Some(max),
            key_max: 0,
            min_bytes: 2,
        }
    }

    /// A map from text.
    pub fn map(value: Declaration, entries_max: Option<u64>) -> Self {
        let max = entries_max.unwrap_or((REQUEST_BYTES_MAX - 2) / (value.min_bytes + 6));
        let ty = Type::map(Type::String, value.ty.clone());
        Declaration { ty, shape: Shape::Map { value: Arc::new(value) }, max: Some(max), key_max: 0, min_bytes: 2 }
    }

    /// An object.
    pub fn object(object: Arc<ObjectType>) -> Self {
        let min_bytes = object.min_bytes;
        Declaration { ty: Type::Object(object.clone()), shape: Shape::Object(object), max: None, key_max: 0, min_bytes }
    }

    /// The same with a bound of its own: bytes, items or entries.
    #[must_use]
    pub fn at_most(self, max: u64) -> Self {
        Declaration { max: Some(max), ..self }
    }

    /// A map whose keys have at most so many bytes.
    #[must_use]
    pub fn with_keys_at_most(self, key_max: u64) -> Self {
        Declaration { key_max, ..self }
    }

    /// The same with each object named after its place below `name`, so that messages tell one from another.
    #[must_use]
    pub fn named(&self, name: &str) -> Self {
        let mut ty = self.ty.clone();
        let shape = match &self.shape {
            Shape::Plain | Shape::IntOrString => self.shape.clone(),
            Shape::List { element, kind } => {
                let element = element.named(&format!("{name}.@idx"));
                ty = Type::list(element.ty.clone());
                Shape::List { element: Arc::new(element), kind: kind.clone() }
            }
            Shape::Map { value } => {
                let value = value.named(&format!("{name}.@elem"));
                ty = Type::map(Type::String, value.ty.clone());
                Shape::Map { value: Arc::new(value) }
            }
            Shape::Object(object) => {
                let field = |(key, field): (&String, &Field)| {
                    let declaration = field.declaration.named(&format!("{name}.{key}"));
                    (key.clone(), Field { name: field.name.clone(), declaration })
                };
                let object = Arc::new(ObjectType {
                    name: name.to_owned(),
                    fields: object.fields.iter().map(field).collect(),
                    ..ObjectType::clone(object)
                });
                ty = Type::Object(object.clone());
                Shape::Object(object)
            }
        };
        Declaration { ty, shape, ..self.clone() }
    }

    /// The object type, if it is one.
    pub fn as_object(&self) -> Option<&Arc<ObjectType>> {
        match &self.shape {
            Shape::Object(object) => Some(object),
            _ => None,
        }
    }
}

/// One field of an object.
#[derive(Clone, Debug)]
pub struct Field {
    /// The name in JSON.
    pub name: String,
    pub declaration: Declaration,
}

/// An object with named fields.
#[derive(Clone, Debug, Default)]
pub struct ObjectType {
    pub name: String,
    /// By the names that expressions use.
    pub fields: BTreeMap<String, Field>,
    /// Any other field may be used too and is known only when evaluated.
    pub open: bool,
    /// The fewest bytes of JSON that an object takes.
    pub min_bytes: u64,
}

impl ObjectType {
    /// Starts a type with this name.
    pub fn builder(name: impl Into<String>) -> ObjectBuilder {
        ObjectBuilder(ObjectType { name: name.into(), min_bytes: 2, ..ObjectType::default() })
    }

    /// The field that an expression names so. `a.namespace` may be written for `a.__namespace__`.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let keyword = || if is_reserved(name) { self.fields.get(&format!("__{name}__")) } else { None };
        self.fields.get(name).or_else(keyword)
    }
}

/// Collects the fields of an object type.
#[derive(Debug)]
pub struct ObjectBuilder(ObjectType);

impl ObjectBuilder {
    /// A field by its JSON name; one whose name cannot be escaped stays out of reach. `required` is of a field that
    /// each object has and that has no default: it makes objects larger, and so fewer of them fit into a request.
    #[must_use]
    pub fn field(mut self, name: &str, declaration: Declaration, required: bool) -> Self {
        if required {
            self.0.min_bytes = self.0.min_bytes.saturating_add(name.len() as u64 + declaration.min_bytes + 4);
        }
        if let Some(escaped) = escape_name(name) {
            self.0.fields.insert(escaped, Field { name: name.to_owned(), declaration });
        }
        self
    }

    /// Allows any other field.
    #[must_use]
    pub fn open(mut self) -> Self {
        self.0.open = true;
        self
    }

    /// Adds what every object of a kind has: `apiVersion`, `kind`, and of `metadata` the names.
    #[must_use]
    pub fn type_and_object_meta(self) -> Self {
        let text = || Declaration::string(None);
        let name = format!("{}.metadata", self.0.name);
        let metadata = ObjectType::builder(name).field("name", text(), false).field("generateName", text(), false);
        self.field("apiVersion", text(), false).field("kind", text(), false).field(
            "metadata",
            metadata.declaration(),
            false,
        )
    }

    /// The finished type.
    pub fn build(self) -> Arc<ObjectType> {
        Arc::new(self.0)
    }

    /// The finished type, as a declaration.
    pub fn declaration(self) -> Declaration {
        Declaration::object(self.build())
    }
}
