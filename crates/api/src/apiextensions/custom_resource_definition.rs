//! CustomResourceDefinition: a kind that somebody defines. A controller of the API server accepts its names and serves it.
//!
//! What is wrong with a definition is said in terms of upstream's internal form, in which whatever all versions share
//! stands once at the top of the spec: hence paths such as `spec.validation.openAPIV3Schema` (see `spec`).

use machinery::field::{Error, ErrorList, Path};
use machinery::status::Status;
use serde_json::{Value, json};

use super::options::Options;
use super::spec::{self, Spec, texts};
use super::{approval, internal, names as own_names, v1beta1, warnings};
use crate::kind::{Column, Deprecated, FieldSelectorStyle, Hooks, Kind, Version};
use crate::value::{boolean, list, text};
use crate::{cells, erase, names, strategy};

/// The group of the kind.
pub const GROUP: &str = "apiextensions.k8s.io";
/// Holds a definition until its objects are gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "CustomResourceDefinition",
    list_kind: "CustomResourceDefinitionList",
    plural: "customresourcedefinitions",
    singular: "customresourcedefinition",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    namespaced: false,
    status: true,
    versions: &[
        Version::stored("v1", "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition"),
        Version {
            convert: Some(v1beta1::CONVERT),
            ..Version::old(
                GROUP,
                "v1beta1",
                "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1beta1.CustomResourceDefinition",
                Deprecated {
                    since: "1.16",
                    removed: Some("1.22"),
                    replacement: "apiextensions.k8s.io/v1 CustomResourceDefinition",
                },
                v1beta1::default,
            )
        },
    ],
    field_selector_style: FieldSelectorStyle::NotSupported,
    unconditional_update: false,
    generation: true,
    columns: &[Column::NAME, Column::CREATED_AT],
    cells: |v, _| vec![cells::name(v), cells::created_at(v)],
    hooks: Hooks {
        default,
        prepare_create,
        validate,
        prepare_update,
        validate_update,
        prepare_status_update,
        validate_status_update,
        warnings: warnings::of,
    },
    ..Kind::BASE
};

/// Whether a condition of a definition is true.
pub fn is_true(definition: &Value, condition: &str) -> bool {
    list(definition, "/status/conditions")
        .iter()
        .any(|own| text(own, "/type") == condition && text(own, "/status") == "True")
}

fn default(object: &mut Value) -> Result<(), Status> {
    let kind = text(object, "/spec/names/kind").to_owned();
    let storage = storage_version(object).map(str::to_owned);
    let Some(fields) = object.as_object_mut() else { return Ok(()) };
    let spec = fields.entry("spec").or_insert_with(|| json!({}));
    if let Some(names) = spec.get_mut("names").filter(|names| names.is_object()) {
        if text(names, "/singular").is_empty() && !kind.is_empty() {
            names["singular"] = kind.to_lowercase().into();
        }
        if text(names, "/listKind").is_empty() && !kind.is_empty() {
            names["listKind"] = format!("{kind}List").into();
        }
    }
    if spec.get("conversion").is_none_or(Value::is_null) {
        spec["conversion"] = json!({ "strategy": "None" });
    }
    if let Some(service) = spec.pointer_mut("/conversion/webhook/clientConfig/service")
        && service.is_object()
        && service.get("port").is_none_or(Value::is_null)
    {
        service["port"] = 443.into();
    }
    if list(object, "/status/storedVersions").is_empty()
        && let Some(storage) = storage
    {
        if !object["status"].is_object() {
            object["status"] = json!({});
        }
        object["status"]["storedVersions"] = json!([storage]);
    }
    Ok(())
}

/// The first version that is marked as the one to store.
fn storage_version(object: &Value) -> Option<&str> {
    let versions = list(object, "/spec/versions").iter();
    versions.clone().find(|version| boolean(version, "/storage")).map(|version| text(version, "/name"))
}

fn prepare_create(object: &mut Value) -> Result<(), Status> {
    object["status"] = json!({ "acceptedNames": { "plural": "", "kind": "" } });
    strategy::set_generation(object, 1);
    remember_storage_version(object);
    Ok(())
}

fn prepare_update(new: &mut Value, old: &Value) -> Result<(), Status> {
    erase::keep_server_fields(new, old);
    strategy::copy_field(new, old, "status");
    strategy::bump_generation(new, old, &["spec"]);
    remember_storage_version(new);
    Ok(())
}

/// Objects may lie in every version that was ever the one to store.
fn remember_storage_version(object: &mut Value) {
    let Some(storage) = storage_version(object).map(str::to_owned) else { return };
    if list(object, "/status/storedVersions").iter().any(|version| version.as_str() == Some(&storage)) {
        return;
    }
    match object.pointer_mut("/status/storedVersions").and_then(Value::as_array_mut) {
        Some(versions) => versions.push(storage.into()),
        None => object["status"]["storedVersions"] = json!([storage]),
    }
}

fn prepare_status_update(new: &mut Value, old: &Value) -> Result<(), Status> {
    erase::keep_server_fields(new, old);
    strategy::copy_field(new, old, "spec");
    Ok(())
}

fn validate(object: &Value) -> ErrorList {
    let mut errors = metadata(object);
    errors.extend(spec::validate(&Spec::of(object), &Options::create()));
    errors.extend(status(object));
    errors.extend(stored_versions(object));
    errors.extend(approval::validate(object, None));
    errors.extend(preserve_unknown_fields(object));
    errors
}

/// A definition is called after its plural name and its group.
fn metadata(object: &Value) -> ErrorList {
    let mut errors = erase::metadata_generic(object, false, names::subdomain);
    let name = text(object, "/metadata/name");
    let wanted = format!("{}.{}", text(object, "/spec/names/plural"), text(object, "/spec/group"));
    if !name.is_empty() && name != wanted {
        let metadata = Path::new("metadata");
        let error = Error::invalid(&metadata.child("name"), name, "must be spec.names.plural+\".\"+spec.group");
        let about_names = |error: &Error| matches!(error.field.as_str(), "metadata.name" | "metadata.generateName");
        let at = errors.iter().take_while(|error| about_names(error)).count();
        errors.insert(at, error);
    }
    errors
}

fn status(object: &Value) -> ErrorList {
    let path = Path::new("status");
    own_names::validate(object.pointer("/status/acceptedNames").unwrap_or(&Value::Null), &path.child("acceptedNames"))
}

fn stored_versions(object: &Value) -> ErrorList {
    let path = Path::new("status");
    let path = path.child("storedVersions");
    let stored = texts(object, "/status/storedVersions");
    if stored.is_empty() {
        return vec![Error::invalid(&path, Value::Null, "must have at least one stored version")];
    }
    let mut errors = ErrorList::new();
    let versions = list(object, "/spec/versions");
    for version in versions.iter().filter(|version| boolean(version, "/storage")) {
        let name = text(version, "/name");
        if !stored.contains(&name) {
            errors.push(Error::invalid(&path, &stored, format!("must have the storage version {name}")));
        }
    }
    for (index, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| text(version, "/name") == *name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(Error::invalid(&path.index(index), name, detail));
        }
    }
    errors
}

fn preserve_unknown_fields(object: &Value) -> Option<Error> {
    let spec = Path::new("spec");
    boolean(object, "/spec/preserveUnknownFields").then(|| {
        let detail =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        Error::invalid(&spec.child("preserveUnknownFields"), true, detail)
    })
}

fn validate_update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = erase::metadata_update_generic(new, old, false, None);
    errors.extend(spec::validate(&Spec::of(new), &Options::update(new, old)));
    errors.extend(immutable_names(new, old));
    errors.extend(status(new));
    errors.extend(stored_versions(new));
    errors.extend(approval::validate(new, Some(old)));
    if !boolean(old, "/spec/preserveUnknownFields") {
        errors.extend(preserve_unknown_fields(new));
    }
    errors
}

/// What objects lie under in the store cannot change; a name that was never accepted may.
fn immutable_names(new: &Value, old: &Value) -> ErrorList {
    let spec = Path::new("spec");
    let names = spec.child("names");
    let established = is_true(old, "Established");
    [
        ("/spec/scope", spec.child("scope"), established),
        ("/spec/names/kind", names.child("kind"), established),
        ("/spec/group", spec.child("group"), true),
        ("/spec/names/plural", names.child("plural"), true),
    ]
    .iter()
    .filter(|(pointer, _, fixed)| *fixed && text(new, pointer) != text(old, pointer))
    .map(|(pointer, path, _)| Error::invalid(path, text(new, pointer), "field is immutable"))
    .collect()
}

fn validate_status_update(new: &Value, old: &Value) -> ErrorList {
    let mut errors = erase::metadata_update_generic(new, old, false, None);
    errors.extend(status(new));
    errors
}

/// A version of the internal form, as an error about all of them shows it.
pub(super) fn shown_versions(spec: &Spec) -> Value {
    if spec.versions.is_empty() { Value::Null } else { spec.versions.iter().map(internal::version).collect() }
}
