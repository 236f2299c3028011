//! Match conditions: expressions that all must hold for a webhook or a policy to be asked.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::MatchCondition;
use machinery::field::{Error, ErrorList, Path};

use super::expressions::{Compiler, Use};
use crate::checks;

const CONDITIONS_MAX: usize = 64;

pub fn validate(conditions: &[MatchCondition], compiler: &Compiler, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if conditions.len() > CONDITIONS_MAX {
        errors.push(Error::too_many(path, conditions.len(), CONDITIONS_MAX));
    }
    let mut names = BTreeSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let at = path.index(i);
        let text = condition.expression.trim();
        if text.is_empty() {
            errors.push(Error::required(&at.child("expression"), ""));
        } else {
            errors.extend(compiler.check(text, Use::MatchCondition, &at.child("expression")));
        }
        let at = at.child("name");
        if condition.name.is_empty() {
            errors.push(Error::required(&at, ""));
            continue;
        }
        errors.extend(checks::qualified_name(&condition.name, &at));
        if !names.insert(&condition.name) {
            errors.push(Error::duplicate(&at, &condition.name));
        }
    }
    errors
}
