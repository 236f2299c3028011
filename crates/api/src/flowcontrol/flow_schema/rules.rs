//! The rules of a FlowSchema: subjects, and what they ask.

use k8s_openapi::api::flowcontrol::v1::{NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject};
use machinery::field::{Error, ErrorList, Path};
use machinery::names;

use crate::checks;

const ALL: &str = "*";
const KINDS: &[&str] = &["Group", "ServiceAccount", "User"];
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

pub fn validate(rule: &PolicyRulesWithSubjects, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = path.child("subjects");
    if rule.subjects.is_empty() {
        errors.push(Error::required(&at, "subjects must contain at least one value"));
    }
    errors.extend(rule.subjects.iter().enumerate().flat_map(|(i, subject)| validate_subject(subject, &at.index(i))));
    let of_resources = rule.resource_rules.as_deref().unwrap_or_default();
    let of_paths = rule.non_resource_rules.as_deref().unwrap_or_default();
    if of_resources.is_empty() && of_paths.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(Error::required(path, detail));
    }
    let at = path.child("resourceRules");
    errors.extend(of_resources.iter().enumerate().flat_map(|(i, rule)| validate_resources(rule, &at.index(i))));
    let at = path.child("nonResourceRules");
    errors.extend(of_paths.iter().enumerate().flat_map(|(i, rule)| validate_paths(rule, &at.index(i))));
    errors
}

/// A subject has the one field that its kind says.
fn validate_subject(subject: &Subject, path: &Path) -> ErrorList {
    let fields = [
        ("ServiceAccount", "serviceAccount", subject.service_account.is_some()),
        ("User", "user", subject.user.is_some()),
        ("Group", "group", subject.group.is_some()),
    ];
    let Some((kind, own, is_given)) = fields.iter().find(|(kind, ..)| *kind == subject.kind) else {
        return vec![Error::not_supported(&path.child("kind"), &subject.kind, KINDS)];
    };
    let mut errors = ErrorList::new();
    if !is_given {
        errors.push(Error::required(&path.child(own), format!("{own} is required when subject kind is '{kind}'")));
    }
    let at = path.child(own);
    let name = match *own {
        "user" => subject.user.as_ref().map(|user| &user.name),
        "group" => subject.group.as_ref().map(|group| &group.name),
        _ => None,
    };
    if name.is_some_and(String::is_empty) {
        errors.push(Error::required(&at.child("name"), ""));
    }
    if let Some(account) = subject.service_account.as_ref().filter(|_| *own == "serviceAccount") {
        errors.extend(validate_account(&account.namespace, &account.name, &at));
    }
    for (kind, other, _) in fields.iter().filter(|(_, other, given)| *given && other != own) {
        let detail = format!("{other} is forbidden when subject kind is not '{kind}'");
        errors.push(Error::forbidden(&path.child(other), detail));
    }
    errors
}

fn validate_account(namespace: &str, name: &str, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let at = path.child("name");
    match name {
        "" => errors.push(Error::required(&at, "")),
        ALL => {}
        name => errors.extend(checks::dns_subdomain(name, &at)),
    }
    let at = path.child("namespace");
    match namespace {
        "" => errors.push(Error::required(&at, "must specify namespace for service account")),
        namespace => errors.extend(checks::dns_label(namespace, &at)),
    }
    errors
}

fn validate_verbs(verbs: &[String], path: &Path) -> Option<Error> {
    let at = path.child("verbs");
    if verbs.is_empty() {
        return Some(Error::required(&at, "verbs must contain at least one value"));
    }
    if let Some(error) = alone(verbs, "verbs", &at) {
        return Some(error);
    }
    let known = |verb: &String| verb == ALL || VERBS.contains(&verb.as_str());
    (!verbs.iter().all(known)).then(|| Error::not_supported(&at, verbs, VERBS))
}

/// What stands for everything stands alone.
fn alone(list: &[String], what: &str, path: &Path) -> Option<Error> {
    let crowded = list.len() > 1 && list.iter().any(|entry| entry == ALL);
    crowded.then(|| Error::invalid(path, list, format!("if '*' is present, must not specify other {what}")))
}

fn validate_resources(rule: &ResourcePolicyRule, path: &Path) -> ErrorList {
    let mut errors: ErrorList = validate_verbs(&rule.verbs, path).into_iter().collect();
    for (field, list, one, what) in [
        ("apiGroups", &rule.api_groups, "api group", "api groups"),
        ("resources", &rule.resources, "resource", "resources"),
    ] {
        let at = path.child(field);
        if list.is_empty() {
            errors.push(Error::required(&at, format!("resource rules must supply at least one {one}")));
        }
        errors.extend(alone(list, what, &at));
    }
    let at = path.child("namespaces");
    let namespaces = rule.namespaces.as_deref().unwrap_or_default();
    if namespaces.is_empty() && !rule.cluster_scope.unwrap_or(false) {
        let detail = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.push(Error::required(&at, detail));
    } else if namespaces.iter().any(|namespace| namespace == ALL) {
        errors.extend(alone(namespaces, "namespaces", &at));
    } else {
        for (i, namespace) in namespaces.iter().enumerate() {
            let messages = names::is_dns1123_label(namespace).into_iter();
            let messages = messages.map(|m| format!("each member of this list must be '*' or a DNS-1123 label; {m}"));
            errors.extend(checks::each(&at.index(i), namespace, messages.collect()));
        }
    }
    errors
}

fn validate_paths(rule: &NonResourcePolicyRule, path: &Path) -> ErrorList {
    let mut errors: ErrorList = validate_verbs(&rule.verbs, path).into_iter().collect();
    let at = path.child("nonResourceURLs");
    let paths = &rule.non_resource_urls;
    if paths.is_empty() {
        errors.push(Error::required(&at, "nonResourceURLs must contain at least one value"));
    } else if paths.iter().any(|path| path == ALL) {
        errors.extend(alone(paths, "non-resource URLs", &at));
    } else {
        let faults = paths.iter().enumerate().filter_map(|(i, path)| Some((i, path, path_fault(path)?)));
        errors.extend(faults.map(|(i, path, fault)| Error::invalid(&at.index(i), path, fault)));
    }
    errors
}

fn path_fault(path: &str) -> Option<&'static str> {
    match path {
        "" => Some("must not be empty"),
        "/" => None,
        path if !path.starts_with('/') => Some("must start with slash"),
        path if path.contains(' ') => Some("must not contain white-space"),
        path if path.contains("//") => Some("must not contain double slash"),
        path => {
            let rest = path.strip_suffix("/*").unwrap_or(path);
            rest.contains('*').then_some("wildcard can only do suffix matching")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn errors(rule: Value) -> Vec<String> {
        let rule: PolicyRulesWithSubjects = serde_json::from_value(rule).unwrap();
        validate(&rule, &Path::new("r")).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_subject_is_what_its_kind_says() {
        let of = |subject: Value| {
            errors(json!({"subjects": [subject], "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]}))
        };
        assert_eq!(
            of(json!({"kind": "Group", "user": {"name": "u"}, "serviceAccount": {"name": "s", "namespace": "n"}})),
            [
                "r.subjects[0].group: Required value: group is required when subject kind is 'Group'",
                "r.subjects[0].serviceAccount: Forbidden: serviceAccount is forbidden when subject kind is not 'ServiceAccount'",
                "r.subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'"
            ]
        );
        let account = json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*", "namespace": "n"}});
        assert_eq!(of(account), Vec::<String>::new());
    }

    #[test]
    fn wildcards_of_paths_stand_at_the_end() {
        for (path, fault) in [
            ("/", None),
            ("/a/*", None),
            ("/*", None),
            ("/a*", Some("wildcard can only do suffix matching")),
            ("/*/a/*", Some("wildcard can only do suffix matching")),
            ("/a//b", Some("must not contain double slash")),
            ("/a b", Some("must not contain white-space")),
            ("", Some("must not be empty")),
        ] {
            assert_eq!(path_fault(path), fault, "{path}");
        }
    }
}
