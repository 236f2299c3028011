//! The configured providers: which of them a resource's values go through, and in which order they are tried.

use std::borrow::Cow;
use std::sync::Arc;

use store::journal::Opened;

use crate::config::{ConfigError, EncryptionConfiguration, Provider as Configured};
use crate::kms::Kms;
use crate::local::Local;

/// What every encrypted value begins with.
/// How every value begins that is encrypted, by whatever provider.
pub const ENCRYPTED: &str = "k8s:enc:";

/// One way to keep values.
pub(crate) trait Provider: Send + Sync {
    /// What its values begin with; nothing for values kept as they are.
    fn prefix(&self) -> &str;
    /// Whether it could seal now.
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
    /// What follows the prefix.
    fn seal(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, String>;
    /// The value, and whether it would be sealed under another key today.
    fn open(&self, key: &str, sealed: &[u8]) -> Result<(Vec<u8>, bool), String>;
    /// Changes whenever `seal` begins to use another key.
    fn generation(&self) -> u64 {
        0
    }
}

/// The providers of one entry of `resources`. The first seals; each whose prefix fits may open. `None` is `identity`.
pub(crate) struct Chain(Vec<Option<Arc<dyn Provider>>>);

pub(crate) struct Providers {
    entries: Vec<(Vec<String>, Chain)>,
    /// Of resources that no entry names.
    plain: Chain,
    services: Vec<Arc<Kms>>,
}

impl Providers {
    pub fn new(config: &EncryptionConfiguration) -> Result<Self, ConfigError> {
        let mut services: Vec<Arc<Kms>> = Vec::new();
        let mut entries = Vec::new();
        for entry in &config.resources {
            let mut chain: Vec<Option<Arc<dyn Provider>>> = Vec::new();
            for provider in &entry.providers {
                match provider {
                    Configured::Identity => chain.push(None),
                    Configured::Keys(cipher, keys) => {
                        for (name, secret) in keys {
                            chain.push(Some(Arc::new(Local::new(*cipher, name, secret)?)));
                        }
                    }
                    Configured::Kms(service) => {
                        let kms = Arc::new(Kms::start(service.clone())?);
                        services.push(kms.clone());
                        chain.push(Some(kms));
                    }
                }
            }
            entries.push((entry.resources.clone(), Chain(chain)));
        }
        services.iter().for_each(|service| service.wait());
        Ok(Self { entries, plain: Chain(vec![None]), services })
    }

    /// The chain of a resource: the first entry that names it, for itself or by a wildcard.
    pub fn of(&self, resource: Option<(String, String)>) -> &Chain {
        let Some((group, resource)) = resource else { return &self.plain };
        let full = if group.is_empty() { resource.clone() } else { format!("{resource}.{group}") };
        let names = |pattern: &String| match pattern.as_str() {
            "*.*" => true,
            pattern => pattern == full || pattern.strip_prefix("*.") == Some(&group),
        };
        self.entries.iter().find(|(patterns, _)| patterns.iter().any(names)).map_or(&self.plain, |(_, chain)| chain)
    }

    pub fn healthy(&self) -> Result<(), String> {
        self.services.iter().try_for_each(|service| service.healthy())
    }

    pub fn generation(&self) -> u64 {
        self.services.iter().map(|service| service.generation()).sum()
    }
}

impl Chain {
    fn first(&self) -> Option<&dyn Provider> {
        self.0.first()?.as_deref()
    }

    pub fn ready(&self) -> Result<(), String> {
        self.first().map_or(Ok(()), |provider| provider.ready())
    }

    pub fn seal<'v>(&self, key: &str, value: &'v [u8]) -> Result<Cow<'v, [u8]>, String> {
        let Some(provider) = self.first() else { return Ok(value.into()) };
        let sealed = provider.seal(key, value)?;
        Ok([provider.prefix().as_bytes(), &sealed].concat().into())
    }

    pub fn open<'v>(&self, key: &str, kept: &'v [u8]) -> Result<Opened<'v>, String> {
        let mut failed = None;
        for (at, provider) in self.0.iter().enumerate() {
            let Some(provider) = provider else {
                if kept.starts_with(ENCRYPTED.as_bytes()) {
                    failed.get_or_insert_with(|| "identity transformer tried to read encrypted data".to_owned());
                    continue;
                }
                return Ok(Opened { value: kept.into(), stale: at != 0 });
            };
            let Some(sealed) = kept.strip_prefix(provider.prefix().as_bytes()) else { continue };
            match provider.open(key, sealed) {
                Ok((value, stale)) => return Ok(Opened { value: value.into(), stale: stale || at != 0 }),
                Err(error) => failed = Some(error),
            }
        }
        Err(failed.unwrap_or_else(|| "no matching prefix found".to_owned()))
    }
}
