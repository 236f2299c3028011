//! Every object in the recorded conversations goes through protobuf and comes back as it was.

use std::path::Path;

use super::*;
use crate::schema::{self, FieldValidation};

/// Objects with apiVersion and kind at any depth, outermost only.
fn typed_objects<'v>(value: &'v Value, out: &mut Vec<&'v Value>) {
    match value {
        Value::Object(map)
            if map.contains_key("apiVersion") && map.contains_key("kind") && map.contains_key("metadata") =>
        {
            out.push(value);
        }
        Value::Object(map) => map.values().for_each(|value| typed_objects(value, out)),
        Value::Array(items) => items.iter().for_each(|value| typed_objects(value, out)),
        _ => {}
    }
}

#[test]
fn recorded_objects_come_back() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/cases");
    let Ok(areas) = std::fs::read_dir(&cases) else {
        return eprintln!("skipped: {} is not there", cases.display());
    };
    let (mut seen, mut refused) = (0, 0);
    for file in areas.flat_map(|area| std::fs::read_dir(area.unwrap().path()).unwrap()) {
        let file = file.unwrap().path();
        let case: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let mut objects = Vec::new();
        typed_objects(&case["steps"], &mut objects);
        for object in objects {
            let Some(id) = type_of(object) else { continue };
            // What the schema does not let in is never written.
            let mode = FieldValidation::Ignore;
            let Ok(decoded) = schema::decode(builtin(), id, object.clone(), mode) else {
                refused += 1;
                continue;
            };
            let mut canonical = decoded.value;
            canonicalize(builtin(), id, &mut canonical);
            let back = decode(builtin(), id, &encode(builtin(), id, &canonical).unwrap()).unwrap().to_string();
            let want = untyped(id, canonical).to_string();
            assert!(back == *want, "{}\n got      {back}\n expected {want}", file.display());
            seen += 1;
        }
    }
    assert!(seen > 2000 && refused < seen / 20, "{seen} came back, {refused} were refused");
}

fn type_of(object: &Value) -> Option<TypeId> {
    let api_version = object["apiVersion"].as_str()?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    builtin().by_kind(group, version, object["kind"].as_str()?)
}
