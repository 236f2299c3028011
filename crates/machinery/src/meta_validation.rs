//! Validation of metadata, the same for every kind.
//!
//! There are two strengths, as upstream has them: the generic one, which every write passes and which is all that custom objects
//! get, and the full one, which built-in kinds use and which is stricter about the names of finalizers.

mod selectors;

pub use selectors::{label_selector, label_selector_requirement};

use crate::field::{Error, ErrorList, Path};
use crate::go_text;
use crate::gvk::GroupVersionKind;
use crate::meta;
use crate::names;
use serde_json::{Map, Value};

/// A kind's rule for names; the flag says that only the beginning of a name is checked (generateName).
pub type NameRule = fn(&str, bool) -> Vec<String>;

/// What all annotations of an object may take together.
pub const ANNOTATIONS_BYTES_MAX: usize = 256 << 10;
/// The longest name of a field manager.
pub const FIELD_MANAGER_MAX: usize = 128;
/// The longest name of a subresource in managedFields.
const SUBRESOURCE_MAX: usize = 256;

/// Checks the metadata of an object of a built-in kind. `path` is that of the metadata.
pub fn validate_object_meta(object: &Value, namespaced: bool, name: NameRule, path: &Path) -> ErrorList {
    let mut errors = validate_object_meta_generic(object, namespaced, name, path);
    errors.extend(standard_finalizers(object, path));
    errors
}

/// Checks the metadata of any object.
pub fn validate_object_meta_generic(object: &Value, namespaced: bool, name: NameRule, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let prefix = meta::generate_name(object);
    if !prefix.is_empty() {
        extend(&mut errors, &path.child("generateName"), prefix, name(prefix, true));
    }
    match meta::name(object) {
        "" => errors.push(Error::required(&path.child("name"), "name or generateName is required")),
        own => extend(&mut errors, &path.child("name"), own, name(own, false)),
    }
    let namespace = meta::namespace(object);
    if namespaced {
        match namespace {
            "" => errors.push(Error::required(&path.child("namespace"), "")),
            namespace => extend(&mut errors, &path.child("namespace"), namespace, names::is_dns1123_label(namespace)),
        }
    } else if !namespace.is_empty() {
        errors.push(Error::forbidden(&path.child("namespace"), "not allowed on this type"));
    }
    let generation = meta::generation(object);
    if generation < 0 {
        errors.push(Error::invalid(&path.child("generation"), generation, "must be greater than or equal to 0"));
    }
    errors.extend(labels(meta::labels(object), &path.child("labels")));
    errors.extend(annotations(meta::annotations(object), &path.child("annotations")));
    errors.extend(owner_references(meta::owner_references(object), &path.child("ownerReferences")));
    errors.extend(finalizers(&meta::finalizers(object).collect::<Vec<_>>(), &path.child("finalizers")));
    errors.extend(managed_fields(meta::managed_fields(object), &path.child("managedFields")));
    errors
}

/// Checks what an update of a built-in kind does to the metadata.
pub fn validate_object_meta_update(new: &Value, old: &Value, path: &Path) -> ErrorList {
    let mut errors = validate_object_meta_update_generic(new, old, path);
    errors.extend(standard_finalizers(new, path));
    errors
}

/// Checks what an update does to the metadata. A field that the update leaves out and the server fills in (uid, timestamps) must
/// have been filled in before.
pub fn validate_object_meta_update_generic(new: &Value, old: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if meta::is_being_deleted(old) {
        errors.extend(no_new_finalizers(new, old, &path.child("finalizers")));
    }
    if meta::resource_version(new).is_empty() {
        errors.push(Error::invalid(&path.child("resourceVersion"), "", "must be specified for an update"));
    }
    if meta::generation(new) < meta::generation(old) {
        errors.push(Error::invalid(&path.child("generation"), meta::generation(new), "must not be decremented"));
    }
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        let read = |object: &Value| object.pointer("/metadata").and_then(|meta| meta.get(field)).cloned();
        let text = matches!(field, "name" | "namespace" | "uid");
        let normal = |value: Option<Value>| value.unwrap_or_else(|| if text { Value::from("") } else { Value::Null });
        errors.extend(immutable(&normal(read(new)), &normal(read(old)), &path.child(field)));
    }
    errors.extend(labels(meta::labels(new), &path.child("labels")));
    errors.extend(annotations(meta::annotations(new), &path.child("annotations")));
    errors.extend(owner_references(meta::owner_references(new), &path.child("ownerReferences")));
    errors.extend(managed_fields(meta::managed_fields(new), &path.child("managedFields")));
    errors
}

/// A field that an update may not change.
pub fn immutable(new: &Value, old: &Value, path: &Path) -> Option<Error> {
    (new != old).then(|| Error::invalid(path, new, "field is immutable"))
}

/// Keys and values of labels.
pub fn labels(labels: Option<&Map<String, Value>>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (key, value) in labels.into_iter().flatten() {
        extend(&mut errors, path, key, names::qualified_name(key));
        let value = value.as_str().unwrap_or_default();
        extend(&mut errors, path, value, names::label_value(value));
    }
    errors
}

/// Keys of annotations, in which case does not matter, and their size.
pub fn annotations(annotations: Option<&Map<String, Value>>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut bytes = 0;
    for (key, value) in annotations.into_iter().flatten() {
        extend(&mut errors, path, key, names::qualified_name(&key.to_lowercase()));
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > ANNOTATIONS_BYTES_MAX {
        errors.push(Error::too_long(path, "", ANNOTATIONS_BYTES_MAX));
    }
    errors
}

/// Names of finalizers, and that no two contradict each other.
pub fn finalizers(finalizers: &[&str], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for name in finalizers {
        extend(&mut errors, path, name, names::qualified_name(name));
    }
    if finalizers.contains(&"orphan") && finalizers.contains(&"foregroundDeletion") {
        errors.push(Error::invalid(path, finalizers, "finalizer orphan and foregroundDeletion cannot be both set"));
    }
    errors
}

/// A finalizer without a domain must be one of the known ones.
pub fn standard_finalizer(name: &str, path: &Path) -> Option<Error> {
    let known = name.contains('/') || matches!(name, "kubernetes" | "orphan" | "foregroundDeletion");
    let detail = "name is neither a standard finalizer name nor is it fully qualified";
    (!known).then(|| Error::invalid(path, name, detail))
}

fn standard_finalizers(object: &Value, path: &Path) -> ErrorList {
    let path = path.child("finalizers");
    meta::finalizers(object).enumerate().filter_map(|(i, name)| standard_finalizer(name, &path.index(i))).collect()
}

fn no_new_finalizers(new: &Value, old: &Value, path: &Path) -> Option<Error> {
    let mut added: Vec<&str> =
        meta::finalizers(new).filter(|name| !meta::finalizers(old).any(|other| other == *name)).collect();
    added.sort_unstable();
    added.dedup();
    if added.is_empty() {
        return None;
    }
    let added = go_text::quote_all(&added);
    let detail = "no new finalizers can be added if the object is being deleted, found new finalizers";
    Some(Error::forbidden(path, format!("{detail} []string{{{added}}}")))
}

/// Owners must be named in full, at most one of them manages, and events own nothing.
pub fn owner_references(owners: &[Value], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut controller: Option<String> = None;
    for owner in owners {
        errors.extend(owner_reference(owner, path));
        if owner.get("controller") != Some(&Value::Bool(true)) {
            continue;
        }
        let text = |field| owner.get(field).and_then(Value::as_str).unwrap_or_default();
        let name = format!("{}/{}", text("kind"), text("name"));
        let Some(first) = &controller else {
            controller = Some(name);
            continue;
        };
        let all: Vec<Value> = owners.iter().map(canonical_owner).collect();
        let detail = "Only one reference can have Controller set to true. Found \"true\" in references for";
        errors.push(Error::invalid(path, all, format!("{detail} {first} and {name}")));
    }
    errors
}

fn owner_reference(owner: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let text = |field| owner.get(field).and_then(Value::as_str).unwrap_or_default();
    // An apiVersion that cannot be read has no version either.
    let gvk = GroupVersionKind::of(owner).unwrap_or_else(|_| GroupVersionKind::new("", "", text("kind")));
    if gvk.version.is_empty() {
        errors.push(Error::invalid(&path.child("apiVersion"), text("apiVersion"), "version must not be empty"));
    }
    for field in ["kind", "name", "uid"] {
        if text(field).is_empty() {
            errors.push(Error::invalid(&path.child(field), "", "must not be empty"));
        }
    }
    if gvk == GroupVersionKind::new("", "v1", "Event") {
        let detail = format!("{gvk} is disallowed from being an owner");
        errors.push(Error::invalid(path, canonical_owner(owner), detail));
    }
    errors
}

/// An owner with its fields in the order in which errors show them.
fn canonical_owner(owner: &Value) -> Value {
    let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
    let present = fields.into_iter().filter_map(|field| Some((field.to_owned(), owner.get(field)?.clone())));
    Value::Object(present.collect())
}

/// What managedFields must say in any case.
pub fn managed_fields(entries: &[Value], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, entry) in entries.iter().enumerate() {
        let path = path.index(i);
        let text = |field| entry.get(field).and_then(Value::as_str).unwrap_or_default();
        if !matches!(text("operation"), "Apply" | "Update") {
            errors.push(Error::invalid(&path.child("operation"), text("operation"), "must be `Apply` or `Update`"));
        }
        if !matches!(text("fieldsType"), "" | "FieldsV1") {
            errors.push(Error::invalid(&path.child("fieldsType"), text("fieldsType"), "must be `FieldsV1`"));
        }
        errors.extend(field_manager(text("manager"), &path.child("manager")));
        if text("subresource").len() > SUBRESOURCE_MAX {
            errors.push(Error::too_long(&path.child("subresource"), "", SUBRESOURCE_MAX));
        }
    }
    errors
}

/// The name of a field manager: short and printable.
pub fn field_manager(name: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if name.len() > FIELD_MANAGER_MAX {
        errors.push(Error::too_long(path, name, FIELD_MANAGER_MAX));
    }
    for (at, c) in name.char_indices().filter(|(_, c)| !go_text::is_printable(*c)) {
        let detail = format!("invalid character U+{:04X} (at position {at})", c as u32);
        errors.push(Error::invalid(path, name, detail));
    }
    errors
}

fn extend(errors: &mut ErrorList, path: &Path, value: &str, messages: Vec<String>) {
    errors.extend(messages.into_iter().map(|message| Error::invalid(path, value, message)));
}

#[cfg(test)]
mod tests;
