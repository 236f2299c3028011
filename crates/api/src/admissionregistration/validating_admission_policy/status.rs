//! The status of a policy: what the controller that checks the types of its expressions found.

use k8s_openapi::api::admissionregistration::v1::{ExpressionWarning, ValidatingAdmissionPolicy};
use machinery::field::{Error, ErrorList, Path};

use crate::checks;

pub fn validate(policy: &ValidatingAdmissionPolicy) -> ErrorList {
    let Some(status) = &policy.status else { return ErrorList::new() };
    let path = Path::new("status");
    let mut errors = ErrorList::new();
    let checking = path.child("typeChecking");
    let list = checking.child("expressionWarnings");
    let warnings = status.type_checking.iter().flat_map(|checking| checking.expression_warnings.iter().flatten());
    for (i, warning) in warnings.enumerate() {
        errors.extend(validate_warning(warning, &list.index(i)));
    }
    let conditions = status.conditions.as_deref().unwrap_or(&[]);
    errors.extend(checks::conditions(conditions, &path.child("conditions")));
    errors
}

fn validate_warning(warning: &ExpressionWarning, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if warning.warning.is_empty() {
        errors.push(Error::required(&path.child("warning"), ""));
    }
    let at = path.child("fieldRef");
    let reference = warning.field_ref.trim();
    if reference.is_empty() {
        errors.push(Error::required(&at, ""));
    } else if reference.matches('[').count() != reference.matches(']').count() {
        errors.push(Error::invalid(&at, reference, "invalid JSONPath: unterminated array"));
    }
    errors
}
