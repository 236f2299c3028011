//! The v2 document: all groups in one.

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

pub fn document(kinds: &KindSet, descriptions: &Descriptions) -> Value {
    let mut roots = std::collections::BTreeSet::new();
    let mut paths = BTreeMap::new();
    for group in model::groups(kinds) {
        for version in group.versions {
            roots.extend(operations::roots(kinds, group.name, version));
            for item in operations::items(kinds, group.name, version) {
                paths.insert(item.path.clone(), path_item(&item, descriptions));
            }
        }
    }
    let definitions = schemas::of(kinds, &roots, &operations::homes(kinds), descriptions, Dialect::V2);
    let paths: Map<String, Value> = paths.into_iter().collect();
    json!({
        "swagger": "2.0",
        "info": { "title": TITLE, "version": VERSION },
        "paths": paths,
        "definitions": definitions,
        "securityDefinitions": { "BearerToken": {
            "description": "Bearer Token authentication",
            "type": "apiKey",
            "name": "authorization",
            "in": "header",
        } },
        "security": [{ "BearerToken": [] }],
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
                "uniqueItems": true,
                "type": "string",
                "description": parameters::described_in_path(name, kind),
                "name": name,
                "in": "path",
                "required": true,
            })
        })
        .collect();
    parameters.push(query_parameter(&PRETTY, descriptions));
    out.insert("parameters".to_owned(), parameters.into());
    out.into()
}

fn query_parameter((name, kind): &Parameter, descriptions: &Descriptions) -> Value {
    json!({ "uniqueItems": true, "type": kind, "name": name, "in": "query", "description": parameters::described(name, descriptions) })
}

/// A reference to a type, or "anything" for one that has no schema.
fn reference(operation: &Operation, name: &str) -> Value {
    if operation.knows(name) { json!({ "$ref": Dialect::V2.reference(name) }) } else { json!({ "type": "object" }) }
}

fn operation_value(operation: &Operation, descriptions: &Descriptions) -> Value {
    let mut parameters = Vec::new();
    if let Some((name, required)) = operation.body {
        let mut parameter = json!({ "name": "body", "in": "body" });
        if required {
            parameter["required"] = true.into();
        }
        parameter["schema"] = reference(operation, name);
        parameters.push(parameter);
    }
    parameters.extend(operation.parameters.iter().map(|parameter| query_parameter(parameter, descriptions)));
    let mut responses: Map<String, Value> = operation
        .codes
        .iter()
        .map(|code| {
            let description = match *code {
                "201" => "Created",
                "202" => "Accepted",
                _ => "OK",
            };
            (
                (*code).to_owned(),
                json!({ "description": description, "schema": reference(operation, &operation.answer) }),
            )
        })
        .collect();
    responses.insert("401".to_owned(), json!({ "description": "Unauthorized" }));
    let mut out = json!({
        "consumes": operation.consumes,
        "produces": PRODUCES,
        "schemes": ["https"],
        "tags": [operation.tag],
        "operationId": operation.id,
        "description": operation.description,
    });
    if !parameters.is_empty() {
        out["parameters"] = parameters.into();
    }
    out["responses"] = responses.into();
    out["x-kubernetes-action"] = operation.action.into();
    out["x-kubernetes-group-version-kind"] =
        json!({ "group": operation.group, "kind": operation.kind, "version": operation.version });
    out
}
