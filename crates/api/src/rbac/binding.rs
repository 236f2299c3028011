//! What RoleBinding and ClusterRoleBinding share: a role, which never changes, and the subjects that get it.

use k8s_openapi::api::rbac::v1::{RoleRef, Subject};
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Value, json};

use super::GROUP;
use crate::value::{list, text};
use crate::{cells, checks, names};

/// The groups of the role and of subjects that are users or groups go without saying.
pub fn default(role: &mut RoleRef, subjects: Option<&mut Vec<Subject>>) {
    if role.api_group.as_deref().unwrap_or("").is_empty() {
        role.api_group = Some(GROUP.to_string());
    }
    for subject in subjects.into_iter().flatten() {
        let silent = subject.api_group.as_deref().unwrap_or("").is_empty();
        if silent && matches!(subject.kind.as_str(), "User" | "Group") {
            subject.api_group = Some(GROUP.to_string());
        }
    }
}

/// Checks a binding to a role of one of `kinds`. In a namespace a service account's own namespace may be left out.
pub fn validate(role: &RoleRef, subjects: Option<&[Subject]>, kinds: &[&str], namespaced: bool) -> ErrorList {
    let mut errors = validate_role(role, kinds);
    let path = Path::new("subjects");
    for (i, subject) in subjects.unwrap_or(&[]).iter().enumerate() {
        errors.extend(validate_subject(subject, namespaced, &path.index(i)));
    }
    errors
}

/// A binding to another role would be another binding.
pub fn validate_role_kept(new: &RoleRef, old: &RoleRef) -> Option<Error> {
    let shown = json!({"APIGroup": new.api_group, "Kind": new.kind, "Name": new.name});
    (new != old).then(|| Error::invalid(&Path::new("roleRef"), shown, "cannot change roleRef"))
}

fn validate_role(role: &RoleRef, kinds: &[&str]) -> ErrorList {
    let path = Path::new("roleRef");
    let mut errors = ErrorList::new();
    let group = role.api_group.as_deref().unwrap_or("");
    if group != GROUP {
        errors.push(Error::not_supported(&path.child("apiGroup"), group, &[GROUP]));
    }
    if !kinds.contains(&role.kind.as_str()) {
        errors.push(Error::not_supported(&path.child("kind"), &role.kind, kinds));
    }
    let path = path.child("name");
    if role.name.is_empty() {
        errors.push(Error::required(&path, ""));
    } else {
        errors.extend(checks::each(&path, &role.name, names::path_segment(&role.name, false)));
    }
    errors
}

fn validate_subject(subject: &Subject, namespaced: bool, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let group = subject.api_group.as_deref().unwrap_or("");
    let name = path.child("name");
    if subject.name.is_empty() {
        errors.push(Error::required(&name, ""));
    }
    match subject.kind.as_str() {
        "ServiceAccount" => {
            if !subject.name.is_empty() {
                errors.extend(checks::dns_subdomain(&subject.name, &name));
            }
            if !group.is_empty() {
                errors.push(Error::not_supported(&path.child("apiGroup"), group, &[""]));
            }
            if !namespaced && subject.namespace.as_deref().unwrap_or("").is_empty() {
                errors.push(Error::required(&path.child("namespace"), ""));
            }
        }
        "User" | "Group" if group != GROUP => {
            errors.push(Error::not_supported(&path.child("apiGroup"), group, &[GROUP]));
        }
        "User" | "Group" => {}
        other => {
            errors.push(Error::not_supported(&path.child("kind"), other, &["ServiceAccount", "User", "Group"]));
        }
    }
    errors
}

/// The row of either kind: name, role, age, then users, groups and service accounts.
pub fn row(binding: &Value, now: jiff::Timestamp) -> Vec<Value> {
    let of_kind = |kind: &str, shown: fn(&Value) -> String| -> Value {
        let subjects = list(binding, "/subjects").iter().filter(|s| text(s, "/kind") == kind);
        subjects.map(shown).collect::<Vec<_>>().join(", ").into()
    };
    vec![
        cells::name(binding),
        format!("{}/{}", text(binding, "/roleRef/kind"), text(binding, "/roleRef/name")).into(),
        cells::age(binding, now),
        of_kind("User", |s| text(s, "/name").to_string()),
        of_kind("Group", |s| text(s, "/name").to_string()),
        of_kind("ServiceAccount", |s| format!("{}/{}", text(s, "/namespace"), text(s, "/name"))),
    ]
}
