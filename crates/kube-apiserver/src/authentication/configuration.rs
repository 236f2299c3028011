//! `--authentication-config`: an AuthenticationConfiguration, that is who else issues tokens and who may come without
//! any. The file is followed: what changes in it holds a few seconds later, without a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use machinery::codec::{self, Limits};
use machinery::field;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::jwt::Issuers;
use super::jwt::settings::JwtAuthenticator;
use crate::{Config, Server, follow};

/// How long the keys of newly named issuers are waited for before the old configuration is kept.
const READY_WITHIN: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    #[error("failed to read the authentication configuration {0}")]
    Read(PathBuf, #[source] std::io::Error),
    #[error("authentication configuration {0}: {1}")]
    Decode(PathBuf, String),
    #[error("invalid authentication configuration: {0}")]
    Invalid(String),
    #[error("authentication-config file and oidc-* flags are mutually exclusive")]
    FileAndFlags,
}

/// Whether requests without credentials are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Anonymous {
    Nowhere,
    Everywhere,
    /// These paths alone, as they stand.
    At(Vec<String>),
}

impl Anonymous {
    pub fn is_allowed(&self, path: &str) -> bool {
        match self {
            Self::Nowhere => false,
            Self::Everywhere => true,
            Self::At(paths) => paths.iter().any(|own| own == path),
        }
    }
}

/// What the configuration comes to.
pub struct Configured {
    pub anonymous: Anonymous,
    pub issuers: Issuers,
}

impl From<Anonymous> for Configured {
    fn from(anonymous: Anonymous) -> Self {
        Self { anonymous, issuers: Issuers::default() }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    #[serde(default)]
    jwt: Vec<JwtAuthenticator>,
    anonymous: Option<AnonymousFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AnonymousFile {
    enabled: bool,
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    path: String,
}

impl Configured {
    /// What the file says, or the flags.
    pub fn open(config: &Config) -> Result<Self, ConfigurationError> {
        match (&config.authentication_config, &config.oidc) {
            (Some(_), Some(_)) => Err(ConfigurationError::FileAndFlags),
            (Some(path), None) => {
                let text = std::fs::read(path).map_err(|error| ConfigurationError::Read(path.to_owned(), error))?;
                Self::of_file(path, &text, config)
            }
            (None, flags) => {
                let settings: Vec<JwtAuthenticator> = flags.iter().map(|flags| flags.to_authenticator()).collect();
                Ok(Self { anonymous: by_flag(config), issuers: issuers(&settings, config)? })
            }
        }
    }

    fn of_file(path: &Path, text: &[u8], config: &Config) -> Result<Self, ConfigurationError> {
        let fail = |reason: String| ConfigurationError::Decode(path.to_owned(), reason);
        let parsed = codec::yaml::parse(text, Limits::default()).map_err(fail)?;
        let file: File = serde_json::from_value(parsed.value).map_err(|error| fail(error.to_string()))?;
        let versions = ["v1", "v1beta1", "v1alpha1"].map(|version| format!("apiserver.config.k8s.io/{version}"));
        if !versions.contains(&file.api_version) || file.kind != "AuthenticationConfiguration" {
            return Err(fail(format!("no kind {:?} is registered for version {:?}", file.kind, file.api_version)));
        }
        let anonymous = match file.anonymous {
            None => by_flag(config),
            Some(anonymous) => anonymous.check()?,
        };
        Ok(Self { anonymous, issuers: issuers(&file.jwt, config)? })
    }
}

impl AnonymousFile {
    fn check(self) -> Result<Anonymous, ConfigurationError> {
        if !self.enabled && !self.conditions.is_empty() {
            let reason =
                "anonymous.conditions: Invalid value: enabled should be set to true when conditions are defined";
            return Err(ConfigurationError::Invalid(reason.to_owned()));
        }
        Ok(match self.conditions {
            _ if !self.enabled => Anonymous::Nowhere,
            conditions if conditions.is_empty() => Anonymous::Everywhere,
            conditions => Anonymous::At(conditions.into_iter().map(|condition| condition.path).collect()),
        })
    }
}

fn by_flag(config: &Config) -> Anonymous {
    if config.anonymous_auth { Anonymous::Everywhere } else { Anonymous::Nowhere }
}

fn issuers(settings: &[JwtAuthenticator], config: &Config) -> Result<Issuers, ConfigurationError> {
    Issuers::open(settings, &config.service_account_issuers)
        .map_err(|errors| ConfigurationError::Invalid(field::aggregate(&errors)))
}

/// Takes over changes of the file until `shutdown`. A file that is wrong, or whose issuers cannot be reached, changes
/// nothing.
pub(crate) fn follow(server: &Arc<Server>, shutdown: CancellationToken) {
    let Some(path) = server.config.authentication_config.clone() else { return };
    let server = Arc::downgrade(server);
    tokio::spawn(follow::changes(path.clone(), shutdown, move |text| {
        let (server, path) = (server.clone(), path.clone());
        async move {
            let Some(server) = server.upgrade() else { return };
            match reload(&server, &path, &text).await {
                Ok(()) => tracing::info!("the authentication configuration was reloaded"),
                Err(error) => {
                    tracing::error!(error, "failed to reload the authentication configuration, the old one stays");
                }
            }
        }
    }));
}

pub(super) async fn reload(server: &Server, path: &Path, text: &[u8]) -> Result<(), String> {
    let configured = Configured::of_file(path, text, &server.config).map_err(|error| error.to_string())?;
    configured.issuers.ready(READY_WITHIN).await?;
    server.authenticator.reconfigure(configured);
    Ok(())
}
