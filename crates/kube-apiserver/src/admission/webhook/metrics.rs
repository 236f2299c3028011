//! What the webhook plugins count, under upstream's names.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::admission::Operation;

const BUCKETS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];

pub struct WebhookMetrics {
    durations: Family<Timed, Histogram>,
    requests: Family<Asked, Counter>,
    rejections: Family<Rejected, Counter>,
    failed_open: Family<Webhook, Counter>,
}

/// Webhooks are named by administrators, so their names bound the series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Timed {
    name: String,
    operation: &'static str,
    rejected: &'static str,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    code: u16,
    name: String,
    operation: &'static str,
    rejected: &'static str,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejected {
    error_type: &'static str,
    name: String,
    operation: &'static str,
    rejection_code: u16,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Webhook {
    name: String,
    r#type: &'static str,
}

/// How the question to a webhook ended.
pub struct Outcome<'a> {
    pub webhook: &'a str,
    /// `admit` or `validating`.
    pub phase: &'static str,
    pub operation: Operation,
    pub took: Duration,
    pub code: u16,
    /// The kind of error, where the request was refused.
    pub rejected: Option<&'static str>,
}

pub const NO_ERROR: &str = "no_error";
pub const CALLING_ERROR: &str = "calling_webhook_error";
pub const INTERNAL_ERROR: &str = "apiserver_internal_error";

impl Default for WebhookMetrics {
    fn default() -> Self {
        Self {
            durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            requests: Family::default(),
            rejections: Family::default(),
            failed_open: Family::default(),
        }
    }
}

impl WebhookMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "apiserver_admission_webhook_admission_duration_seconds",
            "Time that admission webhooks took to answer",
            self.durations.clone(),
        );
        registry.register(
            "apiserver_admission_webhook_request",
            "Questions to admission webhooks by the code of their end",
            self.requests.clone(),
        );
        registry.register(
            "apiserver_admission_webhook_rejection_count",
            "Requests that admission webhooks refused or were refused for",
            self.rejections.clone(),
        );
        registry.register(
            "apiserver_admission_webhook_fail_open_count",
            "Questions that failed and were passed over",
            self.failed_open.clone(),
        );
    }

    pub fn observe(&self, outcome: &Outcome<'_>) {
        let (name, operation, r#type) = (outcome.webhook.to_owned(), outcome.operation.as_str(), outcome.phase);
        // Whatever a webhook answers, it makes no more codes than there are.
        let code = if outcome.code > 600 { 600 } else { outcome.code };
        if let Some(error_type) = outcome.rejected {
            let labels = Rejected { error_type, name: name.clone(), operation, rejection_code: code, r#type };
            self.rejections.get_or_create(&labels).inc();
        }
        let rejected = if outcome.rejected.is_some() { "true" } else { "false" };
        let labels = Asked { code, name: name.clone(), operation, rejected, r#type };
        self.requests.get_or_create(&labels).inc();
        let labels = Timed { name, operation, rejected, r#type };
        self.durations.get_or_create(&labels).observe(outcome.took.as_secs_f64());
    }

    pub fn failed_open(&self, webhook: &str, phase: &'static str) {
        self.failed_open.get_or_create(&Webhook { name: webhook.to_owned(), r#type: phase }).inc();
    }
}
