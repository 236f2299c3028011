//! CSINode: the storage drivers that run on a node, and by what name each knows the node.

use std::collections::BTreeSet;

use k8s_openapi::api::storage::v1::{CSINode, CSINodeDriver};
use machinery::field::{Error, ErrorList, Path};

use super::{GROUP, driver_name, v1beta1};
use crate::kind::{Column, Kind, Version};
use crate::value::list;
use crate::{cells, checks, internal, names};

const SCHEMA: &str = "io.k8s.api.storage.v1.CSINode";
const NODE_ID_BYTES_MAX: usize = 256;

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "CSINode",
    list_kind: "CSINodeList",
    plural: "csinodes",
    singular: "csinode",
    namespaced: false,
    versions: &[Version::stored("v1", SCHEMA), v1beta1(SCHEMA, "1.19", "1.22", "storage.k8s.io/v1 CSINode", |_| {})],
    unconditional_update: false,
    columns: COLUMNS,
    cells: |v, now| vec![cells::name(v), list(v, "/spec/drivers").len().into(), cells::age(v, now)],
    hooks: hooks!(CSINode, false, names::subdomain, full { validate: validate, validate_update: validate_update }),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new("Drivers", "integer", 0, "Drivers indicates the number of CSI drivers registered on the node"),
    Column::AGE,
];

fn validate(node: &CSINode) -> ErrorList {
    let path = Path::new("spec");
    let path = path.child("drivers");
    let drivers = &node.spec.drivers;
    let mut errors = ErrorList::new();
    for (i, driver) in drivers.iter().enumerate() {
        let at = path.index(i);
        errors.extend(validate_driver(driver, &at));
        if drivers[..i].iter().any(|other| other.name == driver.name) {
            errors.push(Error::duplicate(&at.child("name"), &driver.name));
        }
        let mut keys = BTreeSet::new();
        for key in driver.topology_keys.iter().flatten() {
            if key.is_empty() {
                errors.push(Error::required(&at, ""));
            }
            if !keys.insert(key) {
                errors.push(Error::duplicate(&at, key));
            }
            errors.extend(checks::qualified_name(key, &at));
        }
    }
    errors
}

fn validate_driver(driver: &CSINodeDriver, path: &Path) -> ErrorList {
    let mut errors = driver_name(&driver.name, &path.child("name"));
    let at = path.child("nodeID");
    if driver.node_id.is_empty() {
        errors.push(Error::required(&at, ""));
    } else if driver.node_id.len() > NODE_ID_BYTES_MAX {
        errors.push(Error::invalid(&at, &driver.node_id, "must be 256 characters or less"));
    }
    if let Some(count) = driver.allocatable.as_ref().and_then(|a| a.count) {
        errors.extend(checks::non_negative(count.into(), &path.child("allocatable").child("count")));
    }
    errors
}

/// A driver comes and goes whole; only how many volumes it takes may change.
fn validate_update(new: &CSINode, old: &CSINode) -> ErrorList {
    let mut errors = validate(new);
    let path = Path::new("spec");
    let path = path.child("drivers");
    for driver in &old.spec.drivers {
        let Some(changed) = new.spec.drivers.iter().find(|d| d.name == driver.name) else { continue };
        let keys = |d: &CSINodeDriver| d.topology_keys.clone().unwrap_or_default();
        if changed.node_id != driver.node_id || keys(changed) != keys(driver) {
            let shown = internal::shown("io.k8s.api.storage.v1.CSINodeDriver", changed);
            errors.push(Error::invalid(&path, shown, "field is immutable"));
        }
    }
    errors
}
