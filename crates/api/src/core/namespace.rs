//! Namespace: a scope for names. It is deleted in two steps: the `kubernetes` finalizer in its spec holds it until the
//! namespace controller has emptied it.

use k8s_openapi::api::core::v1::Namespace;
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Value, json};

use crate::kind::{Column, FieldSelectorStyle, Kind, SelectableField, Subresource, SubresourceUpdate, Verb, Version};
use crate::value::text;
use crate::{cells, erase, names, strategy};

/// Carries the namespace's name, so that selectors can name a namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub static KIND: Kind = Kind {
    kind: "Namespace",
    list_kind: "NamespaceList",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    namespaced: false,
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.Namespace")],
    // No deletecollection: emptying a cluster is not one request.
    verbs: &[Verb::Create, Verb::Delete, Verb::Get, Verb::List, Verb::Patch, Verb::Update, Verb::Watch],
    status: true,
    subresources: &[Subresource {
        update: Some(SubresourceUpdate {
            prepare: |new, old| {
                erase::keep_server_fields(new, old);
                strategy::keep_status(new, old);
                Ok(())
            },
            validate: |new, old| {
                let mut errors = erase::metadata_update(new, old, false, None);
                errors.extend(erase::check::<Namespace>(new, validate));
                errors
            },
        }),
        ..Subresource::new("finalize", "Namespace", &[Verb::Update])
    }],
    selectable_fields: &[SelectableField { label: "status.phase", value: |v| text(v, "/status/phase").to_string() }],
    field_selector_style: FieldSelectorStyle::NotSupported,
    columns: &[Column::NAME, Column::new("Status", "string", 0, "The status of the namespace"), Column::AGE],
    cells: |v, now| vec![cells::name(v), text(v, "/status/phase").into(), cells::age(v, now)],
    hooks: hooks!(
        Namespace,
        false,
        names::label,
        part {
            default: default,
            prepare_create: prepare_create,
            prepare_update: prepare_update,
            prepare_status_update: strategy::update_status,
            validate: validate,
            validate_status_update: validate_status_update,
        }
    ),
    ..Kind::BASE
};

fn default(namespace: &mut Namespace) {
    let metadata = &mut namespace.metadata;
    if let Some(name) = metadata.name.clone().filter(|name| !name.is_empty()) {
        metadata.labels.get_or_insert_default().insert(NAME_LABEL.to_string(), name);
    }
}

fn prepare_create(namespace: &mut Value) {
    // The name of a generateName exists only now.
    let name = text(namespace, "/metadata/name").to_string();
    if let Some(metadata) = namespace.get_mut("metadata").and_then(Value::as_object_mut) {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(NAME_LABEL.to_string(), name.into());
        }
    }
    let Some(namespace) = namespace.as_object_mut() else { return };
    namespace.insert("status".to_string(), json!({"phase": "Active"}));
    let spec = namespace.entry("spec").or_insert_with(|| json!({}));
    let Some(spec) = spec.as_object_mut() else { return };
    let finalizers = spec.entry("finalizers").or_insert_with(|| json!([]));
    if let Some(finalizers) = finalizers.as_array_mut()
        && !finalizers.iter().any(|f| f == "kubernetes")
    {
        finalizers.push("kubernetes".into());
    }
}

fn prepare_update(new: &mut Value, old: &Value) {
    strategy::copy_field(new, old, "spec");
    strategy::keep_status(new, old);
}

fn validate(namespace: &Namespace) -> ErrorList {
    let path = Path::new("spec");
    let path = path.child("finalizers");
    let finalizers = namespace.spec.iter().flat_map(|s| s.finalizers.iter().flatten());
    finalizers.enumerate().flat_map(|(i, f)| crate::checks::finalizer_name(f, &path, &path.index(i))).collect()
}

fn validate_status_update(new: &Namespace, _: &Namespace) -> ErrorList {
    let phase = new.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("");
    let path = Path::new("status");
    let path = path.child("Phase");
    match (&new.metadata.deletion_timestamp, phase) {
        (None, "Active") | (Some(_), "Terminating") => ErrorList::new(),
        (None, _) => vec![Error::invalid(&path, phase, "may only be 'Active' if `deletionTimestamp` is empty")],
        (Some(_), _) => {
            vec![Error::invalid(&path, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")]
        }
    }
}
