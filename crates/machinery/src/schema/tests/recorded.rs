//! The walkers against every recorded conversation with the real thing.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::codec::{Limits, json as json_codec, yaml};
use crate::schema::*;

/// The recorded conversations, or nothing (said aloud) where they are not beside the workspace.
fn recordings() -> Vec<(PathBuf, Value)> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/cases");
    let Ok(areas) = std::fs::read_dir(&cases) else {
        eprintln!("skipped: {} is not there", cases.display());
        return Vec::new();
    };
    let files =
        areas.flat_map(|area| std::fs::read_dir(area.unwrap().path()).unwrap()).map(|file| file.unwrap().path());
    files.map(|file| (file.clone(), serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap())).collect()
}

fn steps(recordings: &[(PathBuf, Value)]) -> impl Iterator<Item = (&Path, &Value)> {
    recordings
        .iter()
        .flat_map(|(file, case)| case["steps"].as_array().unwrap().iter().map(move |step| (file.as_path(), step)))
}

/// Each object that a real server sent comes out of disorder, without what can be told without it, as it was.
#[test]
fn recorded_objects_have_canonical_form() {
    let recordings = recordings();
    let mut objects = 0;
    for (file, step) in steps(&recordings) {
        let body = &step["answer"]["body"];
        for object in typed_objects(body) {
            let (Some(id), Some(kind)) = (type_of(object), object["kind"].as_str()) else { continue };
            if kind == "Status" || kind.starts_with("API") {
                continue;
            }
            let mut value = object.clone();
            disorder(&mut value);
            strip(builtin().get(id), &mut value);
            canonicalize(builtin(), id, &mut value);
            assert_same(&value, object, &format!("{} {}: {kind}", file.display(), step["do"]));
            assert_ordered(&Shape::Ref(id), &value);
            objects += 1;
        }
    }
    assert!(recordings.is_empty() || objects > 1000, "only {objects} objects found");
}

/// Each body that a real server refused to decode is refused with the same words.
#[test]
fn recorded_refusals_are_reproduced() {
    let recordings = recordings();
    let mut refusals = 0;
    for (file, step) in steps(&recordings) {
        let Some(message) = step["answer"]["body"]["message"].as_str() else { continue };
        let Some((head, expected)) = message.split_once(" cannot be handled as a ") else { continue };
        let Some((kind, expected)) = expected.split_once(": ") else { continue };
        if expected.starts_with("no kind") || expected.ends_with("unknown conversion") {
            continue;
        }
        let version = head.split('"').nth(1).unwrap();
        let path = step["do"].as_str().unwrap().split_once(' ').unwrap().1;
        let group = path.strip_prefix("/apis/").and_then(|path| path.split('/').next()).unwrap_or_default();
        let Some(id) = builtin().by_kind(group, version, kind) else { continue };
        let is_yaml = step["type"] == "application/yaml";
        let body = step["text"].as_str().map_or_else(|| step["body"].to_string(), str::to_owned);
        let parsed = if is_yaml { yaml::parse } else { json_codec::parse };
        let parsed = parsed(body.as_bytes(), Limits::default()).unwrap();
        let mode =
            if path.contains("fieldValidation=Strict") { FieldValidation::Strict } else { FieldValidation::Warn };
        let refused = decode_parsed(builtin(), id, parsed, mode).unwrap_err().to_string();
        // Recordings keep the keys of a `body` sorted, so the order of findings can differ from the one then sent.
        let sorted = |text: &str| {
            let mut parts: Vec<String> =
                text.trim_start_matches("strict decoding error: ").split(", ").map(str::to_owned).collect();
            parts.sort();
            parts
        };
        assert_eq!(sorted(&refused), sorted(expected), "{} {body}", file.display());
        refusals += 1;
    }
    assert!(recordings.is_empty() || refusals > 20, "only {refusals} refusals found");
}

/// Each body that a real server took is taken, with the same warnings about its fields.
#[test]
fn recorded_bodies_are_accepted() {
    let recordings = recordings();
    let mut accepted = 0;
    for (file, step) in steps(&recordings) {
        let (answer, request) = (&step["answer"], step["do"].as_str().unwrap());
        let is_write = request.starts_with("POST ") || request.starts_with("PUT ");
        if !is_write || !matches!(answer["status"].as_u64(), Some(200 | 201)) || request.contains("=Ignore") {
            continue;
        }
        let Some(object) = typed_objects(&answer["body"]).first().copied() else { continue };
        let Some(id) = type_of(object) else { continue };
        let is_yaml = step["type"] == "application/yaml";
        let body = step["text"].as_str().map_or_else(|| step["body"].to_string(), str::to_owned);
        let parsed = if is_yaml { yaml::parse } else { json_codec::parse };
        let parsed = parsed(body.as_bytes(), Limits::default()).unwrap();
        // Subresources take kinds that differ from what they answer.
        if object["kind"] == "Status" || parsed.value.get("kind").is_some_and(|kind| *kind != object["kind"]) {
            continue;
        }
        let mut warnings = decode_parsed(builtin(), id, parsed, FieldValidation::Warn).unwrap().warnings;
        warnings.sort();
        let recorded = answer["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut recorded: Vec<String> = recorded
            .filter_map(|warning| warning.strip_prefix("299 - \"")?.strip_suffix('"'))
            .map(|warning| warning.replace("\\\"", "\""))
            .filter(|warning| {
                ["unknown field", "duplicate field", "line "].iter().any(|start| warning.starts_with(start))
            })
            .collect();
        recorded.sort();
        assert_eq!(warnings, recorded, "{} {body}", file.display());
        accepted += 1;
    }
    assert!(recordings.is_empty() || accepted > 500, "only {accepted} bodies found");
}

fn type_of(object: &Value) -> Option<TypeId> {
    let api_version = object["apiVersion"].as_str()?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    builtin().by_kind(group, version, object["kind"].as_str()?)
}

/// Objects with apiVersion and kind at any depth, outermost only.
fn typed_objects(value: &Value) -> Vec<&Value> {
    match value {
        Value::Object(map) => {
            if map.get("apiVersion").is_some_and(Value::is_string)
                && map.get("kind").is_some_and(Value::is_string)
                && map.contains_key("metadata")
                && map["kind"] != "Table"
            {
                return vec![value];
            }
            map.values().flat_map(typed_objects).collect()
        }
        Value::Array(items) => items.iter().flat_map(typed_objects).collect(),
        _ => Vec::new(),
    }
}

fn disorder(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let entries: Vec<(String, Value)> = std::mem::take(map).into_iter().collect();
            map.extend(entries.into_iter().rev());
            map.values_mut().for_each(disorder);
        }
        Value::Array(items) => items.iter_mut().for_each(disorder),
        _ => {}
    }
}

/// Removes what the canonical form restores: nulls, and empty objects that are no pointers.
fn strip(ty: &Type, value: &mut Value) {
    let Value::Object(map) = value else { return };
    map.retain(|key, value| {
        let Some(field) = ty.find(key) else { return true };
        strip_shape(&field.shape, value);
        let is_empty = value.as_object().is_some_and(Map::is_empty);
        let is_zero = is_empty && matches!(field.shape, Shape::Ref(_)) && !field.pointer;
        !value.is_null() && !is_zero
    });
}

fn strip_shape(shape: &Shape, value: &mut Value) {
    match (shape, value) {
        (Shape::Ref(id), value) => strip(builtin().get(*id), value),
        (Shape::List(item), Value::Array(items)) => items.iter_mut().for_each(|value| strip_shape(item, value)),
        (Shape::Map(item), Value::Object(map)) => map.values_mut().for_each(|value| strip_shape(item, value)),
        _ => {}
    }
}

fn assert_same(got: &Value, expected: &Value, context: &str) {
    assert!(got == expected, "{context}\n got      {got}\n expected {expected}");
}

fn assert_ordered(shape: &Shape, value: &Value) {
    match (shape, value) {
        (Shape::Ref(id), Value::Object(map)) => {
            let ty = builtin().get(*id);
            let places: Vec<usize> = map.keys().map(|key| ty.position(key).unwrap()).collect();
            assert!(places.is_sorted(), "{}: {:?}", ty.name, map.keys());
            map.iter().for_each(|(key, value)| assert_ordered(&ty.find(key).unwrap().shape, value));
        }
        (Shape::List(item), Value::Array(items)) => items.iter().for_each(|value| assert_ordered(item, value)),
        (Shape::Map(item), Value::Object(map)) => {
            assert!(map.keys().is_sorted());
            map.values().for_each(|value| assert_ordered(item, value));
        }
        _ => {}
    }
}
