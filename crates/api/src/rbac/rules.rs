//! The rules of a role: each names verbs and either resources or URLs that are no resources, never both.

use k8s_openapi::api::rbac::v1::PolicyRule;
use machinery::field::{Error, ErrorList, Path};

/// Checks the rules of a role. One of a namespace has no say over URLs.
pub fn validate(rules: Option<&[PolicyRule]>, namespaced: bool) -> ErrorList {
    let path = Path::new("rules");
    let rules = rules.unwrap_or(&[]);
    rules.iter().enumerate().flat_map(|(i, rule)| validate_rule(rule, namespaced, &path.index(i))).collect()
}

fn validate_rule(rule: &PolicyRule, namespaced: bool, path: &Path) -> ErrorList {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let (groups, resources, names) = (list(&rule.api_groups), list(&rule.resources), list(&rule.resource_names));
    let mut errors = ErrorList::new();
    if rule.verbs.is_empty() {
        errors.push(Error::required(&path.child("verbs"), "verbs must contain at least one value"));
    }
    let urls = list(&rule.non_resource_urls);
    if !urls.is_empty() {
        let path = path.child("nonResourceURLs");
        if namespaced {
            errors.push(Error::invalid(&path, &urls, "namespaced rules cannot apply to non-resource URLs"));
        }
        if !(groups.is_empty() && resources.is_empty() && names.is_empty()) {
            let detail = "rules cannot apply to both regular resources and non-resource URLs";
            errors.push(Error::invalid(&path, &urls, detail));
        }
        return errors;
    }
    if groups.is_empty() {
        errors.push(Error::required(&path.child("apiGroups"), "resource rules must supply at least one api group"));
    }
    if resources.is_empty() {
        errors.push(Error::required(&path.child("resources"), "resource rules must supply at least one resource"));
    }
    errors
}
