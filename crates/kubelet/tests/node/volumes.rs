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

#[tokio::test(flavor = "multi_thread")]
async fn what_a_pod_writes_to_its_claim_is_there_for_the_next_one() {
    let Some(node) = TestNode::start_with(|config| config.sync_frequency = Duration::from_millis(300)).await else {
        return;
    };
    let data = node.config.root_dir.join("data");
    std::fs::create_dir_all(&data).unwrap();
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": {"name": "c", "namespace": "default"}, "spec": {}, "status": {"phase": "Pending"}});
    claim = node.api.put(claims, claim);
    let create = |name: &str, script: &str, read_only: bool| {
        node.create(name, json!({"restartPolicy": "Never",
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "c", "readOnly": read_only}}],
            "containers": [{"name": "c", "command": ["sh", "-c", script], "volumeMounts": [{"name": "data", "mountPath": "/d"}]}]}));
    };
    create("writer", "echo kept > /d/file; sleep 3600", false);
    let message = until("it is told", || node.events("FailedMount").first().cloned()).await;
    assert!(message.ends_with("error processing PVC default/c: PVC is not bound"), "{message}");

    node.api.put("/api/v1/persistentvolumes", json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"},
        "spec": {"local": {"path": data}, "claimRef": {"namespace": "default", "name": "c", "uid": claim["metadata"]["uid"]}}}));
    claim["spec"]["volumeName"] = json!("v");
    claim["status"]["phase"] = json!("Bound");
    claim = node.api.put(claims, claim);
    until("the file", || std::fs::read_to_string(data.join("file")).ok().filter(|text| text == "kept\n")).await;
    // A running pod keeps its volume, whatever becomes of the claim.
    let told = node.events("FailedMount").len();
    claim["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    node.api.put(claims, claim.clone());
    create("late", "true", false);
    until("a new pod is not started", || {
        node.events("FailedMount").into_iter().find(|message| message.ends_with("PVC is being deleted"))
    })
    .await;
    node.wait("writer", |pod| pod["status"]["phase"] == "Running").await;
    assert_eq!(node.events("FailedMount").len(), told + 1);
    node.delete("late", 1);
    node.delete("writer", 1);
    until("the writer is gone", || node.pod("writer").is_none().then_some(())).await;

    claim["metadata"]["deletionTimestamp"] = serde_json::Value::Null;
    node.api.put(claims, claim);
    create("reader", "test \"$(cat /d/file)\" = kept && ! touch /d/new", true);
    node.wait("reader", |pod| pod["status"]["phase"] == "Succeeded").await;
    node.delete("reader", 1);
    until("the objects are deleted", || (node.pod("reader").is_none() && node.pod("late").is_none()).then_some(()))
        .await;
    node.wait_clean().await;
    assert_eq!(std::fs::read_to_string(data.join("file")).unwrap(), "kept\n");
    node.finish().await;
}
