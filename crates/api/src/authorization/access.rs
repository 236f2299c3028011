//! What the three access reviews share. They are read as they came: what matters is which fields are there at all.

use machinery::field::{Error, ErrorList, Path};
use machinery::names;
use serde_json::{Value, json};

use crate::checks;
use crate::value::{list, text};

/// A question is about a resource or about a URL, never both.
pub fn validate_attributes(review: &Value) -> ErrorList {
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    let (resource, url) = (given(review, "resourceAttributes"), given(review, "nonResourceAttributes"));
    match (resource, url) {
        (Some(_), Some(url)) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            errors.push(Error::invalid(&path.child("nonResourceAttributes"), shown(url), detail));
        }
        (None, None) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            errors.push(Error::invalid(&path.child("resourceAttributes"), Value::Null, detail));
        }
        _ => {}
    }
    errors
}

/// A question about somebody else says who that is.
pub fn validate_subject(review: &Value) -> Option<Error> {
    let nobody = text(review, "/spec/user").is_empty() && list(review, "/spec/groups").is_empty();
    nobody.then(|| Error::invalid(&Path::new("spec.user"), "", "at least one of user or group must be specified"))
}

/// The selectors a question about a resource may carry.
pub fn validate_selectors(review: &Value) -> ErrorList {
    let path = Path::new("spec.resourceAttributes");
    let Some(resource) = given(review, "resourceAttributes") else { return ErrorList::new() };
    let mut errors = ErrorList::new();
    for (field, is_label) in [("fieldSelector", false), ("labelSelector", true)] {
        if let Some(selector) = resource.get(field).filter(|s| s.is_object()) {
            errors.extend(validate_selector(selector, is_label, &path.child(field)));
        }
    }
    errors
}

/// A review has no metadata, but for the namespace of a local one.
pub fn validate_metadata(review: &Value, allowed: &[&str], detail: &str) -> Option<Error> {
    let metadata = review.get("metadata")?;
    let ours = |key: &str| key == "managedFields" || allowed.contains(&key);
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    };
    let foreign = metadata.as_object()?.iter().any(|(key, value)| !ours(key) && !empty(value));
    foreign.then(|| Error::invalid(&Path::new("metadata"), metadata, detail))
}

/// The attributes of one sort, when they are there, be it empty.
pub fn given<'a>(review: &'a Value, field: &str) -> Option<&'a Value> {
    review.get("spec")?.get(field).filter(|attributes| attributes.is_object())
}

/// A URL's attributes by the names that messages show.
pub fn shown(url: &Value) -> Value {
    json!({"Path": text(url, "/path"), "Verb": text(url, "/verb")})
}

fn validate_selector(selector: &Value, is_label: bool, path: &Path) -> ErrorList {
    let (raw, requirements) = (text(selector, "/rawSelector"), list(selector, "/requirements"));
    let at = path.child("requirements");
    let mut errors = ErrorList::new();
    match (raw.is_empty(), requirements.is_empty()) {
        (false, false) => {
            let detail = "may not specified at the same time as requirements";
            errors.push(Error::invalid(&path.child("rawSelector"), raw, detail));
        }
        (true, true) => {
            let detail = format!("when {path} is specified, requirements or rawSelector is required");
            errors.push(Error::required(&at, detail));
        }
        _ => {}
    }
    for (i, requirement) in requirements.iter().enumerate() {
        errors.extend(validate_requirement(requirement, is_label, &at.index(i)));
    }
    errors
}

/// Operators that are not known are let through: a newer client may know more, and the authorizer ignores them.
fn validate_requirement(requirement: &Value, is_label: bool, path: &Path) -> ErrorList {
    let (key, values) = (text(requirement, "/key"), list(requirement, "/values"));
    let mut errors = ErrorList::new();
    if !is_label && key.is_empty() {
        errors.push(Error::required(&path.child("key"), "must be specified"));
    }
    let at = path.child("values");
    match text(requirement, "/operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors.push(Error::required(&at, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(Error::forbidden(&at, detail));
        }
        _ => {}
    }
    if is_label {
        errors.extend(checks::qualified_name(key, &path.child("key")));
        for (i, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or("");
            errors.extend(checks::each(&at.index(i), value, names::label_value(value)));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(errors: &ErrorList) -> Vec<String> {
        errors.iter().map(Error::to_string).collect()
    }

    #[test]
    fn selectors_are_raw_or_required() {
        let review = json!({"spec": {"resourceAttributes": {
            "fieldSelector": {"rawSelector": "a=b", "requirements": [{"operator": "In"}]},
            "labelSelector": {},
        }}});
        let expected = [
            "spec.resourceAttributes.fieldSelector.rawSelector: Invalid value: \"a=b\": may not specified at the same time as requirements",
            "spec.resourceAttributes.fieldSelector.requirements[0].key: Required value: must be specified",
            "spec.resourceAttributes.fieldSelector.requirements[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            "spec.resourceAttributes.labelSelector.requirements: Required value: when spec.resourceAttributes.labelSelector is specified, requirements or rawSelector is required",
        ];
        assert_eq!(texts(&validate_selectors(&review)), expected);
    }

    #[test]
    fn metadata_is_ours_to_fill() {
        let review = json!({"metadata": {"namespace": "n", "managedFields": [{}], "labels": {}}});
        assert_eq!(validate_metadata(&review, &["namespace"], "must be empty except for namespace"), None);
        let error = validate_metadata(&review, &[], "must be empty").map(|e| e.to_string()).unwrap_or_default();
        assert!(error.ends_with(": must be empty"), "{error}");
    }
}
