use super::*;
use serde_json::json;

const RESULT: fn() -> Value = || json!({"request": "r", "driver": "d.io", "pool": "p", "device": "gpu-1"});

fn claim(status: Value) -> Value {
    json!({
        "metadata": {"name": "a"},
        "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}},
        "status": status,
    })
}

fn allocated() -> Value {
    json!({"devices": {"results": [RESULT()]}})
}

fn errors(new: Value, old: Value) -> Vec<String> {
    let typed = |status| serde_json::from_value(claim(status)).unwrap();
    validate_update(&typed(new), &typed(old)).iter().map(Error::to_string).collect()
}

#[test]
fn an_allocation_is_of_the_claims_requests_and_final() {
    assert_eq!(errors(json!({"allocation": allocated()}), json!({})), Vec::<String>::new());
    let bad = json!({
        "devices": {
            "results": [{"request": "x", "driver": "", "pool": "", "device": "", "shareID": "u"}],
            "config": [{"source": "FromMe"}],
        },
        "nodeSelector": {"nodeSelectorTerms": []},
    });
    let label = "Invalid value: \"\": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
    assert_eq!(
        errors(json!({ "allocation": bad }), json!({})),
        [
            "status.allocation.devices.results[0].request: Invalid value: \"x\": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'".to_owned(),
            "status.allocation.devices.results[0].driver: Required value".to_owned(),
            "status.allocation.devices.results[0].pool: Required value".to_owned(),
            format!("status.allocation.devices.results[0].device: {label}"),
            "status.allocation.devices.results[0].shareID: Invalid value: \"u\": error validating uid: invalid UUID length: 1".to_owned(),
            "status.allocation.devices.config[0].source: Unsupported value: \"FromMe\": supported values: \"FromClaim\", \"FromClass\"".to_owned(),
            "status.allocation.devices.config[0].opaque: Required value".to_owned(),
            "status.allocation.nodeSelector.nodeSelectorTerms: Required value: must have at least one node selector term".to_owned(),
        ]
    );
    let other = json!({"devices": {}});
    assert_eq!(
        errors(json!({ "allocation": other }), json!({"allocation": allocated()})),
        [
            "status.allocation: Invalid value: {\"Devices\":{\"Results\":null,\"Config\":null},\"NodeSelector\":null,\"AllocationTimestamp\":null}: field is immutable"
        ]
    );
    assert_eq!(errors(json!({}), json!({"allocation": allocated()})), Vec::<String>::new());
}

#[test]
fn a_claim_that_goes_is_reserved_for_nobody_new() {
    let consumer = |uid: &str| json!({"resource": "pods", "name": "p", "uid": uid});
    let status = |uids: &[&str]| json!({"allocation": allocated(), "reservedFor": uids.iter().map(|uid| consumer(uid)).collect::<Vec<_>>()});
    let check = |new: Value, old: Value| {
        let mut new: ResourceClaim = serde_json::from_value(claim(new)).unwrap();
        new.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
        let old = serde_json::from_value(claim(old)).unwrap();
        validate_update(&new, &old).iter().map(Error::to_string).collect::<Vec<_>>()
    };
    assert_eq!(check(status(&["a"]), status(&["a", "b"])), Vec::<String>::new());
    assert_eq!(
        check(status(&["a", "c"]), status(&["a"])),
        [
            "status.reservedFor: Forbidden: new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        ]
    );
}

#[test]
fn drivers_speak_of_allocated_devices() {
    let status = |device: Value| json!({"allocation": allocated(), "devices": [device]});
    let good = json!({
        "driver": "d.io", "pool": "p", "device": "gpu-1", "data": {"a": 1},
        "networkData": {"ips": ["10.9.8.7/24", "2001:db8::1/64"]},
    });
    let old = json!({"allocation": allocated()});
    assert_eq!(errors(status(good), old.clone()), Vec::<String>::new());
    let bad = json!({
        "driver": "d.io", "pool": "p", "device": "gpu-2", "data": [],
        "networkData": {"interfaceName": "x".repeat(257), "ips": ["10.9.8.7", "010.9.8.7/24", "2001:DB8::1/64"]},
    });
    assert_eq!(
        errors(status(bad), old),
        [
            "status.devices[0]: Invalid value: {\"Driver\":\"d.io\",\"Pool\":\"p\",\"Device\":\"gpu-2\",\"ShareID\":\"\"}: must be an allocated device in the claim",
            "status.devices[0].data: Invalid value: \"<value omitted>\": must be a valid JSON object",
            "status.devices[0].networkData.interfaceName: Too long: may not be more than 256 bytes",
            "status.devices[0].networkData.ips[0]: Invalid value: \"10.9.8.7\": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)",
            "status.devices[0].networkData.ips[1]: Invalid value: \"010.9.8.7/24\": must be in canonical form (\"10.9.8.7/24\")",
            "status.devices[0].networkData.ips[2]: Invalid value: \"2001:DB8::1/64\": must be in canonical form (\"2001:db8::1/64\")",
        ]
    );
}

#[test]
fn what_was_said_of_a_device_goes_with_it() {
    let device = json!({"driver": "d.io", "pool": "p", "device": "gpu-1"});
    let old = claim(json!({"allocation": allocated(), "devices": [device]}));
    let mut new = claim(json!({"devices": [device]}));
    new["spec"] = json!({});
    prepare(&mut new, &old);
    assert_eq!((&new["status"], &new["spec"]), (&json!({}), &old["spec"]));
    let mut new = old.clone();
    prepare(&mut new, &old);
    assert_eq!(new["status"]["devices"], json!([device]));
}
