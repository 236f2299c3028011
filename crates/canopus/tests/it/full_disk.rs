//! A full disk: writes are refused with a clear error, reads go on, and with room again writes work by themselves.

use std::io::Write;
use std::process::Command;

use crate::harness::{Cluster, Kubectl, succeed, wait};
use crate::resilience::kill;

/// Room for the log's first segments and little more.
const SIZE: &str = "size=48m";
/// So many objects of one size do not fit, whatever the log has set aside.
const OBJECTS_MAX: usize = 200;

#[test]
fn a_full_disk_refuses_writes_and_room_brings_them_back() {
    let cluster = Cluster::prepare(&["busybox"]);
    let store = cluster.root().join("store");
    std::fs::create_dir_all(&store).unwrap();
    // `down` takes away all mounts below the root folder, this one too.
    succeed(Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(&store));
    cluster.up();
    let pid = std::fs::read_to_string(cluster.root().join("run/canopus.pid")).unwrap();
    let kubectl = cluster.own_kubectl("full");
    kubectl.ok(&["run", "box", "--image=busybox", "--image-pull-policy=IfNotPresent", "--", "sleep", "3600"]);
    kubectl.until(&["get", "pod", "box"], |table| table.contains("Running"));

    let filler = store.join("filler");
    fill(&filler);
    let mut acknowledged = Vec::new();
    // What the log has set aside takes small objects when it has no room for large ones any more.
    for bytes in [700_000, 70_000, 7_000, 700] {
        let refusal = write_until_refused(&kubectl, bytes, &mut acknowledged);
        assert!(refusal.contains("the store is full"), "{refusal}");
    }
    acknowledged.sort();

    // Nothing that can be read has gone, and nothing that was refused can be read.
    assert_eq!(objects(&kubectl), acknowledged);
    assert_eq!(kubectl.ok(&["exec", "box", "--", "echo", "hello"]), "hello\n");
    let refused = kubectl.fails(&["label", "pod", "box", "full=yes"]);
    assert!(refused.contains("the store is full"), "{refused}");
    assert_eq!(kubectl.field("pod", "box", ".metadata.labels.full"), "");
    assert!(kubectl.ok(&["get", "nodes"]).contains("node-1"));

    std::fs::remove_file(&filler).unwrap();
    assert!(wait(|| kubectl.run(&["label", "pod", "box", "full=no"]).status.success()), "writes never came back");
    assert_eq!(kubectl.field("pod", "box", ".metadata.labels.full"), "no");
    // Components whose writes were refused have got over it as well: a new pod is scheduled, run and reported.
    kubectl.ok(&["run", "next", "--image=busybox", "--image-pull-policy=IfNotPresent", "--", "sleep", "3600"]);
    kubectl.until(&["get", "pod", "next"], |table| table.contains("Running"));
    kubectl.until(&["get", "node", "node-1"], |table| table.contains(" Ready "));
    assert_eq!(std::fs::read_to_string(cluster.root().join("run/canopus.pid")).unwrap(), pid, "it was restarted");

    // The log that was full reads back whole.
    kill(&cluster, "run/canopus.pid");
    cluster.up();
    assert_eq!(objects(&kubectl), acknowledged);
    assert_eq!(kubectl.field("pod", "box", ".metadata.labels.full"), "no");
}

/// Takes all room that is left.
fn fill(file: &std::path::Path) {
    let mut file = std::fs::File::create(file).unwrap();
    let block = vec![0; 64 << 10];
    let full = loop {
        if let Err(error) = file.write_all(&block) {
            break error;
        }
    };
    assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{full}");
}

/// Writes objects of this size until one is refused; adds the names of those that were not and returns the refusal.
fn write_until_refused(kubectl: &Kubectl<'_>, bytes: usize, acknowledged: &mut Vec<String>) -> String {
    std::fs::write(kubectl.cluster.root().join("data"), "x".repeat(bytes)).unwrap();
    for number in 0..OBJECTS_MAX {
        let name = format!("object-{bytes}-{number:03}");
        let output = kubectl.run(&["create", "configmap", &name, "--from-file=data"]);
        if !output.status.success() {
            return String::from_utf8_lossy(&output.stderr).into_owned();
        }
        acknowledged.push(name);
    }
    panic!("{OBJECTS_MAX} objects of {bytes} bytes went into a full disk");
}

fn objects(kubectl: &Kubectl<'_>) -> Vec<String> {
    let names = kubectl.ok(&["get", "configmaps", "-o", "jsonpath={.items[*].metadata.name}"]);
    let mut names: Vec<String> =
        names.split_whitespace().filter(|name| name.starts_with("object-")).map(str::to_owned).collect();
    names.sort();
    names
}
