//! A server of the administrator's choice says which images may run. It is asked about every container, those that come
//! in later included (CVE-2023-2727), before the pod is stored.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use machinery::status::Status;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::admission::config::{ConfigError, PluginConfigs};
use crate::admission::{Operation, Plugin, Review};
use crate::outbound::Endpoint;
use crate::recent::Recent;
use crate::registry::object;

const NAME: &str = "ImagePolicyWebhook";
const ANNOTATIONS: &str = "imagepolicywebhook.image-policy.k8s.io/";
/// Pod annotations with this in their key are shown to the server.
const SHOWN: &str = ".image-policy.k8s.io/";
const ANSWERS_MAX: usize = 1024;
const TIMEOUT: Duration = Duration::from_secs(30);

pub struct ImagePolicyWebhook {
    /// None where the plugin has no configuration: switching it on then fails.
    backend: Option<Backend>,
}

struct Backend {
    endpoint: Endpoint,
    answers: Recent<String, Answer>,
    allow_ttl: Duration,
    deny_ttl: Duration,
    default_allow: bool,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Answer {
    allowed: bool,
    reason: String,
    audit_annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    image_policy: ImagePolicy,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ImagePolicy {
    kube_config_file: PathBuf,
    /// Milliseconds.
    #[serde(default)]
    retry_backoff: i64,
    #[serde(default, rename = "allowTTL")]
    allow_ttl: i64,
    #[serde(default, rename = "denyTTL")]
    deny_ttl: i64,
    #[serde(default)]
    default_allow: bool,
}

impl ImagePolicyWebhook {
    pub fn open(configs: &PluginConfigs) -> Result<Self, ConfigError> {
        let fail = |reason: String| ConfigError::Plugin(NAME.to_owned(), reason);
        let Some(File { image_policy: policy }) = configs.raw(NAME)? else { return Ok(Self { backend: None }) };
        let number = |name: &str, given: i64, default: i64, max: i64| match given {
            0 => Ok(default.unsigned_abs()),
            given if (1..=max).contains(&given) => Ok(given.unsigned_abs()),
            given => Err(fail(format!("valid value is between 1 and {max}, {name} is {given}"))),
        };
        let pause = Duration::from_millis(number("retryBackoff", policy.retry_backoff, 500, 300_000)?);
        let path = if policy.kube_config_file.is_relative() {
            configs.folder().join(&policy.kube_config_file)
        } else {
            policy.kube_config_file
        };
        let endpoint = Endpoint::open(&path, pause).map_err(|error| fail(error.to_string()))?;
        Ok(Self {
            backend: Some(Backend {
                endpoint,
                answers: Recent::new(ANSWERS_MAX),
                allow_ttl: Duration::from_secs(number("allowTTL", policy.allow_ttl, 300, 1800)?),
                deny_ttl: Duration::from_secs(number("denyTTL", policy.deny_ttl, 30, 1800)?),
                default_allow: policy.default_allow,
            }),
        })
    }
}

#[async_trait]
impl Plugin for ImagePolicyWebhook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn needs_config(&self) -> bool {
        self.backend.is_none()
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let is_pod = (review.kind.group, review.kind.plural) == ("", "pods");
        let Some((pod, backend)) = object.filter(|_| is_pod).zip(self.backend.as_ref()) else { return Ok(()) };
        let lists: &[&str] = match (review.subresource, review.operation) {
            ("", Operation::Create | Operation::Update) => &["containers", "initContainers"],
            ("ephemeralcontainers", Operation::Update) => &["ephemeralContainers"],
            _ => return Ok(()),
        };
        let containers = lists.iter().flat_map(|list| object::list(pod, &format!("/spec/{list}")));
        let images: Vec<Value> =
            containers.map(|container| json!({ "image": object::text(container, "/image") })).collect();
        let answer = match backend.ask(review, pod, images).await {
            Ok(answer) => answer,
            Err(_) if backend.default_allow => {
                review.ctx.annotate(&format!("{ANNOTATIONS}failed-open"), "true");
                return Ok(());
            }
            Err(error) => return Err(review.forbidden(object, error)),
        };
        for (key, value) in &answer.audit_annotations {
            review.ctx.annotate(&format!("{ANNOTATIONS}{key}"), value);
        }
        match (answer.allowed, answer.reason.as_str()) {
            (true, _) => Ok(()),
            (false, "") => Err(review.forbidden(object, "one or more images rejected by webhook backend")),
            (false, reason) => {
                let message = format!("image policy webhook backend denied one or more images: {reason}");
                Err(review.forbidden(object, message))
            }
        }
    }
}

impl Backend {
    async fn ask(&self, review: &Review<'_>, pod: &Value, images: Vec<Value>) -> Result<Answer, String> {
        let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten();
        let shown: Map<String, Value> = annotations
            .filter(|(key, _)| key.contains(SHOWN))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let mut spec = json!({ "containers": images, "namespace": review.namespace });
        if !shown.is_empty() {
            spec["annotations"] = shown.into();
        }
        let key = spec.to_string();
        if let Some(answer) = self.answers.get(&key) {
            return Ok(answer);
        }
        let question = json!({
            "kind": "ImageReview",
            "apiVersion": "imagepolicy.k8s.io/v1alpha1",
            "metadata": { "creationTimestamp": null },
            "spec": spec,
            "status": { "allowed": false },
        });
        let mut reply = self.endpoint.post(&question, TIMEOUT).await.map_err(|error| error.to_string())?;
        let answer: Answer = serde_json::from_value(reply["status"].take()).map_err(|error| error.to_string())?;
        self.answers.put(key, answer.clone(), if answer.allowed { self.allow_ttl } else { self.deny_ttl });
        Ok(answer)
    }
}
