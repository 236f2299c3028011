//! Rules: which operations on which resources a webhook or a policy is about.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{NamedRuleWithOperations, RuleWithOperations};
use machinery::field::{Error, ErrorList, Path};

use crate::{checks, names};

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];
const ALL: &str = "*";

/// The parts that rules with and without names of objects share.
pub struct Rule<'a> {
    operations: &'a [String],
    groups: &'a [String],
    versions: &'a [String],
    resources: &'a [String],
    scope: Option<&'a str>,
}

impl<'a> From<&'a RuleWithOperations> for Rule<'a> {
    fn from(rule: &'a RuleWithOperations) -> Self {
        Rule {
            operations: rule.operations.as_deref().unwrap_or(&[]),
            groups: rule.api_groups.as_deref().unwrap_or(&[]),
            versions: rule.api_versions.as_deref().unwrap_or(&[]),
            resources: rule.resources.as_deref().unwrap_or(&[]),
            scope: rule.scope.as_deref(),
        }
    }
}

impl<'a> From<&'a NamedRuleWithOperations> for Rule<'a> {
    fn from(rule: &'a NamedRuleWithOperations) -> Self {
        Rule {
            operations: rule.operations.as_deref().unwrap_or(&[]),
            groups: rule.api_groups.as_deref().unwrap_or(&[]),
            versions: rule.api_versions.as_deref().unwrap_or(&[]),
            resources: rule.resources.as_deref().unwrap_or(&[]),
            scope: rule.scope.as_deref(),
        }
    }
}

/// A rule that names objects too.
pub fn validate_named(rule: &NamedRuleWithOperations, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = path.child("resourceNames");
    let mut seen = BTreeSet::new();
    for (i, name) in rule.resource_names.iter().flatten().enumerate() {
        let at = list.index(i);
        errors.extend(checks::each(&at, name, names::path_segment(name, false)));
        if !seen.insert(name) {
            errors.push(Error::duplicate(&at, name));
        }
    }
    errors.extend(validate(&rule.into(), path));
    errors
}

pub fn validate(rule: &Rule, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = path.child("operations");
    errors.extend(wildcard_list(rule.operations, "operations", &at));
    for (i, operation) in rule.operations.iter().enumerate().filter(|(_, o)| !OPERATIONS.contains(&o.as_str())) {
        errors.push(Error::not_supported(&at.index(i), operation, OPERATIONS));
    }
    errors.extend(wildcard_list(rule.groups, "API groups", &path.child("apiGroups")));
    let at = path.child("apiVersions");
    errors.extend(wildcard_list(rule.versions, "API versions", &at));
    for (i, _) in rule.versions.iter().enumerate().filter(|(_, version)| version.is_empty()) {
        errors.push(Error::required(&at.index(i), ""));
    }
    errors.extend(resources(rule.resources, &path.child("resources")));
    if let Some(scope) = rule.scope.filter(|scope| !SCOPES.contains(scope)) {
        errors.push(Error::not_supported(&path.child("scope"), scope, SCOPES));
    }
    errors
}

/// Something must be named; who names all names nothing else.
fn wildcard_list(values: &[String], what: &str, path: &Path) -> Option<Error> {
    if values.is_empty() {
        return Some(Error::required(path, ""));
    }
    let all = values.iter().any(|value| value == ALL);
    (values.len() > 1 && all)
        .then(|| Error::invalid(path, values, format!("if '*' is present, must not specify other {what}")))
}

/// `pods`, `pods/status`, `pods/*`, `*/scale`, `*`, `*/*`: what a wildcard covers already is not named beside it.
fn resources(resources: &[String], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if resources.is_empty() {
        errors.push(Error::required(path, ""));
    }
    let (mut all_of, mut of_all) = (BTreeSet::new(), BTreeSet::new());
    let mut plain = false;
    for (i, name) in resources.iter().enumerate() {
        if name.is_empty() {
            errors.push(Error::required(&path.index(i), ""));
            continue;
        }
        let Some((resource, subresource)) = name.split_once('/') else {
            plain = name != ALL;
            continue;
        };
        let mut covered = |by: String| {
            let message = format!("if '{by}' is present, must not specify {name}");
            errors.push(Error::invalid(&path.index(i), name, message));
        };
        if all_of.contains(resource) {
            covered(format!("{resource}/*"));
        }
        if of_all.contains(subresource) {
            covered(format!("*/{subresource}"));
        }
        if subresource == ALL {
            all_of.insert(resource);
        }
        if resource == ALL {
            of_all.insert(subresource);
        }
    }
    let has = |wanted: &str| resources.iter().any(|name| name == wanted);
    if resources.len() > 1 && has("*/*") {
        errors.push(Error::invalid(path, resources, "if '*/*' is present, must not specify other resources"));
    }
    if has(ALL) && plain {
        let message = "if '*' is present, must not specify other resources without subresources";
        errors.push(Error::invalid(path, resources, message));
    }
    errors
}
