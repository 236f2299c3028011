//! What a driver is told of the devices it hands out: parameters that only the driver understands.

use k8s_openapi::api::resource::v1::OpaqueDeviceConfiguration;
use machinery::field::{Error, ErrorList, Path};
use serde_json::Value;

use crate::storage::driver_name;

const PARAMETERS_BYTES_MAX: usize = 10 * 1024;

/// One configuration; parameters that were stored before may be longer than new ones.
pub fn validate(opaque: Option<&OpaqueDeviceConfiguration>, stored: bool, path: &Path) -> ErrorList {
    let path = path.child("opaque");
    let Some(opaque) = opaque else { return vec![Error::required(&path, "")] };
    let mut errors = driver_name(&opaque.driver, &path.child("driver"));
    let max = (!stored).then_some(PARAMETERS_BYTES_MAX);
    errors.extend(json_object(&opaque.parameters.0, max, &path.child("parameters")));
    errors
}

/// Any JSON object of at most so many bytes.
pub fn json_object(value: &Value, bytes_max: Option<usize>, path: &Path) -> Option<Error> {
    if value.is_null() {
        return Some(Error::required(path, ""));
    }
    if let Some(max) = bytes_max.filter(|max| value.to_string().len() > *max) {
        return Some(Error::too_long(path, "", max));
    }
    (!value.is_object()).then(|| Error::invalid(path, "<value omitted>", "must be a valid JSON object"))
}
