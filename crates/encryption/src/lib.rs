//! Encryption at rest: which resources are kept encrypted, under which keys, by an `EncryptionConfiguration`
//! (`apiserver.config.k8s.io/v1`), in the forms that upstream keeps in etcd.
//!
//! ```text
//! config.rs     the file: read, checked, with upstream's messages
//! local.rs      aescbc, aesgcm, secretbox: keys from the file
//! kms.rs        kms v2: keys from a service on a Unix socket (kms/); envelope.rs: what is kept of a value then
//! providers.rs  the configured providers in their order, for each resource
//! ```
//!
//! [`Encryption`] is what the store asks ([`store::journal::Transformer`]). Unlike upstream's, values that are kept under
//! another key than the first are written anew by themselves once the configuration has changed.

pub mod config;
mod envelope;
mod kms;
mod local;
mod providers;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use store::journal::{Opened, Transformer};

pub use config::ConfigError;
pub use providers::ENCRYPTED;
use providers::Providers;

/// The group and resource (`apps`, `deployments`) to which a key of the store belongs.
pub type ResourceOf = fn(&str) -> Option<(String, String)>;

/// The encryption of a server's store; reloaded in place.
pub struct Encryption {
    providers: ArcSwap<Providers>,
    reloads: AtomicU64,
    resource_of: ResourceOf,
}

impl Encryption {
    /// Reads the configuration file. Key services are waited for a short time; one that is not there by then refuses writes
    /// until it is.
    pub fn open(path: &Path, resource_of: ResourceOf) -> Result<Arc<Self>, ConfigError> {
        let providers = Providers::new(&config::load(path)?)?;
        Ok(Arc::new(Self { providers: ArcSwap::from_pointee(providers), reloads: AtomicU64::new(0), resource_of }))
    }

    /// Takes over what the file says now; after an error the old configuration stays.
    pub fn reload(&self, path: &Path) -> Result<(), ConfigError> {
        let providers = Providers::new(&config::load(path)?)?;
        self.providers.store(Arc::new(providers));
        self.reloads.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    /// Whether all key services answer; which one does not and why.
    pub fn healthy(&self) -> Result<(), String> {
        self.providers.load().healthy()
    }

    fn with<T>(&self, key: &str, ask: impl FnOnce(&providers::Chain) -> T) -> T {
        ask(self.providers.load().of((self.resource_of)(key)))
    }
}

impl Transformer for Encryption {
    fn ready(&self, key: &str) -> Result<(), String> {
        self.with(key, |chain| chain.ready())
    }

    fn seal<'v>(&self, key: &str, value: &'v [u8]) -> Result<Cow<'v, [u8]>, String> {
        self.with(key, |chain| chain.seal(key, value))
    }

    fn open<'v>(&self, key: &str, kept: &'v [u8]) -> Result<Opened<'v>, String> {
        self.with(key, |chain| chain.open(key, kept))
    }

    fn generation(&self) -> u64 {
        // Reloads alone move the upper half, so that new providers which count from zero never repeat an old number.
        (self.reloads.load(Ordering::SeqCst) << 32) + self.providers.load().generation()
    }
}

#[cfg(test)]
mod tests;
