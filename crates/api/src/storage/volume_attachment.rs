//! VolumeAttachment: the wish that a volume be attached to a node, and how far that has come.

use std::collections::BTreeMap;

use k8s_openapi::api::storage::v1::{VolumeAttachment, VolumeAttachmentSource, VolumeAttachmentStatus, VolumeError};
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use super::{GROUP, PARAMETERS_BYTES_MAX, driver_name, v1beta1};
use crate::core::persistent_volume;
use crate::kind::{Column, Kind, Version};
use crate::value::{boolean, text};
use crate::{cells, checks, internal, names, strategy};

const SCHEMA: &str = "io.k8s.api.storage.v1.VolumeAttachment";
const MESSAGE_BYTES_MAX: usize = 1024;
const ONE_SOURCE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "VolumeAttachment",
    list_kind: "VolumeAttachmentList",
    plural: "volumeattachments",
    singular: "volumeattachment",
    namespaced: false,
    status: true,
    versions: &[
        Version::stored("v1", SCHEMA),
        v1beta1(SCHEMA, "1.19", "1.22", "storage.k8s.io/v1 VolumeAttachment", |_| {}),
    ],
    unconditional_update: false,
    columns: COLUMNS,
    cells: |v, now| {
        vec![
            cells::name(v),
            text(v, "/spec/attacher").into(),
            text(v, "/spec/source/persistentVolumeName").into(),
            text(v, "/spec/nodeName").into(),
            boolean(v, "/status/attached").into(),
            cells::age(v, now),
        ]
    },
    hooks: hooks!(
        VolumeAttachment,
        false,
        names::subdomain,
        full {
            prepare_create: strategy::drop_status,
            validate: validate,
            prepare_update: strategy::keep_status,
            validate_update: validate_update,
            prepare_status_update: |new: &mut Value, old: &Value| {
                strategy::update_status(new, old);
                strategy::keep_metadata(new, old);
            },
            validate_status_update: validate_update,
        }
    ),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column {
        name: "Attacher",
        kind: "string",
        format: "name",
        description: "attacher indicates the name of the volume driver that MUST handle this request. This is the name returned by GetPluginName().",
        priority: 0,
    },
    Column::new("PV", "string", 0, "persistentVolumeName represents the name of the persistent volume to attach."),
    Column::new("Node", "string", 0, "nodeName represents the node that the volume should be attached to."),
    Column::new(
        "Attached",
        "boolean",
        0,
        "attached indicates the volume is successfully attached. This field must only be set by the entity completing the attach operation, i.e. the external-attacher.",
    ),
    Column::AGE,
];

fn validate(attachment: &VolumeAttachment) -> ErrorList {
    let spec = &attachment.spec;
    let path = Path::new("spec");
    let mut errors = ErrorList::new();
    if spec.attacher.is_empty() {
        errors.push(Error::required(&path.child("attacher"), ""));
    }
    errors.extend(source(&spec.source, &path.child("source")));
    errors.extend(checks::dns_subdomain(&spec.node_name, &path.child("nodeName")));
    if let Some(status) = &attachment.status {
        errors.extend(validate_status(status, &Path::new("status")));
    }
    errors.extend(driver_name(&spec.attacher, &path.child("attacher")));
    if let Some(name) = spec.source.persistent_volume_name.as_deref() {
        let at = path.child("source");
        errors.extend(checks::dns_subdomain(name, &at.child("persistentVolumeName")));
    }
    errors
}

fn source(source: &VolumeAttachmentSource, path: &Path) -> ErrorList {
    match (&source.inline_volume_spec, source.persistent_volume_name.as_deref()) {
        (None, None) => vec![Error::required(path, ONE_SOURCE)],
        (Some(_), Some(_)) => vec![Error::forbidden(path, ONE_SOURCE)],
        (None, Some("")) => {
            vec![Error::required(&path.child("persistentVolumeName"), "must specify non empty persistentVolumeName")]
        }
        (None, Some(_)) => ErrorList::new(),
        (Some(spec), None) => persistent_volume::validate_spec(spec, true, &path.child("inlineVolumeSpec")),
    }
}

fn validate_status(status: &VolumeAttachmentStatus, path: &Path) -> ErrorList {
    let mut errors = metadata(status.attachment_metadata.as_ref(), &path.child("attachmentMetadata"));
    errors.extend(volume_error(status.attach_error.as_ref(), &path.child("attachError")));
    errors.extend(volume_error(status.detach_error.as_ref(), &path.child("detachError")));
    errors
}

fn metadata(metadata: Option<&BTreeMap<String, String>>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut bytes = 0;
    for (key, value) in metadata.into_iter().flatten() {
        if key.is_empty() {
            errors.push(Error::invalid(path, key, "field can not be empty."));
        }
        bytes += key.len() + value.len();
    }
    if bytes > PARAMETERS_BYTES_MAX {
        errors.push(Error::too_long(path, "", PARAMETERS_BYTES_MAX));
    }
    errors
}

fn volume_error(error: Option<&VolumeError>, path: &Path) -> ErrorList {
    let Some(error) = error else { return ErrorList::new() };
    let mut errors = ErrorList::new();
    if error.message.as_ref().is_some_and(|message| message.len() > MESSAGE_BYTES_MAX) {
        errors.push(Error::too_long(&path.child("message"), "", MESSAGE_BYTES_MAX));
    }
    if let Some(code) = error.error_code {
        errors.extend(checks::non_negative(code.into(), &path.child("errorCode")));
    }
    errors
}

fn validate_update(new: &VolumeAttachment, old: &VolumeAttachment) -> ErrorList {
    let mut errors = validate(new);
    if new.spec != old.spec {
        let shown = internal::shown("io.k8s.api.storage.v1.VolumeAttachmentSpec", &new.spec);
        errors.push(Error::invalid(&Path::new("spec"), shown, "field is immutable"));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_volume_is_named_in_exactly_one_way() {
        let texts = |source: Value| {
            let spec = json!({"spec": {"attacher": "a", "nodeName": "n", "source": source}});
            let attachment: VolumeAttachment = serde_json::from_value(spec).unwrap();
            validate(&attachment).iter().map(Error::to_string).collect::<Vec<_>>()
        };
        assert_eq!(texts(json!({"persistentVolumeName": "pv"})), Vec::<String>::new());
        assert_eq!(texts(json!({})), [format!("spec.source: Required value: {ONE_SOURCE}")]);
        let csi = json!({"accessModes": ["ReadWriteOnce"], "csi": {"driver": "d", "volumeHandle": "h"}});
        assert_eq!(texts(json!({"inlineVolumeSpec": csi})), Vec::<String>::new());
        let both = json!({"persistentVolumeName": "pv", "inlineVolumeSpec": csi});
        assert_eq!(texts(both), [format!("spec.source: Forbidden: {ONE_SOURCE}")]);
    }
}
