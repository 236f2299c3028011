//! Decisions of a server of the administrator's choice: it is sent a SubjectAccessReview. Its answers are remembered for a
//! while, by the question's hash.

use std::time::Duration;

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::match_conditions::MatchConditions;
use super::metrics::AuthorizationMetrics;
use super::{Answer, Attributes, Decision, review_spec};
use crate::outbound::{Endpoint, PostError};
use crate::recent::Recent;

/// Before a failed request is sent again.
pub const PAUSE: Duration = Duration::from_millis(500);
const ANSWERS_MAX: usize = 8192;
/// Answers with longer reasons are not remembered, so that the memory for all of them is bounded.
const REASON_BYTES_MAX: usize = 10_000;

pub struct Webhook {
    name: String,
    endpoint: Endpoint,
    options: Options,
    conditions: MatchConditions,
    answers: Recent<[u8; 32], Status>,
    metrics: AuthorizationMetrics,
}

#[derive(Clone, Debug)]
pub struct Options {
    /// How long one request may take.
    pub timeout: Duration,
    /// Nothing is remembered where a time is zero.
    pub authorized_ttl: Duration,
    pub unauthorized_ttl: Duration,
    /// Of the SubjectAccessReview that is sent: `v1` or `v1beta1`.
    pub version: String,
    pub decision_on_error: Decision,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Status {
    allowed: bool,
    denied: bool,
    reason: String,
}

impl Webhook {
    pub fn new(
        name: &str,
        endpoint: Endpoint,
        options: Options,
        conditions: MatchConditions,
        metrics: AuthorizationMetrics,
    ) -> Self {
        Self { name: name.to_owned(), endpoint, options, conditions, answers: Recent::new(ANSWERS_MAX), metrics }
    }

    pub async fn authorize(&self, attributes: &Attributes<'_>) -> Answer {
        match self.conditions.hold(attributes, &self.name, &self.metrics) {
            Ok(true) => {}
            Ok(false) => return Answer::default(),
            Err(error) => return self.failed(error),
        }
        let spec = review_spec::sent(attributes);
        let key: [u8; 32] = Sha256::digest(spec.to_string()).into();
        let status = match self.answers.get(&key) {
            Some(status) => status,
            None => match self.ask(&spec).await {
                Ok(status) => {
                    let ttl = if status.allowed { self.options.authorized_ttl } else { self.options.unauthorized_ttl };
                    if status.reason.len() <= REASON_BYTES_MAX {
                        self.answers.put(key, status.clone(), ttl);
                    }
                    status
                }
                Err(error) => {
                    tracing::error!(webhook = self.name, error, "failed to make webhook authorizer request");
                    return self.failed(error);
                }
            },
        };
        status.answer()
    }

    /// What a user may do is not known here.
    pub fn rules_for(&self) -> (Vec<PolicyRule>, Vec<String>, bool) {
        (Vec::new(), vec!["webhook authorizer does not support user rule resolution".to_owned()], true)
    }

    async fn ask(&self, spec: &Value) -> Result<Status, String> {
        let question = question(&self.options.version, spec);
        let mut last = "error";
        let observe = |result: &Result<Value, PostError>, took: Duration| {
            last = match result {
                Ok(_) => "success",
                Err(PostError::Timeout(_) | PostError::Code(http::StatusCode::GATEWAY_TIMEOUT)) => "timeout",
                Err(_) => "error",
            };
            self.metrics.called(&self.name, last, took);
        };
        let answer = self.endpoint.post_each(&question, self.options.timeout, check, observe).await;
        let status = answer.map_err(|error| error.to_string()).and_then(|mut answer| {
            let status = answer.get_mut("status").map(Value::take).filter(Value::is_object);
            serde_json::from_value(status.unwrap_or_else(|| json!({}))).map_err(|error| error.to_string())
        });
        if status.is_err() && self.options.decision_on_error == Decision::NoOpinion {
            self.metrics.failed_open(&self.name, last);
        }
        status
    }

    fn failed(&self, error: String) -> Answer {
        Answer { decision: self.options.decision_on_error, reason: String::new(), error: Some(error) }
    }
}

impl Status {
    fn answer(self) -> Answer {
        let both = "webhook subject access review returned both allow and deny response";
        let (decision, error) = match (self.allowed, self.denied) {
            (true, true) => (Decision::Deny, Some(both.to_owned())),
            (_, true) => (Decision::Deny, None),
            (true, false) => (Decision::Allow, None),
            (false, false) => (Decision::NoOpinion, None),
        };
        Answer { decision, reason: self.reason, error }
    }
}

/// The review in its version: v1beta1 calls the groups `group`.
fn question(version: &str, spec: &Value) -> Value {
    let mut spec = spec.clone();
    if version == "v1beta1"
        && let Some(fields) = spec.as_object_mut()
        && let Some(groups) = fields.shift_remove("groups")
    {
        fields.insert("group".to_owned(), groups);
    }
    json!({
        "kind": "SubjectAccessReview",
        "apiVersion": format!("authorization.k8s.io/{version}"),
        "metadata": {},
        "spec": spec,
        "status": { "allowed": false },
    })
}

/// Whatever else comes back (the Status of some other server, say) is no answer.
fn check(answer: &Value) -> Result<(), String> {
    let text = |field: &str| answer.get(field).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if kind == "SubjectAccessReview" && version.starts_with("authorization.k8s.io/") {
        return Ok(());
    }
    Err(format!("it is no SubjectAccessReview, but kind {kind:?} of version {version:?}"))
}
