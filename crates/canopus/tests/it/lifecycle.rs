//! Starting and stopping: repeatable, and nothing is left behind.

use std::process::Command;

use crate::harness::{Cluster, succeed};

#[test]
fn up_twice_does_no_harm_and_down_leaves_only_the_data() {
    let cluster = Cluster::start(&["busybox"]);
    let kubectl = cluster.own_kubectl("tidy");
    kubectl.ok(&["run", "box", "--image=busybox", "--image-pull-policy=IfNotPresent", "--", "sleep", "3600"]);
    kubectl.until(&["get", "pod", "box"], |table| table.contains("Running"));
    let container = kubectl.field("pod", "box", ".status.containerStatuses[0].containerID");
    assert!(cluster.up().contains("already running"));
    assert_eq!(kubectl.field("pod", "box", ".status.containerStatuses[0].containerID"), container);
    let status = succeed(cluster.canopus().args(["status", "--root-dir"]).arg(cluster.root()));
    assert!(status.contains("node node-1: Ready") && status.contains("DNS at 10.96.0.10: well"), "{status}");

    cluster.down();
    let root = cluster.root().display().to_string();
    let processes = succeed(Command::new("ps").args(["-eo", "args"]));
    // The test itself names the folder in no argument.
    let left: Vec<&str> = processes.lines().filter(|line| line.contains(&root)).collect();
    assert!(left.is_empty(), "processes: {left:?}");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&root), "something below {root} is still mounted");
    assert_eq!(succeed(cluster.on_node("nft").args(["list", "tables"])), "");
    let links = succeed(cluster.on_node("ip").args(["-o", "link"]));
    assert!(!links.contains("cni") && !links.contains("veth"), "{links}");
    let suffix = cluster_suffix(&links_before(&cluster));
    let groups =
        succeed(Command::new("find").args(["/sys/fs/cgroup", "-maxdepth", "3", "-type", "d", "-name", "canopus-*"]));
    assert!(suffix.is_none_or(|suffix| !groups.contains(&suffix)), "{groups}");
    assert!(cluster.root().join("store").exists(), "the data stays");

    // And the data is good for another life.
    cluster.up();
    kubectl.until(&["get", "pod", "box"], |table| table.contains("Running"));
}

#[test]
fn a_deleted_namespace_comes_back_from_a_backup_with_running_pods() {
    let cluster = Cluster::start(&["busybox"]);
    let kubectl = cluster.own_kubectl("lost");
    let manifest = r#"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "box"}, "spec": {
        "selector": {"matchLabels": {"app": "box"}}, "template": {"metadata": {"labels": {"app": "box"}}, "spec": {
            "terminationGracePeriodSeconds": 0, "containers": [{"name": "box", "image": "busybox",
                "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}]}}}}"#;
    kubectl.ok(&["create", "-f", &kubectl.manifest("box.json", manifest)]);
    kubectl.ok(&["create", "configmap", "settings", "--from-literal=a=1"]);
    kubectl.ok(&["create", "configmap", "kept", "--from-literal=a=1"]);
    let volume = r#"{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "disk"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp/none"}}}"#;
    let claim = r#"{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}"#;
    kubectl.ok(&["create", "-f", &kubectl.manifest("volume.json", volume)]);
    kubectl.ok(&["create", "-f", &kubectl.manifest("claim.json", claim)]);
    let is_bound = |table: &str| table.contains("Bound");
    kubectl.until(&["get", "pvc", "data"], is_bound);
    kubectl.until(&["get", "pods"], |table| table.contains("Running"));
    let old = kubectl.field("deployment", "box", ".metadata.uid");

    let file = cluster.root().join("kept.tar.gz");
    let own = |arguments: &[&str]| {
        let mut command = cluster.on_node(env!("CARGO_BIN_EXE_canopus"));
        command.arg(arguments[0]).arg("--root-dir").arg(cluster.root()).args(&arguments[1..]).arg(&file);
        command
    };
    succeed(&mut own(&["backup"]));
    kubectl.ok(&["delete", "configmap", "settings"]);
    let only = succeed(&mut own(&["restore", "--namespace", "lost", "--object", "ConfigMap/settings"]));
    assert_eq!(only, "configmap/settings created\n");
    assert_eq!(kubectl.field("configmap", "settings", ".data.a"), "1");

    kubectl.ok(&["delete", "namespace", "lost", "--timeout=120s"]);
    let all = succeed(&mut own(&["restore", "--namespace", "lost"]));
    for line in ["namespace/lost created", "configmap/kept created", "deployment/box created"] {
        assert!(all.contains(line), "{line} is missing:\n{all}");
    }
    assert!(!all.contains("replicaset/") && !all.contains("pod/"), "the controllers make these:\n{all}");
    kubectl.until(&["get", "pods"], |table| table.contains("Running"));
    assert_ne!(kubectl.field("deployment", "box", ".metadata.uid"), old);
    // The volume still names the claim that was deleted, as the README says.
    kubectl.until(&["get", "pv", "disk"], |table| table.contains("Released"));
    kubectl.ok(&["patch", "pv", "disk", "--type=merge", "-p", r#"{"spec":{"claimRef":null}}"#]);
    kubectl.until(&["get", "pvc", "data"], is_bound);
}

/// The bridge's name as the plugin's configuration has it.
fn links_before(cluster: &Cluster) -> String {
    std::fs::read_to_string(cluster.root().join("cni/conf/10-canopus.conflist")).unwrap_or_default()
}

fn cluster_suffix(configuration: &str) -> Option<String> {
    let (_, rest) = configuration.split_once("\"bridge\":\"cni-")?;
    Some(format!("canopus-{}", rest.split('"').next()?))
}
