//! The authorizers in their order.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::PolicyRule;
use machinery::gvk::GroupResource;
use machinery::status::Status;

use super::abac::{Abac, AbacError};
use super::always::{AlwaysAllow, AlwaysDeny};
use super::node::NodeAuthorizer;
use super::node_relations::NodeRelations;
use super::rbac::{PolicySource, Rbac};
use super::{Attributes, Decision};
use crate::user::MASTERS_GROUP;
use crate::{Config, UserInfo};

/// One way to decide.
pub trait Authorize: Send + Sync {
    /// The decision and its reason in words.
    fn authorize(&self, attributes: &Attributes) -> (Decision, String);

    /// The decision alone, where that is cheaper.
    fn decide(&self, attributes: &Attributes) -> Decision {
        self.authorize(attributes).0
    }

    /// What a user may do in a namespace, why the list may lack something, and whether it does.
    fn rules_for(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>, bool);
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Authorizer(Arc<Inner>);

struct Inner {
    /// In the order of `--authorization-mode`.
    modes: Vec<Arc<dyn Authorize>>,
    /// What roles grant is looked up also where RBAC does not decide requests.
    rbac: Arc<Rbac>,
}

/// What a user may do in a namespace, for reviews.
pub struct UserRules {
    pub rules: Vec<PolicyRule>,
    /// Why the list may lack something.
    pub errors: Vec<String>,
    pub incomplete: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum ModeError {
    #[error("unknown authorization mode {0:?}: one of AlwaysAllow, AlwaysDeny, ABAC, Node, RBAC")]
    Unknown(String),
    #[error("authorization mode {0:?} is given twice")]
    Twice(String),
    #[error("at least one authorization mode is needed")]
    None,
    #[error("authorization mode ABAC needs authorization-policy-file")]
    NoPolicyFile,
    #[error("authorization-policy-file is for authorization mode ABAC only")]
    NoAbac,
    #[error("failed to prepare the authorization mode ABAC")]
    Abac(#[source] AbacError),
}

impl Authorizer {
    /// The modes that the configuration names, in its order.
    pub fn open(
        config: &Config,
        policy: impl PolicySource + 'static,
        relations: Arc<dyn NodeRelations>,
    ) -> Result<Self, ModeError> {
        let rbac = Arc::new(Rbac::new(policy));
        let mut modes: Vec<Arc<dyn Authorize>> = Vec::new();
        let names = &config.authorization_mode;
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                return Err(ModeError::Twice(name.clone()));
            }
            modes.push(match name.as_str() {
                "Node" => Arc::new(NodeAuthorizer::new(relations.clone())),
                "RBAC" => rbac.clone(),
                "ABAC" => {
                    let file = config.authorization_policy_file.as_deref().ok_or(ModeError::NoPolicyFile)?;
                    Arc::new(Abac::open(file).map_err(ModeError::Abac)?)
                }
                "AlwaysAllow" => Arc::new(AlwaysAllow),
                "AlwaysDeny" => Arc::new(AlwaysDeny),
                _ => return Err(ModeError::Unknown(name.clone())),
            });
        }
        if modes.is_empty() {
            return Err(ModeError::None);
        }
        if config.authorization_policy_file.is_some() && !names.iter().any(|name| name == "ABAC") {
            return Err(ModeError::NoAbac);
        }
        Ok(Self(Arc::new(Inner { modes, rbac })))
    }

    /// The decision and its reason in words. [`Authorizer::allows`] is cheaper where the reason is of no interest.
    pub fn authorize(&self, attributes: &Attributes) -> (Decision, String) {
        if attributes.user.in_group(MASTERS_GROUP) {
            return (Decision::Allow, String::new());
        }
        let mut reasons = Vec::new();
        for mode in &self.0.modes {
            let (decision, reason) = mode.authorize(attributes);
            if decision != Decision::NoOpinion {
                return (decision, reason);
            }
            if !reason.is_empty() {
                reasons.push(reason);
            }
        }
        (Decision::NoOpinion, reasons.join("\n"))
    }

    pub fn allows(&self, attributes: &Attributes) -> bool {
        if attributes.user.in_group(MASTERS_GROUP) {
            return true;
        }
        let mut decisions = self.0.modes.iter().map(|mode| mode.decide(attributes));
        decisions.find(|decision| *decision != Decision::NoOpinion) == Some(Decision::Allow)
    }

    /// Allows, or the answer 403 that a request with these attributes gets.
    pub fn check(&self, attributes: &Attributes) -> Result<(), Status> {
        if self.allows(attributes) {
            return Ok(());
        }
        let (_, reason) = self.authorize(attributes);
        Err(forbidden(attributes, &reason))
    }

    /// The rules that apply to a user in a namespace ("" is the cluster's), as far as the modes can tell.
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> UserRules {
        let mut all = UserRules { rules: Vec::new(), errors: Vec::new(), incomplete: false };
        for mode in &self.0.modes {
            let (rules, errors, incomplete) = mode.rules_for(user, namespace);
            all.rules.extend(rules);
            all.errors.extend(errors);
            all.incomplete |= incomplete;
        }
        all
    }

    /// What the roles bound to a user grant, whichever modes decide requests.
    pub(super) fn granted(&self, user: &UserInfo, namespace: &str) -> (Vec<PolicyRule>, Vec<String>) {
        self.0.rbac.granted(user, namespace)
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
