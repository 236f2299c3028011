//! The server as a whole: opened from its configuration, started, served.

use std::sync::Arc;

use machinery::status::Status;
use store::Store;
use tokio::net::TcpListener;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::audit::{Audit, AuditError};
use crate::authentication::static_tokens::{StaticTokenError, StaticTokens};
use crate::authentication::x509::{ClientCa, ClientCaError};
use crate::authentication::{Authenticator, IssuerError, RegistryObjects, TokenIssuer};
use crate::authorization::{Authorizer, ModeError, RegistryPolicy, RegistryRelations, aggregation, bootstrap};
use crate::chain::Limits;
use crate::connect::{Backends, BackendsError};
use crate::health::{Health, Hook};
use crate::metrics::Metrics;
use crate::registry::{self, Attrs, Registry};
use crate::serving::{self, TlsError};
use crate::user::MASTERS_GROUP;
use crate::{Config, InProcess, Response, UserInfo};

/// All parts of an API server. Requests reach it by [`Server::serve`] or [`Server::in_process`].
pub struct Server {
    pub config: Config,
    pub registry: Registry,
    pub authenticator: Authenticator,
    pub authorizer: Authorizer,
    pub tokens: TokenIssuer,
    pub metrics: Metrics,
    pub health: Health,
    pub(crate) audit: Option<Audit>,
    pub(crate) client_ca: Option<ClientCa>,
    pub(crate) limits: Limits,
    pub(crate) backends: Backends,
    hooks: Hooks,
    started: OnceCell<()>,
    /// Ends everything that this server began.
    pub shutdown: CancellationToken,
}

/// What is done once after the start, each with its health check.
struct Hooks {
    system_objects: Hook,
    roles: Hook,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("failed to open the journal")]
    Journal(#[source] store::journal::JournalError),
    #[error("failed to open the store")]
    Store(#[source] store::OpenError),
    #[error("failed to open the registry")]
    Registry(#[source] registry::OpenError),
    #[error("failed to prepare the tokens of ServiceAccounts")]
    Tokens(#[source] IssuerError),
    #[error("failed to prepare static tokens")]
    StaticTokens(#[source] StaticTokenError),
    #[error("failed to prepare client certificates")]
    ClientCa(#[source] ClientCaError),
    #[error("failed to prepare connections to kubelets")]
    Backends(#[source] BackendsError),
    #[error("failed to prepare the audit log")]
    Audit(#[from] AuditError),
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
    #[error("failed to create the default roles")]
    Roles(#[source] Status),
}

impl Server {
    /// Opens the store and prepares everything; nothing is served or written yet. Needs a runtime.
    pub fn open(config: Config) -> Result<Arc<Self>, StartError> {
        let registry = open_registry(&config)?;
        let objects = Arc::new(RegistryObjects::new(registry.clone()));
        let tokens = TokenIssuer::open(&config, objects).map_err(StartError::Tokens)?;
        let static_tokens = config.token_auth_file.as_deref().map(StaticTokens::open).transpose();
        let static_tokens = static_tokens.map_err(StartError::StaticTokens)?;
        let client_ca =
            config.client_ca_file.as_deref().map(ClientCa::open).transpose().map_err(StartError::ClientCa)?;
        let policy = RegistryPolicy::new(&registry).ok_or(StartError::NoRbac)?;
        let relations = Arc::new(RegistryRelations::new(registry.clone()));
        let authorizer = Authorizer::open(&config, policy, relations).map_err(StartError::Authorization)?;
        let shutdown = CancellationToken::new();

        let mut health = Health::default();
        health.check("ping", || Ok(()));
        // The name is upstream's for the store, whatever is behind it.
        let store = registry.store().clone();
        health.check("etcd", move || match store.stats().closed {
            None => Ok(()),
            Some(reason) => Err(reason.to_string()),
        });
        let hooks = Hooks {
            system_objects: health.hook("poststarthook/start-system-namespaces-controller"),
            roles: health.hook("poststarthook/rbac/bootstrap-roles"),
        };
        let stopping = shutdown.clone();
        health.readiness_check("shutdown", move || {
            if stopping.is_cancelled() { Err("process is shutting down".to_owned()) } else { Ok(()) }
        });

        Ok(Arc::new(Self {
            authenticator: Authenticator::new(tokens.clone(), static_tokens, config.anonymous_auth),
            authorizer,
            tokens,
            metrics: Metrics::new(),
            health,
            audit: Audit::open(&config)?,
            client_ca,
            limits: Limits::new(&config),
            backends: Backends::open(&config).map_err(StartError::Backends)?,
            hooks,
            started: OnceCell::new(),
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
            self.hooks.system_objects.done();
            bootstrap::apply(self).await.map_err(StartError::Roles)?;
            self.hooks.roles.done();
            tokio::spawn(aggregation::run(self.clone(), self.shutdown.clone()));
            Ok(())
        };
        self.started.get_or_try_init(|| start).await.copied()
    }

    /// Starts, and serves the listener until `shutdown`; open requests then get some time to end.
    pub async fn serve(
        self: Arc<Self>,
        listener: std::net::TcpListener,
        shutdown: CancellationToken,
    ) -> Result<(), StartError> {
        let tls = serving::tls_config(&self.config, self.client_ca.as_ref()).map_err(StartError::Tls)?;
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

    pub(crate) fn serve_metrics(&self) -> Response {
        let snapshot = self.registry.store().snapshot();
        let objects = api::ALL.iter().map(|kind| {
            let count = snapshot.count(&registry::keys::prefix(kind));
            (registry::group_resource(kind).to_string(), count as u64)
        });
        self.metrics.serve(objects, self.registry.store().stats().totals.bytes)
    }
}

fn open_registry(config: &Config) -> Result<Registry, StartError> {
    let journal: Box<dyn store::journal::Journal> = match &config.store_dir {
        Some(folder) => {
            let wal = store::journal::Wal::open(folder, store::journal::WalOptions::default());
            Box::new(wal.map_err(StartError::Journal)?)
        }
        None => Box::new(store::journal::Memory::default()),
    };
    let options = store::Options {
        history: config.history,
        quota_bytes: config.quota_backend_bytes,
        ..store::Options::default()
    };
    let store = Store::<Attrs>::open(journal, options).map_err(StartError::Store)?;
    Registry::open(store, config).map_err(StartError::Registry)
}
