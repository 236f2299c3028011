//! The plugin: all policies judge a request, and the first refusal by their order is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::admissionregistration::{validating_admission_policy, validating_admission_policy_binding};
use async_trait::async_trait;
use machinery::status::{Status, StatusCause, reason};
use serde_json::{Value, json};

use super::metrics::Enforced;
use super::params::{self, Source as ParamSource};
use super::spec::{Action, Binding, Policy, Source, is_exempt};
use super::validator::{Annotation, Decision, End, Fault, Verdict};
use crate::admission::expressions::{Checks, Scene, Shown, namespace};
use crate::admission::{Plugin, Review};

const FAILURE_ANNOTATION: &str = "validation.policy.admission.k8s.io/validation_failure";
/// The longest value of an audit annotation.
const ANNOTATION_BYTES_MAX: usize = 10 * 1024;

pub struct ValidatingAdmissionPolicy;

#[async_trait]
impl Plugin for ValidatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionPolicy"
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        if is_exempt(review) {
            return Ok(());
        }
        let kinds = (&validating_admission_policy::KIND, &validating_admission_policy_binding::KIND);
        let source = Source::new(&review.server.registry, kinds.0, kinds.1);
        let policies = source.policies();
        if policies.is_empty() {
            return Ok(());
        }
        let mut session = Session {
            review,
            object,
            checks: Checks::new(review.server, review.user),
            shown: Vec::new(),
            namespace: None,
            denied: None,
        };
        for policy in policies.iter() {
            let bindings = source.bindings(policy);
            if !bindings.is_empty() {
                session.judge(policy, &bindings).await?;
            }
        }
        session.denied.map_or(Ok(()), Err)
    }
}

/// One request before all policies.
struct Session<'a> {
    review: &'a Review<'a>,
    object: Option<&'a Value>,
    checks: Checks<'a>,
    /// In the versions that policies wanted so far.
    shown: Vec<Shown>,
    namespace: Option<Value>,
    /// The first refusal.
    denied: Option<Status>,
}

impl Session<'_> {
    async fn judge(&mut self, policy: &Policy, bindings: &[Arc<Binding>]) -> Result<(), Status> {
        let version = match policy.version_for(self.review, self.object) {
            Ok(None) => return Ok(()),
            Ok(Some(version)) => version,
            Err(status) => {
                self.misconfigured(policy, None, status.message());
                return Ok(());
            }
        };
        let registry = &self.review.server.registry;
        let source = match policy.spec.param_kind.as_ref().map(|kind| kind.resolve(registry)).transpose() {
            Ok(source) => source,
            Err(reason) => {
                self.misconfigured(policy, None, &reason);
                return Ok(());
            }
        };
        let mut annotations = Annotations::default();
        for binding in bindings {
            match binding.matches(self.review, self.object) {
                Ok(false) => continue,
                Ok(true) => {}
                Err(status) => {
                    self.misconfigured(policy, Some(binding), status.message());
                    continue;
                }
            }
            match self.params(source, binding) {
                Ok(params) if params.is_empty() => {}
                Ok(params) => {
                    let shown = self.shown(version);
                    for params in params {
                        self.review.check_deadline()?;
                        let verdict = self.verdict(policy, shown, params.as_ref()).await?;
                        self.act(policy, binding, verdict, &mut annotations);
                    }
                }
                Err(reason) => self.misconfigured(policy, Some(binding), &reason),
            }
        }
        annotations.publish(policy, self.review);
        Ok(())
    }

    fn params(&self, source: Option<ParamSource>, binding: &Binding) -> Result<Vec<Option<Value>>, String> {
        let namespace = self.review.namespace_name(self.object);
        params::collect(&self.review.server.registry, source, binding.spec.param_ref.as_ref(), namespace)
    }

    /// Where the request is in that version.
    fn shown(&mut self, version: &'static api::Version) -> usize {
        let known = self.shown.iter().position(|shown| std::ptr::eq(shown.version, version));
        known.unwrap_or_else(|| {
            self.shown.push(Shown::new(self.review, version, self.object));
            self.shown.len() - 1
        })
    }

    async fn verdict(&mut self, policy: &Policy, shown: usize, params: Option<&Value>) -> Result<Verdict, Status> {
        if self.namespace.is_none() {
            self.namespace = Some(namespace(self.review)?);
        }
        let namespace = self.namespace.as_ref().unwrap_or(&Value::Null);
        let scene = Scene { shown: &self.shown[shown], checks: &self.checks, namespace, params };
        Ok(self.checks.settle(|| Verdict::of(policy, scene)).await)
    }

    /// Does what the binding wants about what the policy found.
    fn act(&mut self, policy: &Policy, binding: &Binding, verdict: Verdict, annotations: &mut Annotations) {
        let metrics = self.review.server.metrics.policies();
        for (index, decision) in verdict.decisions.into_iter().enumerate() {
            let Decision { end, took } = decision;
            let observe = |enforced: Enforced, fault: Option<Fault>| {
                metrics.checked(policy.name(), binding.name(), enforced, fault, took)
            };
            let (message, reason, fault) = match end {
                End::Admitted => {
                    observe(Enforced::Allow, None);
                    continue;
                }
                End::Ignored(fault) => {
                    observe(Enforced::Allow, Some(fault));
                    continue;
                }
                End::Denied { message, reason, fault } => (message, reason, fault),
            };
            for action in &binding.spec.validation_actions {
                observe(Enforced::from(*action), Some(fault));
                match action {
                    Action::Deny => self.deny(policy, Some(binding), &message, &reason),
                    Action::Warn => {
                        let names = format!("'{}' with binding '{}'", policy.name(), binding.name());
                        self.review
                            .ctx
                            .warn(format!("Validation failed for ValidatingAdmissionPolicy {names}: {message}"));
                    }
                    Action::Audit => {
                        let failure = json!([{
                            "message": message,
                            "policy": policy.name(),
                            "binding": binding.name(),
                            "expressionIndex": index,
                            "validationActions": binding.spec.validation_actions,
                        }]);
                        self.review.ctx.annotate(FAILURE_ANNOTATION, &failure.to_string());
                    }
                }
            }
        }
        for annotation in verdict.annotations {
            match annotation {
                Annotation::Publish { key, value } => annotations.add(key, value),
                Annotation::Failed { message, took } => {
                    metrics.checked(policy.name(), binding.name(), Enforced::Deny, Some(Fault::Invalid), took);
                    self.deny(policy, Some(binding), &message, reason::INVALID);
                }
            }
        }
    }

    /// A policy or a binding that cannot be used refuses what it is about, unless the policy does not mind.
    fn misconfigured(&mut self, policy: &Policy, binding: Option<&Binding>, why: &str) {
        if policy.fails_open() {
            tracing::warn!(policy = policy.name(), why, "a policy cannot be used and is passed over");
            return;
        }
        let what = if binding.is_some() { "binding" } else { "policy" };
        self.deny(policy, binding, &format!("failed to configure {what}: {why}"), reason::INVALID);
    }

    fn deny(&mut self, policy: &Policy, binding: Option<&Binding>, message: &str, reason: &str) {
        if self.denied.is_some() {
            return;
        }
        let binding = binding.map(|binding| format!(" with binding '{}'", binding.name())).unwrap_or_default();
        let message = format!("ValidatingAdmissionPolicy '{}'{binding} denied request: {message}", policy.name());
        let code = match reason {
            reason::FORBIDDEN => 403,
            reason::UNAUTHORIZED => 401,
            reason::REQUEST_ENTITY_TOO_LARGE => 413,
            _ => 422,
        };
        let status = self.review.forbidden(self.object, &message).with_reason(reason).with_code(code);
        self.denied = Some(status.with_cause(StatusCause { message, ..StatusCause::default() }));
    }
}

/// The audit annotations of one policy; what several bindings or parameters yield is told together.
#[derive(Default)]
struct Annotations(BTreeMap<String, Vec<String>>);

impl Annotations {
    fn add(&mut self, key: String, mut value: String) {
        value.truncate(value.floor_char_boundary(ANNOTATION_BYTES_MAX));
        let values = self.0.entry(key).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }

    fn publish(self, policy: &Policy, review: &Review<'_>) {
        for (key, values) in self.0 {
            review.ctx.annotate(&format!("{}/{key}", policy.name()), &values.join(", "));
        }
    }
}
