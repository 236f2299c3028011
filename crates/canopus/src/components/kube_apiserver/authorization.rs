//! `--authorization-*`: who decides, by a file or by flags.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use kube_apiserver::Config;

use super::flags;

#[derive(Debug, clap::Args)]
pub struct Authorization {
    /// File with an AuthorizationConfiguration; its changes are taken over without a restart. Not together with --authorization-mode and --authorization-webhook-*
    #[arg(long, value_name = "FILE")]
    authorization_config: Option<PathBuf>,
    /// Authorizers in order: Node, RBAC, ABAC, Webhook, AlwaysAllow, AlwaysDeny [default: Node,RBAC]
    #[arg(long, value_name = "MODES", value_delimiter = ',')]
    authorization_mode: Option<Vec<String>>,
    /// File with the policies of the mode ABAC
    #[arg(long, value_name = "FILE")]
    authorization_policy_file: Option<PathBuf>,
    /// Kubeconfig of the server that decides in the mode Webhook
    #[arg(long, value_name = "FILE")]
    authorization_webhook_config_file: Option<PathBuf>,
    /// Version of the SubjectAccessReview that it is sent [default: v1beta1]
    #[arg(long, value_name = "VERSION", value_parser = ["v1", "v1beta1"])]
    authorization_webhook_version: Option<String>,
    /// How long it is remembered that it allowed something [default: 5m0s]
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    authorization_webhook_cache_authorized_ttl: Option<Duration>,
    /// How long it is remembered that it did not [default: 30s]
    #[arg(long, value_name = "DURATION", value_parser = flags::duration)]
    authorization_webhook_cache_unauthorized_ttl: Option<Duration>,
}

impl Authorization {
    pub fn put_into(self, config: &mut Config) -> Result<()> {
        let has_older = self.authorization_mode.is_some()
            || self.authorization_webhook_config_file.is_some()
            || self.authorization_webhook_version.is_some()
            || self.authorization_webhook_cache_authorized_ttl.is_some()
            || self.authorization_webhook_cache_unauthorized_ttl.is_some();
        if self.authorization_config.is_some() && has_older {
            bail!(
                "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined"
            );
        }
        config.authorization_config = self.authorization_config;
        config.authorization_policy_file = self.authorization_policy_file;
        if let Some(modes) = self.authorization_mode {
            config.authorization_mode = modes;
        }
        let webhook = &mut config.authorization_webhook;
        webhook.config_file = self.authorization_webhook_config_file;
        if let Some(version) = self.authorization_webhook_version {
            webhook.version = version;
        }
        if let Some(ttl) = self.authorization_webhook_cache_authorized_ttl {
            webhook.cache_authorized_ttl = ttl;
        }
        if let Some(ttl) = self.authorization_webhook_cache_unauthorized_ttl {
            webhook.cache_unauthorized_ttl = ttl;
        }
        Ok(())
    }
}
