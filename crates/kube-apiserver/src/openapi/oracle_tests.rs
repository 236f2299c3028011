//! The documents beside the recorded ones, where they are at hand: how much of what upstream says is said.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value;

use super::descriptions::Descriptions;
use super::{v2, v3};
use crate::apiextensions::KindSet;

fn recorded(name: &str) -> Option<Value> {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/oracle/documents/openapi"));
    Some(serde_json::from_slice(&std::fs::read(folder.join(name)).ok()?).unwrap())
}

/// Every description below a part of a document, by where it stands.
fn descriptions(value: &Value, path: &str, found: &mut HashMap<String, String>) {
    match value {
        Value::Object(fields) => {
            for (key, inner) in fields {
                match inner {
                    Value::String(text) if key == "description" => drop(found.insert(path.to_owned(), text.clone())),
                    inner => descriptions(inner, &format!("{path}|{key}"), found),
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                // Parameters are told apart by their names.
                let key = item["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                descriptions(item, &format!("{path}|{key}"), found);
            }
        }
        _ => {}
    }
}

/// How many of the recorded descriptions of the schemas that are in our document are said in the same words, and where others
/// stand. What single values mean and what lists are is not in the dependency that the words come from; a watch's event is
/// described there as a whole.
fn compare(ours: &Value, recorded: &Value) -> (usize, Vec<String>) {
    let (mut own, mut want) = (HashMap::new(), HashMap::new());
    for (name, schema) in ours.as_object().unwrap() {
        if !name.ends_with("List") && !name.ends_with("WatchEvent") {
            descriptions(schema, name, &mut own);
            descriptions(&recorded[name], name, &mut want);
        }
    }
    let without_values = |text: &str| text.split("Possible enum values").next().unwrap_or_default().trim().to_owned();
    let is_said = |(path, text): &(&String, &String)| own.get(*path).is_some_and(|own| *own == without_values(text));
    let (said, missing): (Vec<_>, Vec<_>) = want.iter().partition(is_said);
    (said.len(), missing.into_iter().map(|(path, _)| path.clone()).collect())
}

#[test]
fn types_and_fields_are_described_as_upstream_does() {
    let (kinds, read) = (KindSet::builtin(), Descriptions::read());
    let Some(want) = recorded("v2.json") else { return };
    let ours = v2::document(&kinds, &read);
    let (equal, missing) = compare(&ours["definitions"], &want["definitions"]);
    println!("v2: {equal} equal, others: {missing:#?}");
    assert!(equal >= 2600 && missing.is_empty());
    for (path, group, version) in v3::group_versions(&kinds) {
        let Some(want) = recorded(&format!("v3/{}.json", path.replace('/', "_"))) else { continue };
        let ours = v3::document(&kinds, group, version, &read);
        let (equal, missing) = compare(&ours["components"]["schemas"], &want["components"]["schemas"]);
        println!("{path}: {equal} equal, others: {missing:#?}");
        assert!(equal > 0 && missing.is_empty());
    }
}

#[test]
fn operations_are_described_as_upstream_does() {
    let (kinds, read) = (KindSet::builtin(), Descriptions::read());
    let Some(want) = recorded("v2.json") else { return };
    let ours = v2::document(&kinds, &read);
    let (mut equal, mut differ) = (0, Vec::new());
    for (path, item) in ours["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(method, _)| *method != "parameters") {
            let Some(want) = want["paths"].get(path).and_then(|item| item.get(method)) else { continue };
            for key in ["description", "operationId", "tags", "consumes"] {
                if operation[key] == want[key] {
                    equal += 1;
                } else {
                    differ.push(format!("{method} {path} {key}: {} / {}", operation[key], want[key]));
                }
            }
        }
    }
    println!("{equal} equal, differ: {differ:#?}");
    assert!(equal > 1000 && differ.is_empty());
}
