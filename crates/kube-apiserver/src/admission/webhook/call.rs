//! One question to one webhook, and what becomes of its answer.

use std::time::Duration;

use api::Version;
use machinery::go_text::quote;
use machinery::status::Status;
use serde_json::Value;
use tokio::time::Instant;

use super::credentials::Credentials;
use super::hooks::Hook;
use super::metrics::{CALLING_ERROR, INTERNAL_ERROR, NO_ERROR, Outcome};
use super::review::{self, Fault, Form, Question, Verdict};
use crate::admission::Review;
use crate::outbound::webhook::{Client, Failure};
use crate::traces::{self, KeyValue};

const TIMEOUT_SECONDS: u32 = 10;
/// An answer holds a patch of one object, and some words.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Why a request does not go on.
pub enum End {
    /// The webhook gave no good answer; its failure policy decides.
    Failed(Failure),
    /// It said no.
    Refused(Status),
    /// The server itself says no.
    Other(Status),
}

/// One question.
pub struct Call<'a> {
    pub hook: &'a Hook,
    pub review: &'a Review<'a>,
    pub credentials: &'a Credentials,
    pub version: &'static Version,
    /// As `version` has them.
    pub object: Option<&'a Value>,
    pub old: Option<&'a Value>,
    pub mutating: bool,
}

impl Call<'_> {
    /// `admit` or `validating`, as metrics name the phases.
    pub fn phase(&self) -> &'static str {
        if self.mutating { "admit" } else { "validating" }
    }

    /// Asks, and passes on what the webhook wants the client and the audit log to know.
    pub async fn ask(&self) -> Result<Verdict, End> {
        let started = Instant::now();
        let result = self.ask_untimed().await;
        let webhook = self.hook.webhook();
        let (code, rejected) = match &result {
            Ok(_) => (200, None),
            Err(End::Failed(failure)) => (failure.code(), (!webhook.fails_open()).then_some(CALLING_ERROR)),
            Err(End::Refused(status)) => (status.code(), Some(NO_ERROR)),
            Err(End::Other(_)) => (0, Some(INTERNAL_ERROR)),
        };
        self.review.server.metrics.webhooks().observe(&Outcome {
            webhook: &webhook.name,
            phase: self.phase(),
            operation: self.review.operation,
            took: started.elapsed(),
            code,
            rejected,
        });
        result
    }

    async fn ask_untimed(&self) -> Result<Verdict, End> {
        let webhook = self.hook.webhook();
        let name = webhook.name.as_str();
        let failed = |reason: String, code: u16| End::Failed(Failure::Call { reason, code });
        if self.review.dry_run {
            match webhook.side_effects.as_deref() {
                None => return Err(failed("Webhook SideEffects is nil".to_owned(), 400)),
                Some("None" | "NoneOnDryRun") => {}
                Some(_) => {
                    let message = format!("admission webhook {} does not support dry run", quote(name));
                    return Err(End::Other(Status::bad_request(message)));
                }
            }
        }
        let form = Form::of(&webhook.admission_review_versions).ok_or_else(|| {
            let reason = "webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            failed(format!("could not create admission objects: {reason}"), 400)
        })?;
        let uid = uuid::Uuid::new_v4().to_string();
        let (review, version, object, old) = (self.review, self.version, self.object, self.old);
        let question = Question { review, version, object, old, uid: uid.clone() }.to_json(form);
        let client =
            Client::new(&webhook.client_config, |host, port| self.credentials.of(host, port)).map_err(End::Failed)?;
        let answered = client.post(&review.server.registry, question, self.timeout(), ANSWER_BYTES_MAX);
        let step = if self.mutating { "Call mutating webhook" } else { "Call validating webhook" };
        let answer = traces::step(step, || self.traced(&uid), answered).await.map_err(|failure| {
            End::Failed(match failure {
                Failure::Call { reason, code } => {
                    Failure::Call { reason: format!("failed to call webhook: {reason}"), code }
                }
                other => other,
            })
        })?;
        let verdict = review::read(&answer, form, &uid, self.mutating).map_err(|fault| match fault {
            Fault::Unreadable(reason) => failed(format!("failed to call webhook: {reason}"), 503),
            Fault::Invalid(reason) => failed(format!("received invalid webhook response: {reason}"), 503),
        })?;
        for (key, value) in &verdict.annotations {
            review.ctx.annotate(&format!("{name}/{key}"), value);
        }
        verdict.warnings.iter().for_each(|warning| review.ctx.warn(warning.as_str()));
        if verdict.allowed { Ok(verdict) } else { Err(End::Refused(verdict.refusal(name))) }
    }

    /// What the span of the question says.
    fn traced(&self, uid: &str) -> Vec<KeyValue> {
        let (review, group) = (self.review, self.version.group_of(self.review.kind));
        vec![
            KeyValue::text("configuration", self.hook.configuration()),
            KeyValue::text("webhook", self.hook.webhook().name.as_str()),
            KeyValue::text("resource", format!("{group}/{}, Resource={}", self.version.name, review.kind.plural)),
            KeyValue::text("subresource", review.subresource),
            KeyValue::text("operation", review.operation.as_str()),
            KeyValue::text("UID", uid),
        ]
    }

    /// No longer than the webhook may take, nor than the request has left.
    fn timeout(&self) -> Duration {
        let own = self.hook.webhook().timeout_seconds.unwrap_or(TIMEOUT_SECONDS);
        let own = Duration::from_secs(own.into());
        match self.review.ctx.deadline {
            Some(deadline) => own.min(deadline.saturating_duration_since(Instant::now())),
            None => own,
        }
    }
}
