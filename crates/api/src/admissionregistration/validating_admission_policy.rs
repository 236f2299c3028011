//! ValidatingAdmissionPolicy: expressions that a write must satisfy.

mod status;

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{
    AuditAnnotation, ValidatingAdmissionPolicy, ValidatingAdmissionPolicySpec, Validation, Variable,
};
use machinery::field::{Error, ErrorList, Path};

use super::expressions::{Compiler, Use};
use super::{FAILURE_POLICIES, GROUP, conditions, match_resources, param_ref, v1beta1};
use crate::kind::{Column, Kind, Version};
use crate::value::list;
use crate::{cells, checks, names, strategy};

const SCHEMA: &str = "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy";
const REPLACEMENT: &str = "admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy";
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const AUDIT_ANNOTATIONS_MAX: usize = 20;
const VALUE_EXPRESSION_BYTES_MAX: usize = 5 * 1024;
const EMPTY: &str = "validations or auditAnnotations must contain at least one item";
pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "ValidatingAdmissionPolicy",
    list_kind: "ValidatingAdmissionPolicyList",
    plural: "validatingadmissionpolicies",
    singular: "validatingadmissionpolicy",
    categories: &["api-extensions"],
    namespaced: false,
    status: true,
    unconditional_update: false,
    versions: &[Version::stored("v1", SCHEMA), v1beta1(SCHEMA, "1.31", "1.34", REPLACEMENT, |_| {})],
    columns: &[
        Column::NAME,
        Column::new(
            "Validations",
            "integer",
            0,
            "Validations indicates the number of validation rules defined in this configuration",
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
        vec![cells::name(v), list(v, "/spec/validations").len().into(), param_ref::kind_cell(v), cells::age(v, now)]
    },
    hooks: hooks!(
        ValidatingAdmissionPolicy,
        false,
        names::subdomain,
        generic_full {
            default: default,
            prepare_create: strategy::create_with_status,
            validate: |new| validate(new, None),
            prepare_update: strategy::update_spec,
            validate_update: |new, old| validate(new, Some(old)),
            prepare_status_update: strategy::update_status,
            validate_status_update: |new, _old| status::validate(new),
        }
    ),
    ..Kind::BASE
};

fn default(policy: &mut ValidatingAdmissionPolicy) {
    let spec = policy.spec.get_or_insert_default();
    spec.failure_policy.get_or_insert_with(|| "Fail".to_string());
    if let Some(constraints) = spec.match_constraints.as_mut() {
        match_resources::default(constraints);
    }
}

fn validate(policy: &ValidatingAdmissionPolicy, old: Option<&ValidatingAdmissionPolicy>) -> ErrorList {
    let nothing = ValidatingAdmissionPolicySpec::default();
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
    errors.extend(match_resources::validate_constraints(constraints, false, &path.child("matchConstraints")));
    let same = stored.is_some_and(|s| s.param_kind == spec.param_kind && s.match_conditions == spec.match_conditions);
    if !same {
        let given = spec.match_conditions.as_deref().unwrap_or(&[]);
        errors.extend(conditions::validate(given, &compiler, &path.child("matchConditions")));
    }
    let variables = spec.variables.as_deref().unwrap_or(&[]);
    errors.extend(validate_variables(variables, &mut compiler, &path.child("variables")));
    let context = Context { policy: policy.metadata.name.as_deref().unwrap_or(""), compiler };
    let validations = spec.validations.as_deref().unwrap_or(&[]);
    let annotations = spec.audit_annotations.as_deref().unwrap_or(&[]);
    if validations.is_empty() && annotations.is_empty() {
        errors.push(Error::required(&path.child("validations"), EMPTY));
        errors.push(Error::required(&path.child("auditAnnotations"), EMPTY));
    }
    let at = path.child("validations");
    for (i, validation) in validations.iter().enumerate() {
        errors.extend(context.validation(validation, &at.index(i)));
    }
    errors.extend(context.annotations(annotations, &path.child("auditAnnotations")));
    errors
}

/// Variables are checked in order: each may use those before it.
pub(super) fn validate_variables(variables: &[Variable], compiler: &mut Compiler, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, variable) in variables.iter().enumerate() {
        let at = path.index(i);
        if variable.name.trim().is_empty() {
            errors.push(Error::required(&at.child("name"), "name is not specified"));
        } else if !is_identifier(&variable.name) {
            errors.push(Error::invalid(&at.child("name"), &variable.name, "name is not a valid CEL identifier"));
        }
        let at = at.child("expression");
        if variable.expression.trim().is_empty() {
            errors.push(Error::required(&at, "expression is not specified"));
            continue;
        }
        let compiled = compiler.compile(&variable.expression, Use::Variable);
        compiler.add_variable(&variable.name, compiled.as_ref().ok().map(cel::Program::output_type));
        errors.extend(compiled.err().map(|fault| fault.at(&variable.expression, &at)));
    }
    errors
}

fn is_identifier(name: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit()) && !cel::is_reserved(name)
}

/// What the expressions of one policy share.
struct Context<'a> {
    policy: &'a str,
    compiler: Compiler,
}

impl Context<'_> {
    fn validation(&self, validation: &Validation, path: &Path) -> ErrorList {
        let mut errors = ErrorList::new();
        let at = path.child("expression");
        if validation.expression.trim().is_empty() {
            errors.push(Error::required(&at, "expression is not specified"));
        } else {
            errors.extend(self.compiler.check(&validation.expression, Use::Validation, &at));
        }
        let at = path.child("messageExpression");
        match validation.message_expression.as_deref().unwrap_or("") {
            "" => {}
            blank if blank.trim().is_empty() => {
                errors.push(Error::invalid(&at, blank, "must be non-empty if specified"));
            }
            text => errors.extend(self.compiler.check(text, Use::Message, &at)),
        }
        let at = path.child("message");
        let message = validation.message.as_deref().unwrap_or("");
        if !message.is_empty() && message.trim().is_empty() {
            errors.push(Error::invalid(&at, message, "message must be non-empty if specified"));
        } else if message.trim().contains(['\n', '\r']) {
            errors.push(Error::invalid(&at, message, "message must not contain line breaks"));
        }
        if let Some(reason) = validation.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
            errors.push(Error::not_supported(&path.child("reason"), reason, REASONS));
        }
        errors
    }

    fn annotations(&self, annotations: &[AuditAnnotation], path: &Path) -> ErrorList {
        let mut errors = ErrorList::new();
        if annotations.len() > AUDIT_ANNOTATIONS_MAX {
            let detail = format!("must not have more than {AUDIT_ANNOTATIONS_MAX} auditAnnotations");
            errors.push(Error::invalid(path, annotations, detail));
        }
        let mut keys = BTreeSet::new();
        for (i, annotation) in annotations.iter().enumerate() {
            let at = path.index(i);
            errors.extend(self.annotation(annotation, &at));
            if !keys.insert(&annotation.key) {
                errors.push(Error::duplicate(&at.child("key"), &annotation.key));
            }
        }
        errors
    }

    /// In the audit log an annotation goes by the policy's name and its key.
    fn annotation(&self, annotation: &AuditAnnotation, path: &Path) -> ErrorList {
        let mut errors = ErrorList::new();
        let at = path.child("key");
        if self.policy.is_empty() {
            errors.push(Error::invalid(&at, &annotation.key, "requires metadata.name be non-empty"));
        } else {
            errors.extend(checks::qualified_name(&format!("{}/{}", self.policy, annotation.key), &at));
        }
        let at = path.child("valueExpression");
        let text = annotation.value_expression.trim();
        if text.is_empty() {
            errors.push(Error::required(&at, "valueExpression is not specified"));
        } else if text.len() > VALUE_EXPRESSION_BYTES_MAX {
            let detail = format!("must not exceed {VALUE_EXPRESSION_BYTES_MAX} bytes in length");
            errors.push(Error::required(&at, detail));
        } else {
            errors.extend(self.compiler.check(text, Use::AuditAnnotation, &at));
        }
        errors
    }
}
