//! The control plane and the node as processes of their own.

use std::os::unix::fs::symlink;
use std::process::Stdio;

use crate::harness::{Cluster, Part, succeed, wait};

#[test]
fn server_and_agent_make_a_cluster_together() {
    let cluster = Cluster::prepare(&["busybox"]);
    // The node has a folder of its own, with the authority by which both know each other.
    let node_root = cluster.root().join("node");
    std::fs::create_dir_all(&node_root).unwrap();
    std::fs::rename(cluster.root().join("images"), node_root.join("images")).unwrap();
    let start = |name: &str, arguments: &[&str]| {
        let log = std::fs::File::create(cluster.root().join(format!("{name}.log"))).unwrap();
        let mut command = cluster.canopus();
        command.arg(name).args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        Part(command.spawn().unwrap())
    };
    let root = cluster.root().to_str().unwrap().to_owned();
    let server = start("server", &["--root-dir", &root]);
    assert!(wait(|| cluster.admin_conf().exists()));
    symlink(cluster.root().join("pki"), node_root.join("pki")).unwrap();
    let agent = start("agent", &["--root-dir", node_root.to_str().unwrap(), "--node-name", "node-1"]);
    assert!(wait(|| {
        let probe = cluster.on_node("curl").args(["-sk", "https://127.0.0.1:6443/readyz"]).output().unwrap();
        probe.stdout == b"ok"
    }));
    let kubectl = cluster.own_kubectl("apart");
    kubectl.until(&["get", "node", "node-1"], |table| table.contains(" Ready "));
    kubectl.ok(&["run", "box", "--image=busybox", "--image-pull-policy=IfNotPresent", "--", "sleep", "3600"]);
    kubectl.until(&["get", "pod", "box"], |table| table.contains("Running"));
    assert_eq!(kubectl.ok(&["exec", "box", "--", "echo", "hello"]), "hello\n");
    drop(agent);
    drop(server);
    succeed(cluster.canopus().args(["down", "--purge", "--root-dir"]).arg(&node_root));
}
