//! rbac.authorization.k8s.io: who may do what. Roles hold rules, bindings give a role to subjects; the kinds without
//! a namespace apply everywhere. The authorizer reads them, nothing else does.

mod binding;
mod rules;

pub mod cluster_role;
pub mod cluster_role_binding;
pub mod role;
pub mod role_binding;

/// The group of the roles, and of the subjects that are users or groups.
pub const GROUP: &str = "rbac.authorization.k8s.io";
