//! Backups that a server makes by itself.

use std::path::{Path, PathBuf};

use crate::etcd::{ETCD, etcd};
use crate::harness::{Cluster, Kubectl, NODE_ADDRESS, Part, succeed, wait};

pub fn server(cluster: &Cluster, root: &Path, more: &[&str]) -> Part {
    let log = std::fs::File::options().create(true).append(true).open(cluster.root().join("server.log")).unwrap();
    let mut command = cluster.canopus();
    command.arg("server").arg("--root-dir").arg(root).args(["--advertise-address", NODE_ADDRESS]).args(more);
    let server = Part(command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap());
    let ready = || {
        let mut probe = cluster.on_node("curl");
        probe.args(["-sk", "--max-time", "5", "https://127.0.0.1:6443/readyz"]).output().unwrap().stdout == b"ok"
    };
    assert!(wait(ready), "{}", std::fs::read_to_string(cluster.root().join("server.log")).unwrap());
    server
}

fn kubectl<'a>(cluster: &'a Cluster, root: &Path) -> Kubectl<'a> {
    Kubectl::new(cluster, &[Path::new(env!("CARGO_BIN_EXE_canopus")), Path::new("kubectl")], root.join("admin.conf"))
}

/// Restores a backup that has the configuration; gives back the flags that it was started with, but for the root folder and the
/// address, and what is said behind them.
fn restore_with_configuration(cluster: &Cluster, root: &Path, backup: &Path) -> (Vec<String>, String) {
    let restored = cluster.canopus().args(["restore", "--root-dir"]).arg(root).arg(backup).output().unwrap();
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let said = String::from_utf8(restored.stdout).unwrap();
    let start = format!("\ncanopus server --root-dir {} --advertise-address {NODE_ADDRESS}", root.display());
    let (_, line) = said.split_once(&start).unwrap_or_else(|| panic!("how is it started? {said}"));
    let (flags, behind) = line.split_once('\n').unwrap();
    (flags.split_whitespace().map(str::to_owned).collect(), behind.to_owned())
}

fn made(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|kind| kind == "gz")).collect()
}

#[test]
fn a_server_on_an_etcd_makes_backups_too() {
    let cluster = Cluster::prepare(&[]);
    let store = etcd(&cluster);
    let folder = cluster.root().join("backups");
    let target = folder.display().to_string();
    let on_etcd = ["--etcd-servers", ETCD];
    let client = kubectl(&cluster, cluster.root());
    let first = server(&cluster, cluster.root(), &on_etcd);
    client.ok(&["create", "namespace", "kept"]);
    client.ok(&["-n", "kept", "create", "configmap", "settings", "--from-literal=a=1"]);
    let version =
        ["-n", "kept", "get", "configmap", "settings", "-o", "jsonpath={.data.a} {.metadata.resourceVersion}"];
    let before = client.ok(&version);
    drop(first);
    let flags =
        ["--backup-schedule=@yearly", "--backup-to", &target, "--backup-include-pki", "--backup-include-config"];
    let second = server(&cluster, cluster.root(), &[&on_etcd, &flags[..]].concat());
    assert!(wait(|| !made(&folder).is_empty()), "no backup is made");
    drop((second, store));
    // It comes back without any etcd, and with all other flags.
    let [backup] = made(&folder).try_into().expect("one backup is made");
    let root = cluster.root().join("restored");
    let (started, behind) = restore_with_configuration(&cluster, &root, &backup);
    assert_eq!(started, flags);
    assert!(behind.contains(&format!("canopus store migrate --root-dir {} --to etcd://", root.display())), "{behind}");
    let started: Vec<&str> = started.iter().map(String::as_str).collect();
    let restored = server(&cluster, &root, &started);
    assert_eq!(client.ok(&version), before);
    drop(restored);
}

#[test]
fn an_overdue_backup_is_made_at_the_start_and_can_be_restored() {
    let cluster = Cluster::prepare(&[]);
    let folder = cluster.root().join("backups");
    let client = kubectl(&cluster, cluster.root());
    let first = server(&cluster, cluster.root(), &[]);
    client.ok(&["create", "namespace", "kept"]);
    client.ok(&["-n", "kept", "create", "configmap", "settings", "--from-literal=a=1"]);
    drop(first);
    std::fs::create_dir(&folder).unwrap();
    let old = |name: &str| {
        let path = folder.join(name);
        std::fs::write(&path, "old").unwrap();
        path
    };
    let host = nix::unistd::gethostname().unwrap().to_string_lossy().to_lowercase();
    let suffix = client.ok(&["config", "view", "-o", "jsonpath={.clusters[0].name}"]).replacen("canopus", "", 1);
    let (own, other) = (format!("canopus-{host}{suffix}-20200101T000000Z.tar.gz"), "canopus-x-20200101T000000Z.tar.gz");
    let (own, other) = (old(&own), old(other));

    let target = folder.display().to_string();
    let flags = ["--backup-schedule", "@yearly", "--backup-to", &target, "--backup-retention", "1"];
    let flags = [&flags[..], &["--backup-include-pki"]].concat();
    let second = server(&cluster, cluster.root(), &flags);
    assert!(wait(|| !own.exists()), "what is older than is wanted is still there: {:?}", made(&folder));
    assert!(other.exists());
    std::fs::remove_file(other).unwrap();
    let [backup] = made(&folder).try_into().expect("one backup is made");
    let size = std::fs::metadata(&backup).unwrap().len();
    let metrics = client.ok(&["get", "--raw", "/metrics"]);
    for line in [format!("canopus_backup_last_size_bytes {size}"), "canopus_backup_failures_total 0".to_owned()] {
        assert!(metrics.contains(&line), "{line} is not in\n{metrics}");
    }
    drop(second);

    // What is there is not overdue, and a later server knows it.
    let third = server(&cluster, cluster.root(), &flags);
    let known = "canopus_backup_last_success_timestamp_seconds 1";
    client.until(&["get", "--raw", "/metrics"], |metrics| metrics.contains(known));
    assert_eq!(made(&folder), std::slice::from_ref(&backup));
    drop(third);

    let root = cluster.root().join("restored");
    let url = format!("file://{}", backup.display());
    succeed(cluster.canopus().args(["restore", "--root-dir"]).arg(&root).arg(&url));
    let restored = server(&cluster, &root, &[]);
    // The same authority: the old credentials open it.
    assert_eq!(client.ok(&["-n", "kept", "get", "configmap", "settings", "-o", "jsonpath={.data.a}"]), "1");
    drop(restored);
}

#[test]
fn a_backup_with_the_configuration_starts_the_same_cluster_on_a_bare_machine() {
    let cluster = Cluster::prepare(&[]);
    let (old, new) = (cluster.root().join("old"), cluster.root().join("new"));
    let (encryption, tokens) = (cluster.root().join("encryption.yaml"), cluster.root().join("tokens.csv"));
    let keys = "keys: [{name: first, secret: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=}]";
    let resources = format!("resources: [secrets], providers: [{{secretbox: {{{keys}}}}}]");
    let text = format!(
        "{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, resources: [{{{resources}}}]}}"
    );
    std::fs::write(&encryption, text).unwrap();
    std::fs::write(&tokens, "a-token,ann,1,system:masters\n").unwrap();
    let flags =
        ["--encryption-provider-config", encryption.to_str().unwrap(), "--token-auth-file", tokens.to_str().unwrap()];
    let first = server(&cluster, &old, &flags);
    let client = kubectl(&cluster, &old);
    client.until(&["get", "namespace", "default", "-o", "name"], |name| name.contains("default"));
    client.ok(&["create", "secret", "generic", "kept", "--from-literal=a=b"]);
    let archive = cluster.root().join("backup.tar.gz");
    let take = ["backup", "--include-pki", "--include-config", "--root-dir"];
    succeed(cluster.canopus().args(take).arg(&old).arg(&archive));
    drop(first);
    std::fs::remove_dir_all(&old).unwrap();
    std::fs::remove_file(&encryption).unwrap();
    std::fs::remove_file(&tokens).unwrap();

    let (started, _) = restore_with_configuration(&cluster, &new, &archive);
    let started: Vec<&str> = started.iter().map(String::as_str).collect();
    let second = server(&cluster, &new, &started);
    let client = kubectl(&cluster, &new);
    assert_eq!(client.ok(&["get", "secret", "kept", "-o", "jsonpath={.data.a}"]), "Yg==");
    let mut asked = cluster.on_node("curl");
    asked.args(["-sk", "-H", "Authorization: Bearer a-token"]);
    let answer = asked.arg("https://127.0.0.1:6443/api/v1/namespaces/default/secrets/kept").output().unwrap();
    assert!(String::from_utf8_lossy(&answer.stdout).contains("Yg=="), "the token opens nothing: {answer:?}");
    drop(second);
}
