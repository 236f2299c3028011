//! The v3 documents: one for each version of each group.

use std::collections::BTreeMap;

use machinery::schema;
use serde_json::{Map, Value, json};

use super::operations::{self, Item, Operation, PRETTY, Parameter};
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

pub fn document(kinds: &KindSet, group: &str, version: &str) -> Value {
    let items = operations::items(kinds, group, version);
    let paths: BTreeMap<String, Value> = items.iter().map(|item| (item.path.clone(), path_item(item))).collect();
    let paths: Map<String, Value> = paths.into_iter().collect();
    let schemas = schemas::of(kinds, operations::roots(kinds, group, version), &operations::homes(kinds), Dialect::V3);
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

fn path_item(item: &Item) -> Value {
    let mut out = Map::new();
    for operation in &item.operations {
        out.insert(operation.method.to_owned(), operation_value(operation));
    }
    let mut parameters: Vec<Value> = item
        .names
        .iter()
        .map(|name| {
            json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "uniqueItems": true } })
        })
        .collect();
    parameters.push(query_parameter(&PRETTY));
    out.insert("parameters".to_owned(), parameters.into());
    out.into()
}

fn query_parameter((name, kind): &Parameter) -> Value {
    json!({ "name": name, "in": "query", "schema": { "type": kind, "uniqueItems": true } })
}

fn reference(name: &str) -> Value {
    if name == schemas::PATCH || schema::builtin().id(name).is_some() {
        json!({ "$ref": Dialect::V3.reference(name) })
    } else {
        json!({ "type": "object" })
    }
}

fn content(types: &[&str], name: &str) -> Value {
    let content: Map<String, Value> =
        types.iter().map(|media| ((*media).to_owned(), json!({ "schema": reference(name) }))).collect();
    content.into()
}

fn operation_value(operation: &Operation) -> Value {
    let mut out = json!({ "tags": [operation.tag], "operationId": operation.id });
    if !operation.parameters.is_empty() {
        out["parameters"] = operation.parameters.iter().map(query_parameter).collect();
    }
    if let Some((name, required)) = operation.body {
        let mut body = json!({ "content": content(operation.consumes, name) });
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
            let answer = json!({ "description": description, "content": content(PRODUCES, &operation.answer) });
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
