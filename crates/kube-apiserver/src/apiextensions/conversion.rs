//! Conversion by webhook: objects of a definition are sent to the server that the definition names, which brings them
//! into another version (`spec.conversion.strategy: Webhook`).
//!
//! Little of an answer is trusted: it must be about the question that was asked, and have an object for each that was
//! sent, of the version asked for and of the same kind, name, namespace and uid. All other metadata but labels and
//! annotations is put back as it was ([`restore`]).

mod metrics;
mod restore;

use std::time::Duration;

use api::apiextensions::served::Converter;
use machinery::go_text::quote;
use machinery::status::Status;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::Instant;

pub use metrics::ConversionMetrics;
use metrics::Failed;

use crate::outbound::webhook::{Client, ClientConfig};
use crate::registry::{Registry, WeakRegistry, object};
use crate::traces::{self, KeyValue};

const TIMEOUT: Duration = Duration::from_secs(30);
/// More objects are asked about in several questions, so that neither they nor the answers grow without bound.
const QUESTION_BYTES_MAX: usize = 4 << 20;
/// An object may grow when it is converted.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// The webhook of one definition.
pub struct ConversionWebhook {
    registry: WeakRegistry,
    /// Its name.
    definition: String,
    config: ClientConfig,
    /// `apiextensions.k8s.io/v1`, or what the webhook knows before it.
    review: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    client_config: ClientConfig,
    conversion_review_versions: Vec<String>,
}

/// Why there are no converted objects, in upstream's words.
struct Failure {
    kind: Failed,
    reason: String,
}

impl ConversionWebhook {
    /// The webhook that a definition names, if its objects are converted by one.
    pub fn of(definition: &Value, registry: WeakRegistry) -> Option<Self> {
        let conversion = definition.pointer("/spec/conversion")?;
        if object::text(conversion, "/strategy") != "Webhook" {
            return None;
        }
        let webhook: Webhook = serde_json::from_value(conversion.get("webhook")?.clone()).ok()?;
        let known = |version: &&String| matches!(version.as_str(), "v1" | "v1beta1");
        let review = webhook.conversion_review_versions.iter().find(known)?;
        let name = object::name(definition).to_owned();
        Some(Self {
            registry,
            definition: name,
            config: webhook.client_config,
            review: format!("apiextensions.k8s.io/{review}"),
        })
    }

    /// Asks about some objects, which are given as JSON too, and checks what comes back.
    async fn ask(
        &self,
        registry: &Registry,
        (objects, texts): (&[Value], &str),
        api_version: &str,
    ) -> Result<Vec<Value>, Failure> {
        let name = described(&objects[0]);
        let uid = uuid::Uuid::new_v4().to_string();
        // The objects are written once, when they are counted.
        let (review, wanted) = (Value::from(self.review.as_str()), Value::from(api_version));
        let question = format!(
            r#"{{"kind":"ConversionReview","apiVersion":{review},"request":{{"uid":"{uid}","desiredAPIVersion":{wanted},"objects":[{texts}]}}}}"#
        );
        let fail = |kind, reason: String| Failure { kind, reason: format!("conversion webhook for {name} {reason}") };
        let call_failed = |reason: &str| fail(Failed::Call, format!("failed: {reason}"));
        let client = Client::new(&self.config, |_, _| None).map_err(|failure| call_failed(failure.reason()))?;
        let answered = client.post(registry, question.into(), TIMEOUT, ANSWER_BYTES_MAX);
        let traced = || {
            let count = i64::try_from(objects.len()).unwrap_or(i64::MAX);
            vec![
                KeyValue::text("custom-resource-definition", self.definition.as_str()),
                KeyValue::text("desired-api-version", api_version),
                KeyValue::int("object-count", count),
                KeyValue::text("UID", uid.as_str()),
            ]
        };
        let answer = traces::step("Call conversion webhook", traced, answered).await;
        let answer = answer.map_err(|failure| call_failed(failure.reason()))?;
        let answer: Value =
            serde_json::from_slice(&answer).map_err(|error| call_failed(&format!("the answer is no JSON: {error}")))?;
        let malformed = |reason: String| fail(Failed::MalformedResponse, format!("failed: {reason}"));
        let mut converted = self.read(answer, &uid).map_err(malformed)?;
        if converted.len() != objects.len() {
            let reason = format!("returned {} objects, expected {}", converted.len(), objects.len());
            return Err(fail(Failed::PartialResponse, reason));
        }
        for (index, (object, original)) in converted.iter_mut().zip(objects).enumerate() {
            let at = |what: &str| match (objects.len(), what) {
                (1, "metadata") => "returned invalid metadata".to_owned(),
                (1, "type") => "returned invalid object at index 0".to_owned(),
                (1, _) => "returned invalid object".to_owned(),
                (_, "metadata") => format!("returned invalid metadata in object at index {index}"),
                _ => format!("returned invalid converted object at index {index}"),
            };
            let invalid = |what, reason| fail(Failed::InvalidConvertedObject, format!("{}: {reason}", at(what)));
            restore::check_type(original, object, api_version).map_err(|reason| invalid("type", reason))?;
            restore::check_identity(original, object).map_err(|reason| invalid("identity", reason))?;
            restore::metadata(original, object).map_err(|reason| invalid("metadata", reason))?;
        }
        Ok(converted)
    }

    /// The objects in an answer that is about the question `uid`.
    fn read(&self, mut answer: Value, uid: &str) -> Result<Vec<Value>, String> {
        let kind = (object::text(&answer, "/apiVersion"), object::text(&answer, "/kind"));
        if kind != (self.review.as_str(), "ConversionReview") {
            return Err(format!(
                "expected webhook response of {}, Kind=ConversionReview, got {}",
                self.review,
                described(&answer)
            ));
        }
        let Some(response) = answer.get("response").filter(|response| !response.is_null()) else {
            return Err("no response provided".to_owned());
        };
        let got = object::text(response, "/uid");
        if got != uid {
            return Err(format!("expected response.uid={}, got {}", quote(uid), quote(got)));
        }
        let status = object::text(response, "/result/status");
        if status != "Success" {
            return Err(match object::text(response, "/result/message") {
                "" => format!("response.result.status was '{status}', not 'Success'"),
                message => message.to_owned(),
            });
        }
        match answer["response"]["convertedObjects"].take() {
            Value::Array(objects) => Ok(objects),
            _ => Ok(Vec::new()),
        }
    }

    async fn convert_all(&self, registry: &Registry, objects: &[Value], wanted: &str) -> Result<Vec<Value>, Status> {
        let mut converted = Vec::with_capacity(objects.len());
        for (part, texts) in parts(objects) {
            let started = Instant::now();
            let answer = self.ask(registry, (part, &texts), wanted).await;
            let failed = answer.as_ref().err().map(|failure| failure.kind);
            registry.conversion_metrics().observe(failed, started.elapsed());
            converted.extend(answer.map_err(|failure| {
                tracing::warn!(reason = failure.reason, "failed to convert objects");
                Status::internal(failure.reason)
            })?);
        }
        Ok(converted)
    }
}

impl Converter for ConversionWebhook {
    /// Waits for the webhook: the thread's other work goes on elsewhere meanwhile. Needs a runtime of several threads.
    fn convert(&self, objects: Vec<Value>, api_version: &str) -> Result<Vec<Value>, Status> {
        let registry = self.registry.upgrade().ok_or_else(|| Status::internal("the server has ended"))?;
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| runtime.block_on(self.convert_all(&registry, &objects, api_version)))
    }
}

/// `example.com/v1, Kind=Thing`
fn described(object: &Value) -> String {
    format!("{}, Kind={}", object::text(object, "/apiVersion"), object::text(object, "/kind"))
}

/// The objects in runs of about [`QUESTION_BYTES_MAX`], each with its objects as JSON, commas between them.
fn parts(objects: &[Value]) -> Vec<(&[Value], String)> {
    let (mut parts, mut from, mut texts) = (Vec::new(), 0, String::new());
    for (index, object) in objects.iter().enumerate() {
        let own = object.to_string();
        if texts.len() + own.len() > QUESTION_BYTES_MAX && index > from {
            parts.push((&objects[from..index], std::mem::take(&mut texts)));
            from = index;
        }
        if index > from {
            texts.push(',');
        }
        texts.push_str(&own);
    }
    if from < objects.len() {
        parts.push((&objects[from..], texts));
    }
    parts
}

#[cfg(test)]
mod tests;
