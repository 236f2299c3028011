//! The file of `--encryption-provider-config`, read and checked. Messages are upstream's; no secret is ever in one.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use machinery::codec::{self, Limits};
use machinery::field::{self, Error, ErrorList, Path as Field};
use serde::Deserialize;
use serde_json::Value;

mod raw;

use raw::{Keys, KmsConfiguration, ProviderConfiguration, ResourceConfiguration};

/// As Go decodes: bits behind the last byte are not looked at.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&base64::alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "error while parsing encryption provider configuration file {path:?}: error opening encryption provider configuration file {path:?}"
    )]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("error while parsing encryption provider configuration file {0:?}: error while parsing file: {1}")]
    Invalid(PathBuf, String),
    #[error("the encryption key {0:?} cannot be used")]
    Key(String),
    #[error("failed to start the client of KMS provider {name}: {reason}")]
    Service { name: String, reason: String },
}

/// A checked configuration.
#[derive(Debug)]
pub struct EncryptionConfiguration {
    /// In the order of the file: the first entry that names a resource counts.
    pub resources: Vec<Entry>,
}

/// Some resources and the ways to keep their values, the first of which is used to write.
#[derive(Debug)]
pub struct Entry {
    /// `secrets`, `deployments.apps`, `*.apps`, `*.` (the core group), `*.*`.
    pub resources: Vec<String>,
    pub providers: Vec<Provider>,
}

pub enum Provider {
    /// As they are.
    Identity,
    /// Names and secrets of keys.
    Keys(Cipher, Vec<(String, Vec<u8>)>),
    Kms(Service),
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Identity => f.write_str("Identity"),
            Self::Keys(cipher, keys) => {
                f.debug_list().entry(cipher).entries(keys.iter().map(|(name, _)| name)).finish()
            }
            Self::Kms(service) => service.fmt(f),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cipher {
    AesCbc,
    AesGcm,
    Secretbox,
}

impl Cipher {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::AesCbc => "aescbc",
            Self::AesGcm => "aesgcm",
            Self::Secretbox => "secretbox",
        }
    }

    fn key_lengths(self) -> &'static [usize] {
        if self == Self::Secretbox { &[32] } else { &[16, 24, 32] }
    }
}

/// A key management service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    pub name: String,
    /// Its Unix socket; one that begins with `@` is in the abstract namespace.
    pub socket: String,
    /// The longest that a call may take.
    pub timeout: Duration,
}

/// Reads and checks a file, YAML or JSON.
pub fn load(path: &Path) -> Result<EncryptionConfiguration, ConfigError> {
    let read = |source| ConfigError::Read { path: path.to_owned(), source };
    parse(&std::fs::read(path).map_err(read)?).map_err(|fault| ConfigError::Invalid(path.to_owned(), fault))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    api_version: String,
    kind: String,
    #[serde(default)]
    resources: Vec<ResourceConfiguration>,
}

fn parse(text: &[u8]) -> Result<EncryptionConfiguration, String> {
    let value = codec::yaml::parse(text, Limits::default())?.value;
    if value.is_null() {
        return Err("encryption provider configuration file is empty".to_owned());
    }
    let file: File = serde_json::from_value(value)
        .map_err(|error| format!("error decoding encryption provider configuration: {error}"))?;
    if (file.api_version.as_str(), file.kind.as_str()) != ("apiserver.config.k8s.io/v1", "EncryptionConfiguration") {
        return Err(format!("no kind {:?} is registered for version {:?}", file.kind, file.api_version));
    }
    let root = Field::new("resources");
    let mut errors = ErrorList::new();
    if file.resources.is_empty() {
        errors.push(Error::required(&root, format!("at least one {root} is required")));
    }
    let mut names = HashSet::new();
    let mut resources = Vec::new();
    for (at, entry) in file.resources.into_iter().enumerate() {
        resources.push(check_entry(&root.index(at), entry, &mut names, &mut errors));
    }
    if errors.is_empty() { Ok(EncryptionConfiguration { resources }) } else { Err(field::aggregate(&errors)) }
}

fn check_entry(at: &Field, entry: ResourceConfiguration, names: &mut HashSet<String>, errors: &mut ErrorList) -> Entry {
    check_resources(&at.child("resources"), &entry.resources, errors);
    let providers = at.child("providers");
    if entry.providers.is_empty() {
        errors.push(Error::required(&providers, format!("at least one {providers} is required")));
    }
    let checked = entry.providers.into_iter().enumerate();
    let checked = checked.filter_map(|(index, raw)| check_provider(&providers.index(index), raw, names, errors));
    Entry { providers: checked.collect(), resources: entry.resources }
}

fn check_resources(at: &Field, resources: &[String], errors: &mut ErrorList) {
    if resources.is_empty() {
        errors.push(Error::required(at, format!("at least one {at} is required")));
    }
    let mut seen = HashSet::new();
    for (index, resource) in resources.iter().enumerate() {
        let mut refuse = |detail: &str| errors.push(Error::invalid(&at.index(index), resource, detail));
        let group = resource.split_once('.').map_or("", |(_, group)| group);
        if resource == "*" {
            refuse("use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources");
        } else if resource.chars().any(char::is_uppercase) {
            refuse("resource name should not contain capital letters");
        } else if resource == "apiserveripinfo"
            || resource == "serviceipallocations"
            || resource == "servicenodeportallocations"
        {
            refuse("resources which do not have REST API/s cannot be encrypted");
        } else if group == "events.k8s.io" {
            refuse(
                "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file",
            );
        } else if group == "extensions" {
            refuse("'extensions' group has been removed and cannot be used for encryption");
        } else if !seen.insert(resource) {
            refuse("more than one entry of the same resource");
        } else {
            let group_wildcard = format!("*.{group}");
            let masks = |wider: &str| resource != wider && resources.iter().any(|other| other == wider);
            if masks("*.*") || masks(&group_wildcard) {
                let wider = if masks("*.*") { "*.*" } else { &group_wildcard };
                refuse(&format!(
                    "using overlapping resources such as '{resource}' and '{wider}' in the same resource list is not allowed as they will be masked"
                ));
            }
        }
    }
}

fn check_provider(
    at: &Field,
    raw: ProviderConfiguration,
    names: &mut HashSet<String>,
    errors: &mut ErrorList,
) -> Option<Provider> {
    let ProviderConfiguration { aesgcm, aescbc, secretbox, identity, kms } = raw;
    let given = [aesgcm.is_some(), aescbc.is_some(), secretbox.is_some(), identity.is_some(), kms.is_some()];
    match given.into_iter().filter(|given| *given).count() {
        0 => {
            let detail =
                "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity";
            errors.push(Error::invalid(at, Value::Object(Default::default()), detail));
            return None;
        }
        1 => {}
        _ => {
            let detail =
                "more than one provider specified in a single element, should split into different list elements";
            errors.push(Error::invalid(at, Value::Object(Default::default()), detail));
            return None;
        }
    }
    let keys = [(Cipher::AesGcm, aesgcm), (Cipher::AesCbc, aescbc), (Cipher::Secretbox, secretbox)];
    if let Some((cipher, keys)) = keys.into_iter().find_map(|(cipher, keys)| Some((cipher, keys?))) {
        return Some(Provider::Keys(cipher, check_keys(&at.child(cipher.name()), cipher, keys, errors)));
    }
    match kms {
        Some(kms) => check_service(&at.child("kms"), kms, names, errors).map(Provider::Kms),
        None => Some(Provider::Identity),
    }
}

fn check_keys(at: &Field, cipher: Cipher, keys: Keys, errors: &mut ErrorList) -> Vec<(String, Vec<u8>)> {
    let list = at.child("keys");
    if keys.keys.is_empty() {
        errors.push(Error::required(&list, format!("at least one {list} is required")));
    }
    let mut checked = Vec::new();
    for (index, key) in keys.keys.into_iter().enumerate() {
        let at = list.index(index);
        if key.name.is_empty() {
            errors.push(Error::required(&at.child("name"), "name is a mandatory field for a key"));
        }
        let secret = at.child("secret");
        if key.secret.is_empty() {
            errors.push(Error::required(&secret, "secret is a mandatory field for a key"));
            continue;
        }
        match BASE64.decode(&key.secret) {
            Err(_) => errors.push(Error::invalid(&secret, "REDACTED", "secrets must be base64 encoded")),
            Ok(bytes) if !cipher.key_lengths().contains(&bytes.len()) => {
                let lengths: Vec<_> = cipher.key_lengths().iter().map(usize::to_string).collect();
                let detail = format!(
                    "secret is not of the expected length, got {}, expected one of [{}]",
                    bytes.len(),
                    lengths.join(" ")
                );
                errors.push(Error::invalid(&secret, "REDACTED", detail));
            }
            Ok(bytes) => checked.push((key.name, bytes)),
        }
    }
    checked
}

fn check_service(
    at: &Field,
    kms: KmsConfiguration,
    names: &mut HashSet<String>,
    errors: &mut ErrorList,
) -> Option<Service> {
    let found = errors.len();
    let (name, endpoint, version) = (at.child("name"), at.child("endpoint"), at.child("apiVersion"));
    match kms.api_version.as_str() {
        "v2" => {}
        "v1" | "" => {
            let detail = "KMSv1 is deprecated and will only receive security updates going forward. Use KMSv2 instead";
            errors.push(Error::forbidden(&version, detail));
        }
        other => {
            let detail = format!("unsupported apiVersion {other} for KMS provider, only v1 and v2 are supported");
            errors.push(Error::invalid(&version, other, detail));
        }
    }
    if kms.name.is_empty() {
        errors.push(Error::required(&name, "name is a mandatory field for a provider"));
    } else if kms.name.contains(':') {
        let detail = format!("invalid KMS provider name {}, must not contain ':'", kms.name);
        errors.push(Error::invalid(&name, &kms.name, detail));
    } else if !names.insert(kms.name.clone()) {
        let detail = format!("duplicate KMS provider name {}, names must be unique", kms.name);
        errors.push(Error::invalid(&name, &kms.name, detail));
    }
    if kms.cachesize.is_some() {
        errors.push(Error::invalid(&at.child("cachesize"), kms.cachesize, "cachesize is not supported in v2"));
    }
    let text = kms.timeout.as_deref().unwrap_or("3s");
    let timeout = machinery::time::parse_duration(text).filter(|timeout| !timeout.is_zero());
    if timeout.is_none() {
        errors.push(Error::invalid(&at.child("timeout"), text, "timeout should be a positive value"));
    }
    let socket = match kms.endpoint.split_once("://") {
        _ if kms.endpoint.is_empty() => {
            errors.push(Error::required(&endpoint, "endpoint is a mandatory field for a provider"));
            return None;
        }
        Some(("unix", path)) => path.to_owned(),
        other => {
            let scheme = other.map_or("", |(scheme, _)| scheme);
            let detail = format!("unsupported scheme {scheme:?} for KMS provider, only unix is supported");
            errors.push(Error::invalid(&endpoint, &kms.endpoint, detail));
            return None;
        }
    };
    let service = Service { name: kms.name, socket: socket.replacen("/@", "@", 1), timeout: timeout? };
    (errors.len() == found).then_some(service)
}

#[cfg(test)]
mod tests;
