//! List types: items of a set are unique, items of a map have unique keys.

use std::collections::HashMap;

use machinery::field::{Error, ErrorList, Path};
use serde_json::{Map, Value};

use super::{Additional, ListType, Schema};

/// What stands twice where it may not. Each value is reported at its second place only.
pub fn validate(value: &Value, schema: &Schema, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    node(value, schema, path, &mut errors);
    errors
}

fn node(value: &Value, schema: &Schema, path: &Path, errors: &mut ErrorList) {
    match value {
        Value::Object(fields) => {
            if let Some(Additional::Schema(below)) = &schema.additional {
                fields.iter().for_each(|(key, value)| node(value, below, &path.key(key), errors));
            }
            for (key, value) in fields {
                if let Some(below) = schema.properties.get(key) {
                    node(value, below, &path.child(key), errors);
                }
            }
        }
        Value::Array(items) => {
            match schema.list_type {
                Some(ListType::Set) => {
                    let repeated = repeated(items.iter());
                    errors.extend(repeated.into_iter().map(|at| Error::duplicate(&path.index(at), &items[at])));
                }
                Some(ListType::Map) => errors.extend(map(items, schema, path)),
                Some(ListType::Atomic) | None => {}
            }
            if let Some(below) = schema.items.as_deref() {
                items.iter().enumerate().for_each(|(at, item)| node(item, below, &path.index(at), errors));
            }
        }
        _ => {}
    }
}

fn map(items: &[Value], schema: &Schema, path: &Path) -> ErrorList {
    if let Some(at) = items.iter().position(|item| !item.is_object() && !item.is_null()) {
        let detail = "must be an object for an array of list-type map";
        return vec![Error::invalid(&path.index(at), &items[at], detail)];
    }
    let key_of = |item: &Value| -> Value {
        let fields = schema.list_map_keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
        let mut key = Value::Object(fields.collect::<Map<_, _>>());
        key.sort_all_objects();
        key
    };
    let keys: Vec<Value> = items.iter().map(key_of).collect();
    repeated(keys.iter()).into_iter().map(|at| Error::duplicate(&path.index(at), &keys[at])).collect()
}

/// The places at which values stand for the second time.
fn repeated<'v>(values: impl Iterator<Item = &'v Value>) -> Vec<usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut places = Vec::new();
    for (at, value) in values.enumerate() {
        let mut value = value.clone();
        value.sort_all_objects();
        let times = seen.entry(value.to_string()).or_default();
        *times += 1;
        if *times == 2 {
            places.push(at);
        }
    }
    places
}
