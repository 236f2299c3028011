//! The list of controllers, in the order in which they start, each with the ServiceAccount whose rights it uses.

pub mod certificates;
pub mod deployment;
pub mod disruption;
pub mod endpoints;
pub mod endpointslice;
pub mod garbage_collector;
pub mod namespace;
pub mod node_lifecycle;
pub mod persistentvolume_binder;
pub mod podgc;
pub mod protection;
pub mod replicaset;
pub mod replicationcontroller;
pub mod resourcequota;
pub mod root_ca_cert_publisher;
mod selection;
pub mod service_account_token;
pub mod service_cidr;
pub mod serviceaccount;
pub mod taint_eviction;
pub mod validatingadmissionpolicy_status;

pub use selection::Selection;

use std::sync::Arc;
use std::time::Duration;

use client::{BoxFuture, Controller, Environment, Reflectors, Runtime};
use futures::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::monitors::Monitors;

/// The controller manager's own name, for the controller that has no ServiceAccount.
pub const MANAGER: &str = "system:kube-controller-manager";

/// Gives the client of a ServiceAccount in kube-system, by its name, or that of [`MANAGER`].
pub type Clients = Arc<dyn Fn(&str) -> kube::Client + Send + Sync>;

/// What can be set.
#[derive(Clone)]
pub struct Options {
    /// Which controllers run (`--controllers`).
    pub selection: Selection,
    /// PEM of the authority that pods shall trust (`--root-ca-file`); without it no bundle is published.
    pub root_ca: Option<String>,
    /// Makes the tokens that are kept in Secrets (`--service-account-private-key-file`); without it nobody does.
    pub sign_token: Option<service_account_token::Sign>,
    /// Issues certificates (`--cluster-signing-cert-file`, `--cluster-signing-key-file`); without it nobody does.
    pub sign_certificate: Option<certificates::signing::SignCertificate>,
    /// How long certificates are good for (`--cluster-signing-duration`).
    pub signing_duration: Duration,
    /// How long a node may be silent (`--node-monitor-grace-period`).
    pub node_monitor_grace_period: Duration,
    /// How long a new node may take to report (`--node-startup-grace-period`).
    pub node_startup_grace_period: Duration,
    /// How many ended pods may lie about (`--terminated-pod-gc-threshold`).
    pub terminated_pod_gc_threshold: i64,
    /// How claims get volumes, and what becomes of released ones.
    pub volumes: persistentvolume_binder::Options,
    /// The process' caches; without them the manager makes its own, read as the garbage collector.
    pub reflectors: Option<Arc<Reflectors>>,
    /// Time and chance.
    pub environment: Environment,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            selection: Selection::default(),
            root_ca: None,
            sign_token: None,
            sign_certificate: None,
            signing_duration: Duration::from_secs(365 * 24 * 3600),
            node_monitor_grace_period: Duration::from_secs(40),
            node_startup_grace_period: Duration::from_secs(60),
            terminated_pod_gc_threshold: 12_500,
            volumes: persistentvolume_binder::Options::default(),
            reflectors: None,
            environment: Environment::system(),
        }
    }
}

/// Runs all controllers until cancelled.
pub async fn run(clients: Clients, options: Options, cancel: CancellationToken) {
    let environment = options.environment.clone();
    let reflectors = options
        .reflectors
        .clone()
        .unwrap_or_else(|| Reflectors::new(clients("generic-garbage-collector"), environment.clone(), cancel.clone()));
    let monitors = Monitors::new();
    let set = Set {
        selection: options.selection.clone(),
        clients,
        runtime: Runtime { reflectors: reflectors.clone(), environment },
        cancel: cancel.clone(),
    };
    let grace = node_lifecycle::Grace {
        monitor: options.node_monitor_grace_period,
        startup: options.node_startup_grace_period,
    };

    let mut running: Vec<BoxFuture<'_, ()>> = vec![
        set.start("namespace-controller", namespace::Namespaces { monitors: monitors.clone() }),
        set.start("service-account-controller", serviceaccount::ServiceAccounts),
        set.start("replicaset-controller", replicaset::ReplicaSets),
        set.start("replication-controller", replicationcontroller::ReplicationControllers),
        set.start("deployment-controller", deployment::Deployments),
        set.start("endpoint-controller", endpoints::EndpointsController),
        set.start("endpointslice-controller", endpointslice::EndpointSlices),
        set.start("generic-garbage-collector", garbage_collector::GarbageCollector { monitors: monitors.clone() }),
        set.start("resourcequota-controller", resourcequota::ResourceQuotas { monitors: monitors.clone() }),
        set.start("disruption-controller", disruption::Disruptions { monitors: monitors.clone() }),
        set.start("disruption-controller", disruption::StaleDisruptions),
        set.start("node-controller", node_lifecycle::NodeLifecycle::new(grace)),
        set.start("node-controller", taint_eviction::TaintEviction::default()),
        set.start_as(
            "persistent-volume-binder",
            persistentvolume_binder::COMPONENT,
            persistentvolume_binder::PersistentVolumes { options: options.volumes },
        ),
        set.start("pvc-protection-controller", protection::Claims),
        set.start("pv-protection-controller", protection::Volumes),
        set.start("volumeattributesclass-protection-controller", protection::AttributesClasses),
        set.start("certificate-controller", certificates::approving::Approving),
        set.start("certificate-controller", certificates::cleaner::Cleaner),
        set.start("service-cidrs-controller", service_cidr::ServiceCidrs),
        set.start(
            "validatingadmissionpolicy-status-controller",
            validatingadmissionpolicy_status::ValidatingAdmissionPolicyStatus,
        ),
        set.start("pod-garbage-collector", podgc::PodGc::new(options.terminated_pod_gc_threshold)),
    ];
    if let Some(sign) = options.sign_token {
        let root_ca = options.root_ca.clone();
        let tokens = service_account_token::ServiceAccountTokens { sign, root_ca };
        running.push(set.start(MANAGER, tokens));
    }
    if let Some(sign) = options.sign_certificate {
        let seconds_max = i64::try_from(options.signing_duration.as_secs()).unwrap_or(i64::MAX);
        running.push(set.start("certificate-controller", certificates::signing::Signing { sign, seconds_max }));
    }
    if let Some(root_ca) = options.root_ca {
        running.push(set.start("root-ca-cert-publisher", root_ca_cert_publisher::RootCaCertPublisher { root_ca }));
    }
    // After the controllers have asked for their caches, so that the monitors listen to those.
    let watching = monitors.run((set.clients)("generic-garbage-collector"), reflectors, cancel);
    running.push(Box::pin(async move {
        tokio::task::yield_now().await;
        watching.await;
    }));
    join_all(running).await;
}

struct Set {
    selection: Selection,
    clients: Clients,
    runtime: Runtime,
    cancel: CancellationToken,
}

impl Set {
    fn start<C: Controller>(&self, account: &'static str, controller: C) -> BoxFuture<'_, ()> {
        self.start_as(account, account, controller)
    }

    /// Starts a controller whose events come from a `component` by another name than its account's.
    fn start_as<C: Controller>(
        &self,
        account: &'static str,
        component: &'static str,
        controller: C,
    ) -> BoxFuture<'_, ()> {
        debug_assert!(selection::NAMES.contains(&C::NAME), "{} is missing from the list of names", C::NAME);
        if !self.selection.contains(C::NAME) {
            return Box::pin(std::future::ready(()));
        }
        let client = (self.clients)(account);
        Box::pin(async move { self.runtime.run(controller, client, component, self.cancel.clone()).await })
    }
}

#[cfg(test)]
mod tests;
