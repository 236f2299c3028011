//! Short paths into JSON values, for code that reads objects whose kind it knows.

use serde_json::{Map, Value};

/// A field that may be missing, by a dotted path of plain names: `at(&pod, "spec.nodeName")`.
pub fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    path.split('.').fold(value, |value, part| &value[part])
}

/// The string there, or "".
pub fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    at(value, path).as_str().unwrap_or("")
}

/// The whole number there, or 0.
pub fn int(value: &Value, path: &str) -> i64 {
    at(value, path).as_i64().unwrap_or(0)
}

pub fn flag(value: &Value, path: &str) -> bool {
    at(value, path).as_bool().unwrap_or(false)
}

/// The list there, or an empty one.
pub fn list<'v>(value: &'v Value, path: &str) -> &'v [Value] {
    at(value, path).as_array().map_or(&[], Vec::as_slice)
}

pub fn map<'v>(value: &'v Value, path: &str) -> Option<&'v Map<String, Value>> {
    at(value, path).as_object().filter(|map| !map.is_empty())
}

/// Sets a field, making the objects on the way.
pub fn set(value: &mut Value, path: &[&str], new: Value) {
    let mut here = value;
    for part in path {
        if !here.is_object() {
            *here = Value::Object(Map::new());
        }
        let Value::Object(map) = here else { return };
        here = map.entry(*part).or_insert(Value::Null);
    }
    *here = new;
}

/// Removes a field; nothing happens when it is not there.
pub fn remove(value: &mut Value, path: &[&str]) {
    let Some((last, parents)) = path.split_last() else { return };
    let mut here = value;
    for part in parents {
        match here.get_mut(*part) {
            Some(next) => here = next,
            None => return,
        }
    }
    if let Value::Object(map) = here {
        map.shift_remove(*last);
    }
}

/// A scalar as Go prints it with `%v`.
pub fn show(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => machinery::go_text::plain(other),
    }
}

/// All keys in alphabetical order, at every depth: the order in which a Go map is written.
pub fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            Value::Object(keys.into_iter().map(|key| (key.clone(), sorted(&map[key]))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// "a=b,c=d" of a map of strings, in order of the keys.
pub fn join_map(map: Option<&Map<String, Value>>) -> String {
    let mut pairs: Vec<String> = map.map_or_else(Vec::new, |map| {
        map.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or(""))).collect()
    });
    pairs.sort();
    pairs.join(",")
}

/// The kind and version of an object.
pub fn kind(value: &Value) -> &str {
    text(value, "kind")
}

pub fn name(value: &Value) -> &str {
    text(value, "metadata.name")
}

pub fn namespace(value: &Value) -> &str {
    text(value, "metadata.namespace")
}
