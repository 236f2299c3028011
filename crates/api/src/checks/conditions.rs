//! Conditions of the kind that newer types share (`metav1.Condition`).

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use machinery::field::{Error, ErrorList, Path};
use machinery::names;

const STATUSES: &[&str] = &["False", "True", "Unknown"];
const REASON_BYTES_MAX: usize = 1024;
const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// One condition a type, each with all that a condition needs.
pub fn conditions(conditions: &[Condition], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut types = BTreeSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = path.index(i);
        if !types.insert(&condition.type_) {
            errors.push(Error::duplicate(&at.child("type"), &condition.type_));
        }
        errors.extend(validate(condition, &at));
    }
    errors
}

fn validate(condition: &Condition, path: &Path) -> ErrorList {
    let mut errors = super::qualified_name(&condition.type_, &path.child("type"));
    if !STATUSES.contains(&condition.status.as_str()) {
        errors.push(Error::not_supported(&path.child("status"), &condition.status, STATUSES));
    }
    if let Some(generation) = condition.observed_generation.filter(|generation| *generation < 0) {
        let at = path.child("observedGeneration");
        errors.push(Error::invalid(&at, generation, "must be greater than or equal to zero"));
    }
    let at = path.child("reason");
    if condition.reason.is_empty() {
        errors.push(Error::required(&at, "must be set"));
    } else {
        if !is_reason(&condition.reason) {
            errors.push(Error::invalid(&at, &condition.reason, reason_fault()));
        }
        if condition.reason.len() > REASON_BYTES_MAX {
            errors.push(Error::too_long(&at, &condition.reason, REASON_BYTES_MAX));
        }
    }
    if condition.message.len() > MESSAGE_BYTES_MAX {
        errors.push(Error::too_long(&path.child("message"), &condition.message, MESSAGE_BYTES_MAX));
    }
    errors
}

fn is_reason(reason: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.ends_with(word)
        && reason.chars().all(|c| word(c) || c == ',' || c == ':')
}

fn reason_fault() -> String {
    let message = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
    let examples = ["my_name", "MY_NAME", "MyName", "ReasonA,ReasonB", "ReasonA:ReasonB"];
    names::format_error(message, "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", &examples)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_condition_says_what_since_when_and_why() {
        let check = |condition: serde_json::Value| {
            let condition: Condition = serde_json::from_value(condition).unwrap();
            conditions(&[condition], &Path::new("c")).iter().map(|e| e.field.clone()).collect::<Vec<_>>()
        };
        let good = json!({"type": "Ready", "status": "True", "reason": "A:b", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        assert_eq!(check(good), Vec::<String>::new());
        let bad = json!({"type": "Ready", "status": "Yes", "reason": "1", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        assert_eq!(check(bad), ["c[0].status", "c[0].reason"]);
    }
}
