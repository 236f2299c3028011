//! The policy that a cluster starts with, as v1.36 has it, and how it is kept up to date: objects that lack are created,
//! rights and subjects that lack are added, unless the object's annotation says that it is not to be touched.

mod apply;
mod bindings;
mod component_roles;
mod controller_roles;
mod declare;
mod reconcile;
mod user_roles;

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

pub use apply::apply;
use declare::Subject;
pub use reconcile::{Write, plan};

/// The annotation that says whether the server may amend an object of the policy.
pub const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// All ClusterRoles.
pub fn cluster_roles() -> Vec<Value> {
    let own = [user_roles::ROLES, component_roles::ROLES].into_iter().flatten();
    let own = own.map(|role| role.to_value("", None));
    own.chain(controller_roles::ROLES.iter().map(|role| role.to_value(controller_roles::PREFIX, None))).collect()
}

/// All ClusterRoleBindings.
pub fn cluster_role_bindings() -> Vec<Value> {
    let controllers = controller_roles::ROLES.iter().map(|role| {
        let name = format!("{}{}", controller_roles::PREFIX, role.name);
        declare::binding(&name, &name, None, &[Subject::ServiceAccount(role.name)])
    });
    bindings::CLUSTER.iter().map(|binding| binding.to_value(None)).chain(controllers).collect()
}

/// All Roles.
pub fn roles() -> Vec<Value> {
    bindings::ROLES.iter().map(|(namespace, role)| role.to_value("", Some(namespace))).collect()
}

/// All RoleBindings.
pub fn role_bindings() -> Vec<Value> {
    bindings::BINDINGS.iter().map(|(namespace, binding)| binding.to_value(Some(namespace))).collect()
}

/// What a kubelet may do at most.
pub(super) fn node_rules() -> Vec<PolicyRule> {
    let role = component_roles::ROLES.iter().find(|role| role.name == "system:node");
    role.and_then(|role| serde_json::from_value(role.rules_value()).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
