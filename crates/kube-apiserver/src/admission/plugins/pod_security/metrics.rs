//! What PodSecurity counts, under upstream's names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::policy::{Level, LevelVersion, Version};
use crate::admission::{Operation, Review};

/// The release whose checks are the latest here.
const OWN_MINOR: u32 = 36;

#[derive(Default)]
pub struct PodSecurityMetrics {
    evaluations: Family<Evaluated, Counter>,
    exemptions: Family<About, Counter>,
    errors: Family<Failed, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Evaluated {
    decision: &'static str,
    mode: &'static str,
    policy_level: &'static str,
    policy_version: String,
    request_operation: &'static str,
    resource: &'static str,
    subresource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct About {
    request_operation: &'static str,
    resource: &'static str,
    subresource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    fatal: &'static str,
    request_operation: &'static str,
    resource: &'static str,
    subresource: String,
}

impl PodSecurityMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "pod_security_evaluations",
            "Policies evaluated for a request, not counting exempt requests",
            self.evaluations.clone(),
        );
        registry.register("pod_security_exemptions", "Exempt requests", self.exemptions.clone());
        registry.register(
            "pod_security_errors",
            "What kept a policy from being evaluated as it was meant",
            self.errors.clone(),
        );
    }

    pub(super) fn evaluated(&self, review: &Review, mode: &'static str, policy: LevelVersion, allowed: bool) {
        let policy_version = match policy.version {
            _ if policy.level == Level::Privileged => "latest".to_owned(),
            // A number of the client's own choice makes no series.
            Version::Minor(minor) if minor > OWN_MINOR => "future".to_owned(),
            version => version.to_string(),
        };
        let About { request_operation, resource, subresource } = about(review);
        let labels = Evaluated {
            decision: if allowed { "allow" } else { "deny" },
            mode,
            policy_level: policy.level.name(),
            policy_version,
            request_operation,
            resource,
            subresource,
        };
        self.evaluations.get_or_create(&labels).inc();
    }

    pub(super) fn exempted(&self, review: &Review) {
        self.exemptions.get_or_create(&about(review)).inc();
    }

    pub(super) fn failed(&self, review: &Review, fatal: bool) {
        let About { request_operation, resource, subresource } = about(review);
        let fatal = if fatal { "true" } else { "false" };
        self.errors.get_or_create(&Failed { fatal, request_operation, resource, subresource }).inc();
    }
}

fn about(review: &Review) -> About {
    let request_operation = match review.operation {
        Operation::Create => "create",
        Operation::Update => "update",
        Operation::Delete => "delete",
        Operation::Connect => "connect",
    };
    let resource = match (review.kind.group, review.kind.plural) {
        ("", "pods") => "pod",
        ("", "namespaces") => "namespace",
        _ => "controller",
    };
    About { request_operation, resource, subresource: review.subresource.to_owned() }
}
