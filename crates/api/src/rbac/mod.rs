//! rbac.authorization.k8s.io: who may do what. Roles hold rules, bindings give a role to subjects; the kinds without
//! a namespace apply everywhere. The authorizer reads them, nothing else does.

mod binding;
mod rules;

pub mod cluster_role;
pub mod cluster_role_binding;
pub mod role;
pub mod role_binding;

use crate::kind::{Deprecated, Version};

/// The group of the roles, and of the subjects that are users or groups.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// Today's version, and the old one of the same shape.
const fn versions(schema: &'static str, replacement: &'static str) -> [Version; 2] {
    let deprecated = Deprecated { since: "1.17", removed: Some("1.22"), replacement };
    [Version::stored("v1", schema), Version::old(GROUP, "v1beta1", schema, deprecated, |_| {})]
}
