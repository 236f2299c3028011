//! Validation of label selectors in objects.

use super::{extend, labels};
use crate::field::{Error, ErrorList, Path};
use crate::names;
use serde_json::Value;

/// Checks a meta/v1 LabelSelector; an absent one is valid here.
pub fn label_selector(selector: &Value, path: &Path) -> ErrorList {
    let mut errors = labels(selector.get("matchLabels").and_then(Value::as_object), &path.child("matchLabels"));
    let list = path.child("matchExpressions");
    for (i, expression) in selector.get("matchExpressions").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        errors.extend(label_selector_requirement(expression, &list.index(i)));
    }
    errors
}

/// Checks one of a LabelSelector's matchExpressions.
pub fn label_selector_requirement(expression: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let text = |field| expression.get(field).and_then(Value::as_str).unwrap_or_default();
    let values = expression.get("values").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let at_values = path.child("values");
    match text("operator") {
        "In" | "NotIn" if values.is_empty() => {
            errors.push(Error::required(&at_values, "must be specified when `operator` is 'In' or 'NotIn'"));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors.push(Error::forbidden(
                &at_values,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ));
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => errors.push(Error::invalid(&path.child("operator"), other, "not a valid selector operator")),
    }
    extend(&mut errors, &path.child("key"), text("key"), names::qualified_name(text("key")));
    for (i, value) in values.iter().enumerate() {
        let value = value.as_str().unwrap_or_default();
        extend(&mut errors, &at_values.index(i), value, names::label_value(value));
    }
    errors
}
