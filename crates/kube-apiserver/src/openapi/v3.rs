//! The v3 documents: one for each version of each group.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::descriptions::Descriptions;
use super::operations::{self, Item, Operation};
use super::parameters::{self, PRETTY, Parameter};
use super::schemas::{self, Dialect};
use super::{TITLE, VERSION};
use crate::apiextensions::KindSet;
use crate::discovery::model;

const PRODUCES: &[&str] = &["application/json", "application/yaml"];

/// The address, group and version of each document.
pub fn group_versions(kinds: &KindSet) -> Vec<(String, &'static str, &'static str)> {
    let mut all = Vec::new();
    for group in model::groups(kinds) {
        for version in group.versions {
            let path =
                if group.name.is_empty() { format!("api/{version}") } else { format!("apis/{}/{version}", group.name) };
            all.push((path, group.name, version));
        }
    }
    all
}

pub fn document(kinds: &KindSet, group: &str, version: &str, descriptions: &Descriptions) -> Value {
    let items = operations::items(kinds, group, version);
    let paths: BTreeMap<String, Value> =
        items.iter().map(|item| (item.path.clone(), path_item(item, descriptions))).collect();
    let paths: Map<String, Value> = paths.into_iter().collect();
    let schemas = schemas::of(
        kinds,
        &operations::roots(kinds, group, version),
        &operations::homes(kinds),
        descriptions,
        Dialect::V3,
    );
    json!({
        "openapi": "3.0.0",
        "info": { "title": TITLE, "version": VERSION },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "BearerToken": {
                "type": "apiKey",
                "description": "Bearer Token authentication",
                "name": "authorization",
                "in": "header",
            } },
        },
    })
}

fn path_item(item: &Item, descriptions: &Descriptions) -> Value {
    let mut out = Map::new();
    for operation in &item.operations {
        out.insert(operation.method.to_owned(), operation_value(operation, descriptions));
    }
    let kind = item.operations.first().map_or("", |operation| operation.kind);
    let mut parameters: Vec<Value> = item
        .names
        .iter()
        .map(|name| {
            json!({
                "name": name,
                "in": "path",
                "description": parameters::described_in_path(name, kind),
                "required": true,
                "schema": { "type": "string", "uniqueItems": true },
            })
        })
        .collect();
    parameters.push(query_parameter(&PRETTY, descriptions));
    out.insert("parameters".to_owned(), parameters.into());
    out.into()
}

fn query_parameter((name, kind): &Parameter, descriptions: &Descriptions) -> Value {
    json!({ "name": name, "in": "query", "description": parameters::described(name, descriptions), "schema": { "type": kind, "uniqueItems": true } })
}

/// A reference to a type, or "anything" for one that has no schema.
fn reference(operation: &Operation, name: &str) -> Value {
    if operation.knows(name) { json!({ "$ref": Dialect::V3.reference(name) }) } else { json!({ "type": "object" }) }
}

fn content(operation: &Operation, types: &[&str], name: &str) -> Value {
    let content: Map<String, Value> =
        types.iter().map(|media| ((*media).to_owned(), json!({ "schema": reference(operation, name) }))).collect();
    content.into()
}

fn operation_value(operation: &Operation, descriptions: &Descriptions) -> Value {
    let mut out = json!({ "tags": [operation.tag], "operationId": operation.id, "description": operation.description });
    if !operation.parameters.is_empty() {
        out["parameters"] =
            operation.parameters.iter().map(|parameter| query_parameter(parameter, descriptions)).collect();
    }
    if let Some((name, required)) = operation.body {
        let mut body = json!({ "content": content(operation, operation.consumes, name) });
        if required {
            body["required"] = true.into();
        }
        out["requestBody"] = body;
    }
    let mut responses: Map<String, Value> = operation
        .codes
        .iter()
        .map(|code| {
            let description = match *code {
                "201" => "Created",
                "202" => "Accepted",
                _ => "OK",
            };
            let answer =
                json!({ "description": description, "content": content(operation, PRODUCES, &operation.answer) });
            ((*code).to_owned(), answer)
        })
        .collect();
    responses.insert("401".to_owned(), json!({ "description": "Unauthorized" }));
    out["responses"] = responses.into();
    out["x-kubernetes-action"] = operation.action.into();
    out["x-kubernetes-group-version-kind"] =
        json!({ "group": operation.group, "version": operation.version, "kind": operation.kind });
    out
}
