//! The taints of a namespace: tolerations that its pods get, and those that they may have at all.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Namespace, Toleration};
use machinery::status::Status;
use serde::Deserialize;
use serde_json::{Value, json};

use super::tolerations;
use crate::admission::config::{ConfigError, PluginConfigs};
use crate::admission::usage::of_pod;
use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

const NAME: &str = "PodTolerationRestriction";
const DEFAULTS: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const ALLOWED: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PodTolerationRestriction {
    default: Vec<Toleration>,
    #[serde(rename = "whitelist")]
    allowed: Vec<Toleration>,
}

impl PodTolerationRestriction {
    pub fn open(configs: &PluginConfigs) -> Result<Self, ConfigError> {
        let versions = ["podtolerationrestriction.admission.k8s.io/v1alpha1"];
        Ok(configs.of(NAME, &versions, "Configuration")?.unwrap_or_default())
    }
}

#[async_trait]
impl Plugin for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if !applies(review) {
            return Ok(());
        }
        let given = match review.operation {
            Operation::Create => of_namespace(review, DEFAULTS)?.unwrap_or_else(|| self.default.clone()),
            _ => Vec::new(),
        };
        let mut merged = tolerations::merge(given, tolerations::read(object.pointer("/spec/tolerations")));
        if !is_best_effort(object) {
            // Only pods that ask for nothing are kept off nodes that run out of memory.
            let pressure =
                json!([{ "key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule" }]);
            merged = tolerations::merge(merged, tolerations::read(Some(&pressure)));
        }
        if !merged.is_empty() {
            object::map_mut(object, "spec").insert("tolerations".to_owned(), json!(merged));
        }
        self.validate(review, Some(object)).await
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(pod) = object.filter(|_| applies(review)) else { return Ok(()) };
        let own = tolerations::read(pod.pointer("/spec/tolerations"));
        let (allowed, scope) = match of_namespace(review, ALLOWED)? {
            Some(allowed) => (allowed, "namespace"),
            None => (self.allowed.clone(), "cluster"),
        };
        if tolerations::are_allowed(&own, &allowed) {
            return Ok(());
        }
        let message = format!(
            "pod tolerations (possibly merged with namespace default tolerations) conflict with its {scope} whitelist"
        );
        Err(review.forbidden(object, message))
    }
}

fn applies(review: &Review) -> bool {
    review.is("", "pods") && matches!(review.operation, Operation::Create | Operation::Update)
}

/// The tolerations in an annotation of the namespace; none where it has no such annotation.
fn of_namespace(review: &Review, annotation: &str) -> Result<Option<Vec<Toleration>>, Status> {
    let kind = api::find("", "v1", "namespaces").map(|(kind, _)| kind);
    let namespace = kind.and_then(|kind| review.server.registry.reflected::<Namespace>(kind).get("", review.namespace));
    let annotations = namespace.as_ref().and_then(|namespace| namespace.metadata.annotations.as_ref());
    match annotations.and_then(|annotations| annotations.get(annotation)) {
        None => Ok(None),
        Some(text) if text.is_empty() => Ok(Some(Vec::new())),
        Some(text) => serde_json::from_str(text).map(Some).map_err(|error| Status::unexpected(error.to_string())),
    }
}

fn is_best_effort(pod: &Value) -> bool {
    ["requests", "limits"].iter().all(|which| {
        of_pod(pod, which).iter().all(|(name, amount)| !matches!(name.as_str(), "cpu" | "memory") || amount.is_zero())
    })
}
