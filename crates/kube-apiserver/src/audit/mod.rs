//! Audit: who asked for what, when, and what came of it, as `audit.k8s.io/v1` events, one JSON document a line.
//!
//! A [`policy`] says for each request how much is recorded, a [`record`] gathers it while the request is served, and a
//! [`log`] takes the events. The chain begins a record when it knows who asks, before impersonation.
//! See https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/.

pub mod capture;
pub mod log;
pub mod policy;
mod record;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use log::{Log, LogError};
use policy::{Policy, PolicyError};
pub use record::{Record, Stage, source_ips};

use crate::{Config, RequestInfo, UserInfo};

/// What is recorded, and where it goes.
pub struct Audit {
    policy: Policy,
    log: Arc<Log>,
}

#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    #[error("loading audit policy file")]
    Policy(#[from] PolicyError),
    #[error("failed to open the audit log")]
    Log(#[from] LogError),
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
    /// None where nothing is to be recorded: without a policy or without a log.
    pub fn open(config: &Config) -> Result<Option<Self>, AuditError> {
        let (Some(policy), Some(path)) = (&config.audit_policy_file, &config.audit_log_path) else { return Ok(None) };
        let policy = Policy::load(policy)?;
        let log = Log::open(path, config.audit_log_rotation)?;
        Ok(Some(Self { policy, log: Arc::new(log) }))
    }

    /// The record of a request that the policy wants to have recorded, with its first stage written.
    pub fn begin(&self, request: &Request) -> Option<Arc<Record>> {
        let decision = self.policy.decide(request.user, request.info);
        let record = Record::new(decision, request, self.log.clone())?;
        record.stage(Stage::RequestReceived);
        Some(Arc::new(record))
    }
}
