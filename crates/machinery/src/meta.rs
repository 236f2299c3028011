//! Object metadata of untyped objects: readers that treat absent as empty, and writers that keep the canonical order of fields.

use crate::time;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// The time at which a request is handled, handed in by whoever has a clock.
pub type Now = Timestamp;

/// The order in which ObjectMeta's fields are written.
const ORDER: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

fn meta(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.as_object()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    meta(object).and_then(|meta| meta.get(field)).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    meta(object).and_then(|meta| meta.get(field)).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The object's metadata, made if it is not there. An object that is no map becomes one.
pub fn meta_mut(object: &mut Value) -> &mut Map<String, Value> {
    let map = as_map(object);
    if !map.contains_key("metadata") {
        // After the type, which comes first.
        let at = ["kind", "apiVersion"].into_iter().filter(|key| map.contains_key(*key)).count();
        map.shift_insert(at.min(map.len()), "metadata".to_owned(), Value::Object(Map::new()));
    }
    as_map(&mut map["metadata"])
}

fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made a map above"),
    }
}

/// Sets a field of the metadata at its canonical place.
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    let meta = meta_mut(object);
    if let Some(old) = meta.get_mut(field) {
        *old = value.into();
        return;
    }
    let rank = |key: &str| ORDER.iter().position(|name| *name == key).unwrap_or(ORDER.len());
    let at = meta.keys().position(|key| rank(key) > rank(field)).unwrap_or(meta.len());
    meta.shift_insert(at, field.to_owned(), value.into());
}

/// Removes a field of the metadata.
pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.get_mut("metadata")?.as_object_mut()?.shift_remove(field)
}

fn set_or_remove(object: &mut Value, field: &str, value: Value, empty: bool) {
    if empty {
        remove(object, field);
    } else {
        set(object, field, value);
    }
}

pub fn api_version(object: &Value) -> &str {
    object.get("apiVersion").and_then(Value::as_str).unwrap_or_default()
}

pub fn kind(object: &Value) -> &str {
    object.get("kind").and_then(Value::as_str).unwrap_or_default()
}

pub fn name(object: &Value) -> &str {
    text(object, "name")
}

pub fn generate_name(object: &Value) -> &str {
    text(object, "generateName")
}

pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

pub fn generation(object: &Value) -> i64 {
    meta(object).and_then(|meta| meta.get("generation")).and_then(Value::as_i64).unwrap_or_default()
}

pub fn labels(object: &Value) -> Option<&Map<String, Value>> {
    meta(object)?.get("labels")?.as_object()
}

pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    labels(object)?.get(key)?.as_str()
}

pub fn annotations(object: &Value) -> Option<&Map<String, Value>> {
    meta(object)?.get("annotations")?.as_object()
}

pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    annotations(object)?.get(key)?.as_str()
}

pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list(object, "finalizers").iter().filter_map(Value::as_str)
}

pub fn owner_references(object: &Value) -> &[Value] {
    list(object, "ownerReferences")
}

/// The owner that manages the object.
pub fn controller(object: &Value) -> Option<&Value> {
    owner_references(object).iter().find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

pub fn managed_fields(object: &Value) -> &[Value] {
    list(object, "managedFields")
}

fn timestamp(object: &Value, field: &str) -> Option<Timestamp> {
    time::parse_rfc3339(meta(object)?.get(field)?.as_str()?).ok()
}

pub fn creation_timestamp(object: &Value) -> Option<Timestamp> {
    timestamp(object, "creationTimestamp")
}

pub fn deletion_timestamp(object: &Value) -> Option<Timestamp> {
    timestamp(object, "deletionTimestamp")
}

/// True once deletion was asked for, whether or not the time can be read.
pub fn is_being_deleted(object: &Value) -> bool {
    meta(object).and_then(|meta| meta.get("deletionTimestamp")).is_some_and(|time| !time.is_null())
}

pub fn deletion_grace_period_seconds(object: &Value) -> Option<i64> {
    meta(object)?.get("deletionGracePeriodSeconds")?.as_i64()
}

pub fn set_name(object: &mut Value, name: &str) {
    set_or_remove(object, "name", name.into(), name.is_empty());
}

pub fn set_generate_name(object: &mut Value, prefix: &str) {
    set_or_remove(object, "generateName", prefix.into(), prefix.is_empty());
}

pub fn set_namespace(object: &mut Value, namespace: &str) {
    set_or_remove(object, "namespace", namespace.into(), namespace.is_empty());
}

pub fn set_uid(object: &mut Value, uid: &str) {
    set_or_remove(object, "uid", uid.into(), uid.is_empty());
}

pub fn set_resource_version(object: &mut Value, version: &str) {
    set_or_remove(object, "resourceVersion", version.into(), version.is_empty());
}

pub fn set_generation(object: &mut Value, generation: i64) {
    set_or_remove(object, "generation", generation.into(), generation == 0);
}

pub fn set_creation_timestamp(object: &mut Value, now: Timestamp) {
    set(object, "creationTimestamp", time::format_rfc3339_seconds(now));
}

pub fn set_deletion_timestamp(object: &mut Value, now: Timestamp) {
    set(object, "deletionTimestamp", time::format_rfc3339_seconds(now));
}

pub fn set_deletion_grace_period_seconds(object: &mut Value, seconds: i64) {
    set(object, "deletionGracePeriodSeconds", seconds);
}

pub fn set_label(object: &mut Value, key: &str, value: &str) {
    set_entry(object, "labels", key, value);
}

pub fn set_annotation(object: &mut Value, key: &str, value: &str) {
    set_entry(object, "annotations", key, value);
}

fn set_entry(object: &mut Value, field: &str, key: &str, value: &str) {
    if !meta(object).is_some_and(|meta| meta.get(field).is_some_and(Value::is_object)) {
        set(object, field, Map::new());
    }
    let entries = as_map(&mut meta_mut(object)[field]);
    if let Some(old) = entries.get_mut(key) {
        *old = value.into();
        return;
    }
    // Maps of strings are written in the order of their keys.
    let at = entries.keys().position(|other| other.as_str() > key).unwrap_or(entries.len());
    entries.shift_insert(at, key.to_owned(), value.into());
}

pub fn set_finalizers<S: Into<String>>(object: &mut Value, finalizers: impl IntoIterator<Item = S>) {
    let finalizers: Vec<Value> = finalizers.into_iter().map(|name| Value::String(name.into())).collect();
    let empty = finalizers.is_empty();
    set_or_remove(object, "finalizers", finalizers.into(), empty);
}

pub fn set_owner_references(object: &mut Value, owners: Vec<Value>) {
    let empty = owners.is_empty();
    set_or_remove(object, "ownerReferences", owners.into(), empty);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_is_empty() {
        for object in
            [json!(null), json!({}), json!({"metadata": null}), json!({"metadata": {"name": 3, "labels": "x"}})]
        {
            assert_eq!((name(&object), namespace(&object), uid(&object)), ("", "", ""));
            assert_eq!(generation(&object), 0);
            assert!(labels(&object).is_none() && !is_being_deleted(&object));
            assert_eq!(finalizers(&object).count() + owner_references(&object).len(), 0);
        }
    }

    #[test]
    fn fields_are_set_in_canonical_order() {
        let mut object = json!({"kind": "X", "apiVersion": "v1", "spec": {}});
        let now: Timestamp = "2026-11-20T17:50:30.5Z".parse().unwrap();
        set_finalizers(&mut object, ["b", "a"]);
        set_annotation(&mut object, "z", "1");
        set_annotation(&mut object, "a", "1");
        set_creation_timestamp(&mut object, now);
        set_uid(&mut object, "u");
        set_name(&mut object, "n");
        set_generation(&mut object, 1);
        set_label(&mut object, "l", "1");
        set_label(&mut object, "l", "2");
        assert_eq!(
            object.to_string(),
            r#"{"kind":"X","apiVersion":"v1","metadata":{"name":"n","uid":"u","generation":1,"creationTimestamp":"2026-11-20T17:50:30Z","labels":{"l":"2"},"annotations":{"a":"1","z":"1"},"finalizers":["b","a"]},"spec":{}}"#
        );
        set_finalizers(&mut object, [] as [&str; 0]);
        set_uid(&mut object, "");
        assert!(remove(&mut object, "uid").is_none());
        assert_eq!(
            creation_timestamp(&object).map(time::format_rfc3339_seconds).as_deref(),
            Some("2026-11-20T17:50:30Z")
        );
    }

    #[test]
    fn the_controller_is_the_managing_owner() {
        let object = json!({"metadata": {"ownerReferences": [{"name": "a"}, {"name": "b", "controller": true}]}});
        assert_eq!(controller(&object).and_then(|o| o["name"].as_str()), Some("b"));
    }
}
