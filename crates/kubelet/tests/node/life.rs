//! From creation to deletion.

use std::time::Instant;

use serde_json::json;

use crate::harness::{TestNode, condition, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_runs_and_goes_without_a_trace() {
    let Some(node) = TestNode::start().await else { return };
    let begun = Instant::now();
    node.create("web", json!({"containers": [{"name": "c", "command": ["sh", "-c", "trap 'exit 0' TERM; while true; do sleep 0.1; done"]}]}));
    let pod = node.wait("web", |pod| condition(pod, "Ready") == "True").await;
    eprintln!("create to Running: {:?}", begun.elapsed());
    assert_eq!(pod["status"]["phase"], "Running");
    assert_eq!(pod["status"]["qosClass"], "BestEffort");
    assert!(pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap().starts_with("containerd://"));
    until("events are told", || (!node.events("Started").is_empty()).then_some(())).await;
    assert_eq!(node.events("Started"), ["Container started"]);
    assert_eq!(node.events("Created"), ["Container created"]);
    node.delete("web", 30);
    let begun = Instant::now();
    until("the object is deleted", || node.pod("web").is_none().then_some(())).await;
    eprintln!("deletion: {:?}", begun.elapsed());
    assert_eq!(node.events("Killing"), ["Stopping container c"]);
    node.wait_clean().await;
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_come_first_and_a_finished_pod_says_its_last_words() {
    let Some(node) = TestNode::start().await else { return };
    let mount = json!([{"name": "v", "mountPath": "/v"}]);
    node.create("job", json!({"restartPolicy": "Never", "volumes": [{"name": "v", "emptyDir": {}}],
        "initContainers": [{"name": "i", "command": ["sh", "-c", "echo from-init > /v/f"], "volumeMounts": mount}],
        "containers": [{"name": "c", "command": ["sh", "-c", "cat /v/f > /dev/termination-log; exit 7"], "volumeMounts": mount}]}));
    let pod = node.wait("job", |pod| pod["status"]["phase"] == "Failed").await;
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!(
        (&ended["exitCode"], &ended["reason"], &ended["message"]),
        (&json!(7), &json!("Error"), &json!("from-init\n"))
    );
    assert_eq!(pod["status"]["initContainerStatuses"][0]["state"]["terminated"]["reason"], "Completed");
    assert_eq!(condition(&pod, "Initialized"), "True");
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_limits_kill() {
    let Some(node) = TestNode::start().await else { return };
    node.create(
        "greedy",
        json!({"restartPolicy": "Never", "containers": [{"name": "c", "command": ["tail", "/dev/zero"],
        "resources": {"limits": {"memory": "16Mi"}}}]}),
    );
    let pod = node.wait("greedy", |pod| pod["status"]["phase"] == "Failed").await;
    let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    assert_eq!((&ended["exitCode"], &ended["reason"]), (&json!(137), &json!("OOMKilled")));
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_cannot_be_had_are_told() {
    let Some(node) = TestNode::start().await else { return };
    let with =
        |image: &str, policy: &str| json!({"containers": [{"name": "c", "image": image, "imagePullPolicy": policy}]});
    node.create("never", with("localhost/absent:1", "Never"));
    node.create("invalid", with("BAD NAME", "IfNotPresent"));
    node.create("absent", with("127.0.0.1:1/absent:1", "IfNotPresent"));
    let reason = |pod: &serde_json::Value| pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"].clone();
    node.wait("never", |pod| reason(pod) == "ErrImageNeverPull").await;
    node.wait("invalid", |pod| reason(pod) == "InvalidImageName").await;
    let pod = node.wait("absent", |pod| reason(pod) == "ErrImagePull" || reason(pod) == "ImagePullBackOff").await;
    assert_eq!(pod["status"]["phase"], "Pending");
    until("the failure is told", || node.events("Failed").iter().any(|m| m == "Error: ErrImagePull").then_some(()))
        .await;
    assert!(node.events("Pulling").contains(&"Pulling image \"127.0.0.1:1/absent:1\"".to_owned()));
    for name in ["never", "invalid", "absent"] {
        node.delete(name, 0);
        until("the object is deleted", || node.pod(name).is_none().then_some(())).await;
    }
    node.wait_clean().await;
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_and_a_pod_gone_from_the_api_goes_from_the_node() {
    let Some(node) = TestNode::start().await else { return };
    let dir = node.config.root_dir.join("outside");
    std::fs::create_dir_all(&dir).unwrap();
    node.create(
        "hooked",
        json!({"volumes": [{"name": "v", "hostPath": {"path": dir, "type": "Directory"}}],
        "containers": [{"name": "c", "volumeMounts": [{"name": "v", "mountPath": "/v"}], "lifecycle": {
            "postStart": {"exec": {"command": ["touch", "/v/started"]}},
            "preStop": {"exec": {"command": ["touch", "/v/stopping"]}}}}]}),
    );
    node.wait("hooked", |pod| condition(pod, "Ready") == "True").await;
    assert!(dir.join("started").exists());
    node.api.remove("/api/v1/namespaces/default/pods/hooked");
    node.wait_clean().await;
    assert!(dir.join("stopping").exists(), "and the host's own directory is untouched");
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_a_pod() {
    let Some(node) = TestNode::start().await else { return };
    node.create(
        "late",
        json!({"activeDeadlineSeconds": 1, "terminationGracePeriodSeconds": 1, "containers": [{"name": "c"}]}),
    );
    let pod = node.wait("late", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "DeadlineExceeded");
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_pod_fails_with_its_reason() {
    let Some(node) = TestNode::start().await else { return };
    node.create("big", json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "9999"}}}]}));
    let pod = node.wait("big", |pod| pod["status"]["phase"] == "Failed").await;
    assert_eq!(pod["status"]["reason"], "OutOfcpu");
    node.finish().await;
}
