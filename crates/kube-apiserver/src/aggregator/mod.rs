//! Groups and versions that other servers answer for: an APIService names the Service behind which such a server is, and
//! requests below `/apis/GROUP/VERSION` are handed on to it under the name of who made them.
//!
//! `registrar` makes the APIServices of what is served here, `availability` finds out which of the others can be asked,
//! `proxy` hands requests on, `discovery` and `openapi` show what the others serve beside what is served here.
//!
//! What cannot happen here: a redirect is passed on or followed; an upgrade that was refused leaves a connection on which
//! the client could go on under the server's name; a header by which a client says who it is reaches the other server.

mod availability;
mod discovery;
mod metrics;
mod openapi;
mod proxy;
mod registrar;
mod service;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde_json::Value;

pub(crate) use availability::run as watch_availability;
pub use metrics::AggregatorMetrics;
pub(crate) use proxy::serve;
pub(crate) use registrar::run as register;
pub use service::ApiService;

use crate::Config;
use crate::registry::{Reflected, Registry};

/// What this server identifies itself with to the others, in PEM.
pub type Identity = (Vec<u8>, Vec<u8>);

#[derive(Debug, thiserror::Error)]
pub enum AggregatorError {
    #[error("failed to read {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("proxy-client-cert-file and proxy-client-key-file go together")]
    Pair,
}

/// The APIServices, and what is known of the servers behind them.
pub struct Aggregator {
    services: Arc<Reflected<ApiService>>,
    identity: Option<Identity>,
    /// The APIServices that are not local, and the revision at which that was so.
    remote: ArcSwapOption<(u64, Vec<Arc<ApiService>>)>,
    /// By the names of APIServices.
    found: Mutex<HashMap<String, Found>>,
}

/// What a server said of itself when it was last asked.
#[derive(Clone, Default)]
struct Found {
    /// Its APIResourceList.
    resources: Arc<Value>,
    /// Where its OpenAPI documents are.
    openapi: Arc<Value>,
}

impl Aggregator {
    pub fn open(registry: &Registry, config: &Config) -> Result<Self, AggregatorError> {
        let read = |path: &PathBuf| std::fs::read(path).map_err(|error| AggregatorError::Read(path.clone(), error));
        let identity = match (&config.proxy_client_cert_file, &config.proxy_client_key_file) {
            (Some(certificate), Some(key)) => Some((read(certificate)?, read(key)?)),
            (None, None) => None,
            _ => return Err(AggregatorError::Pair),
        };
        Ok(Self {
            services: registry.reflected(&api::apiregistration::api_service::KIND),
            identity,
            remote: ArcSwapOption::empty(),
            found: Mutex::default(),
        })
    }

    /// The APIServices that lead to other servers.
    fn remote(&self) -> Arc<(u64, Vec<Arc<ApiService>>)> {
        let revision = self.services.revision();
        if let Some(known) = self.remote.load_full().filter(|known| known.0 == revision) {
            return known;
        }
        let remote = self.services.list().iter().filter(|service| !service.is_local()).cloned().collect();
        let known = Arc::new((revision, remote));
        self.remote.store(Some(known.clone()));
        known
    }

    fn found(&self, service: &ApiService) -> Found {
        self.found.lock().get(service.name()).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
