//! Two servers on one etcd are one cluster, and stay one while servers and etcd come and go.

use std::path::{Path, PathBuf};
use std::process::Stdio;

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

/// A value as etcd has it.
fn kept(cluster: &Cluster, key: &str) -> Vec<u8> {
    let mut etcdctl = cluster.on_node("etcdctl");
    let output = etcdctl.env("ETCDCTL_API", "3").args(["--endpoints", ETCD, "get", "--print-value-only", key]).output();
    output.unwrap().stdout
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

#[test]
fn a_cluster_moves_to_etcd_and_back() {
    let cluster = Cluster::prepare(&[]);
    let store = etcd(&cluster);
    let client = |cluster| kubectl(cluster, cluster.admin_conf());
    let is_ready = || probe(&cluster, "6443", "/readyz") == "ok";
    let migrate = |more: &[&str]| {
        let mut command = cluster.canopus();
        command.args(["store", "migrate", "--root-dir"]).arg(cluster.root()).args(more);
        command.output().unwrap()
    };
    let version_of = |name: &str| -> u64 {
        let path = "jsonpath={.metadata.resourceVersion}";
        client(&cluster).ok(&["get", "configmap", name, "-o", path]).parse().unwrap()
    };

    let server_in_files = embedded(&cluster);
    assert!(wait(is_ready));
    client(&cluster).until(&["get", "serviceaccount", "default", "-o", "name"], |name| name.contains("default"));
    client(&cluster).ok(&["create", "configmap", "kept", "--from-literal=k=v"]);
    let first = version_of("kept");
    let output = migrate(&["--to", "etcd://127.0.0.1:2379"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("a cluster is running below"), "{said}");
    drop(server_in_files);

    let output = migrate(&["--to", "etcd://127.0.0.1:2379"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("go on with: --etcd-servers http://127.0.0.1:2379"), "{said} {output:?}");
    let output = migrate(&["--to", "etcd://127.0.0.1:2379"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("were moved to http://127.0.0.1:2379 /registry"), "{said}");
    // The old objects are neither served nor taken for the cluster's by mistake.
    let output = cluster.canopus().args(["backup", "--root-dir"]).arg(cluster.root()).arg("-").output().unwrap();
    assert!(!output.status.success() && output.stdout.is_empty());
    let mut refused = embedded(&cluster);
    assert!(!refused.0.wait().unwrap().success());
    let log = std::fs::read_to_string(cluster.root().join("embedded.log")).unwrap();
    assert!(log.contains("start with --etcd-servers"), "{log}");

    let on_etcd = server(&cluster, cluster.root(), "6443", NODE_ADDRESS, &[]);
    assert!(wait(is_ready));
    assert!(version_of("kept") > first, "the versions of objects only rise");
    client(&cluster).ok(&["create", "configmap", "added", "--from-literal=k=v"]);
    let second = version_of("added");
    drop(on_etcd);

    let output = migrate(&["--to", "embedded", "--etcd-servers", ETCD]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("go on without --etcd-servers"), "{said} {output:?}");
    let again = embedded(&cluster);
    assert!(wait(is_ready));
    assert_eq!(version_of("added"), second);
    client(&cluster).ok(&["create", "configmap", "last", "--from-literal=k=v"]);
    assert!(version_of("last") > second);
    drop((again, store));
}
