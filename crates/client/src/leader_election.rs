//! Leader election on a Lease: of several processes of one component, one works and the others wait. Whether to take the
//! Lease is decided purely from it and from how long it has stood unchanged before our own eyes ([`decide`]), so that
//! clocks of different machines are never compared.
//!
//! Example: A holds the Lease for 15 s and renews it every 2 s. A dies. B sees the same record for 15 s of its own clock
//! and takes it. A that comes back, or was only cut off, has given up after 10 s without a renewal: never both.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::PostParams;
use kube::{Api, Client};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Environment;

/// Waiting candidates ask at random times, up to this many tenths of the retry period later than asked for.
const JITTER_TENTHS_MAX: u64 = 12;

/// The Lease was lost: whoever worked under it must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("leaderelection lost")]
pub struct Lost;

/// Who stands for which Lease, and how patiently.
#[derive(Debug, Clone)]
pub struct LeaderElection {
    /// The Lease's namespace (`--leader-elect-resource-namespace`).
    pub namespace: String,
    /// The Lease's name (`--leader-elect-resource-name`).
    pub name: String,
    /// Tells candidates apart.
    pub identity: String,
    /// How long others must see an unchanged Lease before they take it.
    pub lease_duration: Duration,
    /// How long the leader goes on without a renewal.
    pub renew_deadline: Duration,
    /// Time between two attempts.
    pub retry_period: Duration,
}

impl LeaderElection {
    /// Upstream's times, for the Lease that upstream's component of this name uses.
    pub fn new(component: &str, identity: String) -> Self {
        Self {
            namespace: "kube-system".into(),
            name: component.into(),
            identity,
            lease_duration: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry_period: Duration::from_secs(2),
        }
    }

    /// What is wrong with the times, if anything is.
    pub fn check(&self) -> Result<(), String> {
        if self.lease_duration.as_secs() == 0 {
            return Err("leaseDuration must be at least one second".into());
        }
        if self.lease_duration <= self.renew_deadline {
            return Err("leaseDuration must be greater than renewDeadline".into());
        }
        if self.retry_period.is_zero() {
            return Err("retryPeriod must be greater than zero".into());
        }
        if self.renew_deadline <= self.retry_period * (10 + JITTER_TENTHS_MAX as u32) / 10 {
            return Err("renewDeadline must be greater than retryPeriod*JitterFactor".into());
        }
        Ok(())
    }

    /// Waits for the Lease, then runs `lead` under it until `lead` ends by itself (as it must soon after `cancel`) or the
    /// Lease is lost. After an orderly end the Lease is given up, so that the next one need not wait.
    pub async fn run<F: Future<Output = ()>>(
        self,
        client: Client,
        environment: Environment,
        cancel: CancellationToken,
        lead: impl FnOnce(CancellationToken) -> F,
    ) -> Result<(), Lost> {
        let leases = Api::namespaced(client, &self.namespace);
        let mut candidate = Candidate { election: self, leases, environment, observed: None };
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            () = candidate.acquire() => {}
        }
        tracing::info!(lease = candidate.election.name, identity = candidate.election.identity, "became leader");
        let stop = cancel.child_token();
        let result = {
            let work = lead(stop.clone());
            tokio::select! {
                () = work => Ok(()),
                () = candidate.renew() => Err(Lost),
            }
        };
        stop.cancel();
        if result.is_ok() {
            let limit = candidate.election.retry_period;
            if !matches!(tokio::time::timeout(limit, candidate.release()).await, Ok(Ok(()))) {
                tracing::warn!(lease = candidate.election.name, "failed to give the lease up; it runs out by itself");
            }
        }
        result
    }
}

/// The record as it was seen last, and since when it has been the same.
struct Observed {
    spec: LeaseSpec,
    since: Instant,
}

struct Candidate {
    election: LeaderElection,
    leases: Api<Lease>,
    environment: Environment,
    observed: Option<Observed>,
}

impl Candidate {
    async fn acquire(&mut self) {
        loop {
            if self.attempt_in_time().await {
                return;
            }
            let tenth = self.election.retry_period / 10;
            let late = tenth * self.environment.random_below(JITTER_TENTHS_MAX + 1) as u32;
            tokio::time::sleep(self.election.retry_period + late).await;
        }
    }

    /// Returns when the Lease could not be renewed for too long.
    async fn renew(&mut self) {
        loop {
            tokio::time::sleep(self.election.retry_period).await;
            let (limit, pause) = (self.election.renew_deadline, self.election.retry_period);
            let renewed = async {
                while !self.attempt_in_time().await {
                    tokio::time::sleep(pause).await;
                }
            };
            // The time since the last renewal is the pause before it and the attempts themselves.
            if tokio::time::timeout(limit.saturating_sub(pause), renewed).await.is_err() {
                return;
            }
        }
    }

    async fn attempt_in_time(&mut self) -> bool {
        match tokio::time::timeout(self.election.renew_deadline, self.attempt()).await {
            Ok(Ok(held)) => held,
            Ok(Err(error)) => {
                tracing::warn!(lease = self.election.name, %error, "failed to ask for or renew the lease");
                false
            }
            Err(_) => {
                tracing::warn!(lease = self.election.name, "the API server did not answer about the lease in time");
                false
            }
        }
    }

    /// One look at the Lease and, where it is ours or free, one write. True if it is ours now.
    async fn attempt(&mut self) -> Result<bool, kube::Error> {
        let existing = self.leases.get_opt(&self.election.name).await?;
        let unchanged_for = self.observe(existing.as_ref());
        let Some(spec) = decide(existing.as_ref(), unchanged_for, &self.election, self.environment.now()) else {
            return Ok(false);
        };
        match self.write(existing, spec).await {
            Ok(()) => Ok(true),
            // Another candidate was faster.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Remembers the record and tells how long it has been as it is.
    fn observe(&mut self, lease: Option<&Lease>) -> Duration {
        let spec = lease.and_then(|lease| lease.spec.clone()).unwrap_or_default();
        match &self.observed {
            Some(observed) if observed.spec == spec => observed.since.elapsed(),
            _ => {
                self.observed = Some(Observed { spec, since: Instant::now() });
                Duration::ZERO
            }
        }
    }

    async fn write(&mut self, existing: Option<Lease>, spec: LeaseSpec) -> Result<(), kube::Error> {
        let parameters = PostParams::default();
        let name = self.election.name.clone();
        let written = match existing {
            // The resource version that was read goes along, so that only one candidate can win.
            Some(lease) => {
                self.leases.replace(&name, &parameters, &Lease { metadata: lease.metadata, spec: Some(spec) }).await?
            }
            None => {
                let metadata = ObjectMeta { name: Some(name), ..ObjectMeta::default() };
                self.leases.create(&parameters, &Lease { metadata, spec: Some(spec) }).await?
            }
        };
        self.observe(Some(&written));
        Ok(())
    }

    async fn release(&mut self) -> Result<(), kube::Error> {
        let Some(lease) = self.leases.get_opt(&self.election.name).await? else { return Ok(()) };
        let spec = lease.spec.clone().unwrap_or_default();
        if spec.holder_identity.as_deref() != Some(self.election.identity.as_str()) {
            return Ok(());
        }
        let now = Some(MicroTime(self.environment.now()));
        let free = LeaseSpec {
            holder_identity: Some(String::new()),
            lease_duration_seconds: Some(1),
            acquire_time: now.clone(),
            renew_time: now,
            ..spec
        };
        self.write(Some(lease), free).await
    }
}

/// The record to write to hold the Lease, or none while it is somebody else's.
pub fn decide(
    lease: Option<&Lease>,
    unchanged_for: Duration,
    election: &LeaderElection,
    now: Timestamp,
) -> Option<LeaseSpec> {
    let old = lease.and_then(|lease| lease.spec.clone()).unwrap_or_default();
    let holder = old.holder_identity.as_deref().unwrap_or_default();
    let seconds = i32::try_from(election.lease_duration.as_secs()).unwrap_or(i32::MAX);
    let held = LeaseSpec {
        holder_identity: Some(election.identity.clone()),
        lease_duration_seconds: Some(seconds),
        renew_time: Some(MicroTime(now)),
        ..old.clone()
    };
    if lease.is_some() && holder == election.identity {
        return Some(held);
    }
    let term = Duration::from_secs(u64::try_from(old.lease_duration_seconds.unwrap_or(0)).unwrap_or(0));
    if !holder.is_empty() && unchanged_for < term {
        return None;
    }
    let transitions = match lease {
        Some(_) => old.lease_transitions.unwrap_or(0).saturating_add(1),
        None => 0,
    };
    Some(LeaseSpec { acquire_time: Some(MicroTime(now)), lease_transitions: Some(transitions), ..held })
}

#[cfg(test)]
mod tests;
