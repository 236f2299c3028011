//! What `up` makes of a process that is there and yet not.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::harness::{Cluster, wait};

/// A process killed with `kill -9` holds its lock for a moment longer; here another one holds it for as long as the test
/// wants.
#[test]
fn up_notices_that_what_it_found_is_gone() {
    let cluster = Cluster::prepare(&[]);
    let lock = cluster.root().join("run/canopus.pid");
    std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
    std::fs::write(&lock, "4194304\n").unwrap();
    // Without a child of its own, so that the lock ends with it.
    let mut holder = Command::new("flock");
    let mut holder = holder.arg("--no-fork").arg(&lock).args(["sleep", "600"]).stdin(Stdio::null()).spawn().unwrap();
    let is_held = || !Command::new("flock").arg("-n").arg(&lock).arg("true").status().unwrap().success();
    let held = wait(is_held);

    let mut up = cluster.canopus();
    up.args(["up", "--no-kubeconfig", "--node-name", "node-1", "--wait-seconds", "60", "--root-dir"]);
    let mut up = up.arg(cluster.root()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(up.stdout.take().unwrap()).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    holder.kill().unwrap();
    holder.wait().unwrap();
    let rest: Vec<String> = lines.collect();
    let status = up.wait().unwrap();
    assert!(held && first.contains("already running"), "{first}");
    assert!(status.success() && rest.iter().any(|line| line.contains("The cluster works")), "{rest:#?}");
}
