//! Taints of devices and what tolerates them, and the conditions that a device's binding waits for.

use std::collections::BTreeSet;

use k8s_openapi::api::resource::v1::{DeviceTaint, DeviceToleration};
use machinery::field::{Error, ErrorList, Path};
use machinery::names;

use super::lists;
use crate::checks;

const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];
const OPERATORS: &[&str] = &["Equal", "Exists"];
const BINDING_CONDITIONS_MAX: usize = 4;

pub fn taint(taint: &DeviceTaint, path: &Path) -> ErrorList {
    let mut errors = checks::qualified_name(&taint.key, &path.child("key"));
    errors.extend(label_value(taint.value.as_deref(), &path.child("value")));
    errors.extend(checks::one_of(Some(&taint.effect), EFFECTS, &path.child("effect")));
    errors
}

pub fn tolerations(tolerations: Option<&[DeviceToleration]>, path: &Path) -> ErrorList {
    let path = path.child("tolerations");
    tolerations.into_iter().flatten().enumerate().flat_map(|(i, item)| toleration(item, &path.index(i))).collect()
}

fn toleration(toleration: &DeviceToleration, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(key) = toleration.key.as_deref().filter(|key| !key.is_empty()) {
        errors.extend(checks::qualified_name(key, &path.child("key")));
    }
    let value = toleration.value.as_deref().filter(|value| !value.is_empty());
    match (toleration.operator.as_deref(), value) {
        (Some("Exists"), Some(value)) => {
            errors.push(Error::invalid(&path.child("value"), value, "must be empty for operator `Exists`"));
        }
        (Some("Equal"), value) => errors.extend(label_value(value, &path.child("value"))),
        (operator, _) => errors.extend(checks::one_of(operator, OPERATORS, &path.child("operator"))),
    }
    if let Some(effect) = toleration.effect.as_deref().filter(|effect| !effect.is_empty()) {
        errors.extend(checks::one_of(Some(effect), EFFECTS, &path.child("effect")));
    }
    errors
}

fn label_value(value: Option<&str>, path: &Path) -> ErrorList {
    value.map(|value| checks::each(path, value, names::label_value(value))).unwrap_or_default()
}

/// What must be true before a pod is bound, and what ends the wait.
pub fn binding_conditions(wanted: Option<&[String]>, failures: Option<&[String]>, path: &Path) -> ErrorList {
    let (wanted_at, failures_at) = (path.child("bindingConditions"), path.child("bindingFailureConditions"));
    let name = |name: &String, path: &Path| checks::qualified_name(name, path);
    let mut errors = lists::bounded(wanted, BINDING_CONDITIONS_MAX, &wanted_at, name);
    errors.extend(lists::bounded(failures, BINDING_CONDITIONS_MAX, &failures_at, name));
    let all: BTreeSet<&String> = wanted.into_iter().flatten().collect();
    let mut seen = BTreeSet::new();
    for (i, condition) in wanted.into_iter().flatten().enumerate() {
        if !seen.insert(condition) {
            errors.push(Error::duplicate(&wanted_at.index(i), condition));
        }
    }
    let mut seen = BTreeSet::new();
    for (i, condition) in failures.into_iter().flatten().enumerate() {
        let at = failures_at.index(i);
        if !seen.insert(condition) {
            errors.push(Error::duplicate(&at, condition));
        }
        if all.contains(condition) {
            let detail = "bindingFailureConditions must not overlap with bindingConditions";
            errors.push(Error::invalid(&at, condition, detail));
        }
    }
    let given = |list: Option<&[String]>| list.is_some_and(|list| !list.is_empty());
    match (given(wanted), given(failures)) {
        (false, true) => {
            let detail = "bindingConditions are required to use bindingFailureConditions";
            errors.push(Error::invalid(&wanted_at, wanted, detail));
        }
        (true, false) => {
            let detail = "bindingFailureConditions are required to use bindingConditions";
            errors.push(Error::invalid(&failures_at, failures, detail));
        }
        _ => {}
    }
    errors
}
