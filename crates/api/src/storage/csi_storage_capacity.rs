//! CSIStorageCapacity: how much room a driver has left, for one class, in one part of the cluster.

use k8s_openapi::api::storage::v1::CSIStorageCapacity;
use machinery::field::{Error, ErrorList, Path};

use super::{GROUP, v1beta1};
use crate::kind::{Column, Kind, Version};
use crate::{cells, checks, names};

const SCHEMA: &str = "io.k8s.api.storage.v1.CSIStorageCapacity";

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "CSIStorageCapacity",
    list_kind: "CSIStorageCapacityList",
    plural: "csistoragecapacities",
    singular: "csistoragecapacity",
    versions: &[
        Version::stored("v1", SCHEMA),
        v1beta1(SCHEMA, "1.24", "1.27", "storage.k8s.io/v1 CSIStorageCapacity", |_| {}),
    ],
    unconditional_update: false,
    columns: &[Column::NAME, Column::CREATED_AT],
    cells: |v, _| vec![cells::name(v), cells::created_at(v)],
    hooks: hooks!(
        CSIStorageCapacity,
        true,
        names::subdomain,
        full { validate: validate, validate_update: validate_update }
    ),
    ..Kind::BASE
};

fn validate(capacity: &CSIStorageCapacity) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(topology) = &capacity.node_topology {
        errors.extend(checks::label_selector(topology, &Path::new("nodeTopology")));
    }
    errors.extend(checks::dns_subdomain(&capacity.storage_class_name, &Path::new("storageClassName")));
    if let Some(amount) = &capacity.capacity {
        errors.extend(checks::non_negative_quantity(amount, &Path::new("capacity")));
    }
    if let Some(amount) = &capacity.maximum_volume_size {
        errors.extend(checks::non_negative_quantity(amount, &Path::new("maximumVolumeSize")));
    }
    errors
}

fn validate_update(new: &CSIStorageCapacity, old: &CSIStorageCapacity) -> ErrorList {
    let mut errors = validate(new);
    if new.node_topology != old.node_topology {
        errors.push(Error::invalid(&Path::new("nodeTopology"), &new.node_topology, "field is immutable"));
    }
    errors.extend(checks::immutable(&new.storage_class_name, &old.storage_class_name, &Path::new("storageClassName")));
    errors
}
