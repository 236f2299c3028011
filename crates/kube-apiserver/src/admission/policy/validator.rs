//! What one validating policy says of one request with one parameter.

use std::time::{Duration, Instant};

use cel::{Activation, Budget, Value};
use machinery::status::reason::INVALID;

use super::spec::{Check, Policy};
use crate::admission::expressions::{Failure, Scene, hold};

/// Messages that expressions make are no longer.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;

/// What became of one validation.
pub struct Decision {
    pub end: End,
    pub took: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Admitted,
    /// Something failed, and the policy does not mind.
    Ignored(Fault),
    Denied {
        message: String,
        reason: String,
        fault: Fault,
    },
}

/// As metrics tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Compilation,
    /// Of a validation that is not satisfied as well.
    Invalid,
    Budget,
}

/// Something for the audit event of the request.
pub enum Annotation {
    Publish {
        key: String,
        value: String,
    },
    /// It has no value, and the policy minds.
    Failed {
        message: String,
        took: Duration,
    },
}

#[derive(Default)]
pub struct Verdict {
    pub decisions: Vec<Decision>,
    pub annotations: Vec<Annotation>,
}

impl From<&Failure> for Fault {
    fn from(failure: &Failure) -> Self {
        match failure {
            Failure::Compilation(_) => Fault::Compilation,
            Failure::Evaluation(..) => Fault::Invalid,
            Failure::Budget => Fault::Budget,
        }
    }
}

/// A failure as the policy's failure policy has it.
fn failed(policy: &Policy, message: String, fault: Fault) -> End {
    if policy.fails_open() { End::Ignored(fault) } else { End::Denied { message, reason: INVALID.to_owned(), fault } }
}

impl Verdict {
    /// One failure ends all.
    fn whole(policy: &Policy, message: String, fault: Fault) -> Self {
        let decision = Decision { end: failed(policy, message, fault), took: Duration::ZERO };
        Self { decisions: vec![decision], annotations: Vec::new() }
    }

    pub fn of(policy: &Policy, scene: Scene<'_>) -> Self {
        let compiled = policy.compiled();
        let mut variables = scene.activation();
        match hold(&compiled.conditions, &variables, policy.fails_open()) {
            Ok(true) => {}
            Ok(false) => return Self::default(),
            Err(message) => return Self::whole(policy, message, Fault::Invalid),
        }
        compiled.variables.set(&mut variables);
        let mut messages = Messages { policy, scene, variables: None };
        let mut budget = Budget::default();
        let mut decisions = Vec::with_capacity(compiled.validations.len());
        for check in &compiled.validations {
            let started = Instant::now();
            let end = match check.expression.evaluate(&variables, &mut budget) {
                Ok(Value::Bool(true)) => End::Admitted,
                Ok(_) => messages.refusal(check, &mut budget),
                Err(Failure::Budget) => return Self::whole(policy, Failure::Budget.to_string(), Fault::Budget),
                Err(failure) => failed(policy, failure.to_string(), Fault::from(&failure)),
            };
            decisions.push(Decision { end, took: started.elapsed() });
        }
        match annotations(policy, &variables) {
            Ok(annotations) => Self { decisions, annotations },
            Err(failure) => Self::whole(policy, failure.to_string(), Fault::Budget),
        }
    }
}

/// Makes the messages of refusals.
struct Messages<'a> {
    policy: &'a Policy,
    scene: Scene<'a>,
    /// Made for the first that needs it.
    variables: Option<Activation<'a>>,
}

impl Messages<'_> {
    fn refusal(&mut self, check: &Check, budget: &mut Budget) -> End {
        let made = match self.evaluate(check, budget) {
            Err(Failure::Budget) => {
                let message = format!("failed messageExpression: {}", Failure::Budget);
                return failed(self.policy, message, Fault::Invalid);
            }
            Ok(made) => made,
            Err(failure) => {
                tracing::warn!(policy = self.policy.name(), %failure, "failed to evaluate a message expression");
                None
            }
        };
        let given = Some(check.message.clone()).filter(|message| !message.is_empty());
        let message = made.or(given);
        End::Denied {
            message: message.unwrap_or_else(|| format!("failed expression: {}", check.expression.text().trim())),
            reason: check.reason.clone().unwrap_or_else(|| INVALID.to_owned()),
            fault: Fault::Invalid,
        }
    }

    /// One line of bounded length; anything else is no message.
    fn evaluate(&mut self, check: &Check, budget: &mut Budget) -> Result<Option<String>, Failure> {
        let Some(expression) = &check.message_expression else { return Ok(None) };
        let (policy, scene) = (self.policy, self.scene);
        let variables = self.variables.get_or_insert_with(|| {
            let mut variables = scene.without_authorizer();
            policy.compiled().variables.set(&mut variables);
            variables
        });
        let value = expression.evaluate(variables, budget)?;
        let text = value.as_str().map(str::trim).unwrap_or_default();
        let is_good = !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n');
        Ok(is_good.then(|| text.to_owned()))
    }
}

/// Annotations have a budget of their own.
fn annotations(policy: &Policy, variables: &Activation<'_>) -> Result<Vec<Annotation>, Failure> {
    let mut budget = Budget::default();
    let mut annotations = Vec::new();
    for (key, expression) in &policy.compiled().annotations {
        let started = Instant::now();
        match expression.evaluate(variables, &mut budget) {
            Ok(value) => {
                let text = value.as_str().map(str::trim).filter(|text| !text.is_empty());
                annotations.extend(text.map(|text| Annotation::Publish { key: key.clone(), value: text.to_owned() }));
            }
            Err(Failure::Budget) => return Err(Failure::Budget),
            Err(_) if policy.fails_open() => {}
            Err(failure) => {
                annotations.push(Annotation::Failed { message: failure.to_string(), took: started.elapsed() });
            }
        }
    }
    Ok(annotations)
}
