//! Role: what may be done in one namespace.

use k8s_openapi::api::rbac::v1::Role;

use super::{GROUP, rules, versions};
use crate::kind::{Column, Kind};
use crate::{cells, names};

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "Role",
    list_kind: "RoleList",
    plural: "roles",
    singular: "role",
    versions: &versions("io.k8s.api.rbac.v1.Role", "rbac.authorization.k8s.io/v1 Role"),
    create_on_update: true,
    columns: &[Column::NAME, Column::CREATED_AT],
    cells: |v, _| vec![cells::name(v), cells::created_at(v)],
    hooks: hooks!(
        Role,
        true,
        names::path_segment,
        full {
            validate: |role| rules::validate(role.rules.as_deref(), true),
            validate_update: |new: &Role, _old: &Role| rules::validate(new.rules.as_deref(), true),
        }
    ),
    ..Kind::BASE
};
