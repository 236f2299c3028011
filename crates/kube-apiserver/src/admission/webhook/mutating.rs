//! MutatingAdmissionWebhook: webhooks that may change the object, one after the other.

use async_trait::async_trait;
use machinery::go_text::quote;
use machinery::patch::json::Patch;
use machinery::status::Status;
use serde_json::Value;

use super::annotations::Annotations;
use super::call::{Call, End};
use super::credentials::Credentials;
use super::hooks::{self, Hook};
use crate::admission::config::{ConfigError, PluginConfigs};
use crate::admission::{Plugin, Review};
use crate::outbound::webhook::Failure;

const NAME: &str = "MutatingAdmissionWebhook";

pub struct MutatingAdmissionWebhook {
    credentials: Credentials,
}

impl MutatingAdmissionWebhook {
    pub fn open(configs: &PluginConfigs) -> Result<Self, ConfigError> {
        Ok(Self { credentials: Credentials::open(configs, NAME)? })
    }

    async fn run(&self, review: &Review<'_>, object: &mut Option<Value>) -> Result<(), Status> {
        for hook in hooks::all(&hooks::mutating(&review.server.registry)) {
            let Some(version) = hook.version_for(review, object.as_ref()).await? else { continue };
            let id = hook.id();
            if !review.rounds.should_ask(NAME, &id) {
                continue;
            }
            let shown = object.as_ref().map(|object| review.object_in(version, object));
            let old = review.old.map(|old| review.object_in(version, old));
            let call = Call {
                hook: &hook,
                review,
                credentials: &self.credentials,
                version,
                object: shown.as_ref(),
                old: old.as_ref(),
                mutating: true,
            };
            let annotations = Annotations { review, hook: &hook, round: review.rounds.round() };
            let patched = match call.ask().await {
                Ok(verdict) if verdict.patch.is_empty() => Ok(None),
                Ok(verdict) => {
                    let patched = patched(&call, &verdict.patch, &verdict.patch_type);
                    if matches!(patched, Ok(Some(_))) {
                        annotations.patch(&verdict.patch);
                    }
                    patched
                }
                Err(end) => Err(end),
            };
            let changed = match (&patched, &shown) {
                (Ok(Some(new)), Some(shown)) => !api::value::semantically_equal(Some(new), Some(shown)),
                _ => false,
            };
            annotations.mutation(changed);
            if changed {
                review.rounds.changed(NAME);
            }
            if hook.webhook().wants_reinvocation() {
                review.rounds.asked(NAME, &id);
            }
            match patched {
                Ok(Some(new)) => *object = Some(review.taken_over(version, new, object.as_ref())?),
                Ok(None) => {}
                Err(End::Failed(failure)) => pass_over(&call, &annotations, &failure)?,
                Err(End::Refused(status) | End::Other(status)) => return Err(status),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Plugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if review.is_exempt() {
            return Ok(());
        }
        review.rounds.begin(NAME, object);
        let mut current = Some(std::mem::take(object));
        let result = self.run(review, &mut current).await;
        *object = current.unwrap_or_default();
        review.rounds.end(NAME, object);
        result
    }

    /// What is deleted is shown too, and cannot be changed.
    async fn mutate_nothing(&self, review: &Review<'_>) -> Result<(), Status> {
        if review.is_exempt() {
            return Ok(());
        }
        self.run(review, &mut None).await
    }
}

/// The object that a patch makes, in the version that the webhook was shown; none when the patch does nothing.
fn patched(call: &Call<'_>, patch: &[u8], patch_type: &str) -> Result<Option<Value>, End> {
    let internal = |reason: String| End::Other(Status::internal(reason));
    let name = &call.hook.webhook().name;
    let operations: Vec<Value> = serde_json::from_slice(patch).map_err(|error| internal(error.to_string()))?;
    if operations.is_empty() {
        return Ok(None);
    }
    let patch = Patch::parse(patch).map_err(|error| internal(error.to_string()))?;
    let Some(shown) = call.object else {
        let what = "attempted to modify the object, which is not supported for this operation";
        return Err(internal(format!("admission webhook {} {what}", quote(name))));
    };
    if patch_type != "JSONPatch" {
        let reason = format!("unsupported patch type {}", quote(patch_type));
        return Err(End::Failed(Failure::Call { reason, code: 503 }));
    }
    let mut new = shown.clone();
    patch.apply(&mut new).map_err(|error| internal(error.to_string()))?;
    let decoded = call.review.decoded(call.version, new, false);
    decoded.map(Some).map_err(internal)
}

/// A webhook failed: the request goes on without it, or ends, as the webhook's failure policy has it.
pub(super) fn pass_over(call: &Call<'_>, annotations: &Annotations<'_>, failure: &Failure) -> Result<(), Status> {
    let (hook, review): (&Hook, &Review<'_>) = (call.hook, call.review);
    let webhook = hook.webhook();
    let client = if matches!(failure, Failure::Client(_)) { "could not get REST client: " } else { "" };
    let reason = format!("failed calling webhook {}: {client}{}", quote(&webhook.name), failure.reason());
    if !webhook.fails_open() {
        tracing::warn!(webhook = webhook.name, reason, "failed calling webhook, failing closed");
        return Err(Status::internal(reason));
    }
    tracing::warn!(webhook = webhook.name, reason, "failed calling webhook, failing open");
    review.server.metrics.webhooks().failed_open(&webhook.name, call.phase());
    annotations.failed_open(if call.mutating { "mutation" } else { "validating" });
    review.check_deadline()
}
