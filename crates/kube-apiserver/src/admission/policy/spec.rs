//! Policies and bindings as their objects give them, and policies compiled.

use std::sync::{Arc, OnceLock};

use api::Kind;
use api::admissionregistration::expressions::{Compiler, Use};
use machinery::labels::Selector;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::matching::MatchResources;
use super::mutation::Mutation;
use crate::admission::Review;
use crate::admission::expressions::{Condition, Expression, Variables, compile};
use crate::registry::{Reflected, Registry};

/// A policy of either kind; what only the other kind has is empty.
#[derive(Deserialize)]
pub struct Policy {
    metadata: Metadata,
    pub spec: PolicySpec,
    #[serde(skip)]
    compiled: OnceLock<Compiled>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicySpec {
    failure_policy: Option<String>,
    pub param_kind: Option<ParamKind>,
    pub match_constraints: Option<MatchResources>,
    match_conditions: Vec<Condition>,
    variables: Vec<Variable>,
    validations: Vec<Validation>,
    audit_annotations: Vec<AuditAnnotation>,
    mutations: Vec<OneMutation>,
    reinvocation_policy: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParamKind {
    pub api_version: String,
    pub kind: String,
}

#[derive(Deserialize)]
struct Variable {
    name: String,
    expression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Validation {
    expression: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    message_expression: String,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditAnnotation {
    key: String,
    value_expression: String,
}

/// In the one form that its type names.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OneMutation {
    apply_configuration: Option<Written>,
    json_patch: Option<Written>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    expression: String,
}

/// The expressions of a policy.
pub struct Compiled {
    pub conditions: Vec<Expression>,
    pub variables: Variables,
    pub validations: Vec<Check>,
    pub annotations: Vec<(String, Expression)>,
    pub mutations: Vec<Mutation>,
}

/// One thing that a policy wants.
pub struct Check {
    pub expression: Expression,
    pub message: String,
    pub message_expression: Option<Expression>,
    pub reason: Option<String>,
}

impl Policy {
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Whether requests pass where the policy itself fails.
    pub fn fails_open(&self) -> bool {
        self.spec.failure_policy.as_deref() == Some("Ignore")
    }

    /// Whether it is to be asked again when something else changed the object after it.
    pub fn wants_reinvocation(&self) -> bool {
        self.spec.reinvocation_policy.as_deref() == Some("IfNeeded")
    }

    /// Compiled when it is first needed.
    pub fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| Compiled::new(&self.spec))
    }
}

impl Compiled {
    fn new(spec: &PolicySpec) -> Self {
        let mut compiler = Compiler::new(spec.param_kind.is_some());
        let conditions = compile(&compiler, &spec.match_conditions);
        let variables = spec.variables.iter().map(|own| (own.name.as_str(), own.expression.as_str()));
        let variables = Variables::new(&mut compiler, variables);
        let check = |own: &Validation| Check {
            expression: Expression::new(&compiler, &own.expression, Use::Validation),
            message: own.message.trim().to_owned(),
            message_expression: (!own.message_expression.is_empty())
                .then(|| Expression::new(&compiler, &own.message_expression, Use::Message)),
            reason: own.reason.clone(),
        };
        let annotation = |own: &AuditAnnotation| {
            (own.key.clone(), Expression::new(&compiler, own.value_expression.trim(), Use::AuditAnnotation))
        };
        let mutation = |own: &OneMutation| {
            let compile = |text: &Written, used| Expression::new(&compiler, &text.expression, used);
            let patch = own.json_patch.as_ref().map(|text| Mutation::JsonPatch(compile(text, Use::JsonPatch)));
            let apply = own.apply_configuration.as_ref();
            patch.or(apply.map(|text| Mutation::ApplyConfiguration(compile(text, Use::ApplyConfiguration))))
        };
        Self {
            mutations: spec.mutations.iter().filter_map(mutation).collect(),
            validations: spec.validations.iter().map(check).collect(),
            annotations: spec.audit_annotations.iter().map(annotation).collect(),
            conditions,
            variables,
        }
    }
}

/// A binding of either kind.
#[derive(Deserialize)]
pub struct Binding {
    metadata: Metadata,
    pub spec: BindingSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BindingSpec {
    pub policy_name: String,
    pub param_ref: Option<ParamRef>,
    pub match_resources: Option<MatchResources>,
    pub validation_actions: Vec<Action>,
}

/// What is done about a request that a policy does not want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
pub enum Action {
    Deny,
    Warn,
    Audit,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParamRef {
    pub name: String,
    pub namespace: String,
    #[serde(deserialize_with = "selector")]
    pub selector: Option<Result<Selector, String>>,
    pub parameter_not_found_action: Option<String>,
}

fn selector<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Result<Selector, String>>, D::Error> {
    let selector = Option::<Value>::deserialize(deserializer)?;
    Ok(selector.map(|selector| Selector::from_label_selector(&selector)))
}

impl Binding {
    pub fn name(&self) -> &str {
        &self.metadata.name
    }
}

/// All policies of one kind with their bindings, always current.
pub struct Source {
    policies: Arc<Reflected<Policy>>,
    bindings: Arc<Reflected<Binding>>,
}

impl Source {
    pub fn new(registry: &Registry, policies: &'static Kind, bindings: &'static Kind) -> Self {
        Self { policies: registry.reflected(policies), bindings: registry.reflected(bindings) }
    }

    /// By name.
    pub fn policies(&self) -> Arc<Vec<Arc<Policy>>> {
        self.policies.list()
    }

    /// Those of one policy, by name.
    pub fn bindings(&self, policy: &Policy) -> Vec<Arc<Binding>> {
        let all = self.bindings.list();
        all.iter().filter(|binding| binding.spec.policy_name == policy.name()).cloned().collect()
    }
}

/// Whether the request is about policies themselves, or their bindings.
pub fn is_exempt(review: &Review<'_>) -> bool {
    use api::admissionregistration as group;
    let kinds: [&Kind; 4] = [
        &group::validating_admission_policy::KIND,
        &group::validating_admission_policy_binding::KIND,
        &group::mutating_admission_policy::KIND,
        &group::mutating_admission_policy_binding::KIND,
    ];
    kinds.iter().any(|kind| std::ptr::eq(*kind, review.kind))
}
