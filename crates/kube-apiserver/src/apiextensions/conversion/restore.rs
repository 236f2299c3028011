//! What of a converted object is the webhook's to say: all but its type and its metadata, of which it may only change
//! labels and annotations.

use machinery::field::{self, Path};
use machinery::meta_validation;
use serde_json::{Map, Value};

use crate::registry::object;

/// The version must be the one asked for, the kind the same as before.
pub fn check_type(original: &Value, converted: &Value, api_version: &str) -> Result<(), String> {
    let got = object::text(converted, "/apiVersion");
    if got != api_version {
        return Err(format!("invalid groupVersion (expected {api_version}, received {got})"));
    }
    let (expected, got) = (object::text(original, "/kind"), object::text(converted, "/kind"));
    if got != expected {
        return Err(format!("invalid kind (expected {expected}, received {got})"));
    }
    Ok(())
}

/// It must still be the same object.
pub fn check_identity(original: &Value, converted: &Value) -> Result<(), String> {
    for (what, at) in [("name", "/metadata/name"), ("namespace", "/metadata/namespace"), ("UID", "/metadata/uid")] {
        let (before, now) = (object::text(original, at), object::text(converted, at));
        if before != now {
            return Err(format!("must have the same {what}: {before} != {now}"));
        }
    }
    Ok(())
}

/// Puts the metadata back as it was, with the converted object's labels and annotations, which must be good ones if they
/// are not those that were there.
pub fn metadata(original: &Value, converted: &mut Value) -> Result<(), String> {
    let Some(given) = converted.get_mut("metadata") else {
        return Err("missing metadata in converted object".to_owned());
    };
    let Value::Object(given) = given.take() else {
        return Err("invalid metadata in converted object: it is no object".to_owned());
    };
    let mut restored = original.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    for key in ["labels", "annotations"] {
        match given.get(key) {
            None | Some(Value::Null) => {
                restored.shift_remove(key);
            }
            Some(Value::Object(own)) => {
                check(key, own, restored.get(key).and_then(Value::as_object))?;
                restored.insert(key.to_owned(), Value::Object(own.clone()));
            }
            Some(_) => return Err(format!("invalid metadata.{key} in converted object: it is no object")),
        }
    }
    converted["metadata"] = Value::Object(restored);
    Ok(())
}

fn check(key: &str, own: &Map<String, Value>, before: Option<&Map<String, Value>>) -> Result<(), String> {
    if let Some((name, _)) = own.iter().find(|(_, value)| !value.is_string()) {
        return Err(format!("metadata.{key}[{name}] must be a string in converted object"));
    }
    if Some(own) == before {
        return Ok(());
    }
    let errors = match key {
        "labels" => meta_validation::labels(Some(own), &Path::new("metadata").child("labels")),
        _ => meta_validation::annotations(Some(own), &Path::new("metadata").child("annotation")),
    };
    if errors.is_empty() { Ok(()) } else { Err(field::aggregate(&errors)) }
}
