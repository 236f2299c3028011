//! MutatingAdmissionPolicyBinding: puts a mutating policy in force, and for what.

use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicyBinding, MutatingAdmissionPolicyBindingSpec};
use machinery::field::{ErrorList, Path};

use super::validating_admission_policy_binding::{COLUMNS, policy_name};
use super::{GROUP, first_generation, match_resources, next_generation, param_ref};
use crate::kind::{Kind, Version};
use crate::value::text;
use crate::{cells, names};

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "MutatingAdmissionPolicyBinding",
    list_kind: "MutatingAdmissionPolicyBindingList",
    plural: "mutatingadmissionpolicybindings",
    singular: "mutatingadmissionpolicybinding",
    categories: &["api-extensions"],
    namespaced: false,
    unconditional_update: false,
    versions: &[Version::stored("v1", "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicyBinding")],
    columns: COLUMNS,
    cells: |v, now| {
        vec![cells::name(v), text(v, "/spec/policyName").into(), param_ref::ref_cell(v), cells::age(v, now)]
    },
    hooks: hooks!(
        MutatingAdmissionPolicyBinding,
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

fn default(binding: &mut MutatingAdmissionPolicyBinding) {
    if let Some(resources) = binding.spec.as_mut().and_then(|spec| spec.match_resources.as_mut()) {
        match_resources::default(resources);
    }
}

fn validate(binding: &MutatingAdmissionPolicyBinding) -> ErrorList {
    let nothing = MutatingAdmissionPolicyBindingSpec::default();
    let spec = binding.spec.as_ref().unwrap_or(&nothing);
    let path = Path::new("spec");
    let mut errors = policy_name(spec.policy_name.as_deref().unwrap_or(""), &path.child("policyName"));
    if let Some(reference) = &spec.param_ref {
        errors.extend(param_ref::validate_ref(reference, &path.child("paramRef")));
    }
    if let Some(resources) = &spec.match_resources {
        let at = path.child("matchResources");
        errors.extend(match_resources::validate(resources, &at));
        let rules = resources.resource_rules.as_deref().unwrap_or(&[]);
        errors.extend(match_resources::validate_mutable(rules, &at.child("resourceRules")));
    }
    errors
}
