//! Which rules apply: a definition that broke a rule before the rule came may go on breaking it.

use std::collections::HashSet;

use serde_json::Value;

use super::openapi::{self, each_schema};
use super::spec::{Spec, texts, version_schema};
use super::structure;
use crate::structural::Schema;
use crate::value::list;

/// A rule is on unless the old definition breaks it.
pub struct Options<'v> {
    pub conversion_review_version: bool,
    pub schema: bool,
    pub property_type: bool,
    pub structural: bool,
    pub pruned_defaults: bool,
    pub atomic_set_items: bool,
    pub map_list_keys: bool,
    /// Versions whose old list of selectable fields was as long.
    pub many_selectable_fields: HashSet<&'v str>,
    /// Versions whose schema has not changed: their rules may cost what they have cost.
    pub unchanged: HashSet<&'v str>,
}

impl<'v> Options<'v> {
    pub fn create() -> Self {
        Self {
            conversion_review_version: true,
            schema: true,
            property_type: true,
            structural: true,
            pruned_defaults: true,
            atomic_set_items: true,
            map_list_keys: true,
            many_selectable_fields: HashSet::new(),
            unchanged: HashSet::new(),
        }
    }

    pub fn update(new: &'v Value, old: &'v Value) -> Self {
        let spec = Spec::of(old);
        let schemas: Vec<&Value> = spec.all_versions().iter().filter_map(version_schema).collect();
        let none = |breaks: &dyn Fn(&Value) -> bool| !schemas.iter().any(|schema| breaks(schema));
        let any_node = |breaks: fn(&Value) -> bool| {
            none(&|schema: &Value| {
                let mut found = false;
                each_schema(schema, &mut |node| found |= breaks(node));
                found
            })
        };
        let reviews = texts(old, "/spec/conversion/webhook/conversionReviewVersions");
        Self {
            conversion_review_version: reviews.is_empty() || reviews.iter().any(|version| openapi::is_review(version)),
            schema: spec.all_versions().iter().all(|version| version_schema(version).is_some()),
            property_type: any_node(openapi::has_unknown_type),
            structural: none(&|schema| !structure::is_structural(schema)),
            pruned_defaults: none(&|schema| {
                Schema::parse(schema).is_ok_and(|schema| openapi::has_unpruned_default(&schema))
            }),
            atomic_set_items: any_node(openapi::has_granular_set_item),
            map_list_keys: any_node(|node| !openapi::map_list_errors(node, &machinery::field::Path::root()).is_empty()),
            many_selectable_fields: same_versions(new, old, |version| {
                Some(list(version, "/selectableFields")).filter(|fields| fields.len() > openapi::SELECTABLE_FIELDS_MAX)
            }),
            unchanged: same_versions(new, old, |version| version.get("schema")),
        }
    }
}

/// The names of the versions of which something is there, and the same as before.
fn same_versions<'v, T: PartialEq>(
    new: &'v Value,
    old: &'v Value,
    read: impl Fn(&'v Value) -> Option<T>,
) -> HashSet<&'v str> {
    let name = |version: &'v Value| version.get("name").and_then(Value::as_str).unwrap_or_default();
    let old = list(old, "/spec/versions");
    let is_same = |version: &&'v Value| {
        let before = old.iter().find(|other| name(other) == name(version));
        read(version).is_some_and(|own| before.and_then(&read) == Some(own))
    };
    list(new, "/spec/versions").iter().filter(is_same).map(name).collect()
}
