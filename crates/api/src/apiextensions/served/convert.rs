//! From version to version, and from what is stored to what is sent.
//!
//! A stored object was written under a schema that may have changed since: it is defaulted by its own version, converted,
//! and pruned by the version that it is read in. What a schema no longer has is so never shown, and what it now defaults is.

use machinery::field::Path;
use machinery::status::Status;
use serde_json::Value;

use super::Behaviour;
use crate::structural::{self, Malformed};
use crate::value::text;

/// Converts objects of one kind to another version, as many as it is given and in their order. All of them are of versions
/// other than the one asked for.
pub trait Converter: Send + Sync {
    fn convert(&self, objects: Vec<Value>, api_version: &str) -> Result<Vec<Value>, Status>;
}

/// Objects as they are read from the store, in a version.
pub fn read(behaviour: &Behaviour, mut objects: Vec<Value>, version: &str) -> Result<Vec<Value>, Status> {
    objects.iter_mut().for_each(|object| behaviour.default(object));
    let mut objects = convert(behaviour, objects, version)?;
    for object in &mut objects {
        prune(behaviour, object, version);
    }
    Ok(objects)
}

/// Brings objects into a version; what that does not have is dropped.
pub fn convert(behaviour: &Behaviour, objects: Vec<Value>, version: &str) -> Result<Vec<Value>, Status> {
    let wanted = behaviour.api_version(version);
    let Some(converter) = &behaviour.converter else {
        let convert = |mut object: Value| {
            if text(&object, "/apiVersion") != wanted {
                object = renamed(object, &wanted);
                prune(behaviour, &mut object, version);
            }
            object
        };
        return Ok(objects.into_iter().map(convert).collect());
    };
    let foreign = |object: &Value| text(object, "/apiVersion") != wanted;
    let others: Vec<Value> = objects.iter().filter(|object| foreign(object)).cloned().collect();
    if others.is_empty() {
        return Ok(objects);
    }
    let mut converted = converter.convert(others, &wanted)?.into_iter();
    let objects = objects.into_iter().map(|object| {
        if !foreign(&object) {
            return Some(object);
        }
        let mut object = converted.next()?;
        prune(behaviour, &mut object, version);
        Some(object)
    });
    let objects: Option<Vec<Value>> = objects.collect();
    objects.ok_or_else(|| Status::internal("a conversion lost objects"))
}

fn renamed(mut object: Value, api_version: &str) -> Value {
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".to_owned(), api_version.into());
    }
    object
}

/// Drops what the version does not have.
pub fn prune(behaviour: &Behaviour, object: &mut Value, version: &str) {
    let Some(own) = behaviour.version(version) else { return };
    // What cannot be read of embedded metadata is dropped rather than held against a reader.
    let _ = structural::coerce(object, &own.schema, &Path::root(), Malformed::Drop, &mut Vec::new());
    if !behaviour.preserve_unknown_fields {
        structural::prune(object, &own.schema, true);
        structural::prune_nulls(object, Some(&own.schema));
    }
}
