//! RoleBinding: gives a role to subjects within one namespace.

use k8s_openapi::api::rbac::v1::RoleBinding;
use machinery::field::ErrorList;

use super::{GROUP, binding, versions};
use crate::kind::{Column, Kind};
use crate::names;

const ROLES: &[&str] = &["Role", "ClusterRole"];

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "RoleBinding",
    list_kind: "RoleBindingList",
    plural: "rolebindings",
    singular: "rolebinding",
    versions: &versions("io.k8s.api.rbac.v1.RoleBinding", "rbac.authorization.k8s.io/v1 RoleBinding"),
    create_on_update: true,
    columns: &[
        Column::NAME,
        Column::new(
            "Role",
            "string",
            0,
            "RoleRef can reference a Role in the current namespace or a ClusterRole in the global namespace. If the RoleRef cannot be resolved, the Authorizer must return an error.",
        ),
        Column::AGE,
        Column::new("Users", "string", 1, "Users in the roleBinding"),
        Column::new("Groups", "string", 1, "Groups in the roleBinding"),
        Column::new("ServiceAccounts", "string", 1, "ServiceAccounts in the roleBinding"),
    ],
    cells: binding::row,
    hooks: hooks!(
        RoleBinding,
        true,
        names::path_segment,
        full {
            default: |b| binding::default(&mut b.role_ref, b.subjects.as_mut()),
            validate: validate,
            validate_update: validate_update,
        }
    ),
    ..Kind::BASE
};

fn validate(binding: &RoleBinding) -> ErrorList {
    binding::validate(&binding.role_ref, binding.subjects.as_deref(), ROLES, true)
}

fn validate_update(new: &RoleBinding, old: &RoleBinding) -> ErrorList {
    let mut errors = validate(new);
    errors.extend(binding::validate_role_kept(&new.role_ref, &old.role_ref));
    errors
}
