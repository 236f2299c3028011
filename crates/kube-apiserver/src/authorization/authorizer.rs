//! The authorizers in their order.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::PolicyRule;
use machinery::gvk::GroupResource;
use machinery::status::Status;

use super::node::NodeAuthorizer;
use super::rbac::{PolicySource, Rbac};
use super::{Attributes, Decision};
use crate::UserInfo;
use crate::user::MASTERS_GROUP;

/// Cheap to clone.
#[derive(Clone)]
pub struct Authorizer(Arc<Inner>);

struct Inner {
    node: NodeAuthorizer,
    rbac: Rbac,
}

/// What a user may do in a namespace, for reviews.
pub struct UserRules {
    pub rules: Vec<PolicyRule>,
    /// Why the list may lack something.
    pub errors: Vec<String>,
    pub incomplete: bool,
}

impl Authorizer {
    pub fn new(policy: impl PolicySource + 'static) -> Self {
        Self(Arc::new(Inner { node: NodeAuthorizer::new(), rbac: Rbac::new(policy) }))
    }

    /// The decision and its reason in words. [`Authorizer::allows`] is cheaper where the reason is of no interest.
    pub fn authorize(&self, attributes: &Attributes) -> (Decision, String) {
        if attributes.user.in_group(MASTERS_GROUP) {
            return (Decision::Allow, String::new());
        }
        let (decision, mut reason) = self.0.node.authorize(attributes);
        if decision != Decision::NoOpinion {
            return (decision, reason);
        }
        let (decision, rbac_reason) = self.0.rbac.authorize(attributes);
        if decision == Decision::Allow || reason.is_empty() {
            return (decision, rbac_reason);
        }
        if !rbac_reason.is_empty() {
            reason = format!("{reason}\n{rbac_reason}");
        }
        (decision, reason)
    }

    pub fn allows(&self, attributes: &Attributes) -> bool {
        attributes.user.in_group(MASTERS_GROUP)
            || self.0.node.authorize(attributes).0 == Decision::Allow
            || self.0.rbac.allows(attributes)
    }

    /// Allows, or the answer 403 that a request with these attributes gets.
    pub fn check(&self, attributes: &Attributes) -> Result<(), Status> {
        if self.allows(attributes) {
            return Ok(());
        }
        let (_, reason) = self.authorize(attributes);
        Err(forbidden(attributes, &reason))
    }

    /// The rules of RBAC that apply to a user in a namespace ("" is the cluster's).
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> UserRules {
        let (rules, mut errors) = self.0.rbac.rules_for(user, namespace);
        let incomplete = user.as_node().is_some();
        if incomplete {
            errors.push("node authorizer does not support user rule resolution".to_owned());
        }
        UserRules { rules, errors, incomplete }
    }

    /// The rules that a role reference of a binding stands for.
    pub(super) fn role_rules(&self, namespace: &str, role_kind: &str, name: &str) -> Option<Vec<PolicyRule>> {
        self.0.rbac.role_rules(namespace, role_kind, name)
    }
}

/// The answer to somebody who may not do this.
pub fn forbidden(attributes: &Attributes, reason: &str) -> Status {
    let mut message = describe(attributes);
    if !reason.is_empty() {
        message = format!("{message}: {reason}");
    }
    let resource = GroupResource { group: attributes.api_group.into(), resource: attributes.resource.into() };
    Status::forbidden(&resource, attributes.name, message)
}

/// `User "u" cannot get resource "pods/log" in API group "" in the namespace "ns"`
fn describe(attributes: &Attributes) -> String {
    let quote = machinery::go_text::quote;
    let (user, verb) = (quote(&attributes.user.name), attributes.verb);
    if !attributes.resource_request {
        return format!("User {user} cannot {verb} path {}", quote(attributes.path));
    }
    let mut resource = attributes.resource.to_owned();
    if !attributes.subresource.is_empty() {
        resource = format!("{resource}/{}", attributes.subresource);
    }
    let (resource, group) = (quote(&resource), quote(attributes.api_group));
    let place = match attributes.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {}", quote(namespace)),
    };
    format!("User {user} cannot {verb} resource {resource} in API group {group} {place}")
}
