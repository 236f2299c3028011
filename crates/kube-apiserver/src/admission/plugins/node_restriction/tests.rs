use std::sync::Arc;

use serde_json::{Value, json};

use crate::testing::{self, admin, call};
use crate::user::{AUTHENTICATED_GROUP, NODES_GROUP};
use crate::{Server, UserInfo};

fn node(name: &str) -> UserInfo {
    UserInfo::new(format!("system:node:{name}"), [NODES_GROUP, AUTHENTICATED_GROUP])
}

/// The code and the message of an answer.
async fn send(server: &Arc<Server>, user: UserInfo, method: &str, path: &str, body: Value) -> (u16, String) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (code, answer) = call(server, user, method, path, &body).await;
    (code, answer["message"].as_str().unwrap_or_default().to_owned())
}

async fn make(server: &Arc<Server>, path: &str, body: Value) -> Value {
    let (code, answer) = call(server, admin(), "POST", path, &body.to_string()).await;
    assert_eq!(code, 201, "{answer}");
    answer
}

/// What an object differs in from one that is let through.
type Edit<'a> = &'a dyn Fn(&mut Value);

const PODS: &str = "/api/v1/namespaces/default/pods";

async fn cluster() -> (Arc<Server>, testing::Pki, Value) {
    let (server, pki) = testing::server().await;
    make(&server, "/api/v1/namespaces/default/serviceaccounts", json!({"metadata": {"name": "default"}})).await;
    for name in ["s", "other"] {
        make(&server, "/api/v1/namespaces/default/secrets", json!({"metadata": {"name": name}})).await;
    }
    let own = make(&server, "/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await;
    for (pod, on) in [("p1", "n1"), ("p2", "n2")] {
        let volumes = json!([{"name": "s", "secret": {"secretName": "s"}}]);
        let spec = json!({"nodeName": on, "volumes": if pod == "p1" { volumes } else { json!([]) },
            "containers": [{"name": "c", "image": "i"}]});
        make(&server, PODS, json!({"metadata": {"name": pod}, "spec": spec})).await;
    }
    (server, pki, own)
}

#[tokio::test]
async fn a_node_reads_what_its_pods_use_and_no_more() {
    let (server, _pki, _) = cluster().await;
    let get = async |user: &str, path: &str| send(&server, node(user), "GET", path, Value::Null).await;
    let secrets = "/api/v1/namespaces/default/secrets";
    assert_eq!(get("n1", &format!("{secrets}/s")).await.0, 200);
    assert_eq!(get("n1", &format!("{secrets}?fieldSelector=metadata.name%3Ds")).await.0, 200);
    assert_eq!(get("n1", "/api/v1/namespaces/default/configmaps/kube-root-ca.crt").await.0, 404);
    let (code, message) = get("n1", &format!("{secrets}/other")).await;
    assert_eq!(code, 403);
    assert!(message.ends_with("\"default\": no relationship found between node 'n1' and this object"), "{message}");
    for (user, path) in [("n2", "s"), ("n1", "?fieldSelector=metadata.name%3Dother"), ("n1", "")] {
        assert_eq!(get(user, &format!("{secrets}/{path}").replace("/?", "?")).await.0, 403, "{user} {path}");
    }
    assert_eq!(get("n1", &format!("{PODS}/p1")).await.0, 200);
    assert_eq!(get("n1", &format!("{PODS}/p2")).await.0, 403);
    assert_eq!(get("n1", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").await.0, 200);
    for selector in [
        "spec.nodeName%3Dn2",
        "spec.nodeName%21%3Dn1",
        "spec.nodeName%3Dn2&fieldSelector=spec.nodeName%3Dn1",
        "metadata.name%3Dp2",
    ] {
        let (code, message) = get("n1", &format!("/api/v1/pods?fieldSelector={selector}")).await;
        assert_eq!(code, 403, "{selector}");
        assert!(message.ends_with("can only list/watch pods with spec.nodeName field selector"), "{message}");
    }
    // The selector that was judged is the one that is served.
    let twice = "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1&fieldSelector=spec.nodeName%3Dn2";
    let (_, list) = call(&server, node("n1"), "GET", twice, "").await;
    let names: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|pod| &pod["metadata"]["name"]).collect();
    assert_eq!(names, ["p1"]);
    // What is gone is no longer used.
    assert_eq!(
        send(&server, node("n1"), "DELETE", &format!("{PODS}/p1?gracePeriodSeconds=0"), Value::Null).await.0,
        200
    );
    assert_eq!(get("n1", &format!("{secrets}/s")).await.0, 403);
}

/// CVE-2025-4563, and the older ways to borrow by a mirror pod what a node has no right to.
#[tokio::test]
async fn a_node_makes_mirror_pods_that_use_nothing() {
    let (server, _pki, own) = cluster().await;
    let owner =
        json!([{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": own["metadata"]["uid"], "controller": true}]);
    let mirror = |change: Edit| {
        let mut pod = json!({"metadata": {"name": "m", "annotations": {"kubernetes.io/config.mirror": "x"},
            "ownerReferences": owner}, "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}});
        change(&mut pod);
        pod
    };
    let refused: [(Edit, &str); 10] = [
        (
            &|pod| pod["spec"]["resourceClaims"] = json!([{"name": "gpu", "resourceClaimName": "others"}]),
            "node \"n1\" can not create pods that reference resourceclaims",
        ),
        (
            &|pod| pod["metadata"]["annotations"] = json!({}),
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods",
        ),
        (
            &|pod| pod["spec"]["nodeName"] = json!("n2"),
            "node \"n1\" can only create pods with spec.nodeName set to itself",
        ),
        (
            &|pod| pod["metadata"]["ownerReferences"] = json!([]),
            "node \"n1\" can only create pods with an owner reference set to itself",
        ),
        (
            &|pod| pod["metadata"]["ownerReferences"][0]["uid"] = json!("u"),
            &format!("node n1 UID mismatch: expected u got {}", own["metadata"]["uid"].as_str().unwrap()),
        ),
        (
            &|pod| pod["metadata"]["ownerReferences"][0]["blockOwnerDeletion"] = json!(true),
            "node \"n1\" must not set blockOwnerDeletion on an owner reference",
        ),
        (
            &|pod| pod["spec"]["serviceAccountName"] = json!("default"),
            "node \"n1\" can not create pods that reference a service account",
        ),
        (
            &|pod| pod["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "other"}}]),
            "node \"n1\" can not create pods that reference secrets",
        ),
        (
            &|pod| pod["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "c"}}]),
            "node \"n1\" can not create pods that reference configmaps",
        ),
        (
            &|pod| pod["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]),
            "node \"n1\" can not create pods that reference persistentvolumeclaims",
        ),
    ];
    for (change, reason) in refused {
        let (code, message) = send(&server, node("n1"), "POST", PODS, mirror(change)).await;
        // ServiceAccount judges mirror pods too, whoever makes them.
        let also = message.contains("a mirror pod may not reference");
        assert!(code == 403 && (also || message.ends_with(reason)), "{code} {message}, not {reason}");
    }
    assert_eq!(send(&server, node("n1"), "POST", PODS, mirror(&|_| {})).await, (201, String::new()));
}

/// CVE-2025-5187: a Node that names an owner which is not there would be collected and could come back anew.
#[tokio::test]
async fn a_node_does_not_change_what_places_pods() {
    let (server, _pki, own) = cluster().await;
    let put = async |change: Edit| {
        let mut object = own.clone();
        change(&mut object);
        send(&server, node("n1"), "PUT", "/api/v1/nodes/n1", object).await
    };
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "u"}]);
    let refused: [(Edit, &str); 5] = [
        (
            &|node| node["metadata"]["ownerReferences"] = owner.clone(),
            "node \"n1\" is not allowed to modify ownerReferences",
        ),
        (&|node| node["spec"]["taints"] = json!([]), "node \"n1\" is not allowed to modify taints"),
        (
            &|node| node["metadata"]["labels"] = json!({"node-restriction.kubernetes.io/a": "b", "x": "y"}),
            "is not allowed to modify labels: node-restriction.kubernetes.io/a",
        ),
        (
            &|node| node["metadata"]["labels"] = json!({"node-role.kubernetes.io/control-plane": ""}),
            "is not allowed to modify labels: node-role.kubernetes.io/control-plane",
        ),
        (
            &|node| node["metadata"]["labels"] = json!({"a.k8s.io/b": "", "x.node-restriction.kubernetes.io/c": ""}),
            "is not allowed to modify labels: a.k8s.io/b, x.node-restriction.kubernetes.io/c",
        ),
    ];
    for (change, reason) in refused {
        assert_eq!(put(change).await, (403, format!("nodes \"n1\" is forbidden: {reason}")));
    }
    let labels = json!({"x": "y", "kubernetes.io/hostname": "n1", "node.kubernetes.io/z": "", "topology.kubernetes.io/zone": "a"});
    assert_eq!(put(&|node| node["metadata"]["labels"] = labels.clone()).await.0, 200);
    let other = json!({"metadata": {"name": "n2"}});
    assert_eq!(
        send(&server, node("n1"), "POST", "/api/v1/nodes", other).await,
        (403, "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"".to_owned())
    );
    let labelled = json!({"metadata": {"name": "n3", "labels": {"node-role.kubernetes.io/x": ""}}});
    assert_eq!(
        send(&server, node("n3"), "POST", "/api/v1/nodes", labelled).await.1,
        "nodes \"n3\" is forbidden: node \"n3\" is not allowed to set the following labels: node-role.kubernetes.io/x"
    );
    assert_eq!(send(&server, node("n1"), "DELETE", "/api/v1/nodes/n1", Value::Null).await.0, 403);
}

#[tokio::test]
async fn a_node_gets_tokens_for_its_pods_and_their_audiences() {
    let (server, _pki, _) = cluster().await;
    let (_, p1) = call(&server, admin(), "GET", &format!("{PODS}/p1"), "").await;
    let (_, p2) = call(&server, admin(), "GET", &format!("{PODS}/p2"), "").await;
    let ask = async |spec: Value| {
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
        let (code, message) = send(&server, node("n1"), "POST", path, json!({"spec": spec})).await;
        (code, message.trim_start_matches("serviceaccounts \"default\" is forbidden: ").to_owned())
    };
    let bound = |pod: &Value| json!({"apiVersion": "v1", "kind": "Pod", "name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]});
    assert_eq!(ask(json!({"boundObjectRef": bound(&p1)})).await.0, 201);
    assert_eq!(ask(json!({})).await, (403, "node requested token not bound to a pod".to_owned()));
    assert_eq!(
        ask(json!({"boundObjectRef": bound(&p2)})).await,
        (403, "node requested token bound to a pod scheduled on a different node".to_owned())
    );
    let mut stale = bound(&p1);
    stale["uid"] = json!("old");
    assert!(ask(json!({"boundObjectRef": stale})).await.1.starts_with("the UID in the bound object reference (old)"));
    assert_eq!(
        ask(json!({"boundObjectRef": bound(&p1), "audiences": ["vault"]})).await.1,
        "audience \"vault\" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience"
    );
    assert_eq!(
        ask(json!({"boundObjectRef": bound(&p1), "audiences": ["a", "b"]})).await.1,
        "node may only request 0 or 1 audiences"
    );
    // Another node has no pod with that account, and so does not even get here.
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let (code, message) =
        send(&server, node("n9"), "POST", path, json!({"spec": {"boundObjectRef": bound(&p1)}})).await;
    assert_eq!(code, 403);
    assert!(message.ends_with("no relationship found between node 'n9' and this object"), "{message}");
}

#[tokio::test]
async fn a_node_tells_of_its_own_pods_only() {
    let (server, _pki, _) = cluster().await;
    let (_, p1) = call(&server, admin(), "GET", &format!("{PODS}/p1"), "").await;
    let (_, p2) = call(&server, admin(), "GET", &format!("{PODS}/p2"), "").await;
    let put = async |pod: &Value, change: Edit| {
        let mut pod = pod.clone();
        change(&mut pod);
        let path = format!("{PODS}/{}/status", pod["metadata"]["name"].as_str().unwrap());
        send(&server, node("n1"), "PUT", &path, pod).await
    };
    assert_eq!(
        put(&p2, &|_| {}).await.1,
        "pods \"p2\" is forbidden: node \"n1\" can only update pod status for pods with spec.nodeName set to itself"
    );
    assert_eq!(
        put(&p1, &|pod| pod["metadata"]["labels"] = json!({"app": "db"})).await.1,
        "pods \"p1\" is forbidden: node \"n1\" cannot update labels through pod status"
    );
    assert_eq!(put(&p1, &|pod| pod["status"]["phase"] = json!("Running")).await.0, 200);
    let path = format!("{PODS}/p2");
    assert_eq!(
        send(&server, node("n1"), "DELETE", &path, Value::Null).await.1,
        "pods \"p2\" is forbidden: node \"n1\" can only delete pods with spec.nodeName set to itself"
    );
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p2"}});
    assert_eq!(
        send(&server, node("n1"), "POST", &format!("{path}/eviction"), eviction).await.1,
        "pods \"p2\" is forbidden: node n1 can only evict pods with spec.nodeName set to itself"
    );
    let lease = json!({"metadata": {"name": "n2", "namespace": "kube-node-lease"}, "spec": {}});
    assert_eq!(
        send(&server, node("n1"), "POST", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases", lease)
            .await
            .1,
        "leases.coordination.k8s.io \"n2\" is forbidden: can only access node lease with the same name as the requesting node"
    );
}
