//! VolumeAttributesClass: attributes of a volume that can be changed while it exists, by name.

use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use machinery::field::{Error, ErrorList, Path};

use super::{GROUP, parameters, provisioner, v1beta1};
use crate::kind::{Column, Kind, Version};
use crate::value::text;
use crate::{cells, names};

const SCHEMA: &str = "io.k8s.api.storage.v1.VolumeAttributesClass";

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "VolumeAttributesClass",
    list_kind: "VolumeAttributesClassList",
    plural: "volumeattributesclasses",
    singular: "volumeattributesclass",
    short_names: &["vac"],
    namespaced: false,
    versions: &[
        Version::stored("v1", SCHEMA),
        v1beta1(SCHEMA, "1.34", "1.37", "storage.k8s.io/v1 VolumeAttributesClass", |_| {}),
    ],
    columns: COLUMNS,
    cells: |v, now| vec![cells::name(v), text(v, "/driverName").into(), cells::age(v, now)],
    hooks: hooks!(
        VolumeAttributesClass,
        false,
        names::subdomain,
        full { validate: validate, validate_update: validate_update }
    ),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("DriverName", "string", 0, "Name of the CSI driver This field is immutable."),
    Column::AGE,
];

fn validate(class: &VolumeAttributesClass) -> ErrorList {
    let mut errors = provisioner(&class.driver_name, &Path::new("driverName"));
    errors.extend(parameters(class.parameters.as_ref(), false, &Path::new("parameters")));
    errors
}

fn validate_update(new: &VolumeAttributesClass, old: &VolumeAttributesClass) -> ErrorList {
    let mut errors = validate(new);
    if new.driver_name != old.driver_name {
        errors.push(Error::forbidden(&Path::new("driverName"), "updates to driverName are forbidden."));
    }
    if new.parameters.clone().unwrap_or_default() != old.parameters.clone().unwrap_or_default() {
        errors.push(Error::forbidden(&Path::new("parameters"), "updates to parameters are forbidden."));
    }
    errors
}
