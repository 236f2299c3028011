//! Audit: who asked for what, when, and what came of it, as `audit.k8s.io/v1` events, one JSON document a line.
//!
//! A [`policy`] says for each request how much is recorded, a [`record`] gathers it while the request is served, and
//! [`sink`]s take the events: a log, a server, or both. The chain begins a record when it knows who asks, before
//! impersonation. See https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/.

pub mod policy;
mod record;
pub mod capture;
mod event;
mod legacy;
pub mod settings;
mod sink;
mod batch;
mod output;
pub mod log;
pub mod metrics;

#[cfg(test)]
mod tests;

#[cfg(test)]
mod webhook_tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use event::Event;
use log::{Log, LogError};
use metrics::AuditMetrics;
use output::Output;
use policy::{Policy, PolicyError};
pub use record::{Record, Stage, source_ips};
use serde_json::Value;
use settings::Options;
use sink::Sink;

use crate::outbound::EndpointError;
use crate::{Config, RequestInfo, UserInfo};

/// What is recorded, and where it goes.
pub struct Audit {
    policy: Policy,
    sinks: Arc<Sinks>,
}

/// `--audit-webhook-*`.
#[derive(Clone, Debug)]
pub struct WebhookFlags {
    /// A kubeconfig of the server that is sent events.
    pub config_file: Option<PathBuf>,
    /// How long is waited before what failed is sent again for the first time.
    pub initial_backoff: Duration,
    pub options: Options,
}

impl Default for WebhookFlags {
    fn default() -> Self {
        Self { config_file: None, initial_backoff: Duration::from_secs(10), options: Options::webhook() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("loading audit policy file")]
    Policy(#[from] PolicyError),
    #[error("failed to open the audit log")]
    Log(#[from] LogError),
    #[error("initializing audit webhook")]
    Webhook(#[from] EndpointError),
    #[error("{0}")]
    Options(String),
}

/// One request as the policy and the record see it.
pub struct Request<'a> {
    /// The real user; none when authentication failed.
    pub user: Option<&'a UserInfo>,
    pub info: &'a RequestInfo,
    /// Path and query.
    pub uri: &'a str,
    pub audit_id: &'a str,
    pub user_agent: &'a str,
    /// From the headers of proxies, then the connection's own.
    pub source_ips: Vec<String>,
    pub received: jiff::Timestamp,
}

impl Audit {
    /// None where nothing is to be recorded: without a policy or without a place for events. Needs a runtime.
    pub fn open(config: &Config, metrics: AuditMetrics) -> Result<Option<Self>, AuditError> {
        let (log, webhook) = (&config.audit_log_path, &config.audit_webhook);
        config.audit_log_options.check("log").map_err(AuditError::Options)?;
        webhook.options.check("webhook").map_err(AuditError::Options)?;
        let Some(policy) = &config.audit_policy_file else { return Ok(None) };
        let policy = Policy::load(policy)?;
        let mut sinks = Vec::new();
        if let Some(path) = log {
            let output =
                Output::Log(Log::open(path, config.audit_log_rotation)?, config.audit_log_format, metrics.clone());
            sinks.push(Sink::new(output, config.audit_log_options, metrics.clone()));
        }
        if let Some(file) = &webhook.config_file {
            let output = Output::webhook(file, webhook.initial_backoff, metrics.clone())?;
            sinks.push(Sink::new(output, webhook.options, metrics.clone()));
        }
        Ok((!sinks.is_empty()).then(|| Self { policy, sinks: Arc::new(Sinks { all: sinks, metrics }) }))
    }

    /// The record of a request that the policy wants to have recorded, with its first stage written. An error where that
    /// could not be, and the request must not go on without it.
    pub async fn begin(&self, request: &Request<'_>) -> Result<Option<Arc<Record>>, NotRecorded> {
        let decision = self.policy.decide(request.user, request.info);
        self.sinks.metrics.leveled(decision.level.as_str());
        let Some(record) = Record::new(decision, request, self.sinks.clone()) else { return Ok(None) };
        if record.stage(Stage::RequestReceived).await {
            return Ok(Some(Arc::new(record)));
        }
        self.sinks.metrics.rejected.inc();
        record.discard();
        Err(NotRecorded)
    }

    /// Writes what waits, as far as there is time: nothing comes any more.
    pub async fn flush(&self, within: Duration) {
        futures::future::join_all(self.sinks.all.iter().map(|sink| sink.flush(within))).await;
    }
}

/// A request that cannot be recorded must not be served.
#[derive(Debug, thiserror::Error)]
#[error("failed to store audit event")]
pub struct NotRecorded;

/// Where events go.
pub struct Sinks {
    all: Vec<Sink>,
    metrics: AuditMetrics,
}

impl Sinks {
    /// Whether the request may go on.
    async fn put(&self, event: &Event, value: &Value) -> bool {
        self.metrics.events.inc();
        let mut taken = true;
        for sink in &self.all {
            taken &= sink.put(event, value).await;
        }
        taken
    }

    /// An event of a request that is over.
    fn put_last(&self, event: &Event, value: &Value) {
        self.metrics.events.inc();
        self.all.iter().for_each(|sink| sink.put_last(event, value));
    }
}
