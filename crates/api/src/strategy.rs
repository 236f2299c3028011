//! What a create or an update does to an object before it is checked: the status belongs to the status subresource,
//! the rest to the main one, and the generation moves only with the desired state.

use serde_json::{Map, Value};

use crate::value::semantically_equal;

/// The generation of an object; 0 when it has none.
pub fn generation(object: &Value) -> i64 {
    object.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0)
}

/// Sets the generation; 0 takes the field away.
pub fn set_generation(object: &mut Value, generation: i64) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    if generation == 0 {
        metadata.shift_remove("generation");
    } else {
        metadata.insert("generation".to_string(), generation.into());
    }
}

/// A new object has no status yet and starts at generation 1.
pub fn create_with_status(object: &mut Value) {
    drop_field(object, "status");
    set_generation(object, 1);
}

/// A new object of a kind whose status is not reset and whose generation does not count.
pub fn drop_status(object: &mut Value) {
    drop_field(object, "status");
}

/// The main resource: the status stays as it was; a changed spec moves the generation.
pub fn update_spec(new: &mut Value, old: &Value) {
    copy_field(new, old, "status");
    bump_generation(new, old, &["spec"]);
}

/// The main resource of a kind that counts no generations.
pub fn keep_status(new: &mut Value, old: &Value) {
    copy_field(new, old, "status");
}

/// The status subresource: the spec stays as it was.
pub fn update_status(new: &mut Value, old: &Value) {
    copy_field(new, old, "spec");
}

/// The status subresource where labels belong to the main resource as well.
pub fn update_status_keep_labels(new: &mut Value, old: &Value) {
    copy_field(new, old, "spec");
    let labels = old.pointer("/metadata/labels").cloned();
    if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
        set_or_remove(metadata, "labels", labels);
    }
}

/// Moves the generation when one of `fields` differs.
pub fn bump_generation(new: &mut Value, old: &Value, fields: &[&str]) {
    if fields.iter().any(|field| !semantically_equal(new.get(*field), old.get(*field))) {
        set_generation(new, generation(old) + 1);
    }
}

/// Makes `field` of `new` what it is in `old`, also when it is absent there.
pub fn copy_field(new: &mut Value, old: &Value, field: &str) {
    let value = old.get(field).cloned();
    if let Some(object) = new.as_object_mut() {
        set_or_remove(object, field, value);
    }
}

/// Takes the resourceVersion that a write was made from over into what is made of it.
pub fn keep_resource_version(new: &mut Value, given: &Value) {
    let version = given.pointer("/metadata/resourceVersion");
    if let (Some(version), Some(metadata)) = (version, new.get_mut("metadata").and_then(Value::as_object_mut)) {
        metadata.insert("resourceVersion".to_string(), version.clone());
    }
}

/// Takes `field` away.
pub fn drop_field(object: &mut Value, field: &str) {
    if let Some(object) = object.as_object_mut() {
        object.shift_remove(field);
    }
}

fn set_or_remove(object: &mut Map<String, Value>, field: &str, value: Option<Value>) {
    match value {
        Some(value) => {
            object.insert(field.to_string(), value);
        }
        None => {
            object.shift_remove(field);
        }
    }
}

/// The status subresource of a kind whose metadata belongs to the main resource as well.
pub fn keep_metadata(new: &mut Value, old: &Value) {
    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
        let kept = old.pointer(&format!("/metadata/{field}")).cloned();
        if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
            set_or_remove(metadata, field, kept);
        }
    }
}
