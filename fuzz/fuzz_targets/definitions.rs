//! Schemas of CustomResourceDefinitions, with an object after a zero byte: compiled, and the object coerced, pruned,
//! defaulted and validated by them.

#![no_main]

use api::structural::{self, Schema};
use libfuzzer_sys::fuzz_target;
use machinery::field::Path;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let middle = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let Ok(schema) = serde_json::from_slice::<Value>(&data[..middle]) else { return };
    let Ok(schema) = Schema::parse(&schema) else { return };
    let object = data.get(middle + 1..).and_then(|object| serde_json::from_slice::<Value>(object).ok());
    let Some(mut object) = object else { return };
    structural::prune(&mut object, &schema, true);
    structural::apply_defaults(&mut object, &schema);
    let _ = structural::validate(&object, &schema, &Path::root());
    let _ = structural::validate_lists(&object, &schema, &Path::root());
});
