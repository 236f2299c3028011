//! The server as a whole: opened from its configuration, started, served.

use std::sync::Arc;

use encryption::Encryption;
use machinery::status::Status;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::admission::chain::{Chain, ChainError};
use crate::aggregator::{self, Aggregator, AggregatorError};
use crate::audit::{Audit, AuditError};
use crate::authentication::bootstrap_tokens::BootstrapTokens;
use crate::authentication::configuration::{self, ConfigurationError, Configured};
use crate::authentication::request_header::RequestHeader;
use crate::authentication::static_tokens::{StaticTokenError, StaticTokens};
use crate::authentication::token_webhook::TokenWebhook;
use crate::authentication::x509::{ClientCa, ClientCaError};
use crate::authentication::{Authenticator, IssuerError, RegistryObjects, TokenIssuer};
use crate::authorization::{Authorizer, ModeError, RegistryPolicy, RegistryRelations, aggregation, bootstrap};
use crate::chain::Limits;
use crate::components::Components;
use crate::connect::{Backends, BackendsError};
use crate::encryption_config;
use crate::etcd;
use crate::flowcontrol::{self, FlowControl};
use crate::health::{self, Health, Hook};
use crate::kept::{self, KeptError};
use crate::metrics::{self, Metrics};
use crate::registry::{self, Registry};
use crate::service_addresses;
use crate::serving::{self, TlsError};
use crate::traces::{Traces, TracesError};
use crate::user::MASTERS_GROUP;
use crate::{Config, InProcess, Response, UserInfo, authorization};

/// All parts of an API server. Requests reach it by [`Server::serve`] or [`Server::in_process`].
pub struct Server {
    pub config: Config,
    pub registry: Registry,
    pub authenticator: Authenticator,
    pub authorizer: Authorizer,
    pub admission: Arc<Chain>,
    pub tokens: TokenIssuer,
    pub metrics: Metrics,
    pub health: Health,
    /// The other parts of the control plane.
    pub components: Components,
    pub(crate) audit: Option<Audit>,
    pub(crate) traces: Option<Traces>,
    pub(crate) client_ca: Option<ClientCa>,
    pub(crate) limits: Limits,
    /// What stands in the limits' place where it is switched on.
    pub(crate) flow: Option<Arc<FlowControl>>,
    pub(crate) backends: Backends,
    pub(crate) aggregator: Aggregator,
    pub(crate) encryption: Option<Arc<Encryption>>,
    hooks: Hooks,
    start: OnceCell<()>,
    pub(crate) moving: kept::live::Moving,
    /// When this server was opened.
    pub(crate) started: jiff::Timestamp,
    /// Ends everything that this server began.
    pub shutdown: CancellationToken,
}

/// What is done once after the start, each with its health check.
struct Hooks {
    system_objects: Hook,
    roles: Hook,
    /// Where flow control is switched on.
    flow: Option<Hook>,
    api_services: Hook,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Kept(#[from] KeptError),
    #[error(transparent)]
    Encryption(#[from] encryption::ConfigError),
    #[error("failed to open the registry")]
    Registry(#[source] registry::OpenError),
    #[error("failed to prepare the tokens of ServiceAccounts")]
    Tokens(#[source] IssuerError),
    #[error("failed to prepare static tokens")]
    StaticTokens(#[source] StaticTokenError),
    #[error("failed to prepare authentication")]
    Authentication(#[from] ConfigurationError),
    #[error("failed to prepare the authentication webhook")]
    TokenWebhook(#[source] crate::outbound::EndpointError),
    #[error("failed to prepare client certificates")]
    ClientCa(#[source] ClientCaError),
    #[error("failed to prepare connections to kubelets")]
    Backends(#[source] BackendsError),
    #[error("failed to prepare aggregation")]
    Aggregation(#[from] AggregatorError),
    #[error("failed to register what is served")]
    Register(#[source] Status),
    #[error("failed to prepare audit")]
    Audit(#[from] AuditError),
    #[error("failed to prepare tracing")]
    Traces(#[from] TracesError),
    #[error("failed to prepare admission")]
    Admission(#[from] ChainError),
    #[error("failed to prepare TLS")]
    Tls(#[source] TlsError),
    #[error("the API lacks the kinds of RBAC")]
    NoRbac,
    #[error("failed to prepare authorization")]
    Authorization(#[source] ModeError),
    #[error("failed to use the listening socket")]
    Listener(#[source] std::io::Error),
    #[error("failed to create what every cluster has")]
    SystemObjects(#[source] Status),
    #[error("failed to create the objects of flow control")]
    FlowControl(#[source] Status),
    #[error("failed to create the default roles")]
    Roles(#[source] Status),
}

impl Server {
    /// Opens the store and prepares everything; nothing is served or written yet. Needs a runtime.
    pub fn open(config: Config) -> Result<Arc<Self>, StartError> {
        let encryption = encryption_config::open(&config)?;
        let store = kept::open(&config, encryption.as_ref())?;
        let registry = Registry::open(store, &config).map_err(StartError::Registry)?;
        let objects = Arc::new(RegistryObjects::new(registry.clone()));
        let tokens = TokenIssuer::open(&config, objects).map_err(StartError::Tokens)?;
        let static_tokens = config.token_auth_file.as_deref().map(StaticTokens::open).transpose();
        let static_tokens = static_tokens.map_err(StartError::StaticTokens)?;
        let client_ca =
            config.client_ca_file.as_deref().map(ClientCa::open).transpose().map_err(StartError::ClientCa)?;
        let bootstrap = config.enable_bootstrap_token_auth.then(|| BootstrapTokens::new(registry.clone()));
        let authenticator = Authenticator::new(tokens.clone(), static_tokens, Configured::open(&config)?)
            .with_bootstrap_tokens(bootstrap)
            .with_webhook(TokenWebhook::open(&config).map_err(StartError::TokenWebhook)?)
            .with_request_header(RequestHeader::open(&config).map_err(StartError::ClientCa)?);
        let policy = RegistryPolicy::new(&registry).ok_or(StartError::NoRbac)?;
        let relations = Arc::new(RegistryRelations::new(registry.clone()));
        let metrics = Metrics::new(registry.conversion_metrics().clone());
        metrics.extend(|own| metrics::store::register(registry.store().clone(), own));
        let authorizer = Authorizer::open(&config, policy, relations, metrics.authorization().clone());
        let authorizer = authorizer.map_err(StartError::Authorization)?;
        let shutdown = CancellationToken::new();

        let mut health = Health::default();
        health.check("ping", || Ok(()));
        // The names are upstream's for the store, whatever is behind it.
        let etcd = config.etcd.clone().unwrap_or_else(|| etcd::Etcd::new(Vec::new()));
        let is_well = health::store_probe(registry.store(), etcd.healthcheck_timeout);
        health.add("etcd", false, is_well.clone());
        health.add("etcd-readiness", true, health::store_probe(registry.store(), etcd.readycheck_timeout));
        if let Some(encryption) = encryption.clone() {
            health.check("kms-providers", move || encryption.healthy());
        }
        let hooks = Hooks {
            system_objects: health.hook("poststarthook/start-system-namespaces-controller"),
            roles: health.hook("poststarthook/rbac/bootstrap-roles"),
            flow: config
                .enable_priority_and_fairness
                .then(|| health.hook("poststarthook/priority-and-fairness-config-producer")),
            api_services: health.hook("poststarthook/apiservice-registration-controller"),
        };
        let stopping = shutdown.clone();
        health.readiness_check("shutdown", move || {
            if stopping.is_cancelled() { Err("process is shutting down".to_owned()) } else { Ok(()) }
        });

        let flow = config.enable_priority_and_fairness;
        let flow = flow.then(|| FlowControl::new(&registry, &config, metrics.flow().clone()));
        Ok(Arc::new(Self {
            flow: flow.map(Arc::new),
            authenticator,
            authorizer,
            admission: Arc::new(Chain::open(&config)?),
            tokens,
            health,
            components: Components::new(is_well),
            audit: Audit::open(&config, metrics.audit().clone())?,
            traces: Traces::open(&config)?,
            metrics,
            client_ca,
            limits: Limits::new(&config),
            backends: Backends::open(&config).map_err(StartError::Backends)?,
            aggregator: Aggregator::open(&registry, &config)?,
            encryption,
            hooks,
            start: OnceCell::new(),
            moving: Default::default(),
            started: jiff::Timestamp::now(),
            shutdown,
            registry,
            config,
        }))
    }

    /// Creates what every cluster has (namespaces, the `kubernetes` Service, default roles) and begins the server's own
    /// work in the background. Only the first call does something.
    pub async fn start(self: &Arc<Self>) -> Result<(), StartError> {
        let start = async {
            registry::initial::create(self).await.map_err(StartError::SystemObjects)?;
            service_addresses::start(self.clone()).await.map_err(StartError::SystemObjects)?;
            self.hooks.system_objects.done();
            tokio::spawn(etcd::follow_allocations(self.clone()));
            if let Some(hook) = &self.hooks.flow {
                flowcontrol::keep_objects(self.clone()).await.map_err(StartError::FlowControl)?;
                hook.done();
            }
            bootstrap::apply(self).await.map_err(StartError::Roles)?;
            self.hooks.roles.done();
            tokio::spawn(aggregation::run(self.clone(), self.shutdown.clone()));
            tokio::spawn(crate::apiextensions::run(self.clone(), self.shutdown.clone()));
            aggregator::register(self.clone()).await.map_err(StartError::Register)?;
            self.hooks.api_services.done();
            tokio::spawn(aggregator::watch_availability(self.clone()));
            if let Some(flow) = self.flow.clone() {
                tokio::spawn(flow.run(self.shutdown.clone()));
            }
            if let Some(encryption) = self.encryption.clone() {
                encryption_config::follow(encryption, &self.config, self.shutdown.clone());
            }
            kept::look_after(self);
            configuration::follow(self, self.shutdown.clone());
            authorization::configuration::follow(self, self.shutdown.clone());
            Ok(())
        };
        self.start.get_or_try_init(|| start).await.copied()
    }

    /// Starts, and serves the listener until `shutdown`; open requests then get some time to end.
    pub async fn serve(
        self: Arc<Self>,
        listener: std::net::TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), StartError> {
        let proxy_ca = self.authenticator.request_header().map(RequestHeader::ca);
        let tls = serving::tls_config(&self.config, self.client_ca.as_ref(), proxy_ca).map_err(StartError::Tls)?;
        listener.set_nonblocking(true).map_err(StartError::Listener)?;
        let listener = TcpListener::from_std(listener).map_err(StartError::Listener)?;
        let _stop = self.shutdown.clone().drop_guard();
        // Served from the first moment on: whoever waits for the start to be over asks for it.
        let stop = shutdown.child_token();
        let serving = serving::serve(self.clone(), listener, tls, stop.clone());
        let starting = async {
            let started = self.start().await;
            if started.is_ok() {
                stop.cancelled().await;
            }
            // A server that failed to start has nothing to serve.
            stop.cancel();
            self.shutdown.cancel();
            started
        };
        let ((), started) = tokio::join!(serving, starting);
        let within = self.config.shutdown_timeout;
        let audit = async {
            if let Some(audit) = &self.audit {
                audit.flush(within).await
            }
        };
        let traces = async {
            if let Some(traces) = &self.traces {
                traces.flush(within).await
            }
        };
        let leave = async {
            match tokio::time::timeout(within, registry::initial::leave(&self.registry)).await {
                Ok(Ok(())) => {}
                // Its lease ends by itself.
                _ => tracing::warn!("failed to take this server's address out of the endpoints"),
            }
        };
        tokio::join!(audit, traces, leave);
        started
    }

    /// A transport for a client in this process that acts as `user`; requests run the chain from impersonation on.
    pub fn in_process(self: &Arc<Self>, user: UserInfo) -> InProcess {
        InProcess::new(self.clone(), user)
    }

    /// The transport with which the server itself writes what it owns.
    pub(crate) fn own_client(self: &Arc<Self>) -> InProcess {
        self.in_process(UserInfo::new("system:apiserver", [MASTERS_GROUP]))
    }

    /// Whether other servers may write to the same objects: they are in an etcd.
    pub fn is_shared(&self) -> bool {
        self.registry.store().is_shared()
    }

    /// Returns when [`Server::is_shared`] is no longer `was`.
    pub async fn moved(&self, was: bool) {
        self.registry.store().moved(was).await;
    }

    pub(crate) fn serve_metrics(&self) -> Response {
        if let Some(flow) = &self.flow {
            flow.measure();
        }
        let snapshot = self.registry.store().snapshot();
        let kinds = self.registry.kinds();
        let objects = kinds.all().map(|kind| {
            let count = snapshot.count(&registry::keys::prefix(kind));
            (kind.group.to_owned(), kind.plural.to_owned(), count as u64)
        });
        self.metrics.serve(objects, self.registry.store().stats().totals.bytes)
    }
}
