//! The control plane in this process: store and API server, controllers, scheduler. The components reach the API server
//! without a socket, each under its own identity, so that RBAC means the same as in any other arrangement.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use client::{Environment, LeaderElection, Reflectors};
use kube::Client;
use kube_apiserver::{Server, UserInfo};
use kube_controller_manager::controllers::MANAGER;
use kube_controller_manager::controllers::certificates::signing::SignCertificate;
use kube_controller_manager::controllers::service_account_token::Sign;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::backup::{metrics::BackupMetrics, schedule};
use crate::command_line;
use crate::components::{EtcdFlags, leader_election};
use crate::kubeconfig;
use crate::layout::Layout;
use crate::pki::{Pki, Signer, Usage};
use crate::plan::ClusterPlan;

/// A running control plane.
pub struct ControlPlane {
    server: Arc<Server>,
}

/// What a component names itself in its requests.
pub fn user_agent(component: &str) -> String {
    format!("{component}/{} (linux/{}) canopus", kube_apiserver::version::GIT_VERSION, std::env::consts::ARCH)
}

/// Issues certificates by an authority that is at hand.
pub fn certificate_signer(signer: Signer) -> SignCertificate {
    Arc::new(move |request: &[u8], usages: &[&str], seconds: i64| {
        let lifetime = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        signer.sign(request, usages, lifetime).map_err(|error| format!("{error:#}"))
    })
}

impl ControlPlane {
    /// Makes certificates, opens the store, starts to serve and starts what belongs to it into `tasks`.
    pub async fn start(
        plan: &ClusterPlan,
        layout: &Layout,
        tasks: &mut JoinSet<Result<()>>,
        shutdown: &CancellationToken,
    ) -> Result<Self> {
        make_credentials(plan, layout)?;
        let mut config = kube_apiserver::Config::new(layout.pki(), Some(layout.store()));
        config.bind_address = plan.bind_address;
        config.secure_port = plan.secure_port;
        config.advertise_address = plan.advertise_address;
        config.service_cluster_ip_range = plan.service_cluster_ip_range.clone();
        config.token_auth_file = plan.token_auth_file.clone();
        config.flags = command_line::remembered();
        config.enable_bootstrap_token_auth = true;
        config.encryption_provider_config = plan.encryption_provider_config.clone();
        config.encryption_provider_config_automatic_reload = true;
        plan.store.apply(&mut config);
        config.etcd = plan.etcd.as_ref().map(EtcdFlags::settings).transpose()?.flatten();
        config.history_retention = plan.history.settings(plan.etcd.is_some())?;
        let address = SocketAddr::new(plan.bind_address, plan.secure_port);
        let listener =
            std::net::TcpListener::bind(address).with_context(|| format!("failed to listen at {address}"))?;
        let server = Server::open(config).context("failed to start the API server")?;
        tasks.spawn({
            let (server, shutdown) = (server.clone(), shutdown.clone());
            async move { server.serve(listener, shutdown).await.context("the API server failed") }
        });
        // Components that come before their roles would be refused and wait for their next try.
        server.start().await.context("failed to start the API server")?;
        let control_plane = Self { server };
        let clients: kube_controller_manager::controllers::Clients = {
            let server = control_plane.server.clone();
            Arc::new(move |account| {
                let user = match account {
                    MANAGER => UserInfo::new(MANAGER, ["system:authenticated"]),
                    account => service_account("kube-system", account),
                };
                client(&server, user, "kube-controller-manager")
            })
        };
        // Controllers and scheduler look at the same pods and nodes; each writes under its own name.
        let reader = clients("generic-garbage-collector");
        let caches = Reflectors::new(reader, Environment::system(), shutdown.clone());
        let root_ca = Pki::open(&layout.pki())?.authority()?;
        let sign_token = token_signer(&control_plane.server);
        let sign_certificate =
            certificate_signer(Signer::open(&layout.pki().join("ca.crt"), &layout.pki().join("ca.key"))?);
        let options = {
            let caches = caches.clone();
            move || kube_controller_manager::Options {
                reflectors: Some(caches.clone()),
                root_ca: Some(root_ca.clone()),
                sign_token: Some(sign_token.clone()),
                sign_certificate: Some(sign_certificate.clone()),
                ..kube_controller_manager::Options::default()
            }
        };
        let own = control_plane.server.clone();
        let manager = clients(MANAGER);
        let work = move |stop| kube_controller_manager::run(clients.clone(), options(), stop);
        let running =
            tasks.spawn(run_or_stand(own.clone(), "kube-controller-manager", manager, shutdown.clone(), work));
        control_plane.server.components.look_at("controller-manager", is_running(running));
        let scheduler = control_plane.client("system:kube-scheduler", &[], "kube-scheduler");
        let candidate = scheduler.clone();
        let work = move |stop| {
            let options = kube_scheduler::Options { caches_are_shared: true, ..kube_scheduler::Options::default() };
            kube_scheduler::run(scheduler.clone(), caches.clone(), options, stop)
        };
        let running = tasks.spawn(run_or_stand(own, "kube-scheduler", candidate, shutdown.clone(), work));
        control_plane.server.components.look_at("scheduler", is_running(running));
        if let Some(backups) = &plan.backups {
            let metrics = BackupMetrics::default();
            control_plane.server.metrics.extend(|registry| metrics.register(registry));
            let cluster = plan.name_among_machines()?;
            tasks.spawn(schedule::run(backups.clone(), cluster, control_plane.server.clone(), layout.clone(), metrics));
        }
        Ok(control_plane)
    }

    /// A client that acts as this user.
    pub fn client(&self, name: &str, groups: &[&str], component: &str) -> Client {
        let groups = groups.iter().copied().chain(["system:authenticated"]).map(str::to_owned).collect();
        let user = UserInfo { name: name.to_owned(), groups, ..UserInfo::default() };
        client(&self.server, user, component)
    }
}

/// Runs a component. Where there may be several servers, one of them has the controllers and one the scheduler: there it runs
/// whenever this process holds its Lease. Who loses the Lease stands for it again: the API server beside it goes on.
async fn run_or_stand<F: Future<Output = ()>>(
    server: Arc<Server>,
    component: &str,
    client: Client,
    shutdown: CancellationToken,
    work: impl Fn(CancellationToken) -> F,
) -> Result<()> {
    let identity = leader_election::identity()?;
    while !shutdown.is_cancelled() {
        let is_shared = server.is_shared();
        let stop = shutdown.child_token();
        let run = async {
            if !is_shared {
                return work(stop.clone()).await;
            }
            let election = LeaderElection::new(component, identity.clone());
            if election.run(client.clone(), Environment::system(), stop.clone(), &work).await.is_err() {
                tracing::warn!(component, "lost the lease, standing for it again");
            }
        };
        let mut run = std::pin::pin!(run);
        tokio::select! {
            () = &mut run => {
                if !is_shared {
                    break;
                }
            }
            () = server.moved(is_shared) => {
                tracing::info!(component, "begins anew, for the objects have moved");
                stop.cancel();
                run.await;
            }
        }
    }
    Ok(())
}

fn client(server: &Arc<Server>, user: UserInfo, component: &str) -> Client {
    client::for_service(server.in_process(user), &user_agent(component))
}

fn service_account(namespace: &str, name: &str) -> UserInfo {
    let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), "system:authenticated"];
    UserInfo {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        groups: groups.map(str::to_owned).to_vec(),
        ..UserInfo::default()
    }
}

/// Whether a part of this process still is there.
fn is_running(task: AbortHandle) -> impl Fn() -> Result<(), String> {
    move || if task.is_finished() { Err("it is not running".to_owned()) } else { Ok(()) }
}

/// Makes the tokens of Secrets with the server's key.
fn token_signer(server: &Arc<Server>) -> Sign {
    let tokens = server.tokens.clone();
    Arc::new(move |namespace: &str, name: &str, uid: &str, secret: &str| {
        tokens.issue_legacy(namespace, name, uid, secret).map_err(|error| error.to_string())
    })
}

/// Certificates of the server and its clients, and the administrator's kubeconfig.
fn make_credentials(plan: &ClusterPlan, layout: &Layout) -> Result<()> {
    let pki = Pki::open(&layout.pki())?;
    let mut names: Vec<String> = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "localhost",
        "127.0.0.1",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push(plan.kubernetes_service_address()?.to_string());
    names.push(plan.advertise_address.to_string());
    if let Ok(host) = crate::machine::host_name() {
        names.push(host);
    }
    names.extend(plan.tls_san.iter().cloned());
    pki.ensure("apiserver", "kube-apiserver", &[], Usage::Server(names))?;
    pki.ensure("apiserver-kubelet-client", "kube-apiserver-kubelet-client", &["system:masters"], Usage::Client)?;
    let (certificate, key) = pki.ensure("admin", "kubernetes-admin", &["system:masters"], Usage::Client)?;
    let read = |path: &std::path::Path| {
        std::fs::read_to_string(path).with_context(|| format!("failed to read {}", path.display()))
    };
    let credentials = crate::pki::Credentials { certificate: read(&certificate)?, key: read(&key)? };
    let document = kubeconfig::document(&plan.name, &plan.url(), &pki.authority()?, "admin", &credentials);
    kubeconfig::write(&layout.admin_conf(), &document)
}

/// How long requests may take to end when the server stops.
pub const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(15);
