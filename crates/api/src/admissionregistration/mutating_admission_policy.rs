//! MutatingAdmissionPolicy: expressions that change what is written.

use k8s_openapi::api::admissionregistration::v1::{MutatingAdmissionPolicy, MutatingAdmissionPolicySpec, Mutation};
use machinery::field::{Error, ErrorList, Path};

use super::expressions::{Compiler, Use};
use super::validating_admission_policy::validate_variables;
use super::{FAILURE_POLICIES, GROUP, REINVOCATION_POLICIES, conditions, first_generation, match_resources};
use super::{next_generation, param_ref};
use crate::kind::{Column, Kind, Version};
use crate::value::list;
use crate::{cells, checks, names};

const PATCH_TYPES: &[&str] = &["ApplyConfiguration", "JSONPatch"];

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "MutatingAdmissionPolicy",
    list_kind: "MutatingAdmissionPolicyList",
    plural: "mutatingadmissionpolicies",
    singular: "mutatingadmissionpolicy",
    categories: &["api-extensions"],
    namespaced: false,
    unconditional_update: false,
    versions: &[Version::stored("v1", "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy")],
    columns: &[
        Column::NAME,
        Column::new(
            "Mutations",
            "integer",
            0,
            "Mutation indicates the number of mutations rules defined in this configuration",
        ),
        Column::new(
            "ParamKind",
            "string",
            0,
            "ParamKind specifies the kind of resources used to parameterize this policy",
        ),
        Column::AGE,
    ],
    cells: |v, now| {
        vec![cells::name(v), list(v, "/spec/mutations").len().into(), param_ref::kind_cell(v), cells::age(v, now)]
    },
    hooks: hooks!(
        MutatingAdmissionPolicy,
        false,
        names::subdomain,
        generic_full {
            default: default,
            prepare_create: first_generation,
            validate: |new| validate(new, None),
            prepare_update: next_generation,
            validate_update: |new, old| validate(new, Some(old)),
        }
    ),
    ..Kind::BASE
};

fn default(policy: &mut MutatingAdmissionPolicy) {
    let spec = policy.spec.get_or_insert_default();
    spec.failure_policy.get_or_insert_with(|| "Fail".to_string());
    if let Some(constraints) = spec.match_constraints.as_mut() {
        match_resources::default(constraints);
    }
}

fn validate(policy: &MutatingAdmissionPolicy, old: Option<&MutatingAdmissionPolicy>) -> ErrorList {
    let nothing = MutatingAdmissionPolicySpec::default();
    let spec = policy.spec.as_ref().unwrap_or(&nothing);
    let stored = old.and_then(|old| old.spec.as_ref());
    let mut compiler = Compiler::new(spec.param_kind.is_some());
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    errors.extend(checks::one_of(spec.failure_policy.as_deref(), FAILURE_POLICIES, &path.child("failurePolicy")));
    if let Some(kind) = &spec.param_kind {
        errors.extend(param_ref::validate_kind(kind, &path.child("paramKind")));
    }
    let constraints = spec.match_constraints.as_ref();
    errors.extend(match_resources::validate_constraints(constraints, true, &path.child("matchConstraints")));
    let same = stored.is_some_and(|s| s.param_kind == spec.param_kind && s.match_conditions == spec.match_conditions);
    if !same {
        let given = spec.match_conditions.as_deref().unwrap_or(&[]);
        errors.extend(conditions::validate(given, &compiler, &path.child("matchConditions")));
    }
    let variables = spec.variables.as_deref().unwrap_or(&[]);
    errors.extend(validate_variables(variables, &mut compiler, &path.child("variables")));
    let at = path.child("mutations");
    let mutations = spec.mutations.as_deref().unwrap_or(&[]);
    if mutations.is_empty() {
        errors.push(Error::required(&at, "mutations must contain at least one item"));
    }
    for (i, mutation) in mutations.iter().enumerate() {
        errors.extend(validate_mutation(mutation, &compiler, &at.index(i)));
    }
    let reinvocation = spec.reinvocation_policy.as_deref();
    errors.extend(checks::one_of(reinvocation, REINVOCATION_POLICIES, &path.child("reinvocationPolicy")));
    errors
}

/// One of two forms, by its type.
fn validate_mutation(mutation: &Mutation, compiler: &Compiler, path: &Path) -> ErrorList {
    let patch_type = mutation.patch_type.as_str();
    let apply = mutation.apply_configuration.as_ref().map(|apply| apply.expression.as_deref().unwrap_or(""));
    let patch = mutation.json_patch.as_ref().map(|patch| patch.expression.as_deref().unwrap_or(""));
    let (used, given, field, other, other_field) = match patch_type {
        "ApplyConfiguration" => (Use::ApplyConfiguration, apply, "applyConfiguration", patch, "jsonPatch"),
        "JSONPatch" => (Use::JsonPatch, patch, "jsonPatch", apply, "applyConfiguration"),
        other => return checks::one_of(Some(other), PATCH_TYPES, &path.child("patchType")).into_iter().collect(),
    };
    let mut errors = ErrorList::new();
    if other.is_some() {
        let detail = format!("must not be specified when patchType is {patch_type}");
        errors.push(Error::invalid(&path.child(other_field), format!("{{{other_field}}}"), detail));
    }
    let at = path.child(field);
    let at_expression = at.child("expression");
    match given {
        None => errors.push(Error::required(&at, format!("must be specified when patchType is {patch_type}"))),
        Some(text) if text.trim().is_empty() => errors.push(Error::required(&at_expression, "")),
        Some(text) => errors.extend(compiler.check(text, used, &at_expression)),
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn errors(spec: serde_json::Value) -> Vec<String> {
        let mut policy = json!({"metadata": {"name": "p"}, "spec": spec});
        (KIND.hooks.default)(&mut policy).unwrap();
        (KIND.hooks.validate)(&policy).iter().map(Error::to_string).collect()
    }

    #[test]
    fn mutations_have_one_form_and_nothing_deleted_is_mutated() {
        let rule = |operation: &str| json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": [operation], "resources": ["pods"]}]);
        let good =
            json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/spec'}]"}});
        let spec = |operation: &str, mutation: &serde_json::Value| json!({"reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": rule(operation)}, "mutations": [mutation]});
        assert_eq!(errors(spec("CREATE", &good)), Vec::<String>::new());
        assert_eq!(
            errors(spec("DELETE", &good)),
            [
                "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\""
            ]
        );
        let mixed = json!({"patchType": "JSONPatch", "applyConfiguration": {"expression": "Object{}"}});
        assert_eq!(
            errors(spec("CREATE", &mixed)),
            [
                "spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified when patchType is JSONPatch",
                "spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch"
            ]
        );
        assert_eq!(
            errors(json!({})),
            [
                "spec.matchConstraints: Required value",
                "spec.mutations: Required value: mutations must contain at least one item",
                "spec.reinvocationPolicy: Required value"
            ]
        );
    }
}
