//! What containers find in their volumes and environment.

use std::time::Duration;

use serde_json::json;

use crate::harness::{TestNode, until};

#[tokio::test(flavor = "multi_thread")]
async fn volumes_and_environment_hold_what_they_should() {
    let Some(node) = TestNode::start_with(|config| config.sync_frequency = Duration::from_millis(300)).await else {
        return;
    };
    node.api.put(
        "/api/v1/namespaces/default/configmaps",
        json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "default"}, "data": {"key": "one"}}),
    );
    node.api.put(
        "/api/v1/namespaces/default/secrets",
        json!({"apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "s", "namespace": "default"}, "data": {"word": "c2VjcmV0"}}),
    );
    let out = node.config.root_dir.join("out");
    std::fs::create_dir_all(&out).unwrap();
    let script = "cat /sub/inner > /out/sub; cat /p/token > /out/token; cat /p/name > /out/name; cat /s/word > /out/word; \
        echo $A $B > /out/env; cat /etc/hosts > /out/hosts; while true; do cat /m/key > /out/key; sleep 0.1; done";
    node.create("v", json!({"restartPolicy": "Never", "serviceAccountName": "default",
        "volumes": [
            {"name": "out", "hostPath": {"path": out}},
            {"name": "m", "configMap": {"name": "m"}},
            {"name": "s", "secret": {"secretName": "s"}},
            {"name": "e", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "p", "projected": {"sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}]}}],
        "initContainers": [{"name": "i", "command": ["sh", "-c", "mkdir -p /e/d 2>/dev/null; echo deep > /e/inner"],
            "volumeMounts": [{"name": "e", "mountPath": "/e", "subPath": "d"}]}],
        "containers": [{"name": "c", "command": ["sh", "-c", script],
            "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m", "key": "key"}}}, {"name": "B", "value": "<$(A)>"}],
            "volumeMounts": [{"name": "out", "mountPath": "/out"}, {"name": "m", "mountPath": "/m"}, {"name": "s", "mountPath": "/s"},
                {"name": "p", "mountPath": "/p"}, {"name": "e", "mountPath": "/sub", "subPath": "d"}]}]}));
    let read = |name: &str| std::fs::read_to_string(out.join(name)).ok().filter(|text| !text.is_empty());
    assert_eq!(until("the key", || read("key")).await, "one");
    assert_eq!(until("the token", || read("token")).await, "a-token");
    assert_eq!(read("name").unwrap(), "v");
    assert_eq!(read("word").unwrap(), "secret");
    assert_eq!(read("sub").unwrap(), "deep\n");
    assert_eq!(read("env").unwrap(), "one <one>\n");
    assert!(read("hosts").unwrap().starts_with("# Kubernetes-managed hosts file (host network).\n"));
    node.api.put(
        "/api/v1/namespaces/default/configmaps",
        json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "m", "namespace": "default"}, "data": {"key": "two"}}),
    );
    until("the change arrives", || read("key").filter(|text| text == "two")).await;
    node.delete("v", 1);
    until("the object is deleted", || node.pod("v").is_none().then_some(())).await;
    node.wait_clean().await;
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_holds_the_pod_until_it_comes() {
    let Some(node) = TestNode::start().await else { return };
    node.create(
        "waits",
        json!({"volumes": [{"name": "m", "configMap": {"name": "late"}}],
        "containers": [{"name": "c", "volumeMounts": [{"name": "m", "mountPath": "/m"}]}]}),
    );
    let message = until("it is told", || node.events("FailedMount").first().cloned()).await;
    assert_eq!(message, "MountVolume.SetUp failed for volume \"m\" : configmap \"late\" not found");
    node.api.put(
        "/api/v1/namespaces/default/configmaps",
        json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "late", "namespace": "default"}, "data": {}}),
    );
    node.wait("waits", |pod| pod["status"]["phase"] == "Running").await;
    node.finish().await;
}
