//! Reading and writing metadata of objects as JSON values.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

/// The string at a JSON pointer; "" when there is none.
pub fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at a JSON pointer.
pub fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// The list at a JSON pointer; empty when there is none.
pub fn list<'v>(object: &'v Value, pointer: &str) -> &'v [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The strings of a list at a JSON pointer.
pub fn texts<'v>(object: &'v Value, pointer: &str) -> impl Iterator<Item = &'v str> {
    list(object, pointer).iter().filter_map(Value::as_str)
}

pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

pub fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

pub fn uid(object: &Value) -> &str {
    text(object, "/metadata/uid")
}

pub fn resource_version(object: &Value) -> &str {
    text(object, "/metadata/resourceVersion")
}

pub fn is_deleting(object: &Value) -> bool {
    !text(object, "/metadata/deletionTimestamp").is_empty()
}

pub fn has_finalizers(object: &Value) -> bool {
    !list(object, "/metadata/finalizers").is_empty()
}

/// The map under a key, made when it is missing or no map.
pub fn map_mut<'v>(object: &'v mut Value, key: &str) -> &'v mut Map<String, Value> {
    if !object.is_object() {
        *object = Value::Object(Map::new());
    }
    let Value::Object(fields) = object else { unreachable!("made an object above") };
    let entry = fields.entry(key).or_insert(Value::Null);
    if !entry.is_object() {
        *entry = Value::Object(Map::new());
    }
    let Value::Object(map) = entry else { unreachable!("made an object above") };
    map
}

pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    map_mut(object, "metadata")
}

/// Sets a field of the metadata, or takes it away.
pub fn set_metadata(object: &mut Value, key: &str, value: Option<Value>) {
    let metadata = metadata_mut(object);
    match value {
        Some(value) => {
            metadata.insert(key.to_owned(), value);
        }
        None => {
            metadata.shift_remove(key);
        }
    }
}

/// Copies a field of the metadata from another object, absence included.
pub fn copy_metadata(to: &mut Value, from: &Value, key: &str) {
    let value = from.get("metadata").and_then(|metadata| metadata.get(key)).filter(|value| !value.is_null()).cloned();
    set_metadata(to, key, value);
}

/// A time as the API writes it: whole seconds, UTC.
pub fn time(at: Timestamp) -> Value {
    Value::String(at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// The time at a JSON pointer.
pub fn time_at(object: &Value, pointer: &str) -> Option<Timestamp> {
    text(object, pointer).parse().ok()
}

/// A condition to be set in a status.
pub struct Condition<'c> {
    pub kind: &'c str,
    pub status: &'c str,
    pub reason: &'c str,
    pub message: &'c str,
    /// The one that stands there stays when there is none.
    pub observed_generation: Option<i64>,
}

/// Sets a condition; its time moves only with its status.
pub fn set_condition(object: &mut Value, new: &Condition<'_>) {
    let before = list(object, "/status/conditions").iter().find(|own| text(own, "/type") == new.kind).cloned();
    let same_status = before.as_ref().filter(|before| text(before, "/status") == new.status);
    let since = same_status.map(|before| before["lastTransitionTime"].clone());
    let mut condition = json!({
        "type": new.kind,
        "status": new.status,
        "lastTransitionTime": since.unwrap_or_else(|| time(super::now())),
        "reason": new.reason,
        "message": new.message,
    });
    let known = || before.as_ref().and_then(|before| number(before, "/observedGeneration"));
    if let Some(observed) = new.observed_generation.or_else(known) {
        condition["observedGeneration"] = observed.into();
    }
    let status = map_mut(object, "status");
    let mut conditions = match status.get_mut("conditions").map(Value::take) {
        Some(Value::Array(conditions)) => conditions,
        _ => Vec::new(),
    };
    match conditions.iter_mut().find(|own| text(own, "/type") == new.kind) {
        Some(own) => *own = condition,
        None => conditions.push(condition),
    }
    status.insert("conditions".to_owned(), conditions.into());
}
