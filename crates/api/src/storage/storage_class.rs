//! StorageClass: a way to get volumes, by name: who makes them, of what sort, and when.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::TopologySelectorTerm;
use k8s_openapi::api::storage::v1::StorageClass;
use machinery::field::{Error, ErrorList, Path};

use super::{GROUP, parameters, provisioner, v1beta1};
use crate::kind::{Column, Kind, Version};
use crate::value::{boolean, text};
use crate::{cells, checks, names};

const SCHEMA: &str = "io.k8s.api.storage.v1.StorageClass";
const RECLAIM_POLICIES: &[&str] = &["Delete", "Retain"];
const BINDING_MODES: &[&str] = &["Immediate", "WaitForFirstConsumer"];
/// Set to "true" on the class that claims without one get.
pub const DEFAULT_ANNOTATIONS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "StorageClass",
    list_kind: "StorageClassList",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    namespaced: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        v1beta1(SCHEMA, "1.19", "1.22", "storage.k8s.io/v1 StorageClass", |_| {}),
    ],
    columns: COLUMNS,
    cells: |v, now| {
        let is_default = v
            .pointer("/metadata/annotations")
            .is_some_and(|all| DEFAULT_ANNOTATIONS.iter().any(|key| all[*key].as_str() == Some("true")));
        let name = text(v, "/metadata/name");
        vec![
            if is_default { format!("{name} (default)").into() } else { name.into() },
            text(v, "/provisioner").into(),
            cell_or(text(v, "/reclaimPolicy"), "Delete"),
            cell_or(text(v, "/volumeBindingMode"), "<unset>"),
            boolean(v, "/allowVolumeExpansion").into(),
            cells::age(v, now),
        ]
    },
    hooks: hooks!(
        StorageClass,
        false,
        names::subdomain,
        full {
            default: |class| {
                class.reclaim_policy.get_or_insert_with(|| "Delete".to_string());
                class.volume_binding_mode.get_or_insert_with(|| "Immediate".to_string());
            },
            validate: validate,
            validate_update: validate_update,
            warnings: topology_warnings,
        }
    ),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Provisioner", "string", 0, "provisioner indicates the type of the provisioner."),
    Column::new(
        "ReclaimPolicy",
        "string",
        0,
        "reclaimPolicy controls the reclaimPolicy for dynamically provisioned PersistentVolumes of this storage class. Defaults to Delete.",
    ),
    Column::new(
        "VolumeBindingMode",
        "string",
        0,
        "volumeBindingMode indicates how PersistentVolumeClaims should be provisioned and bound.  When unset, VolumeBindingImmediate is used. This field is only honored by servers that enable the VolumeScheduling feature.",
    ),
    Column::new(
        "AllowVolumeExpansion",
        "string",
        0,
        "allowVolumeExpansion shows whether the storage class allow volume expand.",
    ),
    Column::AGE,
];

fn cell_or(value: &str, absent: &str) -> serde_json::Value {
    if value.is_empty() { absent.into() } else { value.into() }
}

fn validate(class: &StorageClass) -> ErrorList {
    let mut errors = provisioner(&class.provisioner, &Path::new("provisioner"));
    errors.extend(parameters(class.parameters.as_ref(), true, &Path::new("parameters")));
    if let Some(policy) = class.reclaim_policy.as_deref().filter(|p| !p.is_empty() && !RECLAIM_POLICIES.contains(p)) {
        errors.push(Error::not_supported(&Path::new("reclaimPolicy"), policy, RECLAIM_POLICIES));
    }
    let path = Path::new("volumeBindingMode");
    match class.volume_binding_mode.as_deref() {
        None => errors.push(Error::required(&path, "")),
        Some(mode) if !BINDING_MODES.contains(&mode) => errors.push(Error::not_supported(&path, mode, BINDING_MODES)),
        Some(_) => {}
    }
    errors.extend(topologies(class.allowed_topologies.as_deref().unwrap_or(&[]), &Path::new("allowedTopologies")));
    errors
}

fn topologies(terms: &[TopologySelectorTerm], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut seen: Vec<BTreeMap<&str, BTreeSet<&str>>> = Vec::new();
    for (i, term) in terms.iter().enumerate() {
        let at = path.index(i);
        let list = at.child("matchLabelExpressions");
        let mut own: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (j, requirement) in term.match_label_expressions.iter().flatten().enumerate() {
            let at = list.index(j);
            let values_at = at.child("values");
            if requirement.values.is_empty() {
                errors.push(Error::required(&values_at, ""));
            }
            let mut values = BTreeSet::new();
            for (k, value) in requirement.values.iter().enumerate() {
                if !values.insert(value.as_str()) {
                    errors.push(Error::duplicate(&values_at.index(k), value));
                }
            }
            errors.extend(checks::qualified_name(&requirement.key, &at.child("key")));
            if own.contains_key(requirement.key.as_str()) {
                errors.push(Error::duplicate(&at.child("key"), &requirement.key));
            }
            own.insert(&requirement.key, values);
        }
        if seen.contains(&own) {
            errors.push(Error::duplicate(&list, ""));
        }
        seen.push(own);
    }
    errors
}

fn validate_update(new: &StorageClass, old: &StorageClass) -> ErrorList {
    let mut errors = validate(new);
    let frozen = |map: &Option<BTreeMap<String, String>>| map.clone().unwrap_or_default();
    if frozen(&new.parameters) != frozen(&old.parameters) {
        errors.push(Error::invalid(&Path::new("parameters"), &new.parameters, "field is immutable"));
    }
    errors.extend(checks::immutable(&new.provisioner, &old.provisioner, &Path::new("provisioner")));
    errors.extend(checks::immutable(&new.reclaim_policy, &old.reclaim_policy, &Path::new("reclaimPolicy")));
    errors.extend(checks::immutable(
        &new.volume_binding_mode,
        &old.volume_binding_mode,
        &Path::new("volumeBindingMode"),
    ));
    errors
}

/// Node labels that were renamed long ago.
fn topology_warnings(class: &StorageClass, old: Option<&StorageClass>) -> Vec<String> {
    if old.is_some() {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    for (i, term) in class.allowed_topologies.iter().flatten().enumerate() {
        for (j, requirement) in term.match_label_expressions.iter().flatten().enumerate() {
            if let Some(words) = crate::core::pod::warnings::old_label(&requirement.key) {
                warnings.push(format!("allowedTopologies[{i}].matchLabelExpressions[{j}].key: {words}"));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn class(value: serde_json::Value) -> StorageClass {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_topology_named_twice_is_refused_where_it_stands_again() {
        let term = json!({"matchLabelExpressions": [{"key": "zone", "values": ["b", "a"]}]});
        let again = json!({"matchLabelExpressions": [{"key": "zone", "values": ["a", "b"]}]});
        let class =
            class(json!({"provisioner": "p", "volumeBindingMode": "Immediate", "allowedTopologies": [term, again]}));
        let texts: Vec<String> = validate(&class).iter().map(Error::to_string).collect();
        assert_eq!(texts, ["allowedTopologies[1].matchLabelExpressions: Duplicate value: \"\""]);
    }

    #[test]
    fn the_default_class_says_so_in_its_row() {
        let row = (KIND.cells)(
            &json!({"metadata": {"name": "x", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}),
            jiff::Timestamp::UNIX_EPOCH,
        );
        assert_eq!(row[0], "x (default)");
        assert_eq!(row[2], "Delete");
    }
}
