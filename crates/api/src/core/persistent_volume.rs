//! PersistentVolume: a piece of storage in the cluster, made by somebody or by a driver, that a claim can bind.

mod sources;

use k8s_openapi::api::core::v1::{NodeSelectorTerm, PersistentVolume, PersistentVolumeSpec, VolumeNodeAffinity};
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Map, Value, json};

use crate::core::pod::affinity;
use crate::internal::{self, diff};
use crate::kind::{Column, Kind, Version};
use crate::value::{list, semantically_equal, text};
use crate::{cells, checks, names, strategy};

pub const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
pub const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
/// Held the class before there was a field for it.
pub const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const RECLAIM_POLICIES: &[&str] = &["Delete", "Recycle", "Retain"];
const INLINE: &str = "may not be specified in the context of inline volumes";

pub static KIND: Kind = Kind {
    kind: "PersistentVolume",
    list_kind: "PersistentVolumeList",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    namespaced: false,
    status: true,
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.PersistentVolume")],
    columns: COLUMNS,
    cells: |v, now| {
        let claim = match v.pointer("/spec/claimRef") {
            Some(claim) if !claim.is_null() => format!("{}/{}", text(claim, "/namespace"), text(claim, "/name")),
            _ => String::new(),
        };
        vec![
            cells::name(v),
            text(v, "/spec/capacity/storage").into(),
            access_modes(list(v, "/spec/accessModes")).into(),
            text(v, "/spec/persistentVolumeReclaimPolicy").into(),
            phase(v),
            claim.into(),
            class(v).into(),
            unset(text(v, "/spec/volumeAttributesClassName")),
            text(v, "/status/reason").into(),
            cells::age(v, now),
            unset(text(v, "/spec/volumeMode")),
        ]
    },
    hooks: hooks!(
        PersistentVolume,
        false,
        names::subdomain,
        full {
            default: default,
            prepare_create: prepare_create,
            validate: validate,
            prepare_update: strategy::keep_status,
            validate_update: validate_update,
            prepare_status_update: strategy::update_status,
            validate_status_update: |_new: &PersistentVolume, _old: &PersistentVolume| ErrorList::new(),
            warnings: warnings,
        }
    ),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new(
        "Capacity",
        "string",
        0,
        "capacity is the description of the persistent volume's resources and capacity. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#capacity",
    ),
    Column::new(
        "Access Modes",
        "string",
        0,
        "accessModes contains all ways the volume can be mounted. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#access-modes",
    ),
    Column::new(
        "Reclaim Policy",
        "string",
        0,
        "persistentVolumeReclaimPolicy defines what happens to a persistent volume when released from its claim. Valid options are Retain (default for manually created PersistentVolumes), Delete (default for dynamically provisioned PersistentVolumes), and Recycle (deprecated). Recycle must be supported by the volume plugin underlying this PersistentVolume. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#reclaiming",
    ),
    Column::new(
        "Status",
        "string",
        0,
        "phase indicates if a volume is available, bound to a claim, or released by a claim. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#phase",
    ),
    Column::new(
        "Claim",
        "string",
        0,
        "claimRef is part of a bi-directional binding between PersistentVolume and PersistentVolumeClaim. Expected to be non-nil when bound. claim.VolumeName is the authoritative bind between PV and PVC. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#binding",
    ),
    Column::new("StorageClass", "string", 0, "StorageClass of the pv"),
    Column::new("VolumeAttributesClass", "string", 0, "VolumeAttributesClass of the pv"),
    Column::new(
        "Reason",
        "string",
        0,
        "reason is a brief CamelCase string that describes any failure and is meant for machine parsing and tidy display in the CLI.",
    ),
    Column::AGE,
    Column::new(
        "VolumeMode",
        "string",
        1,
        "volumeMode defines if a volume is intended to be used with a formatted filesystem or to remain in raw block state. Value of Filesystem is implied when not included in spec.",
    ),
];

/// The phase, unless the object is on its way out.
pub fn phase(object: &Value) -> Value {
    let deleting = object.pointer("/metadata/deletionTimestamp").is_some_and(|time| !time.is_null());
    if deleting { "Terminating".into() } else { text(object, "/status/phase").into() }
}

/// The class, from the annotation that came before the field or from the field.
pub fn class(object: &Value) -> &str {
    let annotation = object.pointer("/metadata/annotations").and_then(|all| all.get(CLASS_ANNOTATION));
    annotation.and_then(Value::as_str).unwrap_or_else(|| text(object, "/spec/storageClassName"))
}

pub fn unset(value: &str) -> Value {
    if value.is_empty() { "<unset>".into() } else { value.into() }
}

/// `RWO,ROX`: each mode once, in the order of the modes.
pub fn access_modes(modes: &[Value]) -> String {
    const SHORT: &[(&str, &str)] =
        &[("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP")];
    let has = |mode: &&(&str, &str)| modes.iter().any(|m| m.as_str() == Some(mode.0));
    SHORT.iter().filter(has).map(|(_, short)| *short).collect::<Vec<_>>().join(",")
}

fn default(volume: &mut PersistentVolume) {
    volume.status.get_or_insert_default().phase.get_or_insert_with(|| "Pending".to_string());
    let spec = volume.spec.get_or_insert_default();
    spec.persistent_volume_reclaim_policy.get_or_insert_with(|| "Retain".to_string());
    default_spec(spec);
}

/// The defaults of a volume that another object holds (a VolumeAttachment), too.
pub fn default_spec(spec: &mut PersistentVolumeSpec) {
    spec.volume_mode.get_or_insert_with(|| "Filesystem".to_string());
    sources::default(spec);
}

/// A new volume is nobody's yet. Its phase is as old as itself.
fn prepare_create(volume: &mut Value) {
    let created = volume.pointer("/metadata/creationTimestamp").cloned().filter(|time| !time.is_null());
    let mut status = Map::from_iter([("phase".to_string(), json!("Pending"))]);
    if let Some(created) = created {
        status.insert("lastPhaseTransitionTime".to_string(), created);
    }
    if let Some(volume) = volume.as_object_mut() {
        volume.insert("status".to_string(), Value::Object(status));
    }
}

fn validate(volume: &PersistentVolume) -> ErrorList {
    validate_spec(&volume.spec.clone().unwrap_or_default(), false, &Path::new("spec"))
}

/// A volume's spec; `inline` when it stands within another object.
pub fn validate_spec(spec: &PersistentVolumeSpec, inline: bool, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if inline {
        errors.extend(only_csi(spec, path));
    }
    errors.extend(modes(spec.access_modes.as_deref().unwrap_or(&[]), path));
    if !inline {
        errors.extend(capacity(spec, path));
    }
    errors.extend(reclaim_policy(spec, inline, path));
    errors.extend(node_affinity(spec.node_affinity.as_ref(), &path.child("nodeAffinity")));
    errors.extend(sources::validate(spec, path));
    let recycles = spec.persistent_volume_reclaim_policy.as_deref() == Some("Recycle");
    if recycles && spec.host_path.as_ref().is_some_and(|host| is_root(&host.path)) {
        let at = path.child("persistentVolumeReclaimPolicy");
        errors.push(Error::forbidden(&at, "may not be 'recycle' for a hostPath mount of '/'"));
    }
    if let Some(class) = spec.storage_class_name.as_deref().filter(|class| !class.is_empty()) {
        let at = path.child("storageClassName");
        if inline {
            errors.push(Error::forbidden(&at, INLINE));
        } else {
            errors.extend(checks::dns_subdomain(class, &at));
        }
    }
    if let Some(mode) = spec.volume_mode.as_deref() {
        let at = path.child("volumeMode");
        if inline && mode != "Filesystem" {
            errors.push(Error::forbidden(
                &at,
                "may not specify volumeMode other than Filesystem in the context of inline volumes",
            ));
        } else if !VOLUME_MODES.contains(&mode) {
            errors.push(Error::not_supported(&at, mode, VOLUME_MODES));
        }
    }
    if let Some(class) = spec.volume_attributes_class_name.as_deref() {
        let at = path.child("volumeAttributesClassName");
        if class.is_empty() {
            errors.push(Error::required(&at, "an empty string is disallowed"));
        } else {
            errors.extend(checks::dns_subdomain(class, &at));
        }
        if spec.csi.is_none() {
            errors
                .push(Error::required(&path.child("csi"), "has to be specified when using volumeAttributesClassName"));
        }
    }
    errors
}

fn only_csi(spec: &PersistentVolumeSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if spec.claim_ref.is_some() {
        errors.push(Error::forbidden(&path.child("claimRef"), INLINE));
    }
    if spec.capacity.as_ref().is_some_and(|capacity| !capacity.is_empty()) {
        errors.push(Error::forbidden(&path.child("capacity"), INLINE));
    }
    if spec.csi.is_none() {
        errors.push(Error::required(&path.child("csi"), "has to be specified in the context of inline volumes"));
    }
    errors
}

fn modes(modes: &[String], path: &Path) -> ErrorList {
    let at = path.child("accessModes");
    let mut errors = ErrorList::new();
    if modes.is_empty() {
        errors.push(Error::required(&at, ""));
    }
    for mode in modes.iter().filter(|mode| !ACCESS_MODES.contains(&mode.as_str())) {
        errors.push(Error::not_supported(&at, mode, ACCESS_MODES));
    }
    let single = |mode: &&String| mode.as_str() == "ReadWriteOncePod";
    if modes.iter().any(|mode| single(&mode)) && !modes.iter().all(|mode| single(&mode)) {
        errors.push(Error::forbidden(&at, "may not use ReadWriteOncePod with other access modes"));
    }
    errors
}

fn capacity(spec: &PersistentVolumeSpec, path: &Path) -> ErrorList {
    let at = path.child("capacity");
    let capacity = spec.capacity.clone().unwrap_or_default();
    let mut errors = ErrorList::new();
    if capacity.is_empty() {
        errors.push(Error::required(&at, ""));
    }
    if !capacity.contains_key("storage") || capacity.len() > 1 {
        errors.push(Error::not_supported(&at, &spec.capacity, &["storage"]));
    }
    for (resource, amount) in &capacity {
        let Some(quantity) = checks::quantity(amount) else { continue };
        let at = at.key(resource);
        if quantity.value() < 0 {
            errors.push(Error::invalid(&at, quantity.value(), "must be a valid resource quantity"));
        }
        if quantity.signum() <= 0 {
            errors.push(Error::invalid(&at, quantity.to_string(), "must be greater than zero"));
        }
    }
    errors
}

fn reclaim_policy(spec: &PersistentVolumeSpec, inline: bool, path: &Path) -> Option<Error> {
    let policy = spec.persistent_volume_reclaim_policy.as_deref().filter(|policy| !policy.is_empty())?;
    let at = path.child("persistentVolumeReclaimPolicy");
    if inline {
        let detail = "may only be Retain in the context of inline volumes";
        return (policy != "Retain").then(|| Error::forbidden(&at, detail));
    }
    (!RECLAIM_POLICIES.contains(&policy)).then(|| Error::not_supported(&at, policy, RECLAIM_POLICIES))
}

fn node_affinity(affinity: Option<&VolumeNodeAffinity>, path: &Path) -> ErrorList {
    let Some(affinity) = affinity else { return ErrorList::new() };
    match &affinity.required {
        Some(selector) => affinity::node_selector(selector, &path.child("required")),
        None => vec![Error::required(&path.child("required"), "must specify required node constraints")],
    }
}

/// Whether a path means the root of the file system, however it is written.
fn is_root(path: &str) -> bool {
    let mut depth = 0usize;
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.saturating_sub(1),
            _ => depth += 1,
        }
    }
    path.starts_with('/') && depth == 0
}

fn validate_update(new: &PersistentVolume, old: &PersistentVolume) -> ErrorList {
    let mut errors = validate(new);
    let spec = |volume: &PersistentVolume| volume.spec.clone().unwrap_or_default();
    let (new, old) = (spec(new), spec(old));
    let (new_source, old_source) = (sources::of(&new), sources::of(&old));
    if !semantically_equal(Some(&new_source), Some(&old_source)) {
        let texts = (sources::shown(&old_source), sources::shown(&new_source));
        let difference = diff::unified(&internal::pretty(&texts.0), &internal::pretty(&texts.1));
        let path = Path::new("spec");
        let detail = format!("spec.persistentvolumesource is immutable after creation\n{difference}");
        errors.push(Error::forbidden(&path.child("persistentvolumesource"), detail));
    }
    errors.extend(checks::immutable(&new.volume_mode, &old.volume_mode, &Path::new("volumeMode")));
    errors.extend(same_nodes(new.node_affinity.as_ref(), old.node_affinity.as_ref()));
    errors.extend(attributes_class_stays(
        new.volume_attributes_class_name.as_deref(),
        old.volume_attributes_class_name.as_deref(),
    ));
    errors
}

/// A volume (or claim) that has an attributes class changes to another one, never to none.
pub fn attributes_class_stays(new: Option<&str>, old: Option<&str>) -> Option<Error> {
    let detail = match (old, new) {
        (Some(_), None) => "update from non-nil value to nil is forbidden",
        (Some(old), Some("")) if !old.is_empty() => "update from non-nil value to an empty string is forbidden",
        _ => return None,
    };
    let path = Path::new("spec");
    Some(Error::forbidden(&path.child("volumeAttributesClassName"), detail))
}

/// Which nodes reach a volume is settled once it has been said; only old label names may become the new ones.
fn same_nodes(new: Option<&VolumeNodeAffinity>, old: Option<&VolumeNodeAffinity>) -> Option<Error> {
    let old = old?;
    let renamed = |affinity: &VolumeNodeAffinity| {
        let mut affinity = affinity.clone();
        for term in affinity.required.iter_mut().flat_map(|required| &mut required.node_selector_terms) {
            rename_labels(term);
        }
        affinity
    };
    let shown = |affinity: Option<&VolumeNodeAffinity>| match affinity {
        Some(affinity) => internal::shown("io.k8s.api.core.v1.VolumeNodeAffinity", affinity),
        None => Value::Null,
    };
    let same = new.is_some_and(|new| new == old || *new == renamed(old));
    let detail = "field is immutable, except for updating from beta label to GA";
    (!same).then(|| Error::invalid(&Path::new("nodeAffinity"), shown(new), detail))
}

fn rename_labels(term: &mut NodeSelectorTerm) {
    for requirement in term.match_expressions.iter_mut().flatten() {
        let now = match requirement.key.as_str() {
            "failure-domain.beta.kubernetes.io/zone" => "topology.kubernetes.io/zone",
            "failure-domain.beta.kubernetes.io/region" => "topology.kubernetes.io/region",
            "beta.kubernetes.io/instance-type" => "node.kubernetes.io/instance-type",
            "beta.kubernetes.io/os" => "kubernetes.io/os",
            "beta.kubernetes.io/arch" => "kubernetes.io/arch",
            _ => continue,
        };
        requirement.key = now.to_string();
    }
}

fn warnings(volume: &PersistentVolume, old: Option<&PersistentVolume>) -> Vec<String> {
    // An update that leaves the spec alone is nobody's fault.
    if old.is_some_and(|old| old.spec == volume.spec) {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    let annotations = volume.metadata.annotations.clone().unwrap_or_default();
    if annotations.contains_key(CLASS_ANNOTATION) {
        warnings.push(format!(
            "metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
    const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
    if annotations.contains_key(MOUNT_OPTIONS) {
        warnings.push(format!(
            "metadata.annotations[{MOUNT_OPTIONS}]: deprecated since v1.31; use \"mountOptions\" attribute instead"
        ));
    }
    let Some(spec) = &volume.spec else { return warnings };
    if spec.persistent_volume_reclaim_policy.as_deref() == Some("Recycle") {
        warnings.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".to_string());
    }
    warnings.extend(sources::warnings(spec));
    let terms = spec.node_affinity.iter().flat_map(|a| &a.required).flat_map(|r| &r.node_selector_terms);
    for (i, term) in terms.enumerate() {
        for (j, requirement) in term.match_expressions.iter().flatten().enumerate() {
            if let Some(words) = crate::core::pod::warnings::old_label(&requirement.key) {
                let at = "spec.nodeAffinity.required.nodeSelectorTerms";
                warnings.push(format!("{at}[{i}].matchExpressions[{j}].key: {} is {words}", requirement.key));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_has_many_names() {
        for (path, root) in [("/", true), ("//", true), ("/a/..", true), ("/./", true), ("/a", false), ("a/..", false)]
        {
            assert_eq!(is_root(path), root, "{path}");
        }
    }

    #[test]
    fn modes_are_shown_once_and_in_order() {
        let modes = [json!("ReadWriteMany"), json!("ReadWriteOnce"), json!("ReadWriteMany")];
        assert_eq!(access_modes(&modes), "RWO,RWX");
    }

    #[test]
    fn old_label_names_may_become_the_new_ones() {
        let affinity = |key: &str| -> VolumeNodeAffinity {
            let expression = json!({"key": key, "operator": "In", "values": ["a"]});
            serde_json::from_value(json!({"required": {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}))
                .unwrap()
        };
        let (beta, stable) =
            (affinity("failure-domain.beta.kubernetes.io/zone"), affinity("topology.kubernetes.io/zone"));
        assert_eq!(same_nodes(Some(&stable), Some(&beta)), None);
        assert!(same_nodes(Some(&beta), Some(&stable)).is_some());
        assert!(same_nodes(None, Some(&beta)).is_some());
        assert_eq!(same_nodes(None, None), None);
    }
}
