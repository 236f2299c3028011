//! ValidatingAdmissionWebhook: webhooks that may refuse, asked all at once.

use api::Version;
use async_trait::async_trait;
use futures::future::join_all;
use machinery::status::Status;
use serde_json::Value;

use super::annotations::Annotations;
use super::call::{Call, End};
use super::credentials::Credentials;
use super::hooks::{self, Hook};
use super::mutating::pass_over;
use crate::admission::config::{ConfigError, PluginConfigs};
use crate::admission::{Plugin, Review};

const NAME: &str = "ValidatingAdmissionWebhook";

pub struct ValidatingAdmissionWebhook {
    credentials: Credentials,
}

/// The objects as one version has them; webhooks that want the same version share them.
struct Shown {
    version: &'static Version,
    object: Option<Value>,
    old: Option<Value>,
}

impl ValidatingAdmissionWebhook {
    pub fn open(configs: &PluginConfigs) -> Result<Self, ConfigError> {
        Ok(Self { credentials: Credentials::open(configs, NAME)? })
    }

    async fn ask(&self, review: &Review<'_>, hook: &Hook, shown: &Shown) -> Result<(), Status> {
        let call = Call {
            hook,
            review,
            credentials: &self.credentials,
            version: shown.version,
            object: shown.object.as_ref(),
            old: shown.old.as_ref(),
            mutating: false,
        };
        match call.ask().await {
            Ok(_) => Ok(()),
            Err(End::Failed(failure)) => {
                let annotations = Annotations { review, hook, round: 0 };
                pass_over(&call, &annotations, &failure)
            }
            Err(End::Refused(status) | End::Other(status)) => Err(status),
        }
    }
}

#[async_trait]
impl Plugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        if review.is_exempt() {
            return Ok(());
        }
        let mut shown: Vec<Shown> = Vec::new();
        let mut calls: Vec<(Hook, usize)> = Vec::new();
        for hook in hooks::all(&hooks::validating(&review.server.registry)) {
            let Some(version) = hook.version_for(review, object).await? else { continue };
            let at = shown.iter().position(|shown| std::ptr::eq(shown.version, version)).unwrap_or_else(|| {
                let object = object.map(|object| review.object_in(version, object));
                let old = review.old.map(|old| review.object_in(version, old));
                shown.push(Shown { version, object, old });
                shown.len() - 1
            });
            calls.push((hook, at));
        }
        if calls.is_empty() {
            return Ok(());
        }
        review.check_deadline()?;
        let answers = join_all(calls.iter().map(|(hook, at)| self.ask(review, hook, &shown[*at]))).await;
        // All are waited for, and the first refusal by their order is told.
        answers.into_iter().collect()
    }
}
