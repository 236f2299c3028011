//! Between the stored form and v1beta1, which said where an endpoint is by a map of topology labels. The node and the
//! zone have fields of their own today; other labels stay readable and can be written no more.

use serde_json::{Map, Value};

use crate::kind::Convert;

const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";

pub const V1BETA1: Convert = Convert {
    to_storage: |slice| each_endpoint(slice, "discovery.k8s.io/v1", to_v1),
    from_storage: |slice| each_endpoint(slice, "discovery.k8s.io/v1beta1", to_v1beta1),
};

fn each_endpoint(slice: &mut Value, api_version: &str, convert: fn(&mut Map<String, Value>)) {
    let endpoints = slice.get_mut("endpoints").and_then(Value::as_array_mut);
    endpoints.into_iter().flatten().filter_map(Value::as_object_mut).for_each(convert);
    if let Some(slice) = slice.as_object_mut() {
        slice.insert("apiVersion".to_string(), api_version.into());
    }
}

fn to_v1(endpoint: &mut Map<String, Value>) {
    let Some(Value::Object(mut labels)) = endpoint.shift_remove("topology") else { return };
    let host = labels.shift_remove(HOST);
    if let Some(host) = host.filter(|_| endpoint.get("nodeName").is_none_or(Value::is_null)) {
        endpoint.insert("nodeName".to_string(), host);
    }
    if let Some(zone) = labels.shift_remove(ZONE) {
        endpoint.insert("zone".to_string(), zone);
    }
    if !labels.is_empty() {
        endpoint.insert("deprecatedTopology".to_string(), labels.into());
    }
}

fn to_v1beta1(endpoint: &mut Map<String, Value>) {
    let mut labels = match endpoint.shift_remove("deprecatedTopology") {
        Some(Value::Object(labels)) => labels,
        _ => Map::new(),
    };
    let present = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
    if let Some(zone) = endpoint.shift_remove("zone").filter(present) {
        labels.insert(ZONE.to_string(), zone);
    }
    if let Some(node) = endpoint.get("nodeName").filter(|node| present(node)) {
        labels.insert(HOST.to_string(), node.clone());
    }
    if !labels.is_empty() {
        labels.sort_keys();
        endpoint.insert("topology".to_string(), labels.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_place_of_an_endpoint_goes_there_and_back() {
        let topology = json!({HOST: "n", ZONE: "z", "own": "x"});
        let mut slice = json!({"endpoints": [{"addresses": ["10.0.0.1"], "topology": topology}]});
        (V1BETA1.to_storage)(&mut slice);
        assert_eq!(
            slice["endpoints"][0],
            json!({"addresses": ["10.0.0.1"], "nodeName": "n", "zone": "z", "deprecatedTopology": {"own": "x"}})
        );
        (V1BETA1.from_storage)(&mut slice);
        assert_eq!(slice["endpoints"][0], json!({"addresses": ["10.0.0.1"], "nodeName": "n", "topology": topology}));
        assert_eq!(slice["apiVersion"], "discovery.k8s.io/v1beta1");
    }
}
