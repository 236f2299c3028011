//! PersistentVolumeClaim: so much storage of such a class, please; once bound, the volume that a pod mounts by this name.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, PersistentVolumeClaimSpec};
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Value, json};

use super::persistent_volume::{CLASS_ANNOTATION, access_modes, attributes_class_stays, class, phase, unset};
use crate::core::pod::volumes;
use crate::internal::{self, diff};
use crate::kind::{Column, Kind, Version};
use crate::value::{list, semantically_equal, text};
use crate::{cells, checks, names, strategy};

const SPEC: &str = "io.k8s.api.core.v1.PersistentVolumeClaimSpec";
const IMMUTABLE: &str =
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
const RESIZE_STATES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizePending",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
];

pub static KIND: Kind = Kind {
    kind: "PersistentVolumeClaim",
    list_kind: "PersistentVolumeClaimList",
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    status: true,
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.PersistentVolumeClaim")],
    columns: COLUMNS,
    cells: |v, now| {
        let bound = !text(v, "/spec/volumeName").is_empty();
        vec![
            cells::name(v),
            phase(v),
            text(v, "/spec/volumeName").into(),
            if bound { text(v, "/status/capacity/storage").into() } else { "".into() },
            if bound { access_modes(list(v, "/status/accessModes")).into() } else { "".into() },
            class(v).into(),
            unset(text(v, "/spec/volumeAttributesClassName")),
            cells::age(v, now),
            unset(text(v, "/spec/volumeMode")),
        ]
    },
    hooks: hooks!(
        PersistentVolumeClaim,
        true,
        names::subdomain,
        full {
            default: |claim| {
                claim.status.get_or_insert_default().phase.get_or_insert_with(|| "Pending".to_string());
                default_spec(claim.spec.get_or_insert_default());
            },
            prepare_create: |claim: &mut Value| {
                claim["status"] = json!({"phase": "Pending"});
                data_sources(claim, None);
            },
            validate: validate,
            prepare_update: |new: &mut Value, old: &Value| {
                strategy::keep_status(new, old);
                data_sources(new, Some(old));
            },
            validate_update: validate_update,
            prepare_status_update: strategy::update_status,
            validate_status_update: |new: &PersistentVolumeClaim, _old: &PersistentVolumeClaim| validate_status(new),
            warnings: |new, _old| warnings(new),
        }
    ),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Status", "string", 0, "phase represents the current phase of PersistentVolumeClaim."),
    Column::new(
        "Volume",
        "string",
        0,
        "volumeName is the binding reference to the PersistentVolume backing this claim.",
    ),
    Column::new("Capacity", "string", 0, "capacity represents the actual resources of the underlying volume."),
    Column::new(
        "Access Modes",
        "string",
        0,
        "accessModes contains the actual access modes the volume backing the PVC has. More info: https://kubernetes.io/docs/concepts/storage/persistent-volumes#access-modes-1",
    ),
    Column::new("StorageClass", "string", 0, "StorageClass of the pvc"),
    Column::new("VolumeAttributesClass", "string", 0, "VolumeAttributesClass of the pvc"),
    Column::AGE,
    Column::new(
        "VolumeMode",
        "string",
        1,
        "volumeMode defines what type of volume is required by the claim. Value of Filesystem is implied when not included in claim spec.",
    ),
];

/// Also of a claim template.
pub fn default_spec(spec: &mut PersistentVolumeClaimSpec) {
    spec.volume_mode.get_or_insert_with(|| "Filesystem".to_string());
}

/// `dataSource` and `dataSourceRef` say the same in two ways: the older one only ever holds a claim or a snapshot, and each
/// is filled in from the other. A claim that already has a source keeps what it says.
fn data_sources(claim: &mut Value, old: Option<&Value>) {
    let old_uses = old.is_some_and(|old| {
        ["/spec/dataSource", "/spec/dataSourceRef"].iter().any(|p| old.pointer(p).is_some_and(|s| !s.is_null()))
    });
    let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let given = |spec: &serde_json::Map<String, Value>, field: &str| spec.get(field).filter(|s| !s.is_null()).cloned();
    if !old_uses {
        if let Some(reference) = spec.get_mut("dataSourceRef").and_then(Value::as_object_mut) {
            // Claims over namespaces are not switched on.
            reference.shift_remove("namespace");
        }
        let is_known = |source: &Value| match text(source, "/apiGroup") {
            "" => text(source, "/kind") == "PersistentVolumeClaim",
            "snapshot.storage.k8s.io" => text(source, "/kind") == "VolumeSnapshot",
            _ => false,
        };
        if given(spec, "dataSource").is_some_and(|source| !is_known(&source)) {
            spec.shift_remove("dataSource");
        }
    }
    match (given(spec, "dataSource"), given(spec, "dataSourceRef")) {
        (Some(source), None) => drop(spec.insert("dataSourceRef".to_string(), source)),
        (None, Some(reference)) if text(&reference, "/namespace").is_empty() => {
            drop(spec.insert("dataSource".to_string(), reference));
        }
        _ => {}
    }
}

fn validate(claim: &PersistentVolumeClaim) -> ErrorList {
    let spec = claim.spec.clone().unwrap_or_default();
    let path = Path::new("spec");
    let mut errors = volumes::claim_spec(&spec, &path);
    if let Some(source) = &spec.data_source {
        let group = source.api_group.as_deref();
        errors.extend(data_source(&source.kind, &source.name, group, &path.child("dataSource")));
    }
    if let Some(source) = &spec.data_source_ref {
        let group = source.api_group.as_deref();
        errors.extend(data_source(&source.kind, &source.name, group, &path.child("dataSourceRef")));
    }
    if let (Some(a), Some(b)) = (&spec.data_source, &spec.data_source_ref)
        && (&a.kind, &a.name, &a.api_group) != (&b.kind, &b.name, &b.api_group)
    {
        errors.push(Error::invalid(&path, path.child("dataSource").to_string(), "must match dataSourceRef"));
    }
    if let Some(class) = spec.volume_attributes_class_name.as_deref().filter(|class| !class.is_empty()) {
        errors.extend(checks::dns_subdomain(class, &path.child("volumeAttributesClassName")));
    }
    errors
}

fn data_source(kind: &str, name: &str, group: Option<&str>, path: &Path) -> ErrorList {
    let mut errors = volumes::required(path, &[("name", name), ("kind", kind)]);
    match group.unwrap_or("") {
        "" if kind != "PersistentVolumeClaim" => {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(Error::invalid(path, kind, detail));
        }
        "" => {}
        group => errors.extend(checks::dns_subdomain(group, &path.child("apiGroup"))),
    }
    errors
}

fn validate_update(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) -> ErrorList {
    let mut errors = validate(new);
    let spec = |claim: &PersistentVolumeClaim| claim.spec.clone().unwrap_or_default();
    let (new_spec, old_spec) = (spec(new), spec(old));
    errors.extend(frozen(new, &new_spec, old, &old_spec));
    let size = |spec: &PersistentVolumeClaimSpec| {
        let requests = spec.resources.as_ref().and_then(|r| r.requests.as_ref());
        requests.and_then(|r| r.get("storage")).and_then(checks::quantity)
    };
    let capacity = old.status.as_ref().and_then(|s| s.capacity.as_ref()).and_then(|c| c.get("storage"));
    if let (Some(now), Some(before)) = (size(&new_spec), size(&old_spec))
        && now < before
        && capacity.and_then(checks::quantity).is_some_and(|capacity| now < capacity)
    {
        // A claim may shrink again as far as nothing has been grown for it yet.
        let path = Path::new("spec.resources.requests.storage");
        errors.push(Error::forbidden(&path, "field can not be less than status.capacity"));
    }
    errors.extend(checks::immutable(&new_spec.volume_mode, &old_spec.volume_mode, &Path::new("volumeMode")));
    errors.extend(attributes_class_stays(
        new_spec.volume_attributes_class_name.as_deref(),
        old_spec.volume_attributes_class_name.as_deref(),
    ));
    errors
}

/// What may change of a spec: the volume's name once; the size and the attributes of a bound claim; a class that only the
/// annotation had, or that was never said.
fn frozen(
    new: &PersistentVolumeClaim,
    new_spec: &PersistentVolumeClaimSpec,
    old: &PersistentVolumeClaim,
    old_spec: &PersistentVolumeClaimSpec,
) -> Option<Error> {
    let (mut munged, mut before) = (new_spec.clone(), old_spec.clone());
    if old_spec.volume_name.as_deref().unwrap_or("").is_empty() {
        before.volume_name.clone_from(&munged.volume_name);
    }
    let annotation = |claim: &PersistentVolumeClaim| {
        claim.metadata.annotations.as_ref().and_then(|all| all.get(CLASS_ANNOTATION)).cloned()
    };
    let from_annotation = annotation(old).is_some_and(|class| {
        old_spec.storage_class_name.is_none()
            && annotation(new).is_none_or(|kept| kept == class)
            && new_spec.storage_class_name.as_ref() == Some(&class)
    });
    let from_nothing = old_spec.storage_class_name.is_none()
        && annotation(old).is_none()
        && new_spec.storage_class_name.is_some()
        && old_spec.volume_name.as_deref().unwrap_or("").is_empty();
    if from_annotation || from_nothing {
        munged.storage_class_name = None;
    }
    if new.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound") {
        let requests = |spec: &PersistentVolumeClaimSpec| spec.resources.as_ref().and_then(|r| r.requests.clone());
        if let (Some(resources), Some(mut now)) = (munged.resources.as_mut(), requests(new_spec)) {
            if let Some(size) = requests(old_spec).and_then(|r| r.get("storage").cloned()) {
                now.insert("storage".to_string(), size);
            }
            resources.requests = Some(now);
        }
        munged.volume_attributes_class_name.clone_from(&before.volume_attributes_class_name);
    }
    let json = |spec: &PersistentVolumeClaimSpec| serde_json::to_value(spec).unwrap_or(Value::Null);
    if semantically_equal(Some(&json(&munged)), Some(&json(&before))) {
        return None;
    }
    let texts = (internal::shown(SPEC, &before), internal::shown(SPEC, &munged));
    let difference = diff::unified(&internal::pretty(&texts.0), &internal::pretty(&texts.1));
    Some(Error::forbidden(&Path::new("spec"), format!("{IMMUTABLE}\n{difference}")))
}

fn validate_status(claim: &PersistentVolumeClaim) -> ErrorList {
    let mut errors = ErrorList::new();
    if claim.metadata.resource_version.as_deref().unwrap_or("").is_empty() {
        errors.push(Error::required(&Path::new("resourceVersion"), ""));
    }
    if claim.spec.as_ref().and_then(|s| s.access_modes.as_ref()).is_none_or(Vec::is_empty) {
        errors.push(Error::required(&Path::new("Spec.accessModes"), ""));
    }
    let Some(status) = &claim.status else { return errors };
    let path = Path::new("status");
    let at = path.child("capacity");
    for (resource, amount) in status.capacity.iter().flatten() {
        errors.extend(basic_amount(amount, &at.key(resource)));
    }
    let at = path.child("allocatedResourceStatuses");
    for (resource, state) in status.allocated_resource_statuses.iter().flatten() {
        errors.extend(claim_resource(resource, &at));
        if !RESIZE_STATES.contains(&state.as_str()) {
            errors.push(Error::not_supported(&at.key(resource), state, RESIZE_STATES));
        }
    }
    let at = path.child("allocatedResources");
    for (resource, amount) in status.allocated_resources.iter().flatten() {
        errors.extend(claim_resource(resource, &at));
        errors.extend(basic_amount(amount, &at.key(resource)));
    }
    errors
}

fn basic_amount(amount: &k8s_openapi::apimachinery::pkg::api::resource::Quantity, path: &Path) -> Option<Error> {
    let value = checks::quantity(amount)?.value();
    (value < 0).then(|| Error::invalid(path, value, "must be a valid resource quantity"))
}

/// `storage`, or a qualified name of somebody else's domain.
fn claim_resource(resource: &str, path: &Path) -> ErrorList {
    if resource == "storage" {
        return ErrorList::new();
    }
    let mut errors = checks::qualified_name(resource, path);
    if !resource.contains('/') {
        errors.push(Error::not_supported(path, resource, &["storage"]));
    }
    errors
}

fn warnings(claim: &PersistentVolumeClaim) -> Vec<String> {
    let mut warnings = Vec::new();
    if claim.metadata.annotations.as_ref().is_some_and(|all| all.contains_key(CLASS_ANNOTATION)) {
        warnings.push(format!(
            "metadata.annotations[{CLASS_ANNOTATION}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
        ));
    }
    let requests = claim.spec.as_ref().and_then(|s| s.resources.as_ref()).and_then(|r| r.requests.as_ref());
    if let Some(size) = requests.and_then(|r| r.get("storage"))
        && checks::quantity(size).is_some_and(|q| !q.is_integer())
    {
        let shown = checks::shown(size);
        warnings.push(format!(
            "spec.resources.requests[storage]: fractional byte value {shown:?} is invalid, must be an integer"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(spec: Value, status: Value) -> PersistentVolumeClaim {
        let object = json!({"metadata": {"name": "c", "resourceVersion": "1"}, "spec": spec, "status": status});
        serde_json::from_value(object).unwrap()
    }

    fn spec(size: &str, more: Value) -> Value {
        let mut spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}});
        spec.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        spec
    }

    #[test]
    fn a_volume_is_named_once_and_a_class_given_late() {
        let free = claim(spec("1Gi", json!({})), json!({"phase": "Pending"}));
        let bound =
            claim(spec("1Gi", json!({"volumeName": "v", "storageClassName": "s"})), json!({"phase": "Pending"}));
        assert_eq!(validate_update(&bound, &free), []);
        let other =
            claim(spec("1Gi", json!({"volumeName": "w", "storageClassName": "s"})), json!({"phase": "Pending"}));
        assert_eq!(validate_update(&other, &bound).len(), 1);
    }

    #[test]
    fn a_bound_claim_grows_and_shrinks_to_what_it_has() {
        let status = json!({"phase": "Bound", "capacity": {"storage": "2Gi"}});
        let at = |size: &str| claim(spec(size, json!({"volumeName": "v"})), status.clone());
        assert_eq!(validate_update(&at("5Gi"), &at("2Gi")), []);
        assert_eq!(validate_update(&at("2048Mi"), &at("5Gi")), []);
        let texts: Vec<String> = validate_update(&at("1Gi"), &at("5Gi")).iter().map(Error::to_string).collect();
        assert_eq!(texts, ["spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"]);
    }

    #[test]
    fn the_two_data_sources_are_one() {
        let prepared = |spec: Value| {
            let mut claim = json!({"spec": spec});
            data_sources(&mut claim, None);
            claim["spec"].clone()
        };
        let snapshot = json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"});
        assert_eq!(prepared(json!({"dataSource": snapshot}))["dataSourceRef"], snapshot);
        assert_eq!(prepared(json!({"dataSourceRef": snapshot}))["dataSource"], snapshot);
        let foreign = json!({"apiGroup": "example.com", "kind": "Thing", "name": "t"});
        assert_eq!(prepared(json!({"dataSource": foreign})), json!({}));
    }
}
