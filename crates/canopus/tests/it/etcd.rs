//! Two servers on one etcd are one cluster, and stay one while servers and etcd come and go.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::harness::{Cluster, Kubectl, NODE_ADDRESS, Part, succeed, wait};

const OTHER_ADDRESS: &str = "198.51.100.3";
pub const ETCD: &str = "http://127.0.0.1:2379";
/// What servers of one cluster have in common besides etcd.
const SHARED: [&str; 4] = ["ca.crt", "ca.key", "sa.key", "sa.pub"];

/// An etcd in the cluster's network namespace.
pub fn etcd(cluster: &Cluster) -> Part {
    let mut etcd = cluster.on_node("etcd");
    etcd.arg("--data-dir").arg(cluster.root().join("etcd"));
    etcd.args(["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD, "--log-level", "error"]);
    etcd.args(["--logger", "zap"]).stdout(Stdio::null()).stderr(Stdio::null());
    Part(etcd.spawn().unwrap())
}

fn server(cluster: &Cluster, root: &Path, port: &str, address: &str, more: &[&str]) -> Part {
    let log = std::fs::File::create(cluster.root().join(format!("server-{port}.log"))).unwrap();
    let mut command = cluster.canopus();
    command.arg("server").arg("--root-dir").arg(root).args(["--secure-port", port, "--advertise-address", address]);
    command.args(["--etcd-servers", ETCD]).args(more).stdout(log.try_clone().unwrap()).stderr(log);
    Part(command.spawn().unwrap())
}

fn probe(cluster: &Cluster, port: &str, path: &str) -> String {
    let url = format!("https://127.0.0.1:{port}{path}");
    let output = cluster.on_node("curl").args(["-sk", "--max-time", "5", &url]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn kubectl<'a>(cluster: &'a Cluster, kubeconfig: PathBuf) -> Kubectl<'a> {
    Kubectl::new(cluster, &[Path::new(env!("CARGO_BIN_EXE_canopus")), Path::new("kubectl")], kubeconfig)
}

fn etcdctl(cluster: &Cluster, arguments: &[&str]) -> Command {
    let mut etcdctl = cluster.on_node("etcdctl");
    etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", ETCD]).args(arguments);
    etcdctl
}

/// A value as etcd has it.
fn kept(cluster: &Cluster, key: &str) -> Vec<u8> {
    etcdctl(cluster, &["get", "--print-value-only", key]).output().unwrap().stdout
}

#[test]
fn two_servers_on_one_etcd_are_one_cluster() {
    let cluster = Cluster::prepare(&[]);
    succeed(cluster.on_node("ip").args(["address", "add", &format!("{OTHER_ADDRESS}/24"), "dev", "eth0"]));
    let mut store = etcd(&cluster);
    let root = cluster.root().join("b");
    let one = server(&cluster, cluster.root(), "6443", NODE_ADDRESS, &[]);
    assert!(wait(|| probe(&cluster, "6443", "/readyz") == "ok"));
    std::fs::create_dir_all(root.join("pki")).unwrap();
    for name in SHARED {
        let file = cluster.root().join("pki").join(name);
        if file.exists() {
            std::fs::copy(file, root.join("pki").join(name)).unwrap();
        }
    }
    let other = server(&cluster, &root, "6444", OTHER_ADDRESS, &["--storage-media-type", "application/json"]);
    assert!(wait(|| probe(&cluster, "6444", "/readyz") == "ok"));
    let a = kubectl(&cluster, cluster.admin_conf());
    let b = kubectl(&cluster, root.join("admin.conf"));

    // What one has answered the other reads at once, under the same version.
    a.ok(&["create", "namespace", "shared"]);
    for round in 0..5 {
        let name = format!("m{round}");
        let (writer, reader) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        writer.ok(&["-n", "shared", "create", "configmap", &name, "--from-literal=k=v"]);
        let version = |client: &Kubectl<'_>| {
            client.ok(&["-n", "shared", "get", "configmap", &name, "-o", "jsonpath={.metadata.resourceVersion}"])
        };
        assert_eq!(version(reader), version(writer));
    }
    // Each writes in its own form, at upstream's keys.
    assert!(kept(&cluster, "/registry/configmaps/shared/m0").starts_with(b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap"));
    let json = kept(&cluster, "/registry/configmaps/shared/m1");
    assert!(json.starts_with(b"{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"m1\""));
    assert!(!json.windows(15).any(|part| part == b"resourceVersion"));
    // Two servers, one set of controllers; both servers are endpoints.
    b.until(&["-n", "shared", "get", "serviceaccount", "default", "-o", "name"], |name| name.contains("default"));
    let addresses = ["get", "endpoints", "kubernetes", "-o", "jsonpath={.subsets[0].addresses[*].ip}"];
    a.until(&addresses, |found| found == format!("{NODE_ADDRESS} {OTHER_ADDRESS}"));

    // etcd goes and comes back.
    store.0.kill().unwrap();
    store.0.wait().unwrap();
    assert!(wait(|| probe(&cluster, "6444", "/readyz").contains("[-]etcd failed: reason withheld")));
    let refused = b.fails(&["-n", "shared", "create", "configmap", "late"]);
    assert!(refused.contains("etcdserver: request timed out"), "{refused}");
    let cached = b.ok(&["get", "--raw", "/api/v1/namespaces/shared/configmaps/m0?resourceVersion=0"]);
    assert!(cached.contains("\"name\":\"m0\""));
    store = etcd(&cluster);
    for port in ["6443", "6444"] {
        assert!(wait(|| probe(&cluster, port, "/readyz") == "ok"));
    }
    b.until(&["-n", "shared", "create", "configmap", "later", "-o", "name"], |name| name.contains("later"));
    a.ok(&["-n", "shared", "get", "configmap", "later"]);

    // A server goes without a word: the other goes on, takes its controllers over and its address out.
    let mut one = one;
    one.0.kill().unwrap();
    b.until(&addresses, |found| found == OTHER_ADDRESS);
    b.ok(&["create", "namespace", "alone"]);
    b.until(&["-n", "alone", "get", "serviceaccount", "default", "-o", "name"], |name| name.contains("default"));
    drop(one);
    // And comes back.
    let one = server(&cluster, cluster.root(), "6443", NODE_ADDRESS, &[]);
    a.until(&addresses, |found| found == format!("{NODE_ADDRESS} {OTHER_ADDRESS}"));
    // Who goes in order takes its address along.
    drop(one);
    b.until(&addresses, |found| found == OTHER_ADDRESS);
    drop((other, store));
}

/// A server that keeps its objects in files.
fn embedded(cluster: &Cluster) -> Part {
    let log = std::fs::File::create(cluster.root().join("embedded.log")).unwrap();
    let mut command = cluster.canopus();
    command.arg("server").arg("--root-dir").arg(cluster.root()).args(["--advertise-address", NODE_ADDRESS]);
    Part(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap())
}

/// What `canopus store migrate` says, by both of its mouths, and whether it did it.
fn migrate(cluster: &Cluster, more: &[&str]) -> (bool, String) {
    let mut command = cluster.canopus();
    command.args(["store", "migrate", "--root-dir"]).arg(cluster.root()).args(more);
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn version_of(client: &Kubectl<'_>, name: &str) -> u64 {
    client.ok(&["get", "configmap", name, "-o", "jsonpath={.metadata.resourceVersion}"]).parse().unwrap()
}

#[test]
fn a_cluster_at_rest_moves_to_etcd_and_back() {
    let cluster = Cluster::prepare(&[]);
    let store = etcd(&cluster);
    let client = kubectl(&cluster, cluster.admin_conf());
    let is_ready = || probe(&cluster, "6443", "/readyz") == "ok";

    let in_files = embedded(&cluster);
    assert!(wait(is_ready));
    client.until(&["get", "serviceaccount", "default", "-o", "name"], |name| name.contains("default"));
    client.ok(&["create", "configmap", "kept", "--from-literal=k=v"]);
    let first = version_of(&client, "kept");
    drop(in_files);

    let (moved, said) = migrate(&cluster, &["--to", "etcd://127.0.0.1:2379"]);
    assert!(moved && said.contains("other servers with: --etcd-servers http://127.0.0.1:2379"), "{said}");
    let (moved, said) = migrate(&cluster, &["--to", "etcd://127.0.0.1:2379"]);
    assert!(!moved && said.contains("were moved to http://127.0.0.1:2379"), "{said}");
    let on_etcd = embedded(&cluster);
    assert!(wait(is_ready));
    assert!(version_of(&client, "kept") > first, "the versions of objects only rise");
    client.ok(&["create", "configmap", "added", "--from-literal=k=v"]);
    let second = version_of(&client, "added");
    assert!(kept(&cluster, "/registry/configmaps/default/added").starts_with(b"k8s\0"), "it is written to etcd");
    // What is backed up are not the files that were left.
    let (archive, other) = (cluster.root().join("backup.tgz"), cluster.root().join("restored"));
    succeed(cluster.canopus().args(["backup", "--root-dir"]).arg(cluster.root()).arg(&archive));
    succeed(cluster.canopus().args(["restore", "--root-dir"]).arg(&other).arg(&archive));
    let key = "/registry/configmaps/default/added";
    succeed(cluster.canopus().args(["store", "get", "--root-dir"]).arg(&other).arg(key));
    drop(on_etcd);

    // What nobody can read is not carried on as if it were an object.
    let odd = "/registry/configmaps/default/odd";
    succeed(&mut etcdctl(&cluster, &["put", odd, "{\"kind\":"]));
    let (moved, said) = migrate(&cluster, &["--to", "embedded"]);
    assert!(!moved && said.contains(&format!("the value of {odd} in etcd cannot be read")), "{said}");
    succeed(&mut etcdctl(&cluster, &["del", odd]));

    let mark = cluster.root().join("store/moved");
    let led_there: serde_json::Value = serde_json::from_slice(&std::fs::read(&mark).unwrap()).unwrap();
    let (moved, said) = migrate(&cluster, &["--to", "embedded"]);
    assert!(moved && said.contains("without --etcd-servers"), "{said}");
    assert!(!mark.exists());
    // Killed before it could take the mark off: only in the folder of that very move the objects are looked for.
    let there = kept(&cluster, "/registry/canopus/moved");
    let there = String::from_utf8_lossy(&there);
    let name = there.split(|c: char| !c.is_ascii_hexdigit() && c != '-').find(|part| part.len() == 36);
    let name = name.expect("it names the move");
    let marked = |back: &str| {
        let mut led_there = led_there.clone();
        led_there["back"] = back.into();
        std::fs::write(&mark, led_there.to_string()).unwrap();
    };
    marked("another");
    let mut refused = embedded(&cluster);
    assert!(!refused.0.wait().unwrap().success());
    marked(name);

    let mut refused = server(&cluster, cluster.root(), "6443", NODE_ADDRESS, &[]);
    assert!(!refused.0.wait().unwrap().success());
    let log = std::fs::read_to_string(cluster.root().join("server-6443.log")).unwrap();
    assert!(log.contains("start without --etcd-servers"), "{log}");
    let again = embedded(&cluster);
    assert!(wait(is_ready));
    assert!(!mark.exists());
    assert_eq!(version_of(&client, "added"), second);
    client.ok(&["create", "configmap", "last", "--from-literal=k=v"]);
    assert!(version_of(&client, "last") > second);
    drop((again, store));
}

/// Makes one ConfigMap after the other until it is told to end; gives the versions of those that were acknowledged.
fn write_on(client: &Kubectl<'_>, name: &str, ended: &AtomicBool) -> Vec<u64> {
    let mut versions = Vec::new();
    while !ended.load(Ordering::Relaxed) {
        let name = format!("{name}-{}", versions.len());
        let path = "jsonpath={.metadata.resourceVersion}";
        versions.push(client.ok(&["create", "configmap", &name, "-o", path]).parse().unwrap());
    }
    versions
}

#[test]
fn a_cluster_in_use_moves_to_etcd_and_back() {
    let cluster = Cluster::prepare(&[]);
    let store = etcd(&cluster);
    let client = kubectl(&cluster, cluster.admin_conf());
    let is_ready = || probe(&cluster, "6443", "/readyz") == "ok";
    let controllers_work = |namespace: &str| {
        client.ok(&["create", "namespace", namespace]);
        let account = ["-n", namespace, "get", "serviceaccount", "default", "-o", "name"];
        client.until(&account, |name| name.contains("default"));
    };
    let lease =
        ["-n", "kube-system", "get", "lease", "kube-controller-manager", "-o", "jsonpath={.spec.holderIdentity}"];
    // A move while somebody writes; all that was acknowledged is there, under versions that only rise.
    let move_on = |name: &str, to: &[&str]| {
        let ended = AtomicBool::new(false);
        let (versions, (moved, said)) = std::thread::scope(|scope| {
            let writing = scope.spawn(|| write_on(&client, name, &ended));
            let done = migrate(&cluster, to);
            ended.store(true, Ordering::Relaxed);
            (writing.join().unwrap(), done)
        });
        assert!(moved && said.contains("Writers waited"), "{said}");
        println!("{name}: {} written meanwhile; {}", versions.len(), said.lines().last().unwrap_or_default());
        assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
        for (at, version) in versions.iter().enumerate() {
            assert!(version_of(&client, &format!("{name}-{at}")) >= *version);
        }
    };
    let mut in_use = embedded(&cluster);
    assert!(wait(is_ready));
    client.until(&["get", "serviceaccount", "default", "-o", "name"], |name| name.contains("default"));

    move_on("out", &["--to", "etcd://127.0.0.1:2379"]);
    assert!(kept(&cluster, "/registry/configmaps/default/out-0").starts_with(b"k8s\0"));
    controllers_work("on-etcd");
    client.until(&lease, |holder| !holder.is_empty());
    let (moved, said) = migrate(&cluster, &["--to", "etcd://127.0.0.1:2379"]);
    assert!(!moved && said.ends_with("to etcd: the objects are in an etcd already\n"), "{said}");

    // Killed at once after, it comes back where its objects are.
    in_use.0.kill().unwrap();
    drop(in_use);
    let in_use = embedded(&cluster);
    assert!(wait(is_ready));
    controllers_work("on-etcd-again");

    // Another server on the same etcd would be left behind.
    let other = "/registry/masterleases/198.51.100.9";
    let value =
        r#"{"kind":"Endpoints","apiVersion":"v1","metadata":{},"subsets":[{"addresses":[{"ip":"198.51.100.9"}]}]}"#;
    succeed(&mut etcdctl(&cluster, &["put", other, value]));
    client.until(&["get", "endpoints", "kubernetes", "-o", "yaml"], |found| found.contains("198.51.100.9"));
    let (moved, said) = migrate(&cluster, &["--to", "embedded"]);
    assert!(!moved && said.contains("other servers use this etcd too (198.51.100.9)"), "{said}");
    controllers_work("still-on-etcd");
    succeed(&mut etcdctl(&cluster, &["del", other]));

    move_on("back", &["--to", "embedded"]);
    controllers_work("in-files");
    let (moved, said) = migrate(&cluster, &["--to", "etcd://127.0.0.1:2379"]);
    assert!(!moved && said.contains("in etcd already: choose another --etcd-prefix"), "{said}");
    drop(store);
    let last = version_of(&client, "back-0");
    drop(in_use);
    let again = embedded(&cluster);
    assert!(wait(is_ready));
    assert_eq!(version_of(&client, "back-0"), last);
    drop(again);
}
