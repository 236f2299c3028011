//! Containers beside the main ones, and what containers may do.

use serde_json::json;

use crate::{
    harness::{TestNode, condition, until},
    image,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_sidecar_starts_first_and_does_not_keep_a_finished_pod_alive() {
    let Some(node) = TestNode::start().await else { return };
    let mount = json!([{"name": "v", "mountPath": "/v"}]);
    node.create(
        "job",
        json!({"restartPolicy": "Never", "terminationGracePeriodSeconds": 2, "volumes": [{"name": "v", "emptyDir": {}}],
        "initContainers": [{"name": "s", "restartPolicy": "Always", "volumeMounts": mount,
            "command": ["sh", "-c", "touch /v/up; sleep 1000"],
            "startupProbe": {"exec": {"command": ["test", "-e", "/v/up"]}, "periodSeconds": 1, "timeoutSeconds": 5}}],
        "containers": [{"name": "c", "command": ["test", "-e", "/v/up"], "volumeMounts": mount}]}),
    );
    let pod = node.wait("job", |pod| pod["status"]["phase"] == "Succeeded").await;
    assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"], 137);
    assert_eq!(condition(&pod, "Ready"), "False");
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn security_contexts_bind() {
    let Some(node) = TestNode::start().await else { return };
    let script = "{ id -u; id -g; id -G; touch /x || echo readonly; stat=$(cat /proc/self/status); \
        echo \"$stat\" | while read key value; do case $key in NoNewPrivs:) echo nnp $value;; esac; done; \
        ls -n / > /dev/null; test -w /v && echo writable; } > /dev/termination-log 2>/dev/null";
    node.create(
        "bound",
        json!({"restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}],
        "securityContext": {"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "runAsNonRoot": true},
        "containers": [{"name": "c", "command": ["sh", "-c", script], "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "securityContext": {"readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]}),
    );
    node.create("root", json!({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "c"}]}));
    let pod = node.wait("bound", |pod| pod["status"]["phase"] == "Succeeded").await;
    let told = pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"].as_str().unwrap().to_owned();
    assert_eq!(told, "1000\n2000\n2000 3000\nreadonly\nnnp 1\nwritable\n");
    let reason = |pod: &serde_json::Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    node.wait("root", |pod| reason(pod) == "CreateContainerConfigError").await;
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ephemeral_container_joins_a_running_pod() {
    let Some(node) = TestNode::start().await else { return };
    node.create("looked-at", json!({"containers": [{"name": "c"}]}));
    let mut pod = node.wait("looked-at", |pod| condition(pod, "Ready") == "True").await;
    pod["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": image::NAME, "targetContainerName": "c",
        "command": ["sh", "-c", "cat /proc/1/cmdline; echo; sleep 1000"]}]);
    node.api.put("/api/v1/namespaces/default/pods", pod);
    let pod = node
        .wait("looked-at", |pod| !pod["status"]["ephemeralContainerStatuses"][0]["state"]["running"].is_null())
        .await;
    assert_eq!(condition(&pod, "Ready"), "True");
    let log =
        node.config.pod_logs("default", "looked-at", pod["metadata"]["uid"].as_str().unwrap()).join("debug/0.log");
    let seen = until("it sees the other's processes", || {
        std::fs::read_to_string(&log).ok().filter(|log| log.contains("1000000"))
    })
    .await;
    assert!(seen.contains("stdout"));
    node.finish().await;
}
