use super::*;
use serde_json::json;

fn spec(change: Value) -> ResourceSliceSpec {
    let mut spec = json!({
        "driver": "d.io",
        "nodeName": "n",
        "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
    });
    for (field, value) in change.as_object().into_iter().flatten() {
        spec[field] = value.clone();
    }
    serde_json::from_value(spec).unwrap()
}

fn texts(spec: &ResourceSliceSpec, old: Option<&ResourceSliceSpec>) -> Vec<String> {
    validate(spec, old).iter().map(Error::to_string).collect()
}

fn faults(change: Value) -> Vec<String> {
    texts(&spec(change), None)
}

/// Of the only device.
fn device_faults(device: Value) -> Vec<String> {
    let mut device = device;
    device["name"] = "d".into();
    let prefix = "spec.devices[0]";
    faults(json!({"devices": [device]})).iter().map(|text| text.trim_start_matches(prefix).to_owned()).collect()
}

#[test]
fn a_slice_says_in_one_way_where_its_devices_are() {
    let one = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    assert_eq!(faults(json!({})), Vec::<String>::new());
    assert_eq!(faults(json!({"nodeName": null})), [format!("spec: Required value: {one}")]);
    assert_eq!(
        faults(json!({"allNodes": true})),
        [format!("spec: Invalid value: \"{{`nodeName`, `allNodes`}}\": {one}, but multiple fields are set")]
    );
    assert_eq!(
        faults(json!({"nodeName": "", "allNodes": false, "perDeviceNodeSelection": true})),
        [
            "spec.nodeName: Invalid value: \"\": must be either unset or set to a non-empty string",
            "spec.allNodes: Invalid value: false: must be either unset or set to true",
        ]
    );
    let term = json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]});
    let two = json!({"nodeName": null, "nodeSelector": {"nodeSelectorTerms": [term, term]}});
    assert_eq!(
        faults(two),
        [
            "spec.nodeSelector.nodeSelectorTerms: Invalid value: [{\"MatchExpressions\":[{\"Key\":\"a\",\"Operator\":\"Exists\",\"Values\":null}],\"MatchFields\":null},{\"MatchExpressions\":[{\"Key\":\"a\",\"Operator\":\"Exists\",\"Values\":null}],\"MatchFields\":null}]: must have exactly one node selector term"
        ]
    );
}

#[test]
fn pool_driver_and_node_stay() {
    let old = spec(json!({}));
    let new = spec(json!({
        "driver": "e.io",
        "nodeName": null,
        "allNodes": true,
        "pool": {"name": "q", "generation": -1, "resourceSliceCount": 0},
    }));
    assert_eq!(
        texts(&new, Some(&old)),
        [
            "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
            "spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
            "spec.pool.name: Invalid value: \"q\": field is immutable",
            "spec.driver: Invalid value: \"e.io\": field is immutable",
            "spec.nodeName: Invalid value: null: field is immutable",
        ]
    );
}

#[test]
fn there_are_fewer_devices_where_they_are_more_work() {
    let devices = |count: usize, last: Value| {
        let mut devices: Vec<Value> = (0..count).map(|i| json!({"name": format!("d{i}")})).collect();
        devices[count - 1]["taints"] = last;
        faults(json!({ "devices": devices }))
    };
    assert_eq!(devices(128, Value::Null), Vec::<String>::new());
    assert_eq!(devices(129, Value::Null), ["spec.devices: Too many: 129: must have at most 128 items"]);
    let taint = json!([{"key": "a", "effect": "NoExecute"}]);
    assert_eq!(devices(64, taint.clone()), Vec::<String>::new());
    assert_eq!(devices(65, taint), ["spec.devices: Too many: 65: must have at most 64 items"]);
}

#[test]
fn attributes_have_one_value() {
    let fault = |attribute: Value| device_faults(json!({"attributes": {"x.io/a": attribute}})).concat();
    for good in [json!({"bool": false}), json!({"int": 0}), json!({"string": ""}), json!({"version": "1.2.3-a.1+b"})] {
        assert_eq!(fault(good), "");
    }
    assert_eq!(fault(json!({})), ".attributes[x.io/a]: Invalid value: \"\": exactly one value must be specified");
    assert_eq!(
        fault(json!({"int": 1, "bool": true})),
        ".attributes[x.io/a]: Invalid value: {\"IntValue\":1,\"BoolValue\":true,\"StringValue\":null,\"VersionValue\":null,\"IntValues\":null,\"BoolValues\":null,\"StringValues\":null,\"VersionValues\":null}: exactly one value must be specified"
    );
    assert_eq!(
        fault(json!({"version": "v1.2"})),
        ".attributes[x.io/a].version: Invalid value: \"v1.2\": must be a string compatible with semver.org spec 2.0.0"
    );
    assert_eq!(
        fault(json!({"string": "x".repeat(65)})),
        ".attributes[x.io/a].string: Too long: may not be more than 64 bytes"
    );
    let many: serde_json::Map<_, _> = (0..33).map(|i| (format!("a{i}"), json!({"int": i}))).collect();
    assert_eq!(
        device_faults(json!({ "attributes": many })),
        [": Invalid value: 33: the total number of attributes and capacities must not exceed 32"]
    );
}

#[test]
fn a_part_of_a_capacity_is_one_of_those_offered() {
    let fault = |policy: Value| {
        let capacity = json!({"a": {"value": "10", "requestPolicy": policy}});
        let device = json!({"allowMultipleAllocations": true, "capacity": capacity});
        let prefix = ".capacity[a].requestPolicy";
        let faults = device_faults(device);
        faults.iter().map(|text| text.trim_start_matches(prefix).to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(fault(json!({"default": "2", "validValues": ["1", "2"]})), Vec::<String>::new());
    assert_eq!(
        fault(json!({"default": "2", "validRange": {"min": "2", "max": "8", "step": "2"}})),
        Vec::<String>::new()
    );
    assert_eq!(
        fault(json!({"validValues": ["1"]})),
        [".default: Required value: required when validValues is defined"]
    );
    assert_eq!(
        fault(json!({"default": "3", "validValues": ["2", "1", "20", "1"]})),
        [
            ".validValues[1]: Invalid value: \"1\": values must be sorted in ascending order",
            ".validValues[3]: Invalid value: \"1\": values must be sorted in ascending order",
            ".validValues[2]: Invalid value: \"20\": option is larger than capacity value: 10",
            ".validValues[3]: Duplicate value: \"1\"",
            ".validValues: Invalid value: \"3\": default value is not valid according to the requestPolicy",
        ]
    );
    assert_eq!(
        fault(json!({"default": "1", "validRange": {"min": "2", "max": "11", "step": "4"}})),
        [
            ".validRange.min: Invalid value: \"1\": default is less than min: 2",
            ".validRange.max: Invalid value: \"11\": max is larger than capacity value: 10",
            ".validRange.step: Invalid value: \"1\": value is not a multiple of a given step (4) from (2)",
            ".validRange.step: Invalid value: \"11\": value is not a multiple of a given step (4) from (2)",
        ]
    );
    assert_eq!(fault(json!({"default": "1", "validRange": {"min": "1", "step": "0"}})).len(), 1);
    assert_eq!(
        fault(json!({"default": "1", "validRange": {}})),
        [".validRange.min: Required value: required when validRange is defined"]
    );
    let alone = json!({"capacity": {"a": {"value": "10", "requestPolicy": {}}}});
    assert_eq!(device_faults(alone), [".capacity[a].requestPolicy: Forbidden: allowMultipleAllocations must be true"]);
}

#[test]
fn counters_are_in_sets_and_drawn_from_sets() {
    assert_eq!(
        faults(
            json!({"sharedCounters": [{"name": "", "counters": {}}, {"name": "a", "counters": {"B": {"value": "1"}}}]})
        ),
        [
            "spec.sharedCounters[0].name: Required value",
            "spec.sharedCounters[0].counters: Required value",
            "spec.sharedCounters[1].counters: Invalid value: \"B\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ]
    );
    assert_eq!(
        faults(json!({"sharedCounters": [], "devices": []})),
        ["spec: Invalid value: \"\": only one of `sharedCounters` or `devices` is allowed"]
    );
    let consumed = json!({"counterSet": "a", "counters": {"b": {"value": "1"}}});
    assert_eq!(
        device_faults(json!({"consumesCounters": [consumed, consumed]})),
        [".consumesCounters[1]: Duplicate value: \"a\""]
    );
}

#[test]
fn devices_say_where_they_are_when_the_slice_does_not() {
    assert_eq!(
        device_faults(json!({"nodeName": "n"})),
        [
            ": Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
        ]
    );
    let change = json!({"nodeName": null, "perDeviceNodeSelection": true, "devices": [{"name": "d"}]});
    assert_eq!(
        faults(change),
        [
            "spec.devices[0]: Required value: exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
        ]
    );
}

#[test]
fn bindings_wait_for_conditions_and_for_failures() {
    assert_eq!(
        device_faults(json!({"bindingConditions": ["a", "a"]})),
        [
            ".bindingConditions[1]: Duplicate value: \"a\"",
            ".bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions",
        ]
    );
    assert_eq!(
        device_faults(json!({"bindingConditions": ["a"], "bindingFailureConditions": ["a"]})),
        [
            ".bindingFailureConditions[0]: Invalid value: \"a\": bindingFailureConditions must not overlap with bindingConditions"
        ]
    );
}

#[test]
fn what_is_switched_off_is_dropped_and_taints_get_their_time() {
    let mut slice = json!({
        "metadata": {"name": "s", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"devices": [{
            "name": "d",
            "attributes": {"a": {"ints": [1], "int": 1}},
            "nodeAllocatableResourceMappings": {"cpu": {}},
            "taints": [{"key": "a", "effect": "None"}, {"key": "b", "effect": "None", "timeAdded": "2025-01-01T00:00:00Z"}],
        }]},
    });
    (KIND.hooks.prepare_create)(&mut slice).unwrap();
    assert_eq!(slice["metadata"]["generation"], 1);
    let device = &slice["spec"]["devices"][0];
    assert_eq!(
        (device["attributes"]["a"].clone(), device.get("nodeAllocatableResourceMappings")),
        (json!({"int": 1}), None)
    );
    assert_eq!(device["taints"][0]["timeAdded"], "2026-01-01T00:00:00Z");
    assert_eq!(device["taints"][1]["timeAdded"], "2025-01-01T00:00:00Z");
}

#[test]
fn a_driver_with_capitals_is_warned_of() {
    assert_eq!(
        warnings(&spec(json!({"driver": "D.io"}))),
        ["spec.driver: driver names should be lowercase; \"D.io\" contains uppercase characters"]
    );
    assert_eq!(warnings(&spec(json!({}))), Vec::<String>::new());
}
