//! The change over from kubectl's older, client-side way of applying, which kept its configuration in an annotation.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::compare;
use super::owned::owned;
use super::place::Place;
use super::set::Set;
use super::validate::validate;
use crate::meta_validation::ANNOTATIONS_BYTES_MAX;
use crate::{go_text, meta};

/// The annotation with the configuration that was applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// Only this manager changes over; others keep away from the annotation.
pub(super) const MANAGER: &str = "kubectl";

/// What the object still has as it was last applied from the client's side.
pub(super) fn owned_before(api_version: &str, place: Place, live: &Value) -> Option<Set> {
    let text = meta::annotation(live, LAST_APPLIED).filter(|text| !text.is_empty())?;
    let config: Value = serde_json::from_str(text).ok()?;
    if meta::api_version(&config) != api_version {
        return None;
    }
    validate(place, &config).ok()?;
    let comparison = compare(place, &config, live);
    let mut fields = owned(place, &config);
    for changed in [&comparison.modified, &comparison.added, &comparison.removed] {
        fields.subtract(changed);
    }
    Some(fields)
}

/// Keeps the annotation, where there is one, equal to what `manager` applied: clients that go back to the older way find the
/// state that they expect.
pub fn refreshed(object: &mut Value, config: &Value, manager: &str) {
    if manager != MANAGER || meta::annotation(object, LAST_APPLIED).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(LAST_APPLIED);
    }
    let text = go_text::json(&sorted(&config)) + "\n";
    meta::set_annotation(object, LAST_APPLIED, &text);
    let bytes = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
    let total: usize = meta::annotations(object).into_iter().flatten().map(bytes).sum();
    if total > ANNOTATIONS_BYTES_MAX
        && let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut)
    {
        annotations.shift_remove(LAST_APPLIED);
    }
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let map: BTreeMap<&String, Value> = map.iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(map.into_iter().map(|(key, value)| (key.clone(), value)).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}
