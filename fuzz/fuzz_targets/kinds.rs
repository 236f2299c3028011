//! An object of a built-in kind on its way: decoded, defaulted, prepared, validated, updated, put into canonical form and
//! shown as a row. The body's apiVersion and kind say which; without them the first byte does.

#![no_main]

use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use machinery::codec::{Limits, json, type_meta};
use machinery::schema::{self, FieldValidation};
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let [first, body @ ..] = data else { return };
    let Ok(parsed) = json::parse(body, Limits::default()) else { return };
    let named = |kind: &&&'static api::Kind| {
        type_meta(&parsed.value).is_ok_and(|(version, name)| {
            name == kind.kind && kind.versions.iter().any(|own| own.api_version(kind) == version)
        })
    };
    let kind = api::ALL.iter().find(named).unwrap_or(&api::ALL[usize::from(*first) % api::ALL.len()]);
    let Some(own) = kind.storage_version().type_ref(kind) else { return };
    let Ok(decoded) = schema::decode_parsed(&own.types, own.id, parsed, FieldValidation::Strict) else { return };
    let mut object = decoded.value;
    if kind.default(&mut object).is_err() || kind.prepare_create(&mut object).is_err() {
        return;
    }
    let errors = kind.validate(&object);
    let _ = kind.warnings(&object, None);
    // The server takes no name that does not fit into a URL, whatever the kind does.
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    if errors.is_empty() && machinery::names::path_segment_name(name).is_empty() {
        // What is stored has a version.
        object["metadata"]["resourceVersion"] = "1".into();
        let mut new = object.clone();
        if kind.prepare_update(&mut new, &object).is_ok() {
            let errors = kind.validate_update(&new, &object);
            assert!(errors.is_empty(), "a good object cannot stay as it is: {errors:?}");
        }
    }
    let mut written = object.clone();
    schema::canonicalize(&own.types, own.id, &mut written);
    let once = written.to_string();
    schema::canonicalize(&own.types, own.id, &mut written);
    assert_eq!(written.to_string(), once);
    let _: Vec<Value> = kind.storage_version().cells(kind, &object, Timestamp::UNIX_EPOCH);
});
