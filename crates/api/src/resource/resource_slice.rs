//! ResourceSlice: some of the devices of a pool that a driver offers, on one node or on several.

mod capacity;
mod device;

use k8s_openapi::api::resource::v1::{Counter, CounterSet, Device, ResourcePool, ResourceSlice, ResourceSliceSpec};
use machinery::field::{Error, ErrorList, Path};
use machinery::go_text;
use serde_json::Value;

use super::{GROUP, lists, names as own_names};
use crate::core::pod::node_selector;
use crate::kind::{Column, FieldSelectorStyle, Kind, SelectableField, Version};
use crate::storage::driver_name;
use crate::value::text;
use crate::{cells, checks, internal, names, strategy};

const DEVICES_MAX: usize = 128;
/// Where taints are to be watched or counters to be summed up.
const DEMANDING_DEVICES_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;
const COUNTERS_MAX: usize = 32;
const LABEL_BYTES_MAX: usize = 63;

pub static KIND: Kind = Kind {
    group: GROUP,
    kind: "ResourceSlice",
    list_kind: "ResourceSliceList",
    plural: "resourceslices",
    singular: "resourceslice",
    namespaced: false,
    versions: &[Version::stored("v1", "io.k8s.api.resource.v1.ResourceSlice")],
    generation: true,
    selectable_fields: &[
        SelectableField { label: "spec.driver", value: |v| text(v, "/spec/driver").to_owned() },
        SelectableField { label: "spec.nodeName", value: |v| text(v, "/spec/nodeName").to_owned() },
    ],
    field_selector_style: FieldSelectorStyle::NotSupportedFor,
    columns: COLUMNS,
    cells: |v, now| {
        let or_unset = |pointer: &str| match text(v, pointer) {
            "" => "<unset>".into(),
            given => Value::from(given),
        };
        vec![
            cells::name(v),
            or_unset("/spec/nodeName"),
            text(v, "/spec/driver").into(),
            text(v, "/spec/pool/name").into(),
            cells::age(v, now),
        ]
    },
    hooks: hooks!(
        ResourceSlice,
        false,
        names::subdomain,
        part {
            prepare_create: prepare_create,
            prepare_update: |new: &mut Value, old: &Value| {
                drop_disabled(new);
                strategy::bump_generation(new, old, &["spec"]);
            },
            validate: |slice: &ResourceSlice| validate(&slice.spec, None),
            validate_update: |new: &ResourceSlice, old: &ResourceSlice| validate(&new.spec, Some(&old.spec)),
            warnings: |new: &ResourceSlice, _old| warnings(&new.spec),
        }
    ),
    ..Kind::BASE
};

const COLUMNS: &[Column] = &[
    Column::NAME,
    Column::new(
        "Node",
        "string",
        0,
        "NodeName identifies the node which provides the resources in this pool. A field selector can be used to list only ResourceSlice objects belonging to a certain node.\n\nThis field can be used to limit access from nodes to ResourceSlices with the same node name. It also indicates to autoscalers that adding new nodes of the same type as some old node might also make new resources available.\n\nExactly one of NodeName, NodeSelector, AllNodes, and PerDeviceNodeSelection must be set. This field is immutable.",
    ),
    Column::new(
        "Driver",
        "string",
        0,
        "Driver identifies the DRA driver providing the capacity information. A field selector can be used to list only ResourceSlice objects with a certain driver name.\n\nMust be a DNS subdomain and should end with a DNS domain owned by the vendor of the driver. It should use only lower case characters. This field is immutable.",
    ),
    Column::new(
        "Pool",
        "string",
        0,
        "Name is used to identify the pool. For node-local devices, this is often the node name, but this is not required.\n\nIt must not be longer than 253 characters and must consist of one or more DNS sub-domains separated by slashes. This field is immutable.",
    ),
    Column::AGE,
];

fn prepare_create(slice: &mut Value) {
    strategy::set_generation(slice, 1);
    drop_disabled(slice);
    // Nothing here knows the time; the slice was made just now.
    let now = slice.pointer("/metadata/creationTimestamp").cloned();
    stamp_taints(slice, now);
}

/// Says since when taints are there that do not say so themselves.
pub fn stamp_taints(slice: &mut Value, now: Option<Value>) {
    let Some(now) = now else { return };
    let devices = slice.pointer_mut("/spec/devices").and_then(Value::as_array_mut).into_iter().flatten();
    let taints = devices.filter_map(|device| device.get_mut("taints")?.as_array_mut()).flatten();
    for taint in taints.filter_map(Value::as_object_mut) {
        if taint.get("timeAdded").is_none_or(Value::is_null) {
            taint.insert("timeAdded".to_owned(), now.clone());
        }
    }
}

/// Takes away what is switched off by default.
fn drop_disabled(slice: &mut Value) {
    let devices = slice.pointer_mut("/spec/devices").and_then(Value::as_array_mut);
    for device in devices.into_iter().flatten().filter_map(Value::as_object_mut) {
        device.shift_remove("nodeAllocatableResourceMappings");
        let attributes = device.get_mut("attributes").and_then(Value::as_object_mut);
        for attribute in attributes.into_iter().flat_map(|map| map.values_mut()).filter_map(Value::as_object_mut) {
            attribute.retain(|field, _| !matches!(field.as_str(), "bools" | "ints" | "strings" | "versions"));
        }
    }
}

fn validate(spec: &ResourceSliceSpec, old: Option<&ResourceSliceSpec>) -> ErrorList {
    let path = Path::new("spec");
    let mut errors = driver_name(&spec.driver, &path.child("driver"));
    errors.extend(pool(&spec.pool, &path.child("pool")));
    if let Some(old) = old {
        let pool = path.child("pool");
        errors.extend(checks::immutable(&spec.pool.name, &old.pool.name, &pool.child("name")));
        errors.extend(checks::immutable(&spec.driver, &old.driver, &path.child("driver")));
        errors.extend(checks::immutable(&spec.node_name, &old.node_name, &path.child("nodeName")));
    }
    errors.extend(nodes(spec, &path));
    if spec.shared_counters.is_some() && spec.devices.is_some() {
        errors.push(Error::invalid(&path, "", "only one of `sharedCounters` or `devices` is allowed"));
    }
    let devices = spec.devices.as_deref();
    let max = if devices.into_iter().flatten().any(is_demanding) { DEMANDING_DEVICES_MAX } else { DEVICES_MAX };
    let per_device = spec.per_device_node_selection == Some(true);
    errors.extend(lists::unique(
        devices,
        max,
        &path.child("devices"),
        |new, path| {
            let old = old.and_then(|old| old.devices.iter().flatten().find(|old| old.name == new.name));
            device::validate(new, old, per_device, path)
        },
        |device| device.name.as_str(),
    ));
    let sets = spec.shared_counters.as_deref();
    let at = path.child("sharedCounters");
    errors.extend(lists::unique(sets, COUNTER_SETS_MAX, &at, counter_set, |set| set.name.as_str()));
    errors
}

fn is_demanding(device: &Device) -> bool {
    device.taints.as_ref().is_some_and(|taints| !taints.is_empty())
        || device.consumes_counters.as_ref().is_some_and(|counters| !counters.is_empty())
}

fn pool(pool: &ResourcePool, path: &Path) -> ErrorList {
    let mut errors = own_names::pool(&pool.name, &path.child("name"));
    if pool.resource_slice_count <= 0 {
        let at = path.child("resourceSliceCount");
        errors.push(Error::invalid(&at, pool.resource_slice_count, "must be greater than zero"));
    }
    if pool.generation < 0 {
        let at = path.child("generation");
        errors.push(Error::invalid(&at, pool.generation, "must be greater than or equal to zero"));
    }
    errors
}

/// Where the devices are: on one node, on those selected, on all, or as each device says.
fn nodes(spec: &ResourceSliceSpec, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut given = Vec::new();
    match spec.node_name.as_deref() {
        None => {}
        Some("") => {
            let detail = "must be either unset or set to a non-empty string";
            errors.push(Error::invalid(&path.child("nodeName"), "", detail));
        }
        Some(name) => {
            given.push("`nodeName`");
            errors.extend(checks::dns_subdomain(name, &path.child("nodeName")));
        }
    }
    if let Some(selector) = &spec.node_selector {
        given.push("`nodeSelector`");
        let at = path.child("nodeSelector");
        errors.extend(node_selector(selector, &at));
        if selector.node_selector_terms.len() != 1 {
            let shown = internal::shown("io.k8s.api.core.v1.NodeSelector", selector)["NodeSelectorTerms"].take();
            let detail = "must have exactly one node selector term";
            errors.push(Error::invalid(&at.child("nodeSelectorTerms"), shown, detail));
        }
    }
    let switches = [
        ("allNodes", "`allNodes`", spec.all_nodes),
        ("perDeviceNodeSelection", "`perDeviceNodeSelection`", spec.per_device_node_selection),
    ];
    for (field, quoted, switch) in switches {
        match switch {
            Some(true) => given.push(quoted),
            Some(false) => {
                errors.push(Error::invalid(&path.child(field), false, "must be either unset or set to true"));
            }
            None => {}
        }
    }
    const ONE: &str = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match given[..] {
        [] => errors.push(Error::required(path, ONE)),
        [_] => {}
        _ => {
            let detail = format!("{ONE}, but multiple fields are set");
            errors.push(Error::invalid(path, format!("{{{}}}", given.join(", ")), detail));
        }
    }
    errors
}

fn counter_set(set: &CounterSet, path: &Path) -> ErrorList {
    let mut errors = label(&set.name, &path.child("name"));
    errors.extend(counters(&set.counters, &path.child("counters")));
    errors
}

/// Amounts by name.
fn counters(counters: &std::collections::BTreeMap<String, Counter>, path: &Path) -> ErrorList {
    if counters.is_empty() {
        return vec![Error::required(path, "")];
    }
    let limits = (COUNTERS_MAX, LABEL_BYTES_MAX);
    lists::entries(Some(counters), limits, path, checks::dns_label, |_, _| ErrorList::new())
}

fn label(name: &str, path: &Path) -> ErrorList {
    if name.is_empty() { vec![Error::required(path, "")] } else { checks::dns_label(name, path) }
}

fn warnings(spec: &ResourceSliceSpec) -> Vec<String> {
    if spec.driver == spec.driver.to_lowercase() {
        return Vec::new();
    }
    let driver = go_text::quote(&spec.driver);
    vec![format!("spec.driver: driver names should be lowercase; {driver} contains uppercase characters")]
}

#[cfg(test)]
mod tests;
