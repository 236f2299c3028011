//! StorageClass: a name for a way of making volumes. What makes them, how and when is settled with the class.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{TopologySelectorLabelRequirement, TopologySelectorTerm};
use k8s_openapi::api::storage::v1::StorageClass;
use machinery::field::{Error, ErrorList, Path};

use crate::kind::{Column, Deprecated, Kind, Version};
use crate::value::{boolean, text};
use crate::{cells, checks, names};

const SCHEMA: &str = "io.k8s.api.storage.v1.StorageClass";
const RECLAIM_POLICIES: &[&str] = &["Delete", "Retain"];
const BINDING_MODES: &[&str] = &["Immediate", "WaitForFirstConsumer"];
/// How many parameters a class may have.
const PARAMETERS_MAX: usize = 512;
/// How long their keys and values may be together.
const PARAMETERS_SIZE_MAX_BYTES: usize = 256 * 1024;

pub static KIND: Kind = Kind {
    group: "storage.k8s.io",
    kind: "StorageClass",
    list_kind: "StorageClassList",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    namespaced: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            "storage.k8s.io",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.19", removed: Some("1.22"), replacement: "storage.k8s.io/v1 StorageClass" },
            |_| {},
        ),
    ],
    columns: &[
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
    ],
    cells: |v, now| {
        vec![
            default_marked(v),
            text(v, "/provisioner").into(),
            text(v, "/reclaimPolicy").into(),
            text(v, "/volumeBindingMode").into(),
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
                class.reclaim_policy.get_or_insert_with(|| "Delete".to_owned());
                class.volume_binding_mode.get_or_insert_with(|| "Immediate".to_owned());
            },
            validate: validate,
            validate_update: validate_update,
        }
    ),
    ..Kind::BASE
};

/// The name, with a word where claims that name no class get this one.
fn default_marked(object: &serde_json::Value) -> serde_json::Value {
    let annotations = object.pointer("/metadata/annotations");
    let is_default =
        ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"]
            .iter()
            .any(|key| annotations.and_then(|a| a.get(*key)).and_then(|v| v.as_str()) == Some("true"));
    match cells::name(object) {
        serde_json::Value::String(name) if is_default => format!("{name} (default)").into(),
        name => name,
    }
}

fn validate(class: &StorageClass) -> ErrorList {
    let mut errors = provisioner(&class.provisioner, &Path::new("provisioner"));
    errors.extend(parameters(class.parameters.as_ref(), &Path::new("parameters")));
    if let Some(policy) = class.reclaim_policy.as_deref().filter(|policy| !policy.is_empty()) {
        errors.extend(checks::one_of(Some(policy), RECLAIM_POLICIES, &Path::new("reclaimPolicy")));
    }
    errors.extend(checks::one_of(class.volume_binding_mode.as_deref(), BINDING_MODES, &Path::new("volumeBindingMode")));
    errors.extend(topologies(class.allowed_topologies.as_deref().unwrap_or(&[]), &Path::new("allowedTopologies")));
    errors
}

/// A qualified name, in whatever case.
fn provisioner(name: &str, path: &Path) -> ErrorList {
    if name.is_empty() {
        return vec![Error::required(path, "")];
    }
    checks::qualified_name(&name.to_lowercase(), path)
}

fn parameters(parameters: Option<&BTreeMap<String, String>>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let Some(parameters) = parameters else { return errors };
    if parameters.len() > PARAMETERS_MAX {
        errors.push(Error::too_long(path, "", PARAMETERS_MAX));
        return errors;
    }
    if parameters.contains_key("") {
        errors.push(Error::invalid(path, "", "field can not be empty."));
    }
    let size: usize = parameters.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > PARAMETERS_SIZE_MAX_BYTES {
        errors.push(Error::too_long(path, "", PARAMETERS_SIZE_MAX_BYTES));
    }
    errors
}

/// What a term asks for: for each label the values that it may have.
type Requirements<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

fn topologies(terms: &[TopologySelectorTerm], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut seen: Vec<Requirements> = Vec::new();
    for (i, term) in terms.iter().enumerate() {
        let item = path.index(i);
        let expressions = item.child("matchLabelExpressions");
        let mut requirements = Requirements::new();
        for (j, requirement) in term.match_label_expressions.iter().flatten().enumerate() {
            let at = expressions.index(j);
            errors.extend(values(requirement, &at.child("values")));
            let key = at.child("key");
            let wanted = requirement.values.iter().map(String::as_str).collect();
            if requirements.insert(&requirement.key, wanted).is_some() {
                errors.push(Error::duplicate(&key, &requirement.key));
            }
            errors.extend(checks::qualified_name(&requirement.key, &key));
        }
        if seen.contains(&requirements) {
            errors.push(Error::duplicate(&expressions, ""));
        }
        seen.push(requirements);
    }
    errors
}

fn values(requirement: &TopologySelectorLabelRequirement, path: &Path) -> ErrorList {
    if requirement.values.is_empty() {
        return vec![Error::required(path, "")];
    }
    checks::duplicates(&requirement.values).map(|(i, value)| Error::duplicate(&path.index(i), value)).collect()
}

fn validate_update(new: &StorageClass, old: &StorageClass) -> ErrorList {
    let mut errors = validate(new);
    errors.extend(checks::immutable(&new.parameters, &old.parameters, &Path::new("parameters")));
    errors.extend(checks::immutable(&new.provisioner, &old.provisioner, &Path::new("provisioner")));
    errors.extend(checks::immutable(&new.reclaim_policy, &old.reclaim_policy, &Path::new("reclaimPolicy")));
    errors.extend(checks::immutable(
        &new.volume_binding_mode,
        &old.volume_binding_mode,
        &Path::new("volumeBindingMode"),
    ));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn terms_repeat_whatever_the_order_of_their_values() {
        let terms = json!([
            {"matchLabelExpressions": [{"key": "z", "values": ["a", "b"]}]},
            {"matchLabelExpressions": [{"key": "z", "values": ["b", "a"]}]},
        ]);
        let terms: Vec<TopologySelectorTerm> = serde_json::from_value(terms).unwrap();
        let texts: Vec<String> = topologies(&terms, &Path::new("t")).iter().map(Error::to_string).collect();
        assert_eq!(texts, ["t[1].matchLabelExpressions: Duplicate value: \"\""]);
    }

    #[test]
    fn the_default_class_says_so() {
        let object = |value| json!({"metadata": {"name": "x", "annotations": {"storageclass.kubernetes.io/is-default-class": value}}});
        assert_eq!(default_marked(&object("true")), "x (default)");
        assert_eq!(default_marked(&object("false")), "x");
    }
}
