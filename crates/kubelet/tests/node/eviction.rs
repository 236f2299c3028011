//! A node that runs short, and pods that take too much of it.

use std::time::Duration;

use kubelet::eviction::{Amount, Signal, Threshold};
use serde_json::{Value, json};

use crate::{
    harness::{TestNode, condition, until},
    image,
};

fn is_evicted(pod: &Value) -> bool {
    pod["status"]["phase"] == "Failed" && pod["status"]["reason"] == "Evicted"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fills_its_volume_beyond_the_limit_is_evicted() {
    let quick = |config: &mut kubelet::Config| {
        config.eviction.interval = Duration::from_millis(200);
        config.eviction.volume_stats_period = Duration::ZERO;
    };
    let Some(node) = TestNode::start_with(quick).await else { return };
    let mount = json!([{"name": "v", "mountPath": "/v"}]);
    node.create(
        "fills",
        json!({"volumes": [{"name": "v", "emptyDir": {"sizeLimit": "512Ki"}}], "containers": [{"name": "c",
            "volumeMounts": mount, "command": ["sh", "-c", "cat /bin/busybox > /v/a; sleep 1000"]}]}),
    );
    node.create(
        "keeps",
        json!({"terminationGracePeriodSeconds": 1, "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "512Ki"}}],
            "containers": [{"name": "c", "volumeMounts": mount}]}),
    );
    let pod = node.wait("fills", is_evicted).await;
    let message = "Usage of EmptyDir volume \"v\" exceeds the limit \"512Ki\". ";
    assert_eq!(pod["status"]["message"], message);
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let disruption = conditions.iter().find(|condition| condition["type"] == "DisruptionTarget").unwrap();
    assert_eq!((&disruption["reason"], &disruption["message"]), (&json!("TerminationByKubelet"), &json!(message)));
    until("it is told", || node.events("Evicted").into_iter().find(|told| told == message)).await;
    node.wait("keeps", |pod| condition(pod, "Ready") == "True").await;
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_memory_evicts_all_but_critical_pods() {
    let starving = |config: &mut kubelet::Config| {
        config.eviction.interval = Duration::from_millis(500);
        let (signal, amount) = (Signal::MemoryAvailable, Amount::Absolute(1 << 50));
        config.eviction.thresholds = vec![Threshold { signal, amount, grace: None, min_reclaim: None }];
    };
    let Some(node) = TestNode::start_with(starving).await else { return };
    node.create(
        "critical",
        json!({"priority": 2_000_001_000, "terminationGracePeriodSeconds": 1, "containers": [{"name": "c"}]}),
    );
    node.create("usual", json!({"containers": [{"name": "c"}]}));
    let pod = node.wait("usual", is_evicted).await;
    let message = pod["status"]["message"].as_str().unwrap();
    assert!(
        message.starts_with("The node was low on resource: memory. Threshold quantity: 1Pi, available: "),
        "{message}"
    );
    until("the node says so", || {
        node.api.get("/api/v1/nodes/node-1").filter(|node| condition(node, "MemoryPressure") == "True")
    })
    .await;
    let critical = node.wait("critical", |pod| condition(pod, "Ready") == "True").await;
    assert!(!is_evicted(&critical));
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_nobody_uses_go_when_the_disk_is_full() {
    const OTHER: &str = "localhost/canopus/unused:1";
    let dir = tempfile::tempdir().unwrap();
    let full = |config: &mut kubelet::Config| {
        image::import(&config.cri_socket(), &image::archive_as(dir.path(), OTHER));
        config.image_gc.interval = Duration::from_millis(300);
        config.image_gc.minimum_age = Duration::ZERO;
        (config.image_gc.high_threshold_percent, config.image_gc.low_threshold_percent) = (1, 0);
    };
    let Some(node) = TestNode::start_with(full).await else { return };
    node.create("user", json!({"terminationGracePeriodSeconds": 1, "containers": [{"name": "c"}]}));
    node.wait("user", |pod| condition(pod, "Ready") == "True").await;
    let gone = async {
        while node.cri.image_status(OTHER).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    assert!(node.cri.image_status(image::NAME).await.unwrap().is_some(), "it is used");
    node.finish().await;
}
