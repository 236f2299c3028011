//! The status of a claim: the devices it was given, who may use them, and what their drivers say of them.

use std::collections::BTreeSet;

use k8s_openapi::api::resource::v1::{
    AllocatedDeviceStatus, AllocationResult, DeviceAllocationConfiguration, DeviceRequestAllocationResult,
    NetworkDeviceData, ResourceClaim, ResourceClaimConsumerReference, ResourceClaimStatus,
};
use machinery::field::{Error, ErrorList, Path};
use machinery::names as rules;
use serde::Serialize;
use serde_json::Value;

use super::super::claim_spec::RequestNames;
use super::super::{ITEMS_MAX, configuration, lists, names, taints};
use crate::core::pod::node_selector;
use crate::storage::driver_name;
use crate::value::{list, text};
use crate::{checks, internal, strategy};

const CONSUMERS_MAX: usize = 256;
const CONDITIONS_MAX: usize = 8;
const DATA_BYTES_MAX: usize = 10 * 1024;
const INTERFACE_BYTES_MAX: usize = 256;
const HARDWARE_ADDRESS_BYTES_MAX: usize = 128;
const ADDRESSES_MAX: usize = 16;
const SOURCES: &[&str] = &["FromClaim", "FromClass"];

/// A share of a device, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeviceId<'s> {
    driver: &'s str,
    pool: &'s str,
    device: &'s str,
    #[serde(rename = "ShareID")]
    share_id: &'s str,
}

impl<'s> DeviceId<'s> {
    fn of_result(result: &'s DeviceRequestAllocationResult) -> Self {
        let share_id = result.share_id.as_deref().unwrap_or_default();
        Self { driver: &result.driver, pool: &result.pool, device: &result.device, share_id }
    }

    fn of_status(status: &'s AllocatedDeviceStatus) -> Self {
        let share_id = status.share_id.as_deref().unwrap_or_default();
        Self { driver: &status.driver, pool: &status.pool, device: &status.device, share_id }
    }
}

/// What tells the entries of `status.devices` and of the allocation's results from each other.
pub fn device_key(entry: &Value) -> [&str; 4] {
    ["/driver", "/pool", "/device", "/shareID"].map(|field| text(entry, field))
}

/// All but the status stays as it was. What drivers said of devices that the claim no longer has goes with them.
pub fn prepare(new: &mut Value, old: &Value) {
    const RESULTS: &str = "/status/allocation/devices/results";
    strategy::copy_field(new, old, "spec");
    strategy::keep_metadata(new, old);
    let keys = |claim: &Value| -> BTreeSet<[String; 4]> {
        list(claim, RESULTS).iter().map(|result| device_key(result).map(str::to_owned)).collect()
    };
    let kept = keys(new);
    let gone: BTreeSet<_> = keys(old).difference(&kept).cloned().collect();
    let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) else { return };
    let Some(devices) = status.get_mut("devices").and_then(Value::as_array_mut) else { return };
    devices.retain(|device| !gone.contains(&device_key(device).map(str::to_owned)));
    if devices.is_empty() {
        status.shift_remove("devices");
    }
}

pub fn validate_update(new: &ResourceClaim, old: &ResourceClaim) -> ErrorList {
    let path = Path::new("status");
    let empty = ResourceClaimStatus::default();
    let (status, before) = (new.status.as_ref().unwrap_or(&empty), old.status.as_ref().unwrap_or(&empty));
    let consumers = status.reserved_for.as_deref();
    let at = path.child("reservedFor");
    let mut errors = lists::unique(consumers, CONSUMERS_MAX, &at, consumer, |consumer| consumer.uid.as_str());

    let results = status.allocation.iter().flat_map(|allocation| allocation.devices.iter());
    let allocated: BTreeSet<DeviceId> =
        results.flat_map(|devices| devices.results.iter().flatten()).map(DeviceId::of_result).collect();
    let devices = status.devices.as_deref();
    errors.extend(lists::unique(
        devices,
        usize::MAX,
        &path.child("devices"),
        |item, path| device(item, &allocated, path),
        DeviceId::of_status,
    ));

    if consumers.is_some_and(|consumers| !consumers.is_empty()) {
        errors.extend(reservations(status, before, new.metadata.deletion_timestamp.is_some(), &at));
    }

    let at = path.child("allocation");
    match (&status.allocation, &before.allocation) {
        // What was stored once may be what could not be stored today.
        (Some(new), Some(old)) => {
            errors.extend(internal::immutable("io.k8s.api.resource.v1.AllocationResult", new, old, &at));
        }
        (Some(allocation), None) => errors.extend(validate_allocation(allocation, &RequestNames::of(&new.spec), &at)),
        (None, _) => {}
    }
    errors
}

fn consumer(consumer: &ResourceClaimConsumerReference, path: &Path) -> ErrorList {
    let fields = [("resource", &consumer.resource), ("name", &consumer.name), ("uid", &consumer.uid)];
    let missing = fields.into_iter().filter(|(_, value)| value.is_empty());
    missing.map(|(field, _)| Error::required(&path.child(field), "")).collect()
}

/// Only what is allocated can be reserved, and for nobody new once the claim is to go.
fn reservations(
    status: &ResourceClaimStatus,
    before: &ResourceClaimStatus,
    is_deleted: bool,
    path: &Path,
) -> Option<Error> {
    if status.allocation.is_none() {
        return Some(Error::forbidden(path, "may not be specified when `allocated` is not set"));
    }
    let before = before.reserved_for.as_deref().unwrap_or_default();
    let has_new = || status.reserved_for.iter().flatten().any(|consumer| !before.contains(consumer));
    let detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set";
    (is_deleted && has_new()).then(|| Error::forbidden(path, detail))
}

fn validate_allocation(allocation: &AllocationResult, requests: &RequestNames, path: &Path) -> ErrorList {
    let at = path.child("devices");
    let devices = allocation.devices.clone().unwrap_or_default();
    let mut errors = lists::bounded(devices.results.as_deref(), ITEMS_MAX, &at.child("results"), |item, path| {
        result(item, requests, path)
    });
    // Those of the class and those of the claim.
    errors.extend(lists::bounded(devices.config.as_deref(), 2 * ITEMS_MAX, &at.child("config"), |item, path| {
        config(item, requests, path)
    }));
    if let Some(selector) = &allocation.node_selector {
        errors.extend(node_selector(selector, &path.child("nodeSelector")));
    }
    errors
}

fn result(result: &DeviceRequestAllocationResult, requests: &RequestNames, path: &Path) -> ErrorList {
    let mut errors = requests.reference(&result.request, &path.child("request"));
    errors.extend(driver_name(&result.driver, &path.child("driver")));
    errors.extend(names::pool(&result.pool, &path.child("pool")));
    errors.extend(checks::dns_label(&result.device, &path.child("device")));
    let (wanted, failures) = (result.binding_conditions.as_deref(), result.binding_failure_conditions.as_deref());
    errors.extend(taints::binding_conditions(wanted, failures, path));
    errors.extend(taints::tolerations(result.tolerations.as_deref(), path));
    errors.extend(result.share_id.as_deref().and_then(|id| names::share(id, &path.child("shareID"))));
    errors
}

fn config(config: &DeviceAllocationConfiguration, requests: &RequestNames, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    errors.extend(checks::one_of(Some(&config.source), SOURCES, &path.child("source")));
    errors.extend(requests.references(config.requests.as_deref(), &path.child("requests")));
    errors.extend(configuration::validate(config.opaque.as_ref(), false, path));
    errors
}

fn device(device: &AllocatedDeviceStatus, allocated: &BTreeSet<DeviceId>, path: &Path) -> ErrorList {
    let mut errors = driver_name(&device.driver, &path.child("driver"));
    errors.extend(names::pool(&device.pool, &path.child("pool")));
    errors.extend(checks::dns_label(&device.device, &path.child("device")));
    errors.extend(device.share_id.as_deref().and_then(|id| names::share(id, &path.child("shareID"))));
    let id = DeviceId::of_status(device);
    if !allocated.contains(&id) {
        errors.push(Error::invalid(path, id, "must be an allocated device in the claim"));
    }
    let conditions = device.conditions.as_deref().unwrap_or_default();
    let at = path.child("conditions");
    if conditions.len() > CONDITIONS_MAX {
        errors.push(Error::too_many(&at, conditions.len(), CONDITIONS_MAX));
    }
    errors.extend(checks::conditions(conditions, &at));
    if let Some(data) = &device.data {
        errors.extend(configuration::json_object(&data.0, Some(DATA_BYTES_MAX), &path.child("data")));
    }
    errors.extend(device.network_data.iter().flat_map(|data| network(data, &path.child("networkData"))));
    errors
}

fn network(data: &NetworkDeviceData, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (field, value, max) in [
        ("interfaceName", &data.interface_name, INTERFACE_BYTES_MAX),
        ("hardwareAddress", &data.hardware_address, HARDWARE_ADDRESS_BYTES_MAX),
    ] {
        if value.as_ref().is_some_and(|value| value.len() > max) {
            errors.push(Error::too_long(&path.child(field), value, max));
        }
    }
    errors.extend(lists::unique(
        data.ips.as_deref(),
        ADDRESSES_MAX,
        &path.child("ips"),
        |address, path| checks::each(path, address, rules::interface_address(address)),
        |address| address.as_str(),
    ));
    errors
}

#[cfg(test)]
mod tests;
