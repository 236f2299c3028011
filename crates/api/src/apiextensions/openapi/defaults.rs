//! Defaults fit their schema and hold nothing that would be pruned. Those inside of metadata are looked at in their place in
//! a resource, because metadata has its own form.

use machinery::field::{self, Error, ErrorList, Path};
use serde_json::{Map, Value, json};

use crate::structural::{self, Malformed, Schema};

/// The way from a resource to a value within it.
enum Step<'s> {
    Child(&'s str),
    Index,
}

pub fn validate(schema: &Schema, require_pruned: bool, path: &Path) -> ErrorList {
    let mut checker = Checker { require_pruned, way: Vec::new(), errors: ErrorList::new() };
    checker.node(schema, schema, true, false, path);
    checker.errors
}

struct Checker<'s> {
    require_pruned: bool,
    way: Vec<Step<'s>>,
    errors: ErrorList,
}

impl<'s> Checker<'s> {
    /// `root` is the resource that the node is in; `resource` says that it is one itself.
    fn node(&mut self, schema: &'s Schema, root: &'s Schema, resource: bool, in_metadata: bool, path: &Path) {
        if schema.embedded_resource && !resource {
            let way = std::mem::take(&mut self.way);
            self.node(schema, schema, true, false, path);
            self.way = way;
            return;
        }
        if let Some(default) = &schema.default {
            let path = path.child("default");
            let found = if in_metadata {
                self.inside_metadata(schema, root, default, &path)
            } else {
                self.outside(schema, default, &path)
            };
            self.errors.extend(found);
        }
        if let Some(items) = schema.items.as_deref() {
            self.way.push(Step::Index);
            self.node(items, root, false, in_metadata, &path.child("items"));
            self.way.pop();
        }
        let properties = path.child("properties");
        for (name, property) in &schema.properties {
            let in_metadata = in_metadata || (resource && matches!(name.as_str(), "metadata" | "apiVersion" | "kind"));
            self.way.push(Step::Child(name));
            self.node(property, root, false, in_metadata, &properties.key(name));
            self.way.pop();
        }
    }

    fn outside(&self, schema: &Schema, default: &Value, path: &Path) -> ErrorList {
        let mut errors = ErrorList::new();
        let resource = schema.embedded_resource;
        if self.require_pruned && !structural::prune(&mut default.clone(), schema, resource).is_empty() {
            errors.push(Error::invalid(path, default, "must not have unknown fields"));
        }
        let mut coerced = default.clone();
        if let Err(error) = structural::coerce(&mut coerced, schema, path, Malformed::Refuse, &mut Vec::new()) {
            errors.push(*error);
            return errors;
        }
        let embedded = structural::validate_embedded(&coerced, schema, path);
        errors.extend(if embedded.is_empty() { structural::validate(&coerced, schema, path) } else { embedded });
        errors
    }

    fn inside_metadata(&self, schema: &Schema, root: &Schema, default: &Value, path: &Path) -> ErrorList {
        let mut object = self.surround(default);
        let refused =
            |reason: String| vec![Error::invalid(path, default, format!("must result in valid metadata: {reason}"))];
        if let Err(error) = structural::coerce_root(&mut object, root) {
            return refused(error.to_string());
        }
        let mut problems = structural::validate_resource(&object, &Path::root());
        problems.extend(structural::validate_embedded(&object, root, &Path::root()));
        if !problems.is_empty() {
            return refused(field::aggregate(&problems));
        }
        structural::validate(default, schema, path)
    }

    /// A resource that has the value at this place.
    fn surround(&self, value: &Value) -> Value {
        let mut object = self.way.iter().rev().fold(value.clone(), |inner, step| match step {
            Step::Child(name) => Value::Object(Map::from_iter([((*name).to_owned(), inner)])),
            Step::Index => json!([inner]),
        });
        for (key, value) in [("kind", "Validation"), ("apiVersion", "validation/v1")] {
            if let Some(fields) = object.as_object_mut() {
                fields.entry(key).or_insert_with(|| value.into());
            }
        }
        object
    }
}

/// Whether a default holds something that would be pruned.
pub fn has_unpruned(schema: &Schema) -> bool {
    let own = schema
        .default
        .as_ref()
        .is_some_and(|default| !structural::prune(&mut default.clone(), schema, schema.embedded_resource).is_empty());
    own || schema.items.as_deref().is_some_and(has_unpruned)
        || schema.additional_schema().is_some_and(has_unpruned)
        || schema.properties.values().any(has_unpruned)
}
