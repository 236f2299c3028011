//! One device: its attributes and capacities, the counters it draws on, its taints and its nodes.

use std::sync::LazyLock;

use k8s_openapi::api::resource::v1::{Device, DeviceAttribute, DeviceCounterConsumption};
use machinery::field::{Error, ErrorList, Path};
use regex::Regex;
use serde_json::Value;

use super::super::{lists, names, taints};
use super::{capacity, counters, label};
use crate::core::pod::node_selector;
use crate::{checks, internal};

const ENTRIES_MAX: usize = 32;
const ATTRIBUTE_VALUES_MAX: usize = 48;
const VALUE_BYTES_MAX: usize = 64;
const TAINTS_MAX: usize = 16;
const CONSUMPTIONS_MAX: usize = 2;

/// A version as semver.org has it, version 2.0.0.
static VERSION: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let number = "(0|[1-9][0-9]*)";
    let before = "(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)";
    let build = "[0-9a-zA-Z-]+";
    let text = format!(r"^{number}\.{number}\.{number}(-{before}(\.{before})*)?(\+{build}(\.{build})*)?$");
    Regex::new(&text).ok()
});

pub fn validate(device: &Device, old: Option<&Device>, per_device: bool, path: &Path) -> ErrorList {
    let mut errors = checks::dns_label(&device.name, &path.child("name"));
    let attributes = device.attributes.as_ref().map_or(0, |map| map.len());
    let entries = attributes + device.capacity.as_ref().map_or(0, |map| map.len());
    if entries > ENTRIES_MAX {
        let detail = format!("the total number of attributes and capacities must not exceed {ENTRIES_MAX}");
        errors.push(Error::invalid(path, entries, detail));
    }
    if attributes > ATTRIBUTE_VALUES_MAX {
        let detail = format!("the total number of attribute values must not exceed {ATTRIBUTE_VALUES_MAX}");
        errors.push(Error::invalid(path, attributes, detail));
    }
    let limits = (usize::MAX, names::QUALIFIED_BYTES_MAX);
    let at = path.child("attributes");
    errors.extend(lists::entries(device.attributes.as_ref(), limits, &at, names::qualified, attribute));
    let is_shared = device.allow_multiple_allocations == Some(true);
    let at = path.child("capacity");
    errors.extend(lists::entries(device.capacity.as_ref(), limits, &at, names::qualified, |item, path| {
        capacity::validate(item, is_shared, path)
    }));
    // Taints that are as they were are left alone: what effects there are may change.
    let tainted = device.taints.as_deref().unwrap_or_default();
    if old.is_none_or(|old| old.taints.as_deref().unwrap_or_default() != tainted) {
        errors.extend(lists::bounded(Some(tainted), TAINTS_MAX, &path.child("taints"), taints::taint));
    }
    let consumed = device.consumes_counters.as_deref();
    let at = path.child("consumesCounters");
    errors.extend(lists::unique(consumed, CONSUMPTIONS_MAX, &at, consumption, |item| item.counter_set.as_str()));
    errors.extend(nodes(device, per_device, path));
    let (wanted, failures) = (device.binding_conditions.as_deref(), device.binding_failure_conditions.as_deref());
    errors.extend(taints::binding_conditions(wanted, failures, path));
    errors
}

/// Where the device is, if each device of the slice says so itself.
fn nodes(device: &Device, per_device: bool, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if !per_device {
        let says = device.node_name.is_some() || device.node_selector.is_some() || device.all_nodes.is_some();
        let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
        errors.extend(says.then(|| Error::invalid(path, Value::Null, detail)));
        return errors;
    }
    let mut given = Vec::new();
    let at = path.child("nodeName");
    match device.node_name.as_deref() {
        None => {}
        Some("") => errors.push(Error::invalid(&at, "", "must not be empty")),
        Some(name) => {
            given.push("`nodeName`");
            errors.extend(checks::dns_subdomain(name, &at));
        }
    }
    if let Some(selector) = &device.node_selector {
        given.push("`nodeSelector`");
        errors.extend(node_selector(selector, &path.child("nodeSelector")));
    }
    match device.all_nodes {
        None => {}
        Some(true) => given.push("`allNodes`"),
        Some(false) => {
            errors.push(Error::invalid(&path.child("allNodes"), false, "must be either unset or set to true"));
        }
    }
    let detail = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
    match given[..] {
        [] => errors.push(Error::required(path, detail)),
        [_] => {}
        _ => errors.push(Error::invalid(path, format!("{{{}}}", given.join(", ")), detail)),
    }
    errors
}

fn attribute(attribute: &DeviceAttribute, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(text) = &attribute.string {
        errors.extend(too_long(text, &path.child("string")));
    }
    if let Some(version) = &attribute.version {
        let at = path.child("version");
        if !VERSION.as_ref().is_some_and(|pattern| pattern.is_match(version)) {
            errors.push(Error::invalid(&at, version, "must be a string compatible with semver.org spec 2.0.0"));
        }
        errors.extend(too_long(version, &at));
    }
    let given =
        [attribute.bool.is_some(), attribute.int.is_some(), attribute.string.is_some(), attribute.version.is_some()];
    const ONE: &str = "exactly one value must be specified";
    match given.into_iter().filter(|given| *given).count() {
        0 => errors.push(Error::invalid(path, "", ONE)),
        1 => {}
        _ => {
            let shown = internal::shown("io.k8s.api.resource.v1.DeviceAttribute", attribute);
            errors.push(Error::invalid(path, shown, ONE));
        }
    }
    errors
}

fn too_long(value: &str, path: &Path) -> Option<Error> {
    (value.len() > VALUE_BYTES_MAX).then(|| Error::too_long(path, value, VALUE_BYTES_MAX))
}

fn consumption(consumption: &DeviceCounterConsumption, path: &Path) -> ErrorList {
    let mut errors = label(&consumption.counter_set, &path.child("counterSet"));
    errors.extend(counters(&consumption.counters, &path.child("counters")));
    errors
}
