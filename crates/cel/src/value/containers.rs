//! Lists, maps and objects: made by expressions, or views of JSON.

use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

use indexmap::IndexMap;
use machinery::go_text::quote;
use serde_json::Value as Json;

use super::{EvalResult, Steps, Text, Value, equal};
use crate::errors::EvalError;
use crate::types::{Declaration, ListKind, ObjectType, unescape_name};

static DYNAMIC: LazyLock<Arc<Declaration>> = LazyLock::new(|| Arc::new(Declaration::dynamic()));

pub(super) fn dynamic() -> Arc<Declaration> {
    DYNAMIC.clone()
}

/// A list.
#[derive(Clone, Debug)]
pub enum List<'a> {
    Items(Arc<Vec<Value<'a>>>),
    Json {
        items: &'a [Json],
        element: Arc<Declaration>,
        kind: ListKind,
    },
    /// Two lists, one behind the other. Sums are cheap in an expression's cost, so they copy nothing.
    Sum {
        parts: Arc<(List<'a>, List<'a>)>,
        len: usize,
    },
}

impl<'a> List<'a> {
    pub fn len(&self) -> usize {
        match self {
            List::Items(items) => items.len(),
            List::Json { items, .. } => items.len(),
            List::Sum { len, .. } => *len,
        }
    }

    /// The two, one behind the other.
    pub(crate) fn sum(a: &List<'a>, b: &List<'a>) -> Self {
        match (a.is_empty(), b.is_empty()) {
            (_, true) => a.clone(),
            (true, _) => b.clone(),
            _ => List::Sum { len: a.len().saturating_add(b.len()), parts: Arc::new((a.clone(), b.clone())) },
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at a place that the list has.
    pub fn get(&self, index: usize) -> Option<EvalResult<'a>> {
        match self {
            List::Items(items) => items.get(index).cloned().map(Ok),
            List::Json { items, element, .. } => items.get(index).map(|item| Value::from_json(item, element)),
            List::Sum { parts, .. } => match index.checked_sub(parts.0.len()) {
                None => parts.0.get(index),
                Some(index) => parts.1.get(index),
            },
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = EvalResult<'a>> + '_ {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    pub(crate) fn contains(&self, value: &Value<'a>) -> Result<bool, crate::errors::EvalError> {
        for item in self.iter() {
            if equal(&item?, value)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(crate) fn kind(&self) -> &ListKind {
        match self {
            List::Items(_) | List::Sum { .. } => &ListKind::Atomic,
            List::Json { kind, .. } => kind,
        }
    }

    /// All items.
    pub(crate) fn items(&self) -> Result<Vec<Value<'a>>, crate::errors::EvalError> {
        self.iter().collect()
    }
}

/// The key of a map. Whole numbers are one key whatever their type.
#[derive(Clone, Debug)]
pub enum Key<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(Text<'a>),
}

impl<'a> Key<'a> {
    /// The key that this value is, if it can be one.
    pub fn of(value: &Value<'a>) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Key::Bool(*value),
            Value::Int(value) => Key::Int(*value),
            Value::Uint(value) => Key::Uint(*value),
            Value::Double(value) if value.fract() == 0.0 && (-9.2e18..=9.2e18).contains(value) => {
                Key::Int(*value as i64)
            }
            Value::String(text) => Key::String(text.clone()),
            _ => return None,
        })
    }

    pub fn value(&self) -> Value<'a> {
        match self {
            Key::Bool(value) => Value::Bool(*value),
            Key::Int(value) => Value::Int(*value),
            Key::Uint(value) => Value::Uint(*value),
            Key::String(text) => Value::String(text.clone()),
        }
    }

    fn number(&self) -> Option<i128> {
        match self {
            Key::Int(value) => Some(i128::from(*value)),
            Key::Uint(value) => Some(i128::from(*value)),
            _ => None,
        }
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Key::Bool(a), Key::Bool(b)) => a == b,
            (Key::String(a), Key::String(b)) => **a == **b,
            (a, b) => a.number().is_some() && a.number() == b.number(),
        }
    }
}

impl Eq for Key<'_> {}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Key::Bool(value) => value.hash(state),
            Key::String(text) => (**text).hash(state),
            number => number.number().hash(state),
        }
    }
}

/// A map, or an object of JSON with declared fields, which behaves as one.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    Entries(Arc<IndexMap<Key<'a>, Value<'a>>>),
    Json { map: &'a serde_json::Map<String, Json>, value: Arc<Declaration> },
    Object { map: &'a serde_json::Map<String, Json>, ty: Arc<ObjectType> },
}

impl<'a> Map<'a> {
    pub fn len(&self) -> usize {
        match self {
            Map::Entries(entries) => entries.len(),
            Map::Json { map, .. } | Map::Object { map, .. } => map.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key.
    pub fn get(&self, key: &Value<'a>) -> Option<EvalResult<'a>> {
        match (self, key) {
            (Map::Entries(entries), key) => entries.get(&Key::of(key)?).cloned().map(Ok),
            (_, Value::String(name)) => self.field(name),
            _ => None,
        }
    }

    /// The value of a key that is text.
    pub(crate) fn field(&self, name: &str) -> Option<EvalResult<'a>> {
        match self {
            Map::Entries(entries) => entries.get(&Key::String(Text::Shared(name.into()))).cloned().map(Ok),
            Map::Json { map, value } => map.get(name).map(|json| Value::from_json(json, value)),
            Map::Object { map, ty } => match ty.field(name) {
                Some(field) => map.get(&field.name).map(|json| Value::from_json(json, &field.declaration)),
                None if ty.open => map.get(name).map(|json| Value::from_json(json, &dynamic())),
                None => None,
            },
        }
    }

    /// The keys, as expressions see them.
    pub fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Map::Entries(entries) => entries.keys().map(Key::value).collect(),
            Map::Json { map, .. } => map.keys().map(|key| Value::from(key.as_str())).collect(),
            Map::Object { map, ty } => map
                .keys()
                .filter_map(|key| crate::types::escape_name(key).filter(|name| ty.open || ty.field(name).is_some()))
                .map(Value::from)
                .collect(),
        }
    }

    /// Keys and values.
    pub fn entries(&self) -> Vec<(Value<'a>, EvalResult<'a>)> {
        match self {
            Map::Entries(entries) => entries.iter().map(|(key, value)| (key.value(), Ok(value.clone()))).collect(),
            _ => {
                let keys = self.keys().into_iter();
                keys.filter_map(|key| self.get(&key).map(|value| (key.clone(), value))).collect()
            }
        }
    }

    /// The JSON behind the map, if all of it is JSON.
    pub(crate) fn json(&self) -> Option<&'a serde_json::Map<String, Json>> {
        match self {
            Map::Entries(_) => None,
            Map::Json { map, .. } | Map::Object { map, .. } => Some(map),
        }
    }
}

/// An object that an expression made: `Object{...}` or `JSONPatch{...}`.
#[derive(Clone, Debug)]
pub struct Object<'a> {
    pub ty: Arc<ObjectType>,
    pub fields: IndexMap<Arc<str>, Value<'a>>,
}

impl<'a> Object<'a> {
    /// The JSON name of a field.
    pub(crate) fn json_name(&self, field: &str) -> String {
        match self.ty.field(field) {
            Some(field) => field.name.clone(),
            None => unescape_name(field).unwrap_or_else(|| field.to_owned()),
        }
    }
}

impl Value<'_> {
    /// Whether each object in the value is of the type that is named by the fields that lead to it: `Object.spec` at
    /// `Object`'s field `spec`, and in lists and maps there.
    pub fn check_type_names(&self) -> Result<(), EvalError> {
        match self {
            Value::Object(object) => check_type_names(self, &object.ty.name, &mut Steps::new()),
            _ => Ok(()),
        }
    }
}

fn check_type_names(value: &Value<'_>, wanted: &str, steps: &mut Steps) -> Result<(), EvalError> {
    steps.step()?;
    match value {
        Value::Object(object) if object.ty.name != wanted => Err(EvalError::new(format!(
            "unexpected type name {}, expected {}, which matches field name path from root Object type",
            quote(&object.ty.name),
            quote(wanted)
        ))),
        Value::Object(object) => object
            .fields
            .iter()
            .try_for_each(|(name, value)| check_type_names(value, &format!("{wanted}.{name}"), steps)),
        Value::List(List::Items(items)) => items.iter().try_for_each(|item| check_type_names(item, wanted, steps)),
        Value::Map(Map::Entries(entries)) => {
            entries.values().try_for_each(|value| check_type_names(value, wanted, steps))
        }
        Value::Optional(Some(value)) => check_type_names(value, wanted, steps),
        _ => Ok(()),
    }
}
