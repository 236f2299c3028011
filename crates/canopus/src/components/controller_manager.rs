//! `kube-controller-manager`: the controllers.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::ArgAction::Set;
use kube_apiserver::authentication::LegacySigner;
use kube_controller_manager::controllers::service_account_token::Sign;
use kube_controller_manager::controllers::{Clients, MANAGER, Selection};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::leader_election::{LeaderElectionFlags, lead};
use super::volume_flags::VolumeFlags;
use super::{Component, client_of, flags, health, kube_config_of};
use crate::control_plane::{certificate_signer, user_agent};
use crate::pki::Signer;

/// The Kubernetes controller manager embeds the core control loops.
#[derive(Debug, clap::Parser)]
pub struct Flags {
    /// Path to the kubeconfig with the API server and the credentials
    #[arg(long, value_name = "FILE")]
    kubeconfig: PathBuf,
    /// Controllers to run: '*' all that are on by default, 'foo' foo, '-foo' not foo
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "*", allow_hyphen_values = true)]
    controllers: Vec<String>,
    /// Give each controller the rights of its own service account instead of the kubeconfig's
    #[arg(long, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true", action = Set)]
    use_service_account_credentials: bool,
    /// File with the authority that pods shall trust
    #[arg(long, value_name = "FILE")]
    root_ca_file: Option<PathBuf>,
    /// File with the key that signs the tokens that are kept in Secrets
    #[arg(long, value_name = "FILE")]
    service_account_private_key_file: Option<PathBuf>,
    /// File with the authority that certificates are issued by
    #[arg(long, value_name = "FILE", requires = "cluster_signing_key_file")]
    cluster_signing_cert_file: Option<PathBuf>,
    /// File with that authority's key
    #[arg(long, value_name = "FILE", requires = "cluster_signing_cert_file")]
    cluster_signing_key_file: Option<PathBuf>,
    /// The longest time that certificates are issued for
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "8760h0m0s")]
    cluster_signing_duration: Duration,
    /// How long a node may be silent
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "40s")]
    node_monitor_grace_period: Duration,
    /// How long a starting node may be silent
    #[arg(long, value_name = "DURATION", value_parser = flags::duration, default_value = "1m0s")]
    node_startup_grace_period: Duration,
    /// How many ended pods may lie about
    #[arg(long, value_name = "N", default_value_t = 12_500)]
    terminated_pod_gc_threshold: i64,
    #[command(flatten)]
    volumes: VolumeFlags,
    #[command(flatten)]
    leader_election: LeaderElectionFlags,
    /// The IP address on which to serve health checks
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    bind_address: IpAddr,
    /// The port on which to serve health checks by HTTPS; 0 for none
    #[arg(long, value_name = "PORT", default_value_t = 10257)]
    secure_port: u16,
    /// Number for the log level verbosity
    #[arg(short = 'v', long = "v", value_name = "LEVEL", default_value_t = 0)]
    verbosity: u8,
}

impl Component for Flags {
    const NAME: &'static str = "kube-controller-manager";

    fn verbosity(&self) -> u8 {
        self.verbosity
    }

    async fn start(self, tasks: &mut JoinSet<Result<()>>, shutdown: &CancellationToken) -> Result<()> {
        let election = self.leader_election.election(Self::NAME)?;
        let root_ca = match &self.root_ca_file {
            Some(file) => {
                Some(std::fs::read_to_string(file).with_context(|| format!("failed to read {}", file.display()))?)
            }
            None => None,
        };
        let options = kube_controller_manager::Options {
            selection: Selection::parse(&self.controllers).map_err(anyhow::Error::msg)?,
            root_ca,
            sign_token: self.service_account_private_key_file.as_deref().map(token_signer).transpose()?,
            sign_certificate: match (&self.cluster_signing_cert_file, &self.cluster_signing_key_file) {
                (Some(certificate), Some(key)) => Some(certificate_signer(Signer::open(certificate, key)?)),
                _ => None,
            },
            signing_duration: self.cluster_signing_duration,
            node_monitor_grace_period: self.node_monitor_grace_period,
            node_startup_grace_period: self.node_startup_grace_period,
            terminated_pod_gc_threshold: self.terminated_pod_gc_threshold,
            volumes: self.volumes.options()?,
            ..kube_controller_manager::Options::default()
        };
        let config = kube_config_of(&self.kubeconfig).await?;
        let client = client_of(config.clone(), Self::NAME)?;
        let clients = match self.use_service_account_credentials {
            true => account_clients(client.clone(), config)?,
            false => {
                let client = client.clone();
                Arc::new(move |_: &str| client.clone())
            }
        };
        health::serve(self.bind_address, self.secure_port, tasks, shutdown).await?;
        let shutdown = shutdown.clone();
        tasks.spawn(lead(election, client, shutdown, move |stop| kube_controller_manager::run(clients, options, stop)));
        Ok(())
    }
}

/// Makes tokens with the key in a file.
fn token_signer(file: &Path) -> Result<Sign> {
    let signer = LegacySigner::open(file).context("failed to prepare the key of service account tokens")?;
    Ok(Arc::new(move |namespace: &str, name: &str, uid: &str, secret: &str| {
        signer.sign(namespace, name, uid, secret).map_err(|error| error.to_string())
    }))
}

/// Each controller acts as its ServiceAccount, with tokens that the kubeconfig's identity asks for.
fn account_clients(issuer: kube::Client, config: kube::Config) -> Result<Clients> {
    let mut anonymous = config;
    anonymous.auth_info = Default::default();
    let anonymous = kube::Client::try_from(anonymous).context("failed to make a client")?;
    let agent = user_agent(Flags::NAME);
    Ok(Arc::new(move |account: &str| {
        if account == MANAGER {
            return issuer.clone();
        }
        client::service_account::client_of(issuer.clone(), anonymous.clone(), "kube-system", account, &agent)
    }))
}
