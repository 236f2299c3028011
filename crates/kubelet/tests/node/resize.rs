//! A running pod gets other resources without being made anew.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Pod;
use kubelet::cgroups::Cgroups;
use serde_json::{Value, json};

use crate::harness::{TestNode, condition, until};

fn sized(cpu: &str, memory: &str) -> Value {
    json!({"requests": {"cpu": "50m", "memory": "16Mi"}, "limits": {"cpu": cpu, "memory": memory}})
}

/// Asks for other resources, as the API server does when a pod is resized.
fn resize(node: &TestNode, name: &str, resources: Value) {
    let mut pod = node.pod(name).unwrap();
    let generation = pod["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
    pod["metadata"]["generation"] = generation.into();
    pod["spec"]["containers"][0]["resources"] = resources;
    node.api.put("/api/v1/namespaces/default/pods", pod);
}

fn given(pod: &Value) -> &Value {
    &pod["status"]["containerStatuses"][0]["resources"]["limits"]
}

/// What the kernel holds the container and its pod to: (quota, memory) of each.
fn kernel(node: &TestNode, pod: &Value) -> [(String, String); 2] {
    let cgroups = Cgroups::new(node.config.cgroup_driver, &node.config.cgroup_root);
    let typed: Pod = serde_json::from_value(pod.clone()).unwrap();
    let id = pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap().rsplit('/').next().unwrap();
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let file = |controller, v1, v2, below: &str| {
        let path = cgroups.pod_file(&typed, controller, v1, v2).unwrap();
        read(path.parent().unwrap().join(below).join(path.file_name().unwrap()))
    };
    ["", id].map(|below| {
        let quota = file("cpu", "cpu.cfs_quota_us", "cpu.max", below);
        let quota = quota.split(' ').next().unwrap_or_default().to_owned();
        (quota, file("memory", "memory.limit_in_bytes", "memory.max", below))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resize_reaches_the_kernel_without_a_restart() {
    let Some(mut node) = TestNode::start().await else { return };
    let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}]);
    node.create(
        "a",
        json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "resources": sized("200m", "64Mi")}]}),
    );
    node.create(
        "restarts",
        json!({"terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "resizePolicy": policy, "resources": sized("200m", "64Mi")}]}),
    );
    let pod = node.wait("a", |pod| condition(pod, "Ready") == "True").await;
    let both = |quota: u64, memory: u64| {
        let one = (quota.to_string(), (memory << 20).to_string());
        [one.clone(), one]
    };
    assert_eq!(kernel(&node, &pod), both(20_000, 64));

    resize(&node, "a", sized("300m", "128Mi"));
    let done = |pod: &Value, cpu: &str, memory: &str| {
        *given(pod) == json!({"cpu": cpu, "memory": memory}) && condition(pod, "PodResizeInProgress").is_empty()
    };
    let pod = node.wait("a", |pod| done(pod, "300m", "128Mi")).await;
    assert_eq!(kernel(&node, &pod), both(30_000, 128));
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    assert_eq!(pod["status"]["observedGeneration"], 2);
    let completed = until("it is told", || node.events("ResizeCompleted").first().cloned()).await;
    assert!(completed.starts_with("Pod resize completed: {\"containers\":[{\"name\":\"c\""), "{completed}");

    resize(&node, "a", sized("100m", "96Mi"));
    let pod = node.wait("a", |pod| done(pod, "100m", "96Mi")).await;
    assert_eq!(kernel(&node, &pod), both(10_000, 96));

    node.wait("restarts", |pod| condition(pod, "Ready") == "True").await;
    resize(&node, "restarts", sized("200m", "128Mi"));
    let restarted = |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"] == 1;
    let pod = node.wait("restarts", |pod| done(pod, "200m", "128Mi") && restarted(pod)).await;
    assert_eq!(kernel(&node, &pod), both(20_000, 128));
    until("it is told", || node.events("Killing").into_iter().find(|m| m == "Container c resize requires restart"))
        .await;

    // What can never be is said, and what is promised outlives the kubelet.
    let mut huge = sized("5000", "96Mi");
    huge["requests"]["cpu"] = "5000".into();
    resize(&node, "a", huge);
    let waits = |pod: &Value| condition(pod, "PodResizePending") == "True";
    let pod = node.wait("a", waits).await;
    assert_eq!(*given(&pod), json!({"cpu": "100m", "memory": "96Mi"}));
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let pending = conditions.iter().find(|c| c["type"] == "PodResizePending").unwrap();
    assert_eq!((&pending["reason"], &pending["observedGeneration"]), (&json!("Infeasible"), &json!(4)));
    node.stop_kubelet().await;
    node.start_kubelet();
    resize(&node, "a", sized("150m", "96Mi"));
    let pod = node.wait("a", |pod| done(pod, "150m", "96Mi") && !waits(pod)).await;
    assert_eq!(kernel(&node, &pod), both(15_000, 96));
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    node.finish().await;
}
