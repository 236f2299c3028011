//! All controllers together against the fake server: they meet only at the API.

use std::sync::Arc;

use client::ManualClock;
use client::fake::{FakeServer, until};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/n/deployments";
const SETS: &str = "/apis/apps/v1/namespaces/n/replicasets";
const PODS: &str = "/api/v1/namespaces/n/pods";
const MAPS: &str = "/api/v1/namespaces/n/configmaps";

fn discovery(server: &FakeServer) {
    let resource = |name: &str, kind: &str, namespaced: bool| json!({"name": name, "kind": kind, "namespaced": namespaced, "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]});
    let core = [
        resource("pods", "Pod", true),
        resource("configmaps", "ConfigMap", true),
        resource("namespaces", "Namespace", false),
    ];
    server.put("/api", json!({"metadata": {"name": "v1"}, "resources": core}));
    server.put("", json!({"metadata": {"name": "apis"}, "groups": [{"name": "apps", "versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}}]}));
    let apps = [resource("deployments", "Deployment", true), resource("replicasets", "ReplicaSet", true)];
    server.put("/apis/apps", json!({"metadata": {"name": "v1"}, "resources": apps}));
}

fn start(server: &FakeServer) -> CancellationToken {
    let cancel = CancellationToken::new();
    let from = server.clone();
    let options = Options {
        root_ca: Some("PEM".to_owned()),
        environment: Environment::new(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)), 1),
        ..Default::default()
    };
    tokio::spawn(run(Arc::new(move |_| from.client()), options, cancel.clone()));
    cancel
}

fn deployment(image: &str, replicas: i32) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n", "uid": "d-uid", "generation": 1},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "x"}}, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": image}]}}}})
}

fn make_ready(server: &FakeServer) {
    for mut pod in server.list(PODS) {
        if pod["status"]["phase"] != "Running" {
            pod["status"] = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"}]});
            server.put(PODS, pod);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_rolls_out_and_its_deletion_takes_everything_along() {
    let server = FakeServer::new();
    discovery(&server);
    let cancel = start(&server);
    server.put(DEPLOYMENTS, deployment("a", 3));
    until("three pods", || server.list(PODS).len() == 3).await;
    make_ready(&server);
    let status =
        || server.get(&format!("{DEPLOYMENTS}/d")).map(|deployment| deployment["status"].clone()).unwrap_or_default();
    until("all available", || status()["availableReplicas"] == 3).await;
    server.put(DEPLOYMENTS, deployment("b", 3));
    let images = || {
        server
            .list(PODS)
            .iter()
            .map(|pod| pod["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    until("only new pods", || {
        make_ready(&server);
        images() == ["b", "b", "b"]
    })
    .await;
    assert_eq!(server.list(SETS).len(), 2);
    server.remove(&format!("{DEPLOYMENTS}/d"));
    until("nothing left", || server.list(PODS).is_empty() && server.list(SETS).is_empty()).await;
    cancel.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_namespace_gets_its_account_and_bundle_and_is_emptied_when_it_goes() {
    let server = FakeServer::new();
    discovery(&server);
    let cancel = start(&server);
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}});
    let mut stored = server.put("/api/v1/namespaces", namespace);
    until("account and bundle", || {
        server.get("/api/v1/namespaces/n/serviceaccounts/default").is_some()
            && server.get(&format!("{MAPS}/kube-root-ca.crt")).is_some()
    })
    .await;
    stored["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
    server.put("/api/v1/namespaces", stored);
    until("finalized", || server.writes().iter().any(|write| write == "PUT /api/v1/namespaces/n/finalize")).await;
    let deleted = server.writes();
    assert!(deleted.iter().any(|write| *write == format!("DELETE {MAPS}")), "{deleted:?}");
    assert!(server.list(MAPS).is_empty());
    cancel.cancel();
}
