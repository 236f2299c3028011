//! Which old value a new one comes from: properties by name, items of list-type map by their keys, other items not at all.

use std::cell::OnceCell;
use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{ListType, Schema};

/// A value before and after an update, with its schema.
pub struct Correlated<'v> {
    pub new: &'v Value,
    pub old: &'v Value,
    pub schema: &'v Schema,
    unchanged: OnceCell<bool>,
    /// Old items by their keys, made when a list of list-type map is gone into.
    items: OnceCell<HashMap<String, &'v Value>>,
}

impl<'v> Correlated<'v> {
    pub fn new(new: &'v Value, old: &'v Value, schema: &'v Schema) -> Self {
        Self { new, old, schema, unchanged: OnceCell::new(), items: OnceCell::new() }
    }

    pub fn is_unchanged(&self) -> bool {
        *self.unchanged.get_or_init(|| self.new == self.old)
    }

    /// The pair of one property.
    pub fn key(&self, name: &str) -> Option<Correlated<'v>> {
        let (new, old) = (self.new.as_object()?.get(name)?, self.old.as_object()?.get(name)?);
        Some(Self::new(new, old, self.schema.property(name)?))
    }

    /// The pair of one item of the new list.
    pub fn index(&self, index: usize) -> Option<Correlated<'v>> {
        let new = self.new.as_array()?.get(index)?;
        let old = self.old.as_array()?;
        if self.schema.list_type != Some(ListType::Map) {
            return None;
        }
        let items = self.items.get_or_init(|| {
            let mut items = HashMap::with_capacity(old.len());
            for item in old {
                items.entry(key_of(item, &self.schema.list_map_keys)).or_insert(item);
            }
            items
        });
        let old = *items.get(&key_of(new, &self.schema.list_map_keys))?;
        Some(Self::new(new, old, self.schema.items.as_deref()?))
    }
}

/// The keys of an item as text.
fn key_of(item: &Value, keys: &[String]) -> String {
    let fields = keys.iter().map(|key| (key.clone(), item.get(key).cloned().unwrap_or_default()));
    Value::Object(fields.collect::<Map<_, _>>()).to_string()
}
