//! The group storage.k8s.io: which drivers there are, what they can do, and what is attached where.

pub mod csi_driver;
pub mod csi_node;
pub mod csi_storage_capacity;
pub mod storage_class;
pub mod volume_attachment;
pub mod volume_attributes_class;

use std::collections::BTreeMap;

use machinery::field::{Error, ErrorList, Path};
use machinery::names;
use serde_json::Value;

use crate::checks;
use crate::kind::{Deprecated, Version};

const GROUP: &str = "storage.k8s.io";
/// A class has at most so many parameters, of so many bytes together.
const PARAMETERS_MAX: usize = 512;
const PARAMETERS_BYTES_MAX: usize = 256 * 1024;
const DRIVER_NAME_BYTES_MAX: usize = 63;

/// `storage.k8s.io/v1beta1`, which has the shape of v1.
const fn v1beta1(
    schema: &'static str,
    since: &'static str,
    removed: &'static str,
    replacement: &'static str,
    default: fn(&mut Value),
) -> Version {
    let deprecated = Deprecated { since, removed: Some(removed), replacement };
    Version::old(GROUP, "v1beta1", schema, deprecated, default)
}

/// A provisioner's or driver's name: qualified, whatever its case.
fn provisioner(name: &str, path: &Path) -> ErrorList {
    if name.is_empty() {
        return vec![Error::required(path, "")];
    }
    checks::qualified_name(&name.to_lowercase(), path)
}

/// What a class hands to its driver.
fn parameters(parameters: Option<&BTreeMap<String, String>>, may_be_empty: bool, path: &Path) -> ErrorList {
    let empty = BTreeMap::new();
    let parameters = parameters.unwrap_or(&empty);
    if parameters.len() > PARAMETERS_MAX {
        return vec![Error::too_long(path, "", PARAMETERS_MAX)];
    }
    let mut errors = ErrorList::new();
    if parameters.contains_key("") {
        errors.push(Error::invalid(path, "", "field can not be empty."));
    }
    if parameters.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>() > PARAMETERS_BYTES_MAX {
        errors.push(Error::too_long(path, "", PARAMETERS_BYTES_MAX));
    }
    if !may_be_empty && parameters.is_empty() {
        errors.push(Error::required(path, "must contain at least one key/value pair"));
    }
    errors
}

/// A CSI driver's name.
pub(crate) fn driver_name(name: &str, path: &Path) -> ErrorList {
    if name.is_empty() {
        return vec![Error::required(path, "")];
    }
    let mut errors = ErrorList::new();
    if name.len() > DRIVER_NAME_BYTES_MAX {
        errors.push(Error::too_long(path, name, DRIVER_NAME_BYTES_MAX));
    }
    let lower = name.to_lowercase();
    errors.extend(checks::each(path, &lower, names::is_dns1123_subdomain(&lower)));
    errors
}
