//! Containers that are started again, and a kubelet that is.

use serde_json::json;

use crate::harness::{TestNode, condition, until};

#[tokio::test(flavor = "multi_thread")]
async fn crashes_are_repeated_ever_more_slowly() {
    let Some(node) = TestNode::start().await else { return };
    node.create("loop", json!({"containers": [{"name": "c", "command": ["false"]}]}));
    let state = |pod: &serde_json::Value| pod["status"]["containerStatuses"][0].clone();
    let pod = node.wait("loop", |pod| state(pod)["state"]["waiting"]["reason"] == "CrashLoopBackOff").await;
    let status = state(&pod);
    // The first restart is at once, the second waits 10 s, the third 20: a busy machine may show a later one first.
    let restarts = u32::try_from(status["restartCount"].as_u64().unwrap()).unwrap();
    assert!(restarts >= 1, "the first restart is at once");
    let pause = match 10 << (restarts - 1) {
        seconds if seconds < 60 => format!("{seconds}s"),
        seconds => format!("{}m{}s", seconds / 60, seconds % 60),
    };
    assert_eq!(status["lastState"]["terminated"]["exitCode"], 1);
    let message = status["state"]["waiting"]["message"].as_str().unwrap();
    let told = format!("back-off {pause} restarting failed container=c pod=loop_default(");
    assert!(message.starts_with(&told), "{message} is not {told}");
    assert_eq!(pod["status"]["phase"], "Running");
    until("it is told", || node.events("BackOff").first().cloned()).await;
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_liveness_restarts_and_readiness_is_followed() {
    let Some(node) = TestNode::start().await else { return };
    let probe = |file: &str| json!({"exec": {"command": ["test", "-e", file]}, "periodSeconds": 1, "failureThreshold": 1, "successThreshold": 1, "timeoutSeconds": 5});
    // It lives long enough to be seen ready, also on a busy machine.
    let mut liveness = probe("/tmp/absent");
    liveness["initialDelaySeconds"] = 10.into();
    node.create(
        "probed",
        json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "c",
        "command": ["sh", "-c", "touch /tmp/ready; sleep 1000"],
        "readinessProbe": probe("/tmp/ready"), "livenessProbe": liveness}]}),
    );
    node.wait("probed", |pod| condition(pod, "Ready") == "True").await;
    let restarts = |pod: &serde_json::Value| pod["status"]["containerStatuses"][0]["restartCount"].as_i64();
    let pod = node.wait("probed", |pod| restarts(pod) >= Some(1)).await;
    assert_eq!(pod["status"]["containerStatuses"][0]["lastState"]["terminated"]["exitCode"], 137);
    until("it is told", || {
        node.events("Killing").into_iter().find(|m| m == "Container c failed liveness probe, will be restarted")
    })
    .await;
    assert!(node.events("Unhealthy").iter().any(|message| message.starts_with("Liveness probe failed: ")));
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_kubelet_takes_running_pods_up_as_they_are() {
    let Some(mut node) = TestNode::start().await else { return };
    node.create("stays", json!({"containers": [{"name": "c"}]}));
    node.create("goes", json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "c"}]}));
    let before = node.wait("stays", |pod| condition(pod, "Ready") == "True").await;
    node.wait("goes", |pod| condition(pod, "Ready") == "True").await;
    node.stop_kubelet().await;
    node.api.remove("/api/v1/namespaces/default/pods/goes");
    node.create("new", json!({"containers": [{"name": "c"}]}));
    node.start_kubelet();
    node.wait("new", |pod| condition(pod, "Ready") == "True").await;
    until("the orphan is gone", || {
        (!node
            .config
            .pod_log_dir
            .read_dir()
            .unwrap()
            .flatten()
            .any(|e| e.file_name().to_string_lossy().starts_with("default_goes")))
        .then_some(())
    })
    .await;
    let after = node.pod("stays").unwrap();
    assert_eq!(before["status"]["containerStatuses"], after["status"]["containerStatuses"]);
    assert_eq!(before["status"]["conditions"], after["status"]["conditions"]);
    assert_eq!(node.cri.sandboxes(None).await.unwrap().len(), 2);
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_containerd_comes_back_and_its_pods_were_never_away() {
    let Some(node) = TestNode::start().await else { return };
    node.create("stays", json!({"containers": [{"name": "c"}]}));
    let before = node.wait("stays", |pod| condition(pod, "Ready") == "True").await;
    let cancel = tokio_util::sync::CancellationToken::new();
    let dir = node.config.cri_socket().parent().unwrap().to_path_buf();
    let supervisor = tokio::spawn(kubelet::containerd::supervise(dir.clone(), node.options(), cancel.clone()));
    let pid: i32 = std::fs::read_to_string(dir.join("containerd.pid")).unwrap().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    until("a new one has started", || {
        let now: i32 = std::fs::read_to_string(dir.join("containerd.pid")).ok()?.parse().ok()?;
        (now != pid && kubelet::containerd::answers(&dir)).then_some(())
    })
    .await;
    node.create("new", json!({"containers": [{"name": "c"}]}));
    node.wait("new", |pod| condition(pod, "Ready") == "True").await;
    let after = node.pod("stays").unwrap();
    assert_eq!(before["status"]["containerStatuses"], after["status"]["containerStatuses"]);
    cancel.cancel();
    supervisor.await.unwrap();
    node.finish().await;
}
