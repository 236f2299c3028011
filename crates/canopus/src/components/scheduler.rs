//! `kube-scheduler`: finds nodes for pods.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::Result;
use client::{Environment, Reflectors};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::leader_election::{LeaderElectionFlags, lead};
use super::{Component, client_of, health, kube_config_of};

/// The Kubernetes scheduler assigns pods to nodes.
#[derive(Debug, clap::Parser)]
pub struct Flags {
    /// Path to the kubeconfig with the API server and the credentials
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    #[command(flatten)]
    leader_election: LeaderElectionFlags,
    /// The IP address on which to serve health checks
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    bind_address: IpAddr,
    /// The port on which to serve health checks by HTTPS; 0 for none
    #[arg(long, value_name = "PORT", default_value_t = 10259)]
    secure_port: u16,
    /// Number for the log level verbosity
    #[arg(short = 'v', long = "v", value_name = "LEVEL", default_value_t = 0)]
    verbosity: u8,
}

impl Component for Flags {
    const NAME: &'static str = "kube-scheduler";

    fn verbosity(&self) -> u8 {
        self.verbosity
    }

    async fn start(self, tasks: &mut JoinSet<Result<()>>, shutdown: &CancellationToken) -> Result<()> {
        let election = self.leader_election.election(Self::NAME)?;
        let client = client_of(kube_config_of(&self.kubeconfig).await?, Self::NAME)?;
        health::serve(self.bind_address, self.secure_port, tasks, shutdown).await?;
        let (shutdown, own) = (shutdown.clone(), client.clone());
        let work = move |stop: CancellationToken| {
            let caches = Reflectors::new(own.clone(), Environment::system(), stop.clone());
            kube_scheduler::run(own, caches, kube_scheduler::Options::default(), stop)
        };
        tasks.spawn(lead(election, client, shutdown, work));
        Ok(())
    }
}
