//! How the schema lets a value be looked into: what merges as one value, what field by field, what item by item.

use serde_json::{Map, Value};

use super::path::{Datum, Step};
use crate::schema::{Field, ListKind, MapKind, Shape, Type, TypeId, Types};

static UNSET: ListKind = ListKind::Unset;

/// What the schema says about one place of a document.
#[derive(Clone, Copy)]
pub struct Place<'t> {
    types: &'t Types,
    what: What<'t>,
}

#[derive(Clone, Copy)]
enum What<'t> {
    Type(TypeId),
    Shape {
        shape: &'t Shape,
        list: &'t ListKind,
        map: MapKind,
    },
    /// Values that no schema describes: lists are one value, maps are not.
    Any,
    /// Nothing may be here.
    Undeclared,
}

/// What a value at a place is taken for.
pub(super) enum Atom<'t> {
    Scalar(Scalar),
    List { item: Place<'t>, kind: Items<'t> },
    Map { entries: Entries<'t>, atomic: bool },
}

impl Atom<'_> {
    /// Whether two atoms are handled in the same way.
    pub fn is_like(&self, other: &Atom) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scalar {
    String,
    Number,
    Bool,
    Any,
}

#[derive(Clone, Copy)]
pub(super) enum Items<'t> {
    Atomic,
    Set,
    Map(&'t [std::borrow::Cow<'static, str>]),
}

/// The places of a map's values.
#[derive(Clone, Copy)]
pub(super) enum Entries<'t> {
    Fields(&'t Types, &'t Type),
    Same(Place<'t>),
}

impl<'t> Entries<'t> {
    pub fn place(&self, key: &str) -> Place<'t> {
        match self {
            Entries::Same(place) => *place,
            Entries::Fields(types, ty) => match ty.find(key) {
                Some(field) => Place::field(types, field),
                None if ty.preserves_unknown => Place { types, what: What::Any },
                None => Place { types, what: What::Undeclared },
            },
        }
    }

    /// Whether the key is a field that the schema names, rather than a key of a map.
    pub fn is_named(&self, key: &str) -> bool {
        matches!(self, Entries::Fields(_, ty) if ty.find(key).is_some())
    }
}

impl<'t> Place<'t> {
    /// An object of a type.
    pub fn root(types: &'t Types, id: TypeId) -> Self {
        Place { types, what: What::Type(id) }
    }

    fn field(types: &'t Types, field: &'t Field) -> Self {
        Place { types, what: What::Shape { shape: &field.shape, list: &field.list, map: field.map } }
    }

    fn inner(types: &'t Types, shape: &'t Shape) -> Self {
        Place { types, what: What::Shape { shape, list: &UNSET, map: MapKind::Unset } }
    }

    pub fn is_undeclared(&self) -> bool {
        matches!(self.what, What::Undeclared)
    }

    /// What a value is taken for here; null may stand for anything.
    pub(super) fn atom(&self, value: &Value) -> Atom<'t> {
        match self.what {
            What::Type(id) => self.of_type(id, MapKind::Unset, value),
            What::Shape { shape, list, map } => self.of_shape(shape, list, map, value),
            What::Any | What::Undeclared => self.deduced(value),
        }
    }

    fn deduced(&self, value: &Value) -> Atom<'t> {
        let any = Place { types: self.types, what: What::Any };
        match value {
            Value::Array(_) => Atom::List { item: any, kind: Items::Atomic },
            Value::Object(_) => Atom::Map { entries: Entries::Same(any), atomic: false },
            _ => Atom::Scalar(Scalar::Any),
        }
    }

    fn of_type(&self, id: TypeId, map: MapKind, value: &Value) -> Atom<'t> {
        let ty = self.types.get(id);
        if let Some(shape) = &ty.scalar {
            return self.of_shape(shape, &UNSET, map, value);
        }
        let map = if map == MapKind::Unset { ty.map } else { map };
        Atom::Map { entries: Entries::Fields(self.types, ty), atomic: map == MapKind::Atomic }
    }

    fn of_shape(&self, shape: &'t Shape, list: &'t ListKind, map: MapKind, value: &Value) -> Atom<'t> {
        match shape {
            Shape::String | Shape::Bytes => Atom::Scalar(Scalar::String),
            Shape::Int32 | Shape::Int64 | Shape::Float64 => Atom::Scalar(Scalar::Number),
            Shape::Bool => Atom::Scalar(Scalar::Bool),
            Shape::Time | Shape::MicroTime | Shape::Quantity | Shape::IntOrString => Atom::Scalar(Scalar::Any),
            Shape::Any if self.types.any_is_atomic() => {
                Atom::Map { entries: Entries::Same(Place { types: self.types, what: What::Any }), atomic: true }
            }
            Shape::Any => self.deduced(value),
            Shape::Ref(id) => self.of_type(*id, map, value),
            Shape::RefOr(id, _) if value.is_object() => self.of_type(*id, map, value),
            Shape::RefOr(..) => self.deduced(value),
            Shape::Map(inner) => {
                Atom::Map { entries: Entries::Same(Place::inner(self.types, inner)), atomic: map == MapKind::Atomic }
            }
            Shape::List(inner) => {
                let kind = match list {
                    ListKind::Unset | ListKind::Atomic => Items::Atomic,
                    ListKind::Set => Items::Set,
                    ListKind::Map(keys) => Items::Map(keys),
                };
                Atom::List { item: Place::inner(self.types, inner), kind }
            }
        }
    }

    /// The type's default for a field of an item, by which an item without it is found.
    fn key_default(&self, key: &str) -> Option<&'t Value> {
        match self.what {
            What::Shape { shape: Shape::Ref(id), .. } => self.types.get(*id).find(key)?.default.as_ref(),
            _ => None,
        }
    }

    /// The step that leads to an item of a list at this place; `self` is the place of the items.
    pub(super) fn step_to(&self, kind: Items, index: usize, item: &Value) -> Result<Step, String> {
        match kind {
            Items::Atomic => Ok(Step::Index(i64::try_from(index).unwrap_or(i64::MAX))),
            Items::Set => match item {
                Value::Object(_) => Err("associative list without keys has an element that's a map type".to_owned()),
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => Err("associative list without keys has an element that's an explicit null".to_owned()),
                item => Ok(Step::Value(Datum(item.clone()))),
            },
            Items::Map(keys) => {
                let map = match item {
                    Value::Object(map) => map,
                    Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
                    _ => return Err("associative list with keys may not have non-map elements".to_owned()),
                };
                let value = |key: &str| map.get(key).or_else(|| self.key_default(key)).cloned();
                let mut found: Vec<(String, Datum)> =
                    keys.iter().filter_map(|key| Some((key.to_string(), Datum(value(key)?)))).collect();
                if found.is_empty() {
                    let names: Vec<String> = keys.iter().map(|key| crate::go_text::quote(key)).collect();
                    return Err(format!(
                        "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                        names.join(" ")
                    ));
                }
                found.sort();
                Ok(Step::Key(found))
            }
        }
    }
}

/// A map with something in it.
pub(super) fn filled_map(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object).filter(|map| !map.is_empty())
}

/// A list with something in it.
pub(super) fn filled_list(value: Option<&Value>) -> Option<&Vec<Value>> {
    value.and_then(Value::as_array).filter(|items| !items.is_empty())
}
