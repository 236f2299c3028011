//! Where pods go and why they wait, on a real node.

use serde_json::{Value, json};

use crate::harness::{Cluster, Kubectl};

fn create(kubectl: &Kubectl<'_>, name: &str, labels: Value, spec: Value) {
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": "busybox", "imagePullPolicy": "Never",
            "command": ["sleep", "3600"]}]},
    });
    pod["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let file = kubectl.manifest(&format!("{name}.json"), &pod.to_string());
    kubectl.ok(&["create", "-f", &file]);
}

fn waits(kubectl: &Kubectl<'_>, name: &str, why: &str) {
    let path = "-o=jsonpath={.status.conditions[?(@.type==\"PodScheduled\")].message}";
    let message = kubectl.until(&["get", "pod", name, path], |message| !message.is_empty());
    assert!(message.starts_with(why), "{message}");
}

fn runs(kubectl: &Kubectl<'_>, name: &str) {
    kubectl.until(&["get", "pod", name, "-o=jsonpath={.status.phase}"], |phase| phase == "Running");
}

#[test]
fn pods_wait_for_what_they_demand_of_their_neighbours_and_the_node() {
    let cluster = Cluster::start(&["busybox"]);
    let kubectl = cluster.own_kubectl("scheduling");
    let term =
        |app: &str| json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": app}}}]);
    let rule = |kind: &str, app: &str| json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": term(app)}}});
    create(&kubectl, "friend", json!({}), rule("podAffinity", "web"));
    waits(&kubectl, "friend", "0/1 nodes are available: 1 node(s) didn't match pod affinity rules.");
    create(&kubectl, "first", json!({"app": "web"}), rule("podAntiAffinity", "web"));
    runs(&kubectl, "first");
    runs(&kubectl, "friend");
    create(&kubectl, "second", json!({"app": "web"}), rule("podAntiAffinity", "web"));
    waits(&kubectl, "second", "0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules.");
    kubectl.ok(&["delete", "pod", "first"]);
    runs(&kubectl, "second");
    let zones = json!([{"maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {}}]);
    create(&kubectl, "zoned", json!({}), json!({"topologySpreadConstraints": zones}));
    let why =
        "0/1 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label).";
    waits(&kubectl, "zoned", why);
    let node = kubectl.ok(&["get", "nodes", "-o=jsonpath={.items[0].metadata.name}"]);
    kubectl.ok(&["label", "node", &node, "topology.kubernetes.io/zone=z"]);
    runs(&kubectl, "zoned");
}
