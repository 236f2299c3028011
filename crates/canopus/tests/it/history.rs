//! What objects were: read at a moment, told version by version, and brought back.

use crate::backups::server;
use crate::harness::{Cluster, succeed};

#[test]
fn what_was_is_read_told_and_brought_back() {
    let cluster = Cluster::prepare(&[]);
    let flags = ["--history-retention", "24h", "--history-retention-bytes", "1Gi"];
    let first = server(&cluster, cluster.root(), &flags);
    let client = cluster.own_kubectl("kept");
    client.ok(&["create", "configmap", "settings", "--from-literal=a=1"]);
    let version = client.field("configmap", "settings", ".metadata.resourceVersion");
    client.ok(&["patch", "configmap", "settings", "--type=merge", "-p", r#"{"data":{"a":"2"}}"#]);
    let time = jiff::Timestamp::now().to_string();
    client.ok(&["delete", "configmap", "settings"]);
    drop(first);

    let second = server(&cluster, cluster.root(), &flags);
    let value = ["-o", "jsonpath={.data.a}"];
    let at = |moment: &str| client.ok(&[&["get", "configmap", "settings", "--at", moment], &value[..]].concat());
    assert_eq!((at(&version).as_str(), at(&time).as_str()), ("1", "2"));
    assert!(client.fails(&["get", "configmap", "settings", "--at", "0s"]).contains("(NotFound)"));
    let table = client.ok(&["get", "configmaps", "--at", &time]);
    assert!(table.lines().any(|row| row.starts_with("settings ")), "{table}");
    assert!(!client.ok(&["get", "configmaps"]).contains("settings"));

    let history = client.ok(&["history", "configmap", "settings"]);
    let rows: Vec<Vec<&str>> = history.lines().map(|row| row.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["REVISION", "TIME", "CHANGE", "WHO", "FIELDS"]);
    let changes: Vec<_> = rows[1..].iter().map(|row| (row[2], row[3], row[4])).collect();
    let wanted = [
        ("ADDED", "kubectl-create", "<none>"),
        ("MODIFIED", "kubectl-patch", "data.a"),
        ("DELETED", "<unknown>", "<none>"),
    ];
    assert_eq!((changes, rows[1][0]), (wanted.to_vec(), version.as_str()));
    let diff = client.ok(&["history", "configmap/settings", "--diff", "--revision", rows[2][0]]);
    assert!(diff.contains("\n-  a: \"1\"\n+  a: \"2\"\n"), "{diff}");
    // The time that the table shows is one to ask for.
    assert_eq!(at(rows[2][1]), "2");

    assert_eq!(client.ok(&["undelete", "configmap", "settings"]), "configmap/settings restored\n");
    assert_eq!(client.field("configmap", "settings", ".data.a"), "2");
    assert!(client.fails(&["undelete", "configmap", "settings"]).contains("configmap/settings is not deleted"));
    client.ok(&["delete", "configmap", "settings"]);
    client.ok(&["undelete", "configmap/settings", "--at", &version]);
    assert_eq!(client.field("configmap", "settings", ".data.a"), "1");
    let old = client.fails(&["get", "configmaps", "--at", "2001-01-01T00:00:00Z"]);
    assert!(old.contains("too old: history is kept since revision"), "{old}");
    drop(second);

    // A start without the flags, of files that were made small: that past is over.
    succeed(cluster.canopus().args(["store", "compact", "--root-dir"]).arg(cluster.root()));
    let third = server(&cluster, cluster.root(), &[]);
    let old = client.fails(&["get", "configmap", "settings", "--at", &version]);
    assert!(old.contains("too old: history is kept since revision"), "{old}");
    assert_eq!(client.field("configmap", "settings", ".data.a"), "1");
    assert_eq!(client.ok(&["history", "configmap", "settings"]).lines().count(), 2);
    drop(third);
}
