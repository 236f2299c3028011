//! ClusterRole: what may be done everywhere, or in a namespace whose binding names it. Its rules may be gathered from
//! other ClusterRoles by their labels; a controller fills them in.

use k8s_openapi::api::rbac::v1::{AggregationRule, ClusterRole};
use machinery::field::{Error, ErrorList, Path};
use machinery::labels::Selector;
use serde_json::Value;

use super::{GROUP, rules, versions};
use crate::kind::{Column, Kind};
use crate::{cells, checks, names};

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "ClusterRole",
    list_kind: "ClusterRoleList",
    plural: "clusterroles",
    singular: "clusterrole",
    namespaced: false,
    versions: &versions("io.k8s.api.rbac.v1.ClusterRole", "rbac.authorization.k8s.io/v1 ClusterRole"),
    create_on_update: true,
    columns: &[Column::NAME, Column::CREATED_AT],
    cells: |v, _| vec![cells::name(v), cells::created_at(v)],
    hooks: hooks!(
        ClusterRole,
        false,
        names::path_segment,
        full { validate: validate, validate_update: |new, _old| validate(new) }
    ),
    ..Kind::BASE
};

fn validate(role: &ClusterRole) -> ErrorList {
    let mut errors = rules::validate(role.rules.as_deref(), false);
    if let Some(rule) = &role.aggregation_rule {
        errors.extend(validate_aggregation(rule));
    }
    errors
}

fn validate_aggregation(rule: &AggregationRule) -> ErrorList {
    let path = Path::new("aggregationRule");
    let path = path.child("clusterRoleSelectors");
    let selectors = rule.cluster_role_selectors.as_deref().unwrap_or(&[]);
    if selectors.is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        return vec![Error::required(&path, detail)];
    }
    let mut errors = ErrorList::new();
    for (i, selector) in selectors.iter().enumerate() {
        let path = path.index(i);
        errors.extend(checks::label_selector(selector, &path));
        let usable = serde_json::to_value(selector).is_ok_and(|v| Selector::from_label_selector(&v).is_ok());
        if !usable {
            errors.push(Error::invalid(&path, Value::Null, "invalid label selector."));
        }
    }
    errors
}
