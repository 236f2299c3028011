//! The webhooks that there are, as their configurations give them, in the order in which they are asked.

use std::sync::Arc;

use api::Version;
use api::admissionregistration::{mutating_webhook_configuration, validating_webhook_configuration};
use machinery::status::Status;
use serde::Deserialize;
use serde_json::Value;

use crate::admission::Review;
use crate::admission::expressions::{Checks, Conditions, Scene, Shown, hold};
use crate::admission::predicates::{LabelSelector, Rule, version_for};
use crate::outbound::webhook::ClientConfig;
use crate::registry::{Reflected, Registry};

/// A MutatingWebhookConfiguration or a ValidatingWebhookConfiguration.
#[derive(Deserialize)]
pub struct Configuration {
    metadata: Metadata,
    #[serde(default)]
    webhooks: Vec<Webhook>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    pub name: String,
    pub client_config: ClientConfig,
    #[serde(default)]
    pub rules: Vec<Rule>,
    pub failure_policy: Option<String>,
    pub match_policy: Option<String>,
    #[serde(default)]
    pub namespace_selector: LabelSelector,
    #[serde(default)]
    pub object_selector: LabelSelector,
    pub side_effects: Option<String>,
    pub timeout_seconds: Option<u32>,
    pub reinvocation_policy: Option<String>,
    #[serde(default)]
    pub admission_review_versions: Vec<String>,
    #[serde(default, rename = "matchConditions")]
    pub conditions: Conditions,
}

impl Webhook {
    pub fn fails_open(&self) -> bool {
        self.failure_policy.as_deref() == Some("Ignore")
    }

    pub fn wants_reinvocation(&self) -> bool {
        self.reinvocation_policy.as_deref() == Some("IfNeeded")
    }

    /// Conditions that fail refuse the request, or leave the webhook out where that is its failure policy.
    async fn conditions_hold(
        &self,
        review: &Review<'_>,
        version: &'static Version,
        object: Option<&Value>,
    ) -> Result<bool, Status> {
        let shown = Shown::new(review, version, object);
        let checks = Checks::new(review.server, review.user);
        let scene = Scene { shown: &shown, checks: &checks, namespace: &Value::Null, params: None };
        let hold = || hold(self.conditions.compiled(), &scene.activation(), self.fails_open());
        checks.settle(hold).await.map_err(|error| review.forbidden(object, error))
    }
}

/// All configurations of one kind, always current.
pub type Source = Arc<Reflected<Configuration>>;

pub fn mutating(registry: &Registry) -> Source {
    registry.reflected(&mutating_webhook_configuration::KIND)
}

pub fn validating(registry: &Registry) -> Source {
    registry.reflected(&validating_webhook_configuration::KIND)
}

/// One webhook in its place.
#[derive(Clone)]
pub struct Hook {
    configuration: Arc<Configuration>,
    place: usize,
    /// Among all webhooks of all configurations.
    pub index: usize,
}

impl Hook {
    pub fn configuration(&self) -> &str {
        &self.configuration.metadata.name
    }

    pub fn webhook(&self) -> &Webhook {
        &self.configuration.webhooks[self.place]
    }

    /// Tells it from all others.
    pub fn id(&self) -> String {
        format!("{}/{}/{}", self.configuration(), self.webhook().name, self.place)
    }

    /// The version in which the webhook is to be shown the request; none when it is not to be asked.
    pub async fn version_for(
        &self,
        review: &Review<'_>,
        object: Option<&Value>,
    ) -> Result<Option<&'static Version>, Status> {
        let webhook = self.webhook();
        // A selector that cannot be asked is no reason to fail requests that the webhook is not about.
        let namespace = webhook.namespace_selector.matches_namespace(review, object);
        if matches!(namespace, Ok(false)) {
            return Ok(None);
        }
        let selected = webhook.object_selector.matches_object(review, object);
        if matches!(selected, Ok(false)) {
            return Ok(None);
        }
        let equivalent = webhook.match_policy.as_deref() == Some("Equivalent");
        let Some(version) = version_for(review, object, &webhook.rules, equivalent) else { return Ok(None) };
        namespace?;
        selected?;
        if !webhook.conditions.is_empty() && !webhook.conditions_hold(review, version, object).await? {
            return Ok(None);
        }
        Ok(Some(version))
    }
}

/// All webhooks, by the names of their configurations and their places in them.
pub fn all(source: &Source) -> Vec<Hook> {
    let mut hooks = Vec::new();
    for configuration in source.list().iter() {
        for place in 0..configuration.webhooks.len() {
            hooks.push(Hook { configuration: configuration.clone(), place, index: hooks.len() });
        }
    }
    hooks
}
