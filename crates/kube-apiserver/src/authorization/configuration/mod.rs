//! Which authorizers there are: by `--authorization-config`, an AuthorizationConfiguration, or by the older flags. The file
//! is followed: what changes in it holds a few seconds later, without a restart.

mod settings;
mod validate;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use machinery::field;
use tokio_util::sync::CancellationToken;

pub use settings::{AuthorizerSettings, ConnectionInfo, Settings, WebhookSettings};

use super::webhook::Options;
use super::{Decision, ModeError};
use crate::{Config, Server, follow};

pub const WEBHOOK: &str = "Webhook";
/// In the order in which messages list them.
pub const TYPES: [&str; 6] = ["ABAC", "AlwaysAllow", "AlwaysDeny", "Node", "RBAC", WEBHOOK];
const FAILURE_POLICIES: [&str; 2] = ["NoOpinion", "Deny"];
const KUBE_CONFIG_FILE: &str = "KubeConfigFile";
/// The name of the webhook that flags configure.
const DEFAULT_NAME: &str = "default";
const DEFAULT_TIMEOUT_NANOSECONDS: i64 = 30_000_000_000;

/// What `--authorization-webhook-*` say.
#[derive(Clone, Debug)]
pub struct WebhookFlags {
    pub config_file: Option<PathBuf>,
    pub version: String,
    pub cache_authorized_ttl: Duration,
    pub cache_unauthorized_ttl: Duration,
}

impl Default for WebhookFlags {
    fn default() -> Self {
        Self {
            config_file: None,
            version: "v1beta1".to_owned(),
            cache_authorized_ttl: Duration::from_secs(300),
            cache_unauthorized_ttl: Duration::from_secs(30),
        }
    }
}

impl Settings {
    /// What the file says, or the flags; and the file's text.
    pub fn open(config: &Config) -> Result<(Self, Option<Vec<u8>>), ModeError> {
        match &config.authorization_config {
            Some(path) => {
                let text = std::fs::read(path).map_err(|error| ModeError::Read(path.clone(), error))?;
                Ok((Self::of_text(&text).map_err(ModeError::Configuration)?, Some(text)))
            }
            None => Ok((Self::of_flags(config)?, None)),
        }
    }

    /// What is wrong is said in upstream's words.
    pub fn of_text(text: &[u8]) -> Result<Self, String> {
        let settings = Self::parse(text)
            .map_err(|reason| format!("failed to load AuthorizationConfiguration from file: {reason}"))?;
        let errors = validate::settings(&settings);
        if !errors.is_empty() {
            return Err(field::aggregate(&errors));
        }
        let own = settings.authorizers.iter().filter(|authorizer| authorizer.kind != WEBHOOK);
        let misnamed = own.filter(|authorizer| authorizer.name != name_of(&authorizer.kind));
        let misnamed = misnamed.map(|authorizer| {
            let AuthorizerSettings { kind, name, .. } = authorizer;
            format!("expected name {} for authorizer {kind} instead of {name}", name_of(kind))
        });
        match &misnamed.collect::<Vec<String>>()[..] {
            [] => Ok(settings),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }

    fn of_flags(config: &Config) -> Result<Self, ModeError> {
        let (modes, flags) = (&config.authorization_mode, &config.authorization_webhook);
        let has = |mode: &str| modes.iter().any(|own| own == mode);
        if modes.is_empty() {
            return Err(ModeError::None);
        }
        if let Some(unknown) = modes.iter().find(|mode| !TYPES.contains(&mode.as_str())) {
            return Err(ModeError::Unknown(unknown.clone()));
        }
        if has("ABAC") && config.authorization_policy_file.is_none() {
            return Err(ModeError::NoPolicyFile);
        }
        if has(WEBHOOK) && flags.config_file.is_none() {
            return Err(ModeError::NoWebhookFile);
        }
        if config.authorization_policy_file.is_some() && !has("ABAC") {
            return Err(ModeError::NoAbac);
        }
        if flags.config_file.is_some() && !has(WEBHOOK) {
            return Err(ModeError::NoWebhook);
        }
        if modes.iter().enumerate().any(|(at, mode)| modes[..at].contains(mode)) {
            return Err(ModeError::Twice(modes.clone()));
        }
        let authorizers = modes.iter().map(|mode| {
            let webhook = (mode == WEBHOOK).then(|| webhook_of_flags(flags));
            let name = if mode == WEBHOOK { DEFAULT_NAME.to_owned() } else { name_of(mode) };
            AuthorizerSettings { kind: mode.clone(), name, webhook }
        });
        Ok(Self { authorizers: authorizers.collect() })
    }

    /// The types of those that are no webhooks.
    pub fn own_types(&self) -> Vec<String> {
        let own = self.authorizers.iter().filter(|authorizer| authorizer.kind != WEBHOOK);
        own.map(|authorizer| authorizer.kind.clone()).collect()
    }
}

fn webhook_of_flags(flags: &WebhookFlags) -> WebhookSettings {
    let nanoseconds = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    let file = flags.config_file.as_ref().map(|file| file.to_string_lossy().into_owned());
    WebhookSettings {
        authorized_ttl: nanoseconds(flags.cache_authorized_ttl),
        unauthorized_ttl: nanoseconds(flags.cache_unauthorized_ttl),
        timeout: DEFAULT_TIMEOUT_NANOSECONDS,
        subject_access_review_version: flags.version.clone(),
        failure_policy: FAILURE_POLICIES[0].to_owned(),
        connection_info: ConnectionInfo { kind: KUBE_CONFIG_FILE.to_owned(), kube_config_file: file },
        ..WebhookSettings::default()
    }
}

impl WebhookSettings {
    pub(super) fn options(&self) -> Options {
        let time = |nanoseconds: i64| Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or_default());
        let cached = |wanted: Option<bool>, ttl| if wanted == Some(false) { Duration::ZERO } else { time(ttl) };
        Options {
            timeout: time(self.timeout),
            authorized_ttl: cached(self.cache_authorized_requests, self.authorized_ttl),
            unauthorized_ttl: cached(self.cache_unauthorized_requests, self.unauthorized_ttl),
            version: self.subject_access_review_version.clone(),
            decision_on_error: if self.failure_policy == "Deny" { Decision::Deny } else { Decision::NoOpinion },
        }
    }
}

/// Authorizers that there can be one of are named like their type.
fn name_of(kind: &str) -> String {
    kind.to_lowercase()
}

/// Takes over changes of the file until `shutdown`. A file that is wrong changes nothing.
pub(crate) fn follow(server: &Arc<Server>, shutdown: CancellationToken) {
    let Some(path) = server.config.authorization_config.clone() else { return };
    let seen = server.authorizer.first_text();
    let server = Arc::downgrade(server);
    tokio::spawn(follow::changes_since(path, seen, shutdown, move |text| {
        let server = server.clone();
        async move {
            let Some(server) = server.upgrade() else { return };
            let result = server.authorizer.reload(&text);
            match &result {
                Ok(false) => return,
                Ok(true) => tracing::info!("the authorization configuration was reloaded"),
                Err(error) => {
                    let error: &(dyn std::error::Error + 'static) = error;
                    tracing::error!(error, "failed to reload the authorization configuration, the old one stays");
                }
            }
            let metrics = server.metrics.authorization();
            metrics.reloaded(&server.config.id(), result.is_ok(), jiff::Timestamp::now());
            if result.is_ok() {
                metrics.configured(&server.config.id(), &text);
            }
        }
    }));
}

/// The file with the webhook's address and credentials.
pub(super) fn kubeconfig(settings: &WebhookSettings) -> &Path {
    Path::new(settings.connection_info.kube_config_file.as_deref().unwrap_or_default())
}
