//! What is killed comes back by itself, and nothing that was acknowledged is lost.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, PostParams};

use crate::harness::{Cluster, Kubectl, succeed, wait};

const WRITERS: usize = 4;

/// `kill -9` of the process whose id the file holds, and its end.
pub fn kill(cluster: &Cluster, pid_file: &str) {
    let pid = std::fs::read_to_string(cluster.root().join(pid_file)).unwrap();
    succeed(Command::new("kill").args(["-9", pid.trim()]));
    assert!(wait(|| !std::path::Path::new(&format!("/proc/{}/ns/net", pid.trim())).exists()));
}

/// `CANOPUS_KILLS` of them, 20 unless set.
#[test]
fn kills_during_writes_lose_nothing_and_touch_no_pod() {
    let kills = std::env::var("CANOPUS_KILLS").map_or(20, |kills| kills.parse::<usize>().unwrap());
    let cluster = Cluster::start(&["busybox"]);
    let kubectl = cluster.own_kubectl("kills");
    kubectl.ok(&["run", "box", "--image=busybox", "--image-pull-policy=IfNotPresent", "--", "sleep", "3600"]);
    kubectl.until(&["get", "pod", "box"], |table| table.contains("Running"));
    let started =
        |kubectl: &Kubectl<'_>| kubectl.field("pod", "box", ".status.containerStatuses[0].state.running.startedAt");
    let before = started(&kubectl);

    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    for round in 0..kills {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writers = scope.spawn(|| write_until(&cluster, round, &over, &acknowledged));
            // Each round is killed after another number of writes, so at another moment of the log's life.
            let goal = acknowledged.lock().unwrap().len() + 5 + (round * 7) % 400;
            assert!(wait(|| acknowledged.lock().unwrap().len() >= goal));
            kill(&cluster, "run/canopus.pid");
            over.store(true, Ordering::Relaxed);
            writers.join().unwrap();
        });
        cluster.up();
    }
    let names = acknowledged.lock().unwrap().clone();
    let there: std::collections::HashSet<String> = cluster.as_admin(async |client| {
        let list = Api::<ConfigMap>::namespaced(client, "kills").list(&ListParams::default()).await.unwrap();
        list.items.into_iter().filter_map(|object| object.metadata.name).collect()
    });
    let lost: Vec<&String> = names.iter().filter(|name| !there.contains(*name)).collect();
    println!("{} writes were acknowledged over {kills} kills", names.len());
    assert!(lost.is_empty(), "lost {} of {}: {lost:?}", lost.len(), names.len());
    assert_eq!(started(&kubectl), before, "the pod's container is the same as before");
    assert_eq!(kubectl.field("pod", "box", ".status.containerStatuses[0].restartCount"), "0");
}

fn write_until(cluster: &Cluster, round: usize, over: &AtomicBool, acknowledged: &Mutex<Vec<String>>) {
    cluster.as_admin(async |client| {
        let objects = Api::<ConfigMap>::namespaced(client, "kills");
        let writer = async |writer: usize| {
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                let name = format!("w-{round}-{writer}-{number}");
                number += 1;
                let mut object = ConfigMap::default();
                object.metadata.name = Some(name.clone());
                object.data = Some([("value".to_owned(), "x".repeat(500))].into());
                let created =
                    tokio::time::timeout(Duration::from_secs(5), objects.create(&PostParams::default(), &object)).await;
                // One that fails on a slow machine is no reason to stop, and one without an answer counts for nothing.
                if let Ok(Ok(_)) = created {
                    acknowledged.lock().unwrap().push(name);
                }
            }
        };
        futures::future::join_all((0..WRITERS).map(writer)).await;
    });
}

#[test]
fn a_killed_containerd_comes_back_and_pods_do_not_notice() {
    let cluster = Cluster::start(&["busybox"]);
    let kubectl = cluster.own_kubectl("runtime");
    kubectl.ok(&["run", "box", "--image=busybox", "--image-pull-policy=IfNotPresent", "--", "sleep", "3600"]);
    kubectl.until(&["get", "pod", "box"], |table| table.contains("Running"));
    kill(&cluster, "containerd/containerd.pid");
    kubectl.until(&["exec", "box", "--", "echo", "alive"], |answer| answer == "alive\n");
    assert_eq!(kubectl.field("pod", "box", ".status.containerStatuses[0].restartCount"), "0");
    // And new pods start.
    kubectl.ok(&["run", "second", "--image=busybox", "--image-pull-policy=IfNotPresent", "--", "sleep", "3600"]);
    kubectl.until(&["get", "pod", "second"], |table| table.contains("Running"));
}

#[test]
fn containers_that_cannot_run_say_why() {
    let cluster = Cluster::start(&["busybox"]);
    let kubectl = cluster.own_kubectl("trouble");
    kubectl.ok(&["run", "missing", "--image=localhost/no/such:image", "--restart=Never"]);
    kubectl.ok(&["run", "exits", "--image=busybox", "--image-pull-policy=IfNotPresent", "--", "sh", "-c", "exit 3"]);
    let eater = "apiVersion: v1
kind: Pod
metadata: {name: eater}
spec:
  restartPolicy: Never
  containers:
  - name: eater
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, 'x=a; while true; do x=$x$x; done']
    resources: {limits: {memory: 24Mi}}
";
    let manifest = kubectl.manifest("eater.yaml", eater);
    kubectl.ok(&["create", "-f", &manifest]);
    kubectl.until(&["get", "pod", "missing"], |table| {
        table.contains("ErrImagePull") || table.contains("ImagePullBackOff")
    });
    kubectl.until(&["get", "pod", "exits"], |table| table.contains("CrashLoopBackOff"));
    kubectl.until(&["get", "pod", "eater"], |table| table.contains("OOMKilled"));
    let events = kubectl.ok(&["get", "events"]);
    assert!(events.contains("Back-off restarting failed container exits in pod exits_trouble"), "{events}");
}

/// Thirty pods at once; how long it took is printed, not judged.
#[test]
fn thirty_pods_start_and_stop_together() {
    let cluster = Cluster::start(&["busybox"]);
    let kubectl = cluster.own_kubectl("many");
    let started = Instant::now();
    let manifest = "apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: 30
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - {name: c, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, '3600']}
";
    let manifest = kubectl.manifest("many.yaml", manifest);
    kubectl.ok(&["create", "-f", &manifest]);
    kubectl.until(&["get", "deployment", "many"], |table| table.contains("30/30"));
    println!("30 pods ran after {:.1} s", started.elapsed().as_secs_f32());
    kubectl.ok(&["scale", "deployment", "many", "--replicas=0"]);
    kubectl.until(&["get", "pods"], |table| !table.contains("many-"));
}
