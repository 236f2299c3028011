//! Three members in network namespaces, each on a disk of its own: the leader and others cut off, in one direction or both, and
//! disks that stall. Three stores write, read and watch meanwhile, one of them on the side that is cut off.
//!
//! The test starts its own binary again in namespaces of its own (network, mounts, processes), so that nothing is left behind.

mod load;
mod net;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::{open_with, options};
use crate::etcd::EtcdOptions;
use load::Load;
use net::{Fault, MEMBERS, Stalled};

const FOLDER: &str = "STORE_TEST_SPLIT_FOLDER";

#[test]
fn members_that_are_cut_off_or_slow_lose_nothing_and_answer_nothing_stale() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir_all("/run/netns").expect("a place for the names of namespaces");
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"])
        .arg(std::env::current_exe().expect("this binary"))
        .args(["--exact", "--nocapture", "tests::etcd::split::inside"])
        .env(FOLDER, folder.path())
        .status();
    assert!(status.expect("unshare is there").success());
}

#[tokio::test(flavor = "multi_thread")]
async fn inside() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let cluster = net::start(&folder);
    let leader = cluster.leader().await;
    let from = async |first: usize, count: usize| {
        let own = options(&cluster);
        let servers = own.servers.iter().cycle().skip(first).take(count).cloned().collect();
        open_with(EtcdOptions { servers, ..own }).await
    };
    // One begins at the leader, the other elsewhere; the third knows one member alone, and is cut off along with it.
    let stores = vec![from(leader, MEMBERS).await, from(leader + 1, MEMBERS).await, from(leader, 1).await];
    let load = Load::begin(stores);
    load.goes_on(Instant::now(), 50).await;

    for fault in [Fault::Apart, Fault::Mute, Fault::Deaf, Fault::Cut] {
        during(&cluster, &load, &format!("{fault:?}, of the leader"), fault, cluster.leader().await).await;
    }
    // Whoever the stores are connected to is among these.
    for step in 1..MEMBERS {
        let member = (cluster.leader().await + step) % MEMBERS;
        during(&cluster, &load, &format!("{:?}, of another", Fault::Cut), Fault::Cut, member).await;
    }
    hung(&cluster, &load).await;
    for step in 0..2 {
        let member = (cluster.leader().await + step) % MEMBERS;
        slow(&folder, member, &load, if step == 0 { "the leader" } else { "another" }).await;
    }
    load.end().await;
}

async fn during(cluster: &Cluster, load: &Load, what: &str, fault: Fault, member: usize) {
    let begun = Instant::now();
    fault.begin(member);
    load.goes_on(begun, 50).await;
    let away = load.away(begun);
    // As long as it takes its own clients to notice.
    tokio::time::sleep_until((begun + Duration::from_secs(4)).into()).await;
    fault.end(member);
    println!("{what}: written again after {away:?}");
    let healed = Instant::now();
    load.all_go_on(healed).await;
    all_are_back(cluster).await;
}

/// Every member has found the leader again: with one that has not, the next fault would leave no quorum.
async fn all_are_back(cluster: &Cluster) {
    for member in 0..MEMBERS {
        cluster.raw(member).await;
    }
}

/// The leader is there, and takes connections, and does nothing.
async fn hung(cluster: &Cluster, load: &Load) {
    let member = cluster.leader().await;
    let begun = Instant::now();
    cluster.signal(member, "STOP");
    load.goes_on(begun, 50).await;
    let away = load.away(begun);
    cluster.signal(member, "CONT");
    println!("the leader hangs: written again after {away:?}");
    load.all_go_on(Instant::now()).await;
    all_are_back(cluster).await;
}

/// The disk stalls for up to a second, over and over, as it does when it is worn out or its cache is flushed.
async fn slow(folder: &Path, member: usize, load: &Load, what: &str) {
    let begun = Instant::now();
    for round in 0..8u64 {
        let stalled = Stalled::begin(folder, member);
        tokio::time::sleep(Duration::from_millis(150 + round * 337 % 900)).await;
        drop(stalled);
        tokio::time::sleep(Duration::from_millis(50 + round * 211 % 300)).await;
    }
    let longest = load.longest_silence(begun, Instant::now());
    println!("the disk of {what} stalls: longest time without a write {longest:?}");
    load.all_go_on(Instant::now()).await;
}
