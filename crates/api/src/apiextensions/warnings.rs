//! What is let through but deserves a word: formats that nothing is known of.

use serde_json::Value;

use super::openapi::each_schema;
use super::spec::{Spec, version_schema};
use crate::structural::format_is_recognized;
use crate::value::text;

/// One warning for each unknown format that was not there before.
pub fn of(new: &Value, old: Option<&Value>) -> Vec<String> {
    let before = old.map(formats).unwrap_or_default();
    let new = formats(new).into_iter().filter(|format| !before.contains(format));
    new.map(|format| format!("unrecognized format {}", machinery::go_text::quote(&format))).collect()
}

fn formats(definition: &Value) -> Vec<String> {
    let spec = Spec::of(definition);
    let mut found = Vec::new();
    let shared = spec.validation.and_then(|own| own.get("openAPIV3Schema"));
    let own = spec.versions.iter().filter(|_| shared.is_none()).filter_map(|view| version_schema(view.value));
    for schema in shared.into_iter().chain(own) {
        each_schema(schema, &mut |node| {
            let format = text(node, "/format");
            if !format.is_empty() && !format_is_recognized(text(node, "/type"), format) {
                found.push(format.to_owned());
            }
        });
    }
    found
}
