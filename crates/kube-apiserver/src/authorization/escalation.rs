//! Nobody grants what they do not have: writes of roles and bindings are checked against what the writer may do.

use k8s_openapi::api::rbac::v1::PolicyRule;
use machinery::gvk::GroupResource;
use machinery::status::Status;
use serde_json::Value;

use super::{Attributes, Authorizer, GROUP, rules};
use crate::UserInfo;
use crate::user::MASTERS_GROUP;

/// Checks the creation (`old` is `None`) or update of an object of `rbac.authorization.k8s.io`; `resource` is its
/// plural. Other resources pass.
///
/// To write a role one needs everything it grants, or the verb `escalate` on it; to write a binding everything the
/// bound role grants, or the verb `bind` on that role.
pub async fn check(
    authorizer: &Authorizer,
    user: &UserInfo,
    resource: &str,
    namespace: &str,
    new: &Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let is_role = match resource {
        "roles" | "clusterroles" => true,
        "rolebindings" | "clusterrolebindings" => false,
        _ => return Ok(()),
    };
    if user.in_group(MASTERS_GROUP) || old.is_some_and(|old| differs_for_garbage_collection_only(new, old)) {
        return Ok(());
    }
    let name = new.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let check = Check { authorizer, user, resource, namespace, name };
    if is_role { check.role(new, old).await } else { check.binding(new).await }
}

struct Check<'a> {
    authorizer: &'a Authorizer,
    user: &'a UserInfo,
    resource: &'a str,
    namespace: &'a str,
    name: &'a str,
}

impl Check<'_> {
    async fn role(&self, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        if self.may("escalate", self.resource, self.name).await {
            return Ok(());
        }
        self.holds(&rules_of(new)?).map_err(|message| self.forbidden(message))?;
        let aggregates = |role: &Value| {
            role.pointer("/aggregationRule/clusterRoleSelectors")
                .and_then(Value::as_array)
                .is_some_and(|s| !s.is_empty())
        };
        if aggregates(new) || old.is_some_and(aggregates) {
            // An aggregate can gather anything, so only who may do anything may make one.
            let everything = [full_access(), full_paths()];
            let message = "must have cluster-admin privileges to use the aggregationRule";
            self.holds(&everything).map_err(|_| self.forbidden(message.to_owned()))?;
        }
        Ok(())
    }

    async fn binding(&self, new: &Value) -> Result<(), Status> {
        let text = |pointer| new.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let (role_kind, role) = (text("/roleRef/kind"), text("/roleRef/name"));
        let role_resource = if role_kind == "Role" { "roles" } else { "clusterroles" };
        if self.may("bind", role_resource, role).await {
            return Ok(());
        }
        let Some(rules) = self.authorizer.role_rules(self.namespace, role_kind, role) else {
            return Err(Status::not_found(&self.group_resource(), role));
        };
        self.holds(&rules).map_err(|message| self.forbidden(message))
    }

    async fn may(&self, verb: &str, resource: &str, name: &str) -> bool {
        let mut attributes = Attributes::resource(self.user, verb, GROUP, resource);
        (attributes.namespace, attributes.name) = (self.namespace, name);
        self.authorizer.allows(&attributes).await
    }

    fn holds(&self, wanted: &[PolicyRule]) -> Result<(), String> {
        let (owned, errors) = self.authorizer.granted(self.user, self.namespace);
        let missing = rules::not_covered(&owned, wanted);
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<String> = missing.iter().map(rules::describe).collect();
        let mut message = format!(
            "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
            machinery::go_text::quote(&self.user.name),
            rules::quoted_list(&self.user.groups),
            missing.join("\n")
        );
        if !errors.is_empty() {
            message += &format!("; resolution errors: {}", rules::quoted_list(&errors));
        }
        Err(message)
    }

    fn forbidden(&self, message: String) -> Status {
        Status::forbidden(&self.group_resource(), self.name, message)
    }

    fn group_resource(&self) -> GroupResource {
        GroupResource { group: GROUP.into(), resource: self.resource.into() }
    }
}

fn rules_of(role: &Value) -> Result<Vec<PolicyRule>, Status> {
    match role.get("rules") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(rules) => {
            serde_json::from_value(rules.clone()).map_err(|error| Status::bad_request(format!("rules: {error}")))
        }
    }
}

fn full_access() -> PolicyRule {
    let all = || vec!["*".to_owned()];
    PolicyRule { api_groups: Some(all()), resources: Some(all()), verbs: all(), ..PolicyRule::default() }
}

fn full_paths() -> PolicyRule {
    let all = || vec!["*".to_owned()];
    PolicyRule { non_resource_urls: Some(all()), verbs: all(), ..PolicyRule::default() }
}

/// The garbage collector may take owners and finalizers off what it could not have granted.
fn differs_for_garbage_collection_only(new: &Value, old: &Value) -> bool {
    let without = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            for field in ["ownerReferences", "finalizers", "managedFields", "resourceVersion"] {
                metadata.remove(field);
            }
        }
        object
    };
    new != old && without(new) == without(old)
}
