//! What a write does to an object before it is checked, and the form in which objects are stored.

use serde_json::{Map, Value};

use super::Behaviour;
use crate::structural::{self, Malformed};
use crate::{erase, strategy};

pub fn prepare_create(behaviour: &Behaviour, object: &mut Value) {
    if behaviour.version_of(object).is_some_and(|version| version.has_status) {
        strategy::drop_field(object, "status");
    }
    strategy::set_generation(object, 1);
}

pub fn prepare_update(behaviour: &Behaviour, new: &mut Value, old: &Value) {
    erase::keep_server_fields(new, old);
    let has_status = behaviour.version_of(new).is_some_and(|version| version.has_status);
    if has_status {
        strategy::copy_field(new, old, "status");
    }
    // Everything but metadata (and the status, where it is a subresource) is desired state.
    let desired = |object: &Value| {
        let mut object = object.clone();
        strategy::drop_field(&mut object, "metadata");
        if has_status {
            strategy::drop_field(&mut object, "status");
        }
        object
    };
    if desired(new) != desired(old) {
        strategy::set_generation(new, strategy::generation(old) + 1);
    }
}

/// The status and who owns what of it are new; all else stays as it was.
pub fn prepare_status_update(new: &mut Value, old: &Value) {
    let given = std::mem::replace(new, old.clone());
    strategy::copy_field(new, &given, "status");
    if let (Some(to), Some(from)) = (new.get_mut("metadata").and_then(Value::as_object_mut), given.get("metadata")) {
        match from.get("managedFields") {
            Some(managed) => drop(to.insert("managedFields".to_owned(), managed.clone())),
            None => drop(to.shift_remove("managedFields")),
        }
    }
}

/// Type and metadata first, metadata in its own order, all else sorted, as upstream writes objects without types.
pub fn canonicalize(object: &mut Value) {
    let Value::Object(fields) = object else { return };
    let mut given = std::mem::take(fields);
    let mut ordered = Map::with_capacity(given.len());
    for key in ["apiVersion", "kind"] {
        if let Some(value) = given.shift_remove(key) {
            ordered.insert(key.to_owned(), value);
        }
    }
    let metadata = given.shift_remove("metadata").unwrap_or_else(|| Value::Object(Map::new()));
    // Validation has seen it, so there is nothing malformed to drop.
    let metadata = structural::object_meta(metadata.clone(), Malformed::Drop).map_or(metadata, |(known, _)| known);
    ordered.insert("metadata".to_owned(), metadata);
    given.sort_keys();
    for (key, mut value) in given {
        value.sort_all_objects();
        ordered.insert(key, value);
    }
    *fields = ordered;
}
