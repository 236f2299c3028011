//! The plugin MutatingAdmissionPolicy: which policies, with which parameters, are about a request is decided by the object as
//! it comes; then one after the other changes it.

use std::sync::Arc;
use std::time::Instant;

use api::Version;
use api::admissionregistration::{mutating_admission_policy, mutating_admission_policy_binding};
use async_trait::async_trait;
use machinery::status::{Status, StatusCause, reason};
use serde_json::Value;

use super::mutation::{Error, Mutation};
use super::params;
use super::spec::{Binding, Policy, Source, is_exempt};
use crate::admission::expressions::{Checks, Scene, Shown, hold, namespace};
use crate::admission::{Plugin, Review};
use crate::registry::object as objects;

const NAME: &str = "MutatingAdmissionPolicy";

pub struct MutatingAdmissionPolicy;

#[async_trait]
impl Plugin for MutatingAdmissionPolicy {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        let Some(source) = source(review) else { return Ok(()) };
        review.rounds.begin(NAME, object);
        let mut current = Some(std::mem::take(object));
        let result = run(review, &source, &mut current).await;
        *object = current.unwrap_or_default();
        review.rounds.end(NAME, object);
        result
    }

    /// Of what is deleted there is nothing to mutate, but conditions may fail.
    async fn mutate_nothing(&self, review: &Review<'_>) -> Result<(), Status> {
        match source(review) {
            Some(source) => run(review, &source, &mut None).await,
            None => Ok(()),
        }
    }
}

/// None where no policy can be about the request.
fn source(review: &Review<'_>) -> Option<Source> {
    if is_exempt(review) {
        return None;
    }
    let (policies, bindings) = (&mutating_admission_policy::KIND, &mutating_admission_policy_binding::KIND);
    let source = Source::new(&review.server.registry, policies, bindings);
    (!source.policies().is_empty()).then_some(source)
}

/// A policy that is about the request, with one parameter.
struct Invocation {
    policy: Arc<Policy>,
    binding: Arc<Binding>,
    version: &'static Version,
    params: Option<Value>,
}

impl Invocation {
    /// Tells it from all others.
    fn id(&self) -> String {
        let of = |part: fn(&Value) -> &str| self.params.as_ref().map_or("", part);
        let (namespace, name) = (of(objects::namespace), of(objects::name));
        format!("{}/{}/{namespace}/{name}", self.policy.name(), self.binding.name())
    }
}

async fn run(review: &Review<'_>, source: &Source, object: &mut Option<Value>) -> Result<(), Status> {
    let mut refusal = Refusal { blank: review.forbidden(object.as_ref(), ""), status: None };
    let invocations = invocations(review, source, object.as_ref(), &mut refusal);
    if !invocations.is_empty() {
        let namespace = namespace(review)?;
        let checks = Checks::new(review.server, review.user);
        for invocation in &invocations {
            review.check_deadline()?;
            invoke(review, invocation, &checks, &namespace, object, &mut refusal).await?;
        }
    }
    refusal.status.map_or(Ok(()), Err)
}

fn invocations(review: &Review<'_>, source: &Source, object: Option<&Value>, refusal: &mut Refusal) -> Vec<Invocation> {
    let registry = &review.server.registry;
    let mut invocations = Vec::new();
    for policy in source.policies().iter() {
        let bindings = source.bindings(policy);
        if bindings.is_empty() {
            continue;
        }
        let version = match policy.version_for(review, object) {
            Ok(None) => continue,
            Ok(Some(version)) => version,
            Err(status) => {
                refusal.misconfigured(policy, None, status.message());
                continue;
            }
        };
        let params = match policy.spec.param_kind.as_ref().map(|kind| kind.resolve(registry)).transpose() {
            Ok(params) => params,
            Err(why) => {
                refusal.misconfigured(policy, None, &why);
                continue;
            }
        };
        for binding in bindings {
            match binding.matches(review, object) {
                Ok(true) => {}
                Ok(false) => continue,
                Err(status) => {
                    refusal.misconfigured(policy, Some(&binding), status.message());
                    continue;
                }
            }
            let reference = binding.spec.param_ref.as_ref();
            match params::collect(registry, params, reference, review.namespace_name(object)) {
                Ok(params) => invocations.extend(params.into_iter().map(|params| Invocation {
                    policy: policy.clone(),
                    binding: binding.clone(),
                    version,
                    params,
                })),
                Err(why) => refusal.misconfigured(policy, Some(&binding), &why),
            }
        }
    }
    invocations
}

/// One policy at work. What fails is said, and the mutations after it still run.
async fn invoke(
    review: &Review<'_>,
    invocation: &Invocation,
    checks: &Checks<'_>,
    namespace: &Value,
    object: &mut Option<Value>,
    refusal: &mut Refusal,
) -> Result<(), Status> {
    let (policy, binding) = (&invocation.policy, &invocation.binding);
    let compiled = policy.compiled();
    let mut shown = Shown::new(review, invocation.version, object.as_ref());
    let scene = Scene { shown: &shown, checks, namespace, params: invocation.params.as_ref() };
    let hold = || hold(&compiled.conditions, &scene.activation(), policy.fails_open());
    match checks.settle(hold).await {
        Ok(true) => {}
        Ok(false) => return Ok(()),
        Err(message) => {
            refusal.failed(policy, binding, &message);
            return Ok(());
        }
    }
    let id = invocation.id();
    if !review.rounds.should_ask(NAME, &id) || object.is_none() {
        return Ok(());
    }
    let mut changed = false;
    for mutation in &compiled.mutations {
        let started = Instant::now();
        let result = mutated(review, invocation, mutation, &shown, checks, namespace).await?;
        let fault = result.as_ref().err().map(|error| error.fault);
        review.server.metrics.policies().mutated(policy.name(), binding.name(), fault, started.elapsed());
        match result {
            Ok(None) => {}
            Ok(Some(new)) => {
                changed |= !api::value::semantically_equal(Some(&new), Some(&shown.object));
                shown.object = new;
            }
            Err(error) => refusal.failed(policy, binding, &error.message),
        }
    }
    if changed {
        review.rounds.changed(NAME);
        let new = std::mem::take(&mut shown.object);
        *object = Some(review.taken_over(invocation.version, new, object.as_ref())?);
    }
    if policy.wants_reinvocation() {
        review.rounds.asked(NAME, &id);
    }
    Ok(())
}

/// What one mutation makes of the object, decoded as the version has it.
async fn mutated(
    review: &Review<'_>,
    invocation: &Invocation,
    mutation: &Mutation,
    shown: &Shown,
    checks: &Checks<'_>,
    namespace: &Value,
) -> Result<Result<Option<Value>, Error>, Status> {
    let scene = Scene { shown, checks, namespace, params: invocation.params.as_ref() };
    let own = review.type_in(invocation.version).ok_or_else(|| {
        let kind = review.kind_in(invocation.version);
        let delay =
            "There can be a delay between when CustomResourceDefinitions are created and when they are available.";
        let message = format!("Resource kind {kind} not found. {delay}");
        Status::failure(503, reason::SERVICE_UNAVAILABLE, message)
    })?;
    let place = machinery::patch::apply::Place::root(&own.types, own.id);
    let apply = || {
        let mut variables = scene.activation();
        invocation.policy.compiled().variables.set(&mut variables);
        mutation.apply(&shown.object, &variables, place)
    };
    let new = match checks.settle(apply).await {
        Ok(Some(new)) => new,
        other => return Ok(other),
    };
    let is_strict = matches!(mutation, Mutation::JsonPatch(_));
    Ok(review.decoded(invocation.version, new, is_strict).map(Some).map_err(Error::from))
}

/// What the first failure says, with all of them as causes.
struct Refusal {
    /// A refusal that does not say why.
    blank: Status,
    status: Option<Status>,
}

impl Refusal {
    /// A policy failed at what it does.
    fn failed(&mut self, policy: &Policy, binding: &Binding, why: &str) {
        self.add(policy, Some(binding), why, reason::INVALID);
    }

    /// A policy or a binding cannot be used.
    fn misconfigured(&mut self, policy: &Policy, binding: Option<&Binding>, why: &str) {
        let what = if binding.is_some() { "binding" } else { "policy" };
        self.add(policy, binding, &format!("failed to configure {what}: {why}"), reason::FORBIDDEN);
    }

    fn add(&mut self, policy: &Policy, binding: Option<&Binding>, why: &str, reason: &str) {
        if policy.fails_open() {
            tracing::warn!(policy = policy.name(), why, "a policy failed and is passed over");
            return;
        }
        let message = match binding {
            Some(binding) => {
                format!("policy '{}' with binding '{}' denied request: {why}", policy.name(), binding.name())
            }
            None => format!("policy {} denied request: {why}", machinery::go_text::quote(policy.name())),
        };
        let first = || self.blank.clone().with_message(message.as_str()).with_reason(reason);
        let status = self.status.take().unwrap_or_else(first);
        self.status = Some(status.with_cause(StatusCause { message, ..StatusCause::default() }));
    }
}
