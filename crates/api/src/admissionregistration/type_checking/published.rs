//! Kinds that are not built in, as a server's discovery and its OpenAPI documents show them: custom resources, and what
//! aggregated servers serve.

use std::collections::BTreeMap;

use cel::Declaration;
use serde_json::{Map, Value, json};

use crate::apiextensions::served;
use crate::structural::Schema;
use crate::value::{list, text};

/// A schema with more parts than this, its references followed, is not looked at: documents come from servers that
/// somebody else wrote.
const PARTS_MAX: usize = 100_000;
/// Nor one that is nested deeper.
const DEPTH_MAX: usize = 64;
/// What declarations are made from.
const KEYWORDS: &[&str] = &[
    "type",
    "format",
    "maxLength",
    "maxItems",
    "maxProperties",
    "required",
    "default",
    "x-kubernetes-int-or-string",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
];
const QUANTITY: &str = "io.k8s.apimachinery.pkg.api.resource.Quantity";

/// What some versions of groups hold.
#[derive(Debug, Default)]
pub struct Published {
    versions: BTreeMap<(String, String), GroupVersion>,
}

#[derive(Debug)]
struct GroupVersion {
    /// An APIResourceList.
    resources: Value,
    /// The OpenAPI v3 document.
    document: Value,
}

impl Published {
    /// Adds a version of a group: its APIResourceList and its OpenAPI v3 document.
    pub fn add(&mut self, group: &str, version: &str, resources: Value, document: Value) {
        self.versions.insert((group.to_owned(), version.to_owned()), GroupVersion { resources, document });
    }

    /// The kind of a resource by its plural or singular name.
    pub(super) fn kind_of(&self, group: &str, version: &str, resource: &str) -> Option<&str> {
        let resources = list(&self.version(group, version)?.resources, "/resources");
        let is = |own: &&Value| text(own, "/name") == resource || text(own, "/singularName") == resource;
        resources.iter().find(is).map(|own| text(own, "/kind"))
    }

    pub(super) fn declaration(&self, group: &str, version: &str, kind: &str) -> Option<Declaration> {
        let document = &self.version(group, version)?.document;
        let schemas = document.pointer("/components/schemas")?.as_object()?;
        let is =
            |own: &Value| (text(own, "/group"), text(own, "/version"), text(own, "/kind")) == (group, version, kind);
        let root = schemas.values().find(|schema| list(schema, "/x-kubernetes-group-version-kind").iter().any(is))?;
        let mut walk = Walk { schemas, open: Vec::new(), parts: 0 };
        let whole = Schema::parse(&walk.inlined(root, 0)?).ok()?;
        Some(served::declare(&whole, false)?.named(kind))
    }

    fn version(&self, group: &str, version: &str) -> Option<&GroupVersion> {
        self.versions.get(&(group.to_owned(), version.to_owned()))
    }
}

struct Walk<'a> {
    schemas: &'a Map<String, Value>,
    /// The references that are being followed.
    open: Vec<&'a str>,
    parts: usize,
}

impl<'a> Walk<'a> {
    /// The schema with what it refers to in place; none if that is too much.
    fn inlined(&mut self, schema: &'a Value, depth: usize) -> Option<Value> {
        self.parts += 1;
        if self.parts > PARTS_MAX || depth > DEPTH_MAX {
            return None;
        }
        if let Some(reference) = reference(schema) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            if name == QUANTITY {
                return Some(json!({"type": "string"}));
            }
            // What contains itself is an object of which no more is known.
            if self.open.contains(&name) {
                return Some(json!({"type": "object"}));
            }
            self.open.push(name);
            let inlined = self.inlined(self.schemas.get(name)?, depth + 1);
            self.open.pop();
            return inlined;
        }
        let mut whole = Map::new();
        for (key, value) in schema.as_object().into_iter().flatten() {
            let value = match key.as_str() {
                "properties" => {
                    let mut properties = Map::new();
                    for (name, property) in value.as_object().into_iter().flatten() {
                        properties.insert(name.clone(), self.inlined(property, depth + 1)?);
                    }
                    properties.into()
                }
                "items" | "additionalProperties" if value.is_object() => self.inlined(value, depth + 1)?,
                known if KEYWORDS.contains(&known) => value.clone(),
                _ => continue,
            };
            whole.insert(key.clone(), value);
        }
        if text(schema, "/format") == "int-or-string" {
            whole.insert("x-kubernetes-int-or-string".to_owned(), true.into());
        }
        Some(whole.into())
    }
}

/// What a schema refers to; a reference that has something beside it is wrapped.
fn reference<'a>(schema: &'a Value) -> Option<&'a str> {
    let own = |schema: &'a Value| schema.get("$ref").and_then(Value::as_str);
    own(schema).or_else(|| list(schema, "/allOf").iter().find_map(own))
}
