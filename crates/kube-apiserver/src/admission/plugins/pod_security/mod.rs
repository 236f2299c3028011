//! PodSecurity: pods keep to the level of the Pod Security Standards that their namespace's labels name.
//!
//! `enforce` refuses pods; `audit` notes and `warn` tells what would be refused, also of templates in the objects that make
//! pods. See https://kubernetes.io/docs/concepts/security/pod-security-standards/. The checks are in `baseline` and
//! `restricted`; they know a pod and nothing else.

mod baseline;
mod checks;
mod config;
mod metrics;
mod namespace;
mod policy;
mod restricted;
mod seccomp;
mod subject;

use std::collections::BTreeMap;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, Namespace, Pod, PodTemplateSpec};
use machinery::status::Status;
use serde::Deserialize;
use serde_json::Value;

use super::super::config::{ConfigError, PluginConfigs};
use crate::admission::{Operation, Plugin, Review};
use crate::registry::{group_resource, object};
use config::Settings;
pub use metrics::PodSecurityMetrics;
use policy::{Level, LevelVersion, Policy};
use subject::Subject;

const ANNOTATIONS: &str = "pod-security.kubernetes.io/";

/// Where the template is in the kinds that make pods.
const TEMPLATES: [(&str, &str, &str); 8] = [
    ("", "podtemplates", "/template"),
    ("", "replicationcontrollers", "/spec/template"),
    ("apps", "daemonsets", "/spec/template"),
    ("apps", "deployments", "/spec/template"),
    ("apps", "replicasets", "/spec/template"),
    ("apps", "statefulsets", "/spec/template"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template"),
    ("batch", "jobs", "/spec/template"),
];

/// Subresources of a pod through which its spec does not change.
const HARMLESS: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];

pub struct PodSecurity(Settings);

#[async_trait]
impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(object) = object.filter(|_| matches!(review.operation, Operation::Create | Operation::Update)) else {
            return Ok(());
        };
        match (review.kind.group, review.kind.plural) {
            ("", "namespaces") => self.check_namespace(review, object),
            ("", "pods") => self.check_pod(review, object),
            (group, plural) => {
                let template = TEMPLATES.iter().find(|(g, p, _)| (*g, *p) == (group, plural));
                if let Some((.., template)) = template.filter(|_| review.subresource.is_empty()) {
                    self.check_template(review, object.pointer(template));
                }
                Ok(())
            }
        }
    }
}

impl PodSecurity {
    pub fn open(configs: &PluginConfigs) -> Result<Self, ConfigError> {
        Settings::open(configs).map(Self)
    }

    fn check_pod(&self, review: &Review, object: &Value) -> Result<(), Status> {
        if HARMLESS.contains(&review.subresource) || self.is_exempt(review) {
            return Ok(());
        }
        let Some((policy, faults)) = self.policy(review) else {
            review.server.metrics.pod_security().failed(review, true);
            let namespace = machinery::go_text::quote(review.namespace);
            annotate(review, "error", &format!("failed to lookup namespace {namespace}"));
            return Err(Status::internal(format!("failed to lookup namespace {namespace}")));
        };
        if faults.is_none() && policy.is_fully_privileged() {
            annotate(review, "enforce-policy", &LevelVersion::PRIVILEGED.to_string());
            review.server.metrics.pod_security().evaluated(review, "enforce", policy.enforce, true);
            return Ok(());
        }
        let undecodable = || {
            review.server.metrics.pod_security().failed(review, true);
            Status::bad_request("failed to decode pod")
        };
        let pod = Pod::deserialize(object).map_err(|_| undecodable())?;
        if let Some(old) = review.old.filter(|_| review.operation == Operation::Update) {
            let old = Pod::deserialize(old).map_err(|_| undecodable())?;
            if !is_significant(&pod, &old) {
                return Ok(());
            }
        }
        let Some(spec) = &pod.spec else { return Ok(()) };
        let subject = Subject { annotations: pod.metadata.annotations.as_ref(), spec };
        let refusal = self.evaluate(review, policy, faults, &subject, true);
        refusal.map_or(Ok(()), |message| {
            let name = if review.name.is_empty() { object::name(object) } else { review.name };
            Err(Status::forbidden(&group_resource(review.kind), name, message))
        })
    }

    /// What makes pods is never refused: whoever made it would not see why its pods do not come.
    fn check_template(&self, review: &Review, template: Option<&Value>) {
        if self.is_exempt(review) {
            return;
        }
        let Some((policy, faults)) = self.policy(review) else {
            review.server.metrics.pod_security().failed(review, true);
            let namespace = machinery::go_text::quote(review.namespace);
            annotate(review, "error", &format!("failed to lookup namespace {namespace}"));
            return;
        };
        let silent = [policy.warn, policy.audit].iter().all(|mode| mode.level == Level::Privileged);
        if faults.is_none() && silent {
            return;
        }
        let Some(template) = template.filter(|template| !template.is_null()) else { return };
        let template = match PodTemplateSpec::deserialize(template) {
            Ok(template) => template,
            Err(error) => {
                review.server.metrics.pod_security().failed(review, true);
                return annotate(review, "error", &format!("failed to decode object: {error}"));
            }
        };
        let Some(spec) = &template.spec else { return };
        let annotations = template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
        self.evaluate(review, policy, faults, &Subject { annotations, spec }, false);
    }

    fn is_exempt(&self, review: &Review) -> bool {
        let reason = if self.0.exempt.has_namespace(review.namespace) {
            "namespace"
        } else if self.0.exempt.has_user(&review.user.name) {
            "user"
        } else {
            return false;
        };
        annotate(review, "exempt", reason);
        review.server.metrics.pod_security().exempted(review);
        true
    }

    /// The policy of the request's namespace, and what is wrong with its labels; none where there is no such namespace.
    fn policy(&self, review: &Review) -> Option<(Policy, Option<String>)> {
        let (kind, _) = api::find("", "v1", "namespaces")?;
        let namespace = review.server.registry.reflected::<Namespace>(kind).get("", review.namespace)?;
        let none = BTreeMap::new();
        let (policy, errors) = Policy::of(namespace.metadata.labels.as_ref().unwrap_or(&none), self.0.defaults);
        Some((policy, (!errors.is_empty()).then(|| machinery::field::aggregate(&errors))))
    }

    /// Judges a pod in all three modes; what to refuse it with, if it is to be refused.
    fn evaluate(
        &self,
        review: &Review,
        policy: Policy,
        faults: Option<String>,
        subject: &Subject,
        enforce: bool,
    ) -> Option<String> {
        let metrics = review.server.metrics.pod_security();
        if self.0.exempt.has_runtime_class(subject.spec.runtime_class_name.as_ref()) {
            annotate(review, "exempt", "runtimeClass");
            metrics.exempted(review);
            return None;
        }
        if let Some(faults) = faults {
            annotate(review, "error", &format!("Failed to parse policy: {faults}"));
            metrics.failed(review, false);
        }
        let judge = |mode: LevelVersion| {
            let violations = checks::evaluate(mode, subject);
            (!violations.is_empty()).then(|| format!("PodSecurity \"{mode}\": {}", checks::details(&violations)))
        };
        let mut refusal = None;
        if enforce {
            annotate(review, "enforce-policy", &policy.enforce.to_string());
            refusal = judge(policy.enforce);
            metrics.evaluated(review, "enforce", policy.enforce, refusal.is_none());
        }
        if let Some(text) = judge(policy.audit) {
            annotate(review, "audit-violations", &format!("would violate {text}"));
            metrics.evaluated(review, "audit", policy.audit, false);
        }
        // Who is refused has read it already.
        if refusal.is_none()
            && let Some(text) = judge(policy.warn)
        {
            review.ctx.warn(format!("would violate {text}"));
            metrics.evaluated(review, "warn", policy.warn, false);
        }
        refusal.map(|text| format!("violates {text}"))
    }
}

fn annotate(review: &Review, key: &str, value: &str) {
    review.ctx.annotate(&format!("{ANNOTATIONS}{key}"), value);
}

/// Whether an update changes what the checks look at: only images and ephemeral containers can change at all.
fn is_significant(new: &Pod, old: &Pod) -> bool {
    let (Some(new), Some(old)) = (&new.spec, &old.spec) else { return true };
    let differ = |new: &[Container], old: &[Container]| {
        new.len() != old.len() || new.iter().zip(old).any(|(new, old)| new.image != old.image)
    };
    let list = |containers: &'_ Option<Vec<Container>>| containers.clone().unwrap_or_default();
    let ephemeral = new.ephemeral_containers.iter().flatten().any(|new| {
        let before = old.ephemeral_containers.iter().flatten().find(|old| old.name == new.name);
        before.is_none_or(|before| before.image != new.image)
    });
    differ(&new.containers, &old.containers)
        || differ(&list(&new.init_containers), &list(&old.init_containers))
        || ephemeral
}

#[cfg(test)]
mod tests;
