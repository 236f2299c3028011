//! ClusterRoleBinding: gives a ClusterRole to subjects everywhere.

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use machinery::field::ErrorList;

use super::{GROUP, binding, versions};
use crate::kind::{Column, Kind};
use crate::names;

const ROLES: &[&str] = &["ClusterRole"];

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "ClusterRoleBinding",
    list_kind: "ClusterRoleBindingList",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    namespaced: false,
    versions: &versions("io.k8s.api.rbac.v1.ClusterRoleBinding", "rbac.authorization.k8s.io/v1 ClusterRoleBinding"),
    create_on_update: true,
    columns: &[
        Column::NAME,
        Column::new(
            "Role",
            "string",
            0,
            "RoleRef can only reference a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the Authorizer must return an error.",
        ),
        Column::AGE,
        Column::new("Users", "string", 1, "Users in the clusterRoleBinding"),
        Column::new("Groups", "string", 1, "Groups in the clusterRoleBinding"),
        Column::new("ServiceAccounts", "string", 1, "ServiceAccounts in the clusterRoleBinding"),
    ],
    cells: binding::row,
    hooks: hooks!(
        ClusterRoleBinding,
        false,
        names::path_segment,
        full {
            default: |b| binding::default(&mut b.role_ref, b.subjects.as_mut()),
            validate: validate,
            validate_update: validate_update,
        }
    ),
    ..Kind::BASE
};

fn validate(binding: &ClusterRoleBinding) -> ErrorList {
    binding::validate(&binding.role_ref, binding.subjects.as_deref(), ROLES, false)
}

fn validate_update(new: &ClusterRoleBinding, old: &ClusterRoleBinding) -> ErrorList {
    let mut errors = validate(new);
    errors.extend(binding::validate_role_kept(&new.role_ref, &old.role_ref));
    errors
}
