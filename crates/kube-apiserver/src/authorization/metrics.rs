//! What authorization counts, under upstream's names.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use sha2::{Digest as _, Sha256};

const CALL_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
const CONDITION_BUCKETS: [f64; 7] = [0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25];
const WEBHOOK: &str = "Webhook";

/// Cheap to clone. Authorizers are named by administrators, so their names bound the series.
#[derive(Clone)]
pub struct AuthorizationMetrics {
    decisions: Family<Decided, Counter>,
    calls: Family<Called, Counter>,
    call_durations: Family<Called, Histogram>,
    failed_open: Family<Called, Counter>,
    condition_errors: Family<Named, Counter>,
    condition_exclusions: Family<Named, Counter>,
    condition_durations: Family<Named, Histogram>,
    reloads: Family<Reloaded, Counter>,
    last_reload: Family<Reloaded, Gauge<f64, AtomicU64>>,
    config: Family<Config, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    decision: &'static str,
    name: String,
    r#type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    name: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Named {
    name: String,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reloaded {
    apiserver_id_hash: String,
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Config {
    apiserver_id_hash: String,
    hash: String,
}

/// The decisions of one authorizer, looked up once so that counting costs nothing.
pub struct Decisions {
    pub allowed: Counter,
    pub denied: Counter,
}

impl Default for AuthorizationMetrics {
    fn default() -> Self {
        Self {
            decisions: Family::default(),
            calls: Family::default(),
            call_durations: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
            failed_open: Family::default(),
            condition_errors: Family::default(),
            condition_exclusions: Family::default(),
            condition_durations: Family::new_with_constructor(|| Histogram::new(CONDITION_BUCKETS)),
            reloads: Family::default(),
            last_reload: Family::default(),
            config: Family::default(),
        }
    }
}

impl AuthorizationMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "apiserver_authorization_decisions",
            "Decisions that ended the question, by type and name of the authorizer",
            self.decisions.clone(),
        );
        registry.register(
            "apiserver_authorization_webhook_evaluations",
            "Round-trips to authorization webhooks",
            self.calls.clone(),
        );
        registry.register(
            "apiserver_authorization_webhook_duration_seconds",
            "Time of round-trips to authorization webhooks",
            self.call_durations.clone(),
        );
        registry.register(
            "apiserver_authorization_webhook_evaluations_fail_open",
            "Questions without an opinion because the webhook failed",
            self.failed_open.clone(),
        );
        registry.register(
            "apiserver_authorization_match_condition_evaluation_errors",
            "Questions for which a match condition failed",
            self.condition_errors.clone(),
        );
        registry.register(
            "apiserver_authorization_match_condition_exclusions",
            "Questions that match conditions kept from a webhook",
            self.condition_exclusions.clone(),
        );
        registry.register(
            "apiserver_authorization_match_condition_evaluation_seconds",
            "Time that match conditions took",
            self.condition_durations.clone(),
        );
        registry.register(
            "apiserver_authorization_config_controller_automatic_reloads",
            "Times that the authorization configuration was taken over or refused while the server ran",
            self.reloads.clone(),
        );
        registry.register(
            "apiserver_authorization_config_controller_automatic_reload_last_timestamp_seconds",
            "When that was last",
            self.last_reload.clone(),
        );
        registry.register(
            "apiserver_authorization_config_controller_last_config_info",
            "The hash of the authorization configuration in force",
            self.config.clone(),
        );
    }

    pub fn decisions(&self, kind: &str, name: &str) -> Decisions {
        let of = |decision| {
            let labels = Decided { decision, name: name.to_owned(), r#type: kind.to_owned() };
            // The clone shares its value with the family's; a guard kept would block others.
            self.decisions.get_or_create(&labels).clone()
        };
        Decisions { allowed: of("allowed"), denied: of("denied") }
    }

    /// A webhook was asked; `result` is `success`, `timeout` or `error`.
    pub fn called(&self, webhook: &str, result: &'static str, took: Duration) {
        let labels = Called { name: webhook.to_owned(), result };
        self.calls.get_or_create(&labels).inc();
        self.call_durations.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub fn failed_open(&self, webhook: &str, result: &'static str) {
        self.failed_open.get_or_create(&Called { name: webhook.to_owned(), result }).inc();
    }

    pub fn conditions_evaluated(&self, webhook: &str, took: Duration, held: &Result<bool, String>) {
        let labels = Named { name: webhook.to_owned(), r#type: WEBHOOK };
        self.condition_durations.get_or_create(&labels).observe(took.as_secs_f64());
        match held {
            Ok(true) => {}
            Ok(false) => {
                self.condition_exclusions.get_or_create(&labels).inc();
            }
            Err(_) => {
                self.condition_errors.get_or_create(&labels).inc();
            }
        }
    }

    /// The configuration that is in force from now on.
    pub fn configured(&self, server: &str, text: &[u8]) {
        self.config.clear();
        self.config.get_or_create(&Config { apiserver_id_hash: hash(server.as_bytes()), hash: hash(text) }).set(1);
    }

    /// A changed configuration was taken over, or could not be.
    pub fn reloaded(&self, server: &str, succeeded: bool, now: jiff::Timestamp) {
        let status = if succeeded { "success" } else { "failure" };
        let labels = Reloaded { apiserver_id_hash: hash(server.as_bytes()), status };
        self.reloads.get_or_create(&labels).inc();
        self.last_reload.get_or_create(&labels).set(now.as_duration().as_secs_f64());
    }
}

fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().fold("sha256:".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}
