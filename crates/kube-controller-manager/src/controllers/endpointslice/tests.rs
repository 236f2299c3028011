//! Plans of slices, from snapshots.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::testing::{at, body, lines, object, pod};

fn service(spec: Value) -> Service {
    let mut value = json!({"metadata": {"name": "s"}, "spec": {"selector": {"app": "x"}, "clusterIP": "10.96.0.5", "ipFamilies": ["IPv4"],
        "ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP"}]}});
    for (key, part) in spec.as_object().unwrap() {
        value["spec"][key] = part.clone();
    }
    object(value)
}

fn member(n: usize, ready: bool, spec: Value) -> Pod {
    let ip = format!("10.0.{}.{}", n / 200, n % 200 + 1);
    pod(json!({"metadata": {"name": format!("p{n:03}"), "labels": {"app": "x"}}, "spec": spec,
        "status": {"phase": "Running", "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]}}))
}

fn plan(service: Service, pods: Vec<Pod>, known: Vec<EndpointSlice>) -> Plan {
    let node = |name: &str| -> Node {
        object(json!({"metadata": {"name": name, "namespace": "", "labels": {"topology.kubernetes.io/zone": "z"}}}))
    };
    let view = View::new().with([service]).with(pods).with(known).with([node("node")]);
    EndpointSlices.reconcile(&view, &Key::new("n", "s"), at(100))
}

#[test]
fn a_pod_whose_node_is_gone_is_published_only_with_the_unready() {
    for (publish, expected) in [(false, Value::Null), (true, json!("10.0.0.1"))] {
        let service = service(json!({"publishNotReadyAddresses": publish}));
        let made = plan(service, vec![member(0, true, json!({"nodeName": "gone"}))], vec![]);
        assert_eq!(body(&made, 0)["endpoints"][0]["addresses"][0], expected);
    }
}

#[test]
fn ready_endpoints_are_meant_for_those_near_them_if_the_service_asks() {
    let cases = [
        (json!(null), json!(null)),
        (json!("PreferClose"), json!({"forZones": [{"name": "z"}]})),
        (json!("PreferSameNode"), json!({"forNodes": [{"name": "node"}], "forZones": [{"name": "z"}]})),
    ];
    for (distribution, expected) in cases {
        let members = vec![member(0, true, json!({"nodeName": "node"})), member(1, false, json!({"nodeName": "node"}))];
        let made = plan(service(json!({"trafficDistribution": distribution})), members, vec![]);
        let endpoints = &body(&made, 0)["endpoints"];
        assert_eq!((&endpoints[0]["hints"], &endpoints[0]["zone"]), (&expected, &json!("z")));
        assert_eq!(endpoints[1]["hints"], Value::Null);
    }
}

#[test]
fn slices_of_an_earlier_service_of_the_name_are_replaced() {
    let made = plan(service(json!({})), vec![], vec![]);
    let mut known = applied(&made, &[]);
    known[0].metadata.owner_references.as_mut().unwrap()[0].uid = "earlier".to_owned();
    let replaced = plan(service(json!({})), vec![], known);
    assert_eq!(lines(&replaced).len(), 2);
    assert!(lines(&replaced)[0].starts_with("create") && lines(&replaced)[1].starts_with("delete"));
    let note = replaced.writes[0].on_failure.as_ref().unwrap();
    let message = "Error updating Endpoint Slices for Service n/s: failed to create EndpointSlice for Service n/s: {}";
    assert_eq!((note.reason, note.message.as_str()), ("FailedToUpdateEndpointSlices", message));
}

/// The slices as they would be after a plan.
fn applied(plan: &Plan, known: &[EndpointSlice]) -> Vec<EndpointSlice> {
    let mut slices: BTreeMap<String, EndpointSlice> =
        known.iter().map(|slice| (slice.meta_ref().name.to_owned(), slice.clone())).collect();
    for (n, write) in plan.writes.iter().enumerate() {
        match &write.action {
            client::Action::Delete { target, .. } => drop(slices.remove(&target.name)),
            _ => {
                let mut value = body(plan, n);
                if value["metadata"]["name"].is_null() {
                    value["metadata"]["name"] = json!(format!("s-{n}-{}", slices.len()));
                }
                let slice: EndpointSlice = object(value);
                slices.insert(slice.meta_ref().name.to_owned(), slice);
            }
        }
    }
    slices.into_values().collect()
}

#[test]
fn a_service_without_pods_has_one_empty_slice() {
    let made = plan(service(json!({})), vec![], vec![]);
    assert_eq!(lines(&made), ["create endpointslices n/s-"]);
    let slice = body(&made, 0);
    assert_eq!(
        slice["metadata"]["labels"],
        json!({"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io", "kubernetes.io/service-name": "s"})
    );
    assert_eq!(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
    assert_eq!((slice["addressType"].as_str(), slice.get("ports")), (Some("IPv4"), None));
    let known = applied(&made, &[]);
    assert_eq!(plan(service(json!({})), vec![], known), Plan::nothing());
}

#[test]
fn an_endpoint_carries_conditions_node_hostname_and_its_pod() {
    let headless = service(json!({"clusterIP": "None", "ports": [{"name": "web", "port": 80, "targetPort": "http"}]}));
    let mut leaving = member(
        1,
        true,
        json!({"nodeName": "node", "hostname": "h", "subdomain": "s",
        "containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": 8081}]}]}),
    );
    leaving.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(1)));
    let slice = body(&plan(headless, vec![leaving], vec![]), 0);
    assert_eq!(
        slice["endpoints"],
        json!([{"addresses": ["10.0.0.2"], "conditions": {"ready": false, "serving": true, "terminating": true},
        "hostname": "h", "nodeName": "node", "targetRef": {"kind": "Pod", "name": "p001", "namespace": "n", "uid": "p001-uid"}, "zone": "z"}])
    );
    assert_eq!(slice["ports"], json!([{"name": "web", "port": 8081, "protocol": "TCP"}]));
    assert_eq!(slice["metadata"]["labels"]["service.kubernetes.io/headless"], "");
}

#[test]
fn slices_hold_a_hundred_and_change_no_more_than_needed() {
    let pods: Vec<Pod> = (0..150).map(|n| member(n, true, json!({}))).collect();
    let first = plan(service(json!({})), pods.clone(), vec![]);
    let known = applied(&first, &[]);
    let mut sizes: Vec<usize> = known.iter().map(|slice| slice.endpoints.iter().flatten().count()).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [50, 100]);
    assert_eq!(plan(service(json!({})), pods.clone(), known.clone()), Plan::nothing());
    let mut more = pods.clone();
    more.push(member(150, true, json!({})));
    assert_eq!(plan(service(json!({})), more, known.clone()).writes.len(), 1, "only the slice with room changes");
    let unready: Vec<Pod> = (0..150).map(|n| member(n, n != 3, json!({}))).collect();
    let changed = plan(service(json!({})), unready, known.clone());
    assert_eq!(changed.writes.len(), 1);
    let fewer = plan(service(json!({})), pods[..1].to_vec(), known);
    assert_eq!(lines(&fewer).iter().filter(|line| line.starts_with("delete")).count(), 1);
}

#[test]
fn pods_with_other_ports_are_in_other_slices_and_both_families_have_theirs() {
    let named = service(json!({"ports": [{"port": 80, "targetPort": "http"}], "ipFamilies": ["IPv4", "IPv6"]}));
    let with_port = |n: usize, port: i32| {
        let mut pod = member(
            n,
            true,
            json!({"containers": [{"name": "c", "image": "i", "ports": [{"name": "http", "containerPort": port}]}]}),
        );
        let ips = pod.status.as_mut().unwrap().pod_ips.as_mut().unwrap();
        ips.push(k8s_openapi::api::core::v1::PodIP { ip: format!("fd00::{}", n + 1) });
        pod
    };
    let made = plan(named, vec![with_port(1, 80), with_port(2, 81)], vec![]);
    let seen: Vec<_> = (0..made.writes.len())
        .map(|n| body(&made, n))
        .map(|slice| {
            format!("{} {} {}", slice["addressType"], slice["ports"][0]["port"], slice["endpoints"][0]["addresses"][0])
        })
        .collect();
    assert_eq!(
        seen,
        [r#""IPv4" 80 "10.0.0.2""#, r#""IPv4" 81 "10.0.0.3""#, r#""IPv6" 80 "fd00::2""#, r#""IPv6" 81 "fd00::3""#]
    );
}

#[test]
fn a_slice_outlives_its_last_endpoint_and_the_change_of_its_ports() {
    let ported = |port: i32| service(json!({"ports": [{"port": port}]}));
    let pods = vec![member(1, true, json!({}))];
    let full = applied(&plan(ported(80), pods.clone(), vec![]), &[]);
    let emptied = plan(ported(80), vec![], full.clone());
    assert_eq!(emptied.writes.len(), 1);
    let empty = applied(&emptied, &full);
    assert_eq!((empty.len(), &empty[0].metadata.name, &empty[0].ports), (1, &full[0].metadata.name, &None));
    assert_eq!(plan(ported(80), vec![], empty.clone()), Plan::nothing());
    let refilled = applied(&plan(ported(81), pods, empty.clone()), &empty);
    assert_eq!((refilled.len(), &refilled[0].metadata.name), (1, &full[0].metadata.name));
    assert_eq!(refilled[0].ports.as_ref().unwrap()[0].port, Some(81));
}

#[test]
fn services_without_a_selector_are_left_alone() {
    let mut manual = service(json!({}));
    manual.spec.as_mut().unwrap().selector = None;
    assert_eq!(plan(manual, vec![], vec![]), Plan::nothing());
}
