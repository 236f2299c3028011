//! MatchResources: what a policy or a binding is about, in rules and selectors.

use k8s_openapi::api::admissionregistration::v1::{MatchResources, NamedRuleWithOperations};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use machinery::field::{Error, ErrorList, Path};

use super::rules;
use crate::checks;

pub const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
/// What can be mutated: what is deleted cannot.
const MUTABLE: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];

pub fn default(resources: &mut MatchResources) {
    resources.match_policy.get_or_insert_with(|| "Equivalent".to_string());
    resources.namespace_selector.get_or_insert_default();
    resources.object_selector.get_or_insert_default();
    let rules = resources.resource_rules.iter_mut().chain(resources.exclude_resource_rules.iter_mut());
    for rule in rules.flatten() {
        rule.scope.get_or_insert_with(|| "*".to_string());
    }
}

/// The constraints of a policy: there must be some, and a rule among them, which says what types its expressions see.
pub fn validate_constraints(constraints: Option<&MatchResources>, mutates: bool, path: &Path) -> ErrorList {
    let Some(constraints) = constraints else { return vec![Error::required(path, "")] };
    let mut errors = validate(constraints, path);
    let rules = constraints.resource_rules.as_deref().unwrap_or(&[]);
    let at = path.child("resourceRules");
    if rules.is_empty() {
        errors.push(Error::required(&at, ""));
    }
    if mutates {
        errors.extend(validate_mutable(rules, &at));
    }
    errors
}

pub fn validate(resources: &MatchResources, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = path.child("matchPolicy");
    match resources.match_policy.as_deref() {
        None => errors.push(Error::required(&at, "")),
        Some(policy) if !MATCH_POLICIES.contains(&policy) => {
            errors.push(Error::not_supported(&at, policy, MATCH_POLICIES));
        }
        Some(_) => {}
    }
    errors.extend(selector(resources.namespace_selector.as_ref(), &path.child("namespaceSelector")));
    errors.extend(selector(resources.object_selector.as_ref(), &path.child("objectSelector")));
    let lists = [
        (&resources.resource_rules, path.child("resourceRules")),
        (&resources.exclude_resource_rules, path.child("excludeResourceRules")),
    ];
    for (list, at) in lists {
        for (i, rule) in list.iter().flatten().enumerate() {
            errors.extend(rules::validate_named(rule, &at.index(i)));
        }
    }
    errors
}

/// Rules of what mutates name operations that leave an object behind.
pub fn validate_mutable(rules: &[NamedRuleWithOperations], path: &Path) -> ErrorList {
    let at = path.child("operations");
    let operations = rules.iter().flat_map(|rule| rule.operations.iter().flatten());
    let wrong = operations.filter(|operation| !MUTABLE.contains(&operation.as_str()));
    wrong.map(|operation| Error::not_supported(&at, operation, MUTABLE)).collect()
}

fn selector(selector: Option<&LabelSelector>, path: &Path) -> ErrorList {
    match selector {
        Some(selector) => checks::label_selector(selector, path),
        None => vec![Error::required(path, "")],
    }
}
