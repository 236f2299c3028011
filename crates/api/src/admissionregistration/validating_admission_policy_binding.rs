//! ValidatingAdmissionPolicyBinding: puts a policy in force, for what and how.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding;
use machinery::field::{Error, ErrorList, Path};

use super::{GROUP, first_generation, match_resources, next_generation, param_ref, v1beta1};
use crate::kind::{Column, Kind, Version};
use crate::value::text;
use crate::{cells, checks, names};

const SCHEMA: &str = "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicyBinding";
const REPLACEMENT: &str = "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding";
const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "ValidatingAdmissionPolicyBinding",
    list_kind: "ValidatingAdmissionPolicyBindingList",
    plural: "validatingadmissionpolicybindings",
    singular: "validatingadmissionpolicybinding",
    categories: &["api-extensions"],
    namespaced: false,
    unconditional_update: false,
    versions: &[Version::stored("v1", SCHEMA), v1beta1(SCHEMA, "1.31", "1.34", REPLACEMENT, |_| {})],
    columns: COLUMNS,
    cells: |v, now| {
        vec![cells::name(v), text(v, "/spec/policyName").into(), param_ref::ref_cell(v), cells::age(v, now)]
    },
    hooks: hooks!(
        ValidatingAdmissionPolicyBinding,
        false,
        names::subdomain,
        generic_full {
            default: default,
            prepare_create: first_generation,
            validate: validate,
            prepare_update: next_generation,
            validate_update: |new, _old| validate(new),
        }
    ),
    ..Kind::BASE
};

/// The columns of both kinds of bindings.
pub(super) const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new(
        "PolicyName",
        "string",
        0,
        "PolicyName indicates the policy definition which the policy binding binded to",
    ),
    Column::new("ParamRef", "string", 0, "ParamRef indicates the param resource which sets the configration param"),
    Column::AGE,
];

fn default(binding: &mut ValidatingAdmissionPolicyBinding) {
    if let Some(resources) = binding.spec.match_resources.as_mut() {
        match_resources::default(resources);
    }
}

fn validate(binding: &ValidatingAdmissionPolicyBinding) -> ErrorList {
    let spec = &binding.spec;
    let path = Path::new("spec");
    let mut errors = policy_name(&spec.policy_name, &path.child("policyName"));
    if let Some(reference) = &spec.param_ref {
        errors.extend(param_ref::validate_ref(reference, &path.child("paramRef")));
    }
    if let Some(resources) = &spec.match_resources {
        errors.extend(match_resources::validate(resources, &path.child("matchResources")));
    }
    errors.extend(actions(&spec.validation_actions, &path.child("validationActions")));
    errors
}

pub(super) fn policy_name(name: &str, path: &Path) -> ErrorList {
    if name.is_empty() {
        return vec![Error::required(path, "")];
    }
    checks::dns_subdomain(name, path)
}

/// Who is denied need not be warned as well.
fn actions(actions: &[String], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut seen = BTreeSet::new();
    for (i, action) in actions.iter().enumerate() {
        if !ACTIONS.contains(&action.as_str()) {
            errors.push(Error::not_supported(&path.index(i), action, ACTIONS));
        }
        if !seen.insert(action.as_str()) {
            errors.push(Error::duplicate(&path.index(i), action));
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.push(Error::invalid(path, actions, detail));
    }
    if seen.is_empty() {
        errors.push(Error::required(path, "at least one validation action is required"));
    }
    errors
}
