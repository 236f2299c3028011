//! From services and pods to Endpoints.

use serde_json::{Value, json};

use super::*;
use crate::testing::{at, body, lines, object, pod};

fn service(mut spec: Value) -> Service {
    if spec["selector"].is_null() {
        spec["selector"] = json!({"app": "a"});
    }
    if spec["clusterIP"].is_null() {
        spec["clusterIP"] = json!("10.96.0.5");
    }
    object(json!({"metadata": {"name": "s", "labels": {"team": "x"}}, "spec": spec}))
}

fn a_pod(name: &str, ip: &str, ready: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"app": "a"}},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"phase": "Running", "podIP": ip,
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "1970-01-01T00:01:40Z"}]},
    })
}

fn decide(service: Option<Service>, pods: Vec<Value>, known: Option<Endpoints>) -> Plan {
    let view = View::new().with(service).with(pods.into_iter().map(pod)).with(known);
    EndpointsController.reconcile(&view, &Key::new("n", "s"), at(1000))
}

#[test]
fn a_service_without_pods_has_endpoints_without_subsets() {
    let plan = decide(Some(service(json!({"ports": [{"port": 80}]}))), vec![], None);
    let expected = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "1970-01-01T00:00:00Z"},
            "labels": {"endpoints.kubernetes.io/managed-by": "endpoint-controller", "team": "x"},
            "name": "s",
            "namespace": "n",
        },
    });
    assert_eq!(body(&plan, 0), expected);
}

#[test]
fn ports_with_the_same_addresses_share_a_subset() {
    let ports = json!([{"name": "a", "port": 80, "targetPort": "http"}, {"name": "b", "port": 81}]);
    let mut other = a_pod("q", "10.1.0.3", "False");
    other["spec"]["containers"][0]["ports"][0]["containerPort"] = json!(9090);
    let pods = vec![a_pod("p", "10.1.0.2", "True"), other];
    let plan = decide(Some(service(json!({"ports": ports}))), pods, None);
    let subsets = body(&plan, 0)["subsets"].clone();
    let shown: Vec<String> = subsets
        .as_array()
        .unwrap()
        .iter()
        .map(|subset| {
            let ips = |list: &str| {
                subset[list].as_array().into_iter().flatten().map(|a| a["ip"].to_string()).collect::<Vec<_>>()
            };
            let ports: Vec<_> =
                subset["ports"].as_array().unwrap().iter().map(|port| port["port"].to_string()).collect();
            format!("{:?} {:?} {:?}", ports, ips("addresses"), ips("notReadyAddresses"))
                .replace("\\\"", "")
                .replace('"', "")
        })
        .collect();
    assert_eq!(shown, ["[8080] [10.1.0.2] []", "[9090] [] [10.1.0.3]", "[81] [10.1.0.2] [10.1.0.3]"]);
    let same = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    let plan = decide(Some(service(json!({"ports": same}))), vec![a_pod("p", "10.1.0.2", "True")], None);
    let expected = json!([{
        "addresses": [{"ip": "10.1.0.2", "nodeName": "n1", "targetRef": {"kind": "Pod", "name": "p", "namespace": "n", "uid": "p-uid"}}],
        "ports": [{"name": "a", "port": 80, "protocol": "TCP"}, {"name": "b", "port": 81, "protocol": "TCP"}],
    }]);
    assert_eq!(body(&plan, 0)["subsets"], expected);
}

#[test]
fn a_terminating_pod_is_listed_only_if_unready_ones_are_published() {
    let mut terminating = a_pod("p", "10.1.0.2", "False");
    terminating["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
    for (publish, expected) in [(false, Value::Null), (true, json!("10.1.0.2"))] {
        let service = service(json!({"ports": [{"port": 80}], "publishNotReadyAddresses": publish}));
        let plan = decide(Some(service), vec![terminating.clone()], None);
        assert_eq!(body(&plan, 0)["subsets"][0]["addresses"][0]["ip"], expected);
    }
}

#[test]
fn nothing_is_written_when_nothing_changed() {
    let spec = json!({"ports": [{"port": 80}]});
    let pods = vec![a_pod("p", "10.1.0.2", "True")];
    let first = decide(Some(service(spec.clone())), pods.clone(), None);
    let known: Endpoints = object(body(&first, 0));
    assert_eq!(decide(Some(service(spec.clone())), pods.clone(), Some(known.clone())), Plan::nothing());
    let plan = decide(Some(service(spec)), vec![a_pod("p", "10.1.0.2", "False")], Some(known));
    assert_eq!(lines(&plan), ["update endpoints n/s"]);
    let annotations = &body(&plan, 0)["metadata"]["annotations"];
    assert_eq!(annotations["endpoints.kubernetes.io/last-change-trigger-time"], "1970-01-01T00:01:40Z");
}

#[test]
fn endpoints_go_with_their_service_and_stay_without_a_selector() {
    let known: Endpoints = object(
        json!({"metadata": {"name": "s", "labels": {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}}}),
    );
    assert_eq!(lines(&decide(None, vec![], Some(known.clone()))), ["delete endpoints n/s"]);
    let by_hand: Endpoints = object(json!({"metadata": {"name": "s"}}));
    assert_eq!(lines(&decide(None, vec![], Some(by_hand))), ["delete endpoints n/s"]);
    assert_eq!(decide(None, vec![], None), Plan::nothing());
    assert_eq!(decide(Some(service(json!({"selector": {}}))), vec![], Some(known)), Plan::nothing());
}

#[test]
fn a_headless_service_without_ports_lists_addresses_alone() {
    let plan = decide(Some(service(json!({"clusterIP": "None"}))), vec![a_pod("p", "10.1.0.2", "True")], None);
    let body = body(&plan, 0);
    assert_eq!(body["metadata"]["labels"]["service.kubernetes.io/headless"], "");
    assert_eq!(
        (&body["subsets"][0]["addresses"][0]["ip"], &body["subsets"][0]["ports"]),
        (&json!("10.1.0.2"), &Value::Null)
    );
}

#[test]
fn more_than_a_thousand_addresses_are_cut_off_ready_ones_last() {
    let ip = |n: usize| format!("10.1.{}.{}", n / 250, n % 250);
    let pods = (0..1100).map(|n| a_pod(&format!("p{n}"), &ip(n), if n < 600 { "True" } else { "False" })).collect();
    let plan = decide(Some(service(json!({"ports": [{"port": 80}]}))), pods, None);
    let body = body(&plan, 0);
    assert_eq!(body["metadata"]["annotations"]["endpoints.kubernetes.io/over-capacity"], "truncated");
    let count = |list: &str| body["subsets"][0][list].as_array().unwrap().len();
    assert_eq!((count("addresses"), count("notReadyAddresses")), (600, 400));
}

#[test]
fn an_external_name_has_no_endpoints() {
    let service = service(json!({"type": "ExternalName", "ports": [{"port": 80}]}));
    assert_eq!(decide(Some(service), vec![a_pod("p", "10.1.0.2", "True")], None), Plan::nothing());
}
