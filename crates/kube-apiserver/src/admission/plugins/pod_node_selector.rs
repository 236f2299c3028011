//! The nodes of a namespace: its pods select among them, and among no others.
//!
//! A namespace names its nodes by an annotation, the administrator by the plugin's configuration: a default for namespaces
//! that say nothing, and for each namespace the labels that its pods may select by at all.

use std::collections::BTreeMap;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Namespace;
use machinery::names;
use machinery::status::Status;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admission::config::{ConfigError, PluginConfigs};
use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

const NAME: &str = "PodNodeSelector";
const ANNOTATION: &str = "scheduler.alpha.kubernetes.io/node-selector";
const DEFAULT: &str = "clusterDefaultNodeSelector";

type Labels = BTreeMap<String, String>;

pub struct PodNodeSelector {
    /// By namespace, and the default.
    selectors: BTreeMap<String, Labels>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    #[serde(rename = "podNodeSelectorPluginConfig")]
    selectors: BTreeMap<String, String>,
}

impl PodNodeSelector {
    pub fn open(configs: &PluginConfigs) -> Result<Self, ConfigError> {
        let file: File = configs.raw(NAME)?.unwrap_or_default();
        let selectors = file.selectors.into_iter().map(|(namespace, selector)| {
            let labels = parse(&selector).map_err(|error| ConfigError::Plugin(NAME.to_owned(), error))?;
            Ok((namespace, labels))
        });
        Ok(Self { selectors: selectors.collect::<Result<_, ConfigError>>()? })
    }

    /// What the namespace asks of its pods.
    fn wanted(&self, review: &Review) -> Result<Labels, Status> {
        let kind = api::find("", "v1", "namespaces").map(|(kind, _)| kind);
        let namespace =
            kind.and_then(|kind| review.server.registry.reflected::<Namespace>(kind).get("", review.namespace));
        let annotations = namespace.as_ref().and_then(|namespace| namespace.metadata.annotations.as_ref());
        match annotations.and_then(|annotations| annotations.get(ANNOTATION)) {
            Some(selector) => parse(selector).map_err(Status::unexpected),
            None => Ok(self.selectors.get(DEFAULT).cloned().unwrap_or_default()),
        }
    }

    fn check(&self, review: &Review, pod: &Value) -> Result<Labels, Status> {
        let wanted = self.wanted(review)?;
        let own = selector(pod);
        if own.iter().any(|(key, value)| wanted.get(key).is_some_and(|wanted| wanted != value)) {
            let message = "pod node label selector conflicts with its namespace node label selector";
            return Err(review.forbidden(Some(pod), message));
        }
        let mut merged = wanted;
        merged.extend(own);
        Ok(merged)
    }
}

#[async_trait]
impl Plugin for PodNodeSelector {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if review.operation != Operation::Create || !review.is("", "pods") {
            return Ok(());
        }
        let merged = self.check(review, object)?;
        if !merged.is_empty() {
            object::map_mut(object, "spec").insert("nodeSelector".to_owned(), json!(merged));
        }
        self.validate(review, Some(object)).await
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(pod) = object.filter(|_| review.operation == Operation::Create && review.is("", "pods")) else {
            return Ok(());
        };
        self.check(review, pod)?;
        let Some(allowed) = self.selectors.get(review.namespace).filter(|allowed| !allowed.is_empty()) else {
            return Ok(());
        };
        if selector(pod).iter().all(|(key, value)| allowed.get(key) == Some(value)) {
            return Ok(());
        }
        Err(review.forbidden(object, "pod node label selector labels conflict with its namespace whitelist"))
    }
}

fn selector(pod: &Value) -> Labels {
    pod.pointer("/spec/nodeSelector").and_then(|own| Labels::deserialize(own).ok()).unwrap_or_default()
}

/// `key=value,key=value`
fn parse(text: &str) -> Result<Labels, String> {
    let mut labels = Labels::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let sides: Vec<&str> = part.split('=').collect();
        let [key, value] = sides[..] else { return Err(format!("invalid selector: [{}]", sides.join(" "))) };
        let (key, value) = (key.trim(), value.trim());
        let faults = [names::qualified_name(key), names::label_value(value)].concat();
        if !faults.is_empty() {
            return Err(format!("invalid selector {}: {}", machinery::go_text::quote(part), faults.join("; ")));
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}
