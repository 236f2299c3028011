//! The leader election flags that controller manager and scheduler share.

use std::io;
use std::time::Duration;

use anyhow::Result;
use clap::ArgAction::Set;
use client::{Environment, LeaderElection};
use kube::Client;
use tokio_util::sync::CancellationToken;

use super::flags;
use crate::machine;

#[derive(Debug, clap::Args)]
pub struct LeaderElectionFlags {
    /// Work only while holding the lease, so that several can stand by
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true", action = Set)]
    leader_elect: bool,
    /// How long others wait before they take a lease that is not renewed
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "15s")]
    leader_elect_lease_duration: Duration,
    /// How long the leader goes on without a renewal
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "10s")]
    leader_elect_renew_deadline: Duration,
    /// Time between two attempts
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "2s")]
    leader_elect_retry_period: Duration,
    /// Name of the lease; by default the component's
    #[arg(long, value_name = "NAME")]
    leader_elect_resource_name: Option<String>,
    /// Namespace of the lease
    #[arg(long, value_name = "NAMESPACE", default_value = "kube-system")]
    leader_elect_resource_namespace: String,
}

impl LeaderElectionFlags {
    /// Who stands for what; none without leader election.
    pub fn election(&self, component: &str) -> Result<Option<LeaderElection>> {
        if !self.leader_elect {
            return Ok(None);
        }
        let mut election = LeaderElection::new(component, identity()?);
        election.lease_duration = self.leader_elect_lease_duration;
        election.renew_deadline = self.leader_elect_renew_deadline;
        election.retry_period = self.leader_elect_retry_period;
        election.namespace.clone_from(&self.leader_elect_resource_namespace);
        if let Some(name) = &self.leader_elect_resource_name {
            election.name.clone_from(name);
        }
        election.check().map_err(|message| io::Error::new(io::ErrorKind::InvalidInput, message))?;
        Ok(Some(election))
    }
}

/// A name that no other process has.
pub fn identity() -> Result<String> {
    Ok(format!("{}_{:032x}", machine::host_name()?, rand::random::<u128>()))
}

/// Runs `work` at once, or under the lease where there is an election.
pub async fn lead<F: Future<Output = ()>>(
    election: Option<LeaderElection>,
    client: Client,
    shutdown: CancellationToken,
    work: impl FnOnce(CancellationToken) -> F,
) -> Result<()> {
    match election {
        Some(election) => Ok(election.run(client, Environment::system(), shutdown, work).await?),
        None => {
            work(shutdown).await;
            Ok(())
        }
    }
}
