//! Pruning: fields that the schema does not name are dropped, and reported where somebody wants to know.
//!
//! A node that preserves unknown fields keeps what it does not name; what it names is pruned again. `apiVersion`, `kind`
//! and `metadata` of a resource stay whatever the schema says (`meta` looks after them).

use serde_json::Value;

use super::{Additional, Schema, is_type_or_metadata};

/// Drops unknown fields; `root` says that the value is a resource itself. Returns the paths of what was dropped, sorted.
pub fn prune(value: &mut Value, schema: &Schema, root: bool) -> Vec<String> {
    let mut pruner = Pruner { dropped: Vec::new(), path: String::new() };
    pruner.prune(value, Some(schema), root);
    pruner.dropped.sort();
    pruner.dropped
}

struct Pruner {
    dropped: Vec<String>,
    path: String,
}

impl Pruner {
    fn prune(&mut self, value: &mut Value, schema: Option<&Schema>, resource: bool) {
        let Some(schema) = schema else { return self.drop_all(value) };
        let resource = resource || schema.embedded_resource;
        match value {
            Value::Object(fields) => fields.retain(|key, value| {
                if resource && is_type_or_metadata(key) {
                    return true;
                }
                let below = match (schema.properties.get(key), &schema.additional) {
                    (Some(property), _) => Some(Some(property)),
                    (None, Some(Additional::Schema(schema))) => Some(Some(&**schema)),
                    (None, Some(Additional::Any(_))) => Some(None),
                    (None, None) => None,
                };
                match below {
                    Some(below) => self.at_key(key, |pruner| pruner.prune(value, below, false)),
                    None if schema.preserve_unknown_fields => {}
                    None => {
                        if !self.path.is_empty() || !is_type_or_metadata(key) {
                            self.record(key);
                        }
                        return false;
                    }
                }
                true
            }),
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.at_index(index, |pruner| match (&schema.items, schema.preserve_unknown_fields) {
                        // What is preserved is so below lists as well, where nothing else is said.
                        (None, true) => {}
                        (Some(items), true) if !items.preserve_unknown_fields => {
                            pruner.prune_preserving(item, items);
                        }
                        (items, _) => pruner.prune(item, items.as_deref(), false),
                    });
                }
            }
            _ => {}
        }
    }

    /// Prunes below what the schema names and keeps the rest.
    fn prune_preserving(&mut self, value: &mut Value, schema: &Schema) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields.iter_mut() {
                    if schema.embedded_resource && is_type_or_metadata(key) {
                        continue;
                    }
                    if let Some(property) = schema.properties.get(key) {
                        self.at_key(key, |pruner| pruner.prune(value, Some(property), false));
                    } else if schema.additional.is_some() {
                        self.at_key(key, |pruner| pruner.prune(value, schema.additional_schema(), false));
                    }
                }
            }
            Value::Array(items) => {
                if let Some(below) = schema.items.as_deref() {
                    for (index, item) in items.iter_mut().enumerate() {
                        self.at_index(index, |pruner| pruner.prune_preserving(item, below));
                    }
                }
            }
            _ => {}
        }
    }

    fn drop_all(&mut self, value: &mut Value) {
        match value {
            Value::Object(fields) => {
                let keys: Vec<String> = std::mem::take(fields).into_iter().map(|(key, _)| key).collect();
                keys.iter().for_each(|key| self.record(key));
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.at_index(index, |pruner| pruner.drop_all(item));
                }
            }
            _ => {}
        }
    }

    fn record(&mut self, key: &str) {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        self.dropped.push(path);
    }

    fn at_key(&mut self, key: &str, then: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        then(self);
        self.path.truncate(length);
    }

    fn at_index(&mut self, index: usize, then: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.path.push_str(&format!("[{index}]"));
        then(self);
        self.path.truncate(length);
    }
}
