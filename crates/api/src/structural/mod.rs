//! Structural schemas: what a CustomResourceDefinition says about its objects, compiled once, and the walkers over it.
//!
//! A schema has a skeleton (types, properties, items, additional properties and the extensions `x-kubernetes-*`), which
//! pruning, defaulting, embedded metadata and list types look at, and value validations, which only say yes or no.
//! Logical junctors (allOf, anyOf, oneOf, not) hold value validations alone: whether a definition keeps to that is checked
//! when it is written (`apiextensions`); here every schema is taken as it is.
//!
//! Depth is bounded by the bound on the nesting of bodies, which schemas come in.

mod correlate;
mod default;
pub mod field_path;
mod formats;
mod lists;
mod meta;
mod parse;
mod prune;
mod tables;
mod validate;

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::Value;

pub use correlate::Correlated;
pub use default::{apply as apply_defaults, prune_nulls};
pub use formats::is_recognized as format_is_recognized;
pub use formats::{UrlParts, is_absolute_url, split_url};
pub use lists::validate as validate_lists;
pub use meta::{
    Malformed, coerce, coerce_resource_root, coerce_root, object_meta, resource as validate_resource,
    validate as validate_embedded,
};
pub use parse::compile as compile_pattern;
pub use prune::prune;
pub use validate::{validate, validate_update};

/// One node of a schema.
#[derive(Debug, Default)]
pub struct Schema {
    /// `object`, `array`, `string`, `integer`, `number`, `boolean`; empty when the schema says nothing about it.
    pub kind: String,
    pub default: Option<Value>,
    pub nullable: bool,
    pub properties: BTreeMap<String, Schema>,
    pub additional: Option<Additional>,
    pub items: Option<Box<Schema>>,
    pub preserve_unknown_fields: bool,
    pub embedded_resource: bool,
    pub int_or_string: bool,
    pub list_type: Option<ListType>,
    pub list_map_keys: Vec<String>,
    pub atomic_map: bool,
    pub rules: Vec<Rule>,
    pub limits: Limits,
}

/// `additionalProperties`
#[derive(Debug)]
pub enum Additional {
    Any(bool),
    Schema(Box<Schema>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListType {
    Atomic,
    Set,
    Map,
}

/// The value validations of a node.
#[derive(Debug, Default)]
pub struct Limits {
    pub format: String,
    pub maximum: Option<f64>,
    pub exclusive_maximum: bool,
    pub minimum: Option<f64>,
    pub exclusive_minimum: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<i64>,
    pub min_length: Option<i64>,
    pub pattern: Option<Pattern>,
    pub max_items: Option<i64>,
    pub min_items: Option<i64>,
    pub unique_items: bool,
    pub max_properties: Option<i64>,
    pub min_properties: Option<i64>,
    pub required: Vec<String>,
    pub enumeration: Vec<Value>,
    pub all_of: Vec<Schema>,
    pub any_of: Vec<Schema>,
    pub one_of: Vec<Schema>,
    pub not: Option<Box<Schema>>,
}

/// A regular expression as it was written, and compiled if it can be.
#[derive(Debug)]
pub struct Pattern {
    pub text: String,
    pub regex: Result<Regex, String>,
}

/// `x-kubernetes-validations`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub rule: String,
    pub message: String,
    pub message_expression: String,
    pub reason: Option<String>,
    pub field_path: String,
    pub optional_old_self: Option<bool>,
}

impl Schema {
    /// The schema of a property; absent properties may be additional ones.
    pub fn property(&self, name: &str) -> Option<&Schema> {
        self.properties.get(name).or_else(|| self.additional_schema())
    }

    /// The schema that additional properties must have.
    pub fn additional_schema(&self) -> Option<&Schema> {
        match &self.additional {
            Some(Additional::Schema(schema)) => Some(schema),
            _ => None,
        }
    }

    /// Whether this node or one below it has rules.
    pub fn has_rules(&self) -> bool {
        !self.rules.is_empty()
            || self.properties.values().any(Schema::has_rules)
            || self.items.as_deref().is_some_and(Schema::has_rules)
            || self.additional_schema().is_some_and(Schema::has_rules)
    }

    /// Whether this node or one below it has a default.
    pub fn has_defaults(&self) -> bool {
        self.default.is_some()
            || self.properties.values().any(Schema::has_defaults)
            || self.items.as_deref().is_some_and(Schema::has_defaults)
            || self.additional_schema().is_some_and(Schema::has_defaults)
    }
}

/// What upstream shows in place of the field of an error that has none.
pub const NO_FIELD: &str = "<nil>";

/// Fields that every resource has, whatever its schema says.
fn is_type_or_metadata(key: &str) -> bool {
    matches!(key, "apiVersion" | "kind" | "metadata")
}

#[cfg(test)]
mod tests;
