//! ConfigMap: text and bytes for containers to read.

use k8s_openapi::api::core::v1::ConfigMap;
use machinery::field::{Error, ErrorList, Path};

use crate::kind::{Column, Kind, Version};
use crate::{cells, checks, names};

/// The sum of all values may not be larger: what the store takes in one object.
const MAX_BYTES: usize = 1024 * 1024;

pub static KIND: Kind = Kind {
    kind: "ConfigMap",
    list_kind: "ConfigMapList",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    versions: &[Version::stored("v1", "io.k8s.api.core.v1.ConfigMap")],
    columns: &[
        Column::NAME,
        Column::new(
            "Data",
            "string",
            0,
            "Data contains the configuration data. Each key must consist of alphanumeric characters, '-', '_' or '.'. Values with non-UTF-8 byte sequences must use the BinaryData field. The keys stored in Data must not overlap with the keys in the BinaryData field, this is enforced during validation process.",
        ),
        Column::AGE,
    ],
    cells: |v, now| {
        let count = |field| v.get(field).and_then(serde_json::Value::as_object).map_or(0, |m| m.len());
        vec![cells::name(v), (count("data") + count("binaryData")).into(), cells::age(v, now)]
    },
    hooks: hooks!(ConfigMap, true, names::subdomain, full { validate: validate, validate_update: validate_update }),
    ..Kind::BASE
};

fn validate(map: &ConfigMap) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut bytes = 0;
    let path = Path::new("data");
    for (key, value) in map.data.iter().flatten() {
        errors.extend(checks::config_map_key(key, &path.key(key)));
        if map.binary_data.as_ref().is_some_and(|binary| binary.contains_key(key)) {
            errors.push(Error::invalid(&path.key(key), key, "duplicate of key present in binaryData"));
        }
        bytes += value.len();
    }
    let path = Path::new("binaryData");
    for (key, value) in map.binary_data.iter().flatten() {
        errors.extend(checks::config_map_key(key, &path.key(key)));
        bytes += value.0.len();
    }
    if bytes > MAX_BYTES {
        errors.push(checks::object_too_long(MAX_BYTES));
    }
    errors
}

fn validate_update(new: &ConfigMap, old: &ConfigMap) -> ErrorList {
    let mut errors = ErrorList::new();
    if old.immutable == Some(true) {
        let mut frozen = |field, same: bool| {
            if !same {
                errors.push(Error::forbidden(&Path::new(field), "field is immutable when `immutable` is set"));
            }
        };
        frozen("immutable", new.immutable == Some(true));
        frozen("data", new.data.clone().unwrap_or_default() == old.data.clone().unwrap_or_default());
        frozen(
            "binaryData",
            new.binary_data.clone().unwrap_or_default() == old.binary_data.clone().unwrap_or_default(),
        );
    }
    errors.extend(validate(new));
    errors
}
