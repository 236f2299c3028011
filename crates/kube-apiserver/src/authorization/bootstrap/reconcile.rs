//! What must be written so that the policy holds: a function of what there is.

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

use super::AUTOUPDATE;
use crate::authorization::{aggregation, rules};

/// One write. Objects carry their kind, namespace and name.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    Create(Value),
    Update(Value),
    /// A binding's role cannot be changed: it is deleted and created again.
    Replace(Value),
}

/// The writes that make `existing` (all objects of one kind) hold what `wanted` asks for.
pub fn plan(wanted: Vec<Value>, existing: &[Value]) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut after: Vec<Value> = existing.to_vec();
    for wanted in wanted {
        match after.iter_mut().find(|object| key(object) == key(&wanted)) {
            None => {
                after.push(wanted.clone());
                writes.push(Write::Create(wanted));
            }
            Some(object) => {
                if let Some(write) = amend(object, &wanted) {
                    writes.push(write);
                }
            }
        }
    }
    // Aggregates are filled with what the other roles have by then.
    for role in aggregation::outdated(&after) {
        let written = writes.iter_mut().find_map(|write| match write {
            Write::Create(object) | Write::Update(object) if key(object) == key(&role) => Some(object),
            _ => None,
        });
        match written {
            Some(object) => object["rules"] = role["rules"].clone(),
            None => writes.push(Write::Update(role)),
        }
    }
    writes
}

fn amend(object: &mut Value, wanted: &Value) -> Option<Write> {
    let annotation = object.pointer("/metadata/annotations").and_then(|annotations| annotations.get(AUTOUPDATE));
    if annotation.and_then(Value::as_str) == Some("false") {
        return None;
    }
    if object.get("roleRef") != wanted.get("roleRef") {
        *object = wanted.clone();
        return Some(Write::Replace(wanted.clone()));
    }
    let mut changed = false;
    for field in ["labels", "annotations"] {
        changed |= add_entries(object, wanted, field);
    }
    changed |= add_rules(object, wanted);
    changed |= add_subjects(object, wanted);
    if let Some(rule) = wanted.get("aggregationRule")
        && object.get("aggregationRule") != Some(rule)
    {
        object["aggregationRule"] = rule.clone();
        changed = true;
    }
    changed.then(|| Write::Update(object.clone()))
}

/// Adds the labels or annotations that lack; those that are there with another value stay.
fn add_entries(object: &mut Value, wanted: &Value, field: &str) -> bool {
    let wanted = wanted["metadata"][field].as_object().into_iter().flatten();
    let mut changed = false;
    for (key, value) in wanted {
        if object["metadata"][field].get(key).is_none() {
            object["metadata"][field][key] = value.clone();
            changed = true;
        }
    }
    changed
}

/// Adds the rules of which some part is not covered.
fn add_rules(object: &mut Value, wanted: &Value) -> bool {
    if wanted.get("rules").is_none() || wanted.get("aggregationRule").is_some() {
        return false;
    }
    let parse = |rules: Option<&Value>| -> Vec<PolicyRule> {
        rules.and_then(|rules| serde_json::from_value(rules.clone()).ok()).unwrap_or_default()
    };
    let owned = parse(object.get("rules"));
    let missing: Vec<Value> = wanted["rules"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|rule| !rules::not_covered(&owned, &parse(Some(&Value::Array(vec![(*rule).clone()])))).is_empty())
        .cloned()
        .collect();
    append(object, "rules", missing)
}

fn add_subjects(object: &mut Value, wanted: &Value) -> bool {
    let same = |a: &Value, b: &Value| ["kind", "name", "namespace"].iter().all(|field| a.get(field) == b.get(field));
    let existing = object.get("subjects").and_then(Value::as_array).cloned().unwrap_or_default();
    let wanted = wanted.get("subjects").and_then(Value::as_array).into_iter().flatten();
    let missing = wanted.filter(|subject| !existing.iter().any(|other| same(other, subject))).cloned().collect();
    append(object, "subjects", missing)
}

fn append(object: &mut Value, field: &str, items: Vec<Value>) -> bool {
    if items.is_empty() {
        return false;
    }
    match object.get_mut(field).and_then(Value::as_array_mut) {
        Some(list) => list.extend(items),
        None => object[field] = Value::Array(items),
    }
    true
}

fn key(object: &Value) -> (&str, &str) {
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    (text("/metadata/namespace"), text("/metadata/name"))
}
