//! Programs written with the client libraries of other languages, and with `kube`, do what their users have them do:
//! create, watch, patch, apply, exec and forward ports.

use std::collections::BTreeMap;
use std::path::Path;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod};
use kube::api::{Api, AttachParams, DeleteParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::runtime::wait::{await_condition, conditions::is_pod_running};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Cluster, PATIENCE, target};

#[test]
fn other_languages_clients_and_kube_work() {
    let cluster = Cluster::start(&["nginx"]);
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clients");
    let folder = target().join("clients");
    let mut tried = Vec::new();
    if folder.join("python").exists() {
        let mut python = cluster.on_node("timeout");
        python.arg(PATIENCE.as_secs().to_string()).arg("python3").env("PYTHONPATH", folder.join("python"));
        python.env("PYTHONDONTWRITEBYTECODE", "1");
        succeeds(python.arg(scripts.join("client.py")).arg(cluster.admin_conf()).arg("from-python"));
        tried.push("python");
    }
    if folder.join("node").exists() {
        let mut node = cluster.on_node("timeout");
        node.arg(PATIENCE.as_secs().to_string()).arg("node").arg(scripts.join("client.mjs"));
        succeeds(node.arg(folder.join("node/node_modules")).arg(cluster.admin_conf()).arg("from-node"));
        tried.push("node");
    }
    println!("clients: {}", tried.join(", "));
    assert!(!tried.is_empty(), "no other client is there: run `cargo xtask clients`");
    cluster.as_admin(async |client| {
        tokio::time::timeout(PATIENCE, with_kube(client)).await.expect("kube takes for ever");
    });
}

#[track_caller]
fn succeeds(program: &mut std::process::Command) {
    assert_eq!(crate::harness::succeed(program), "fine\n");
}

async fn with_kube(client: kube::Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace: Namespace = object(json!({"metadata": {"name": "from-kube"}}));
    namespaces.create(&PostParams::default(), &namespace).await.unwrap();
    writes(Api::namespaced(client.clone(), "from-kube")).await;
    reaches_a_pod(Api::namespaced(client, "from-kube")).await;
    namespaces.delete("from-kube", &DeleteParams::default()).await.unwrap();
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn data(of: &ConfigMap) -> BTreeMap<String, String> {
    of.data.clone().unwrap_or_default()
}

async fn writes(maps: Api<ConfigMap>) {
    let made: ConfigMap = object(json!({"metadata": {"name": "a"}, "data": {"k": "v"}}));
    let made = maps.create(&PostParams::default(), &made).await.unwrap();
    let since = made.metadata.resource_version.unwrap();
    let watch = WatchParams::default().fields("metadata.name=a");
    let events = maps.watch(&watch, &since).await.unwrap();
    let merge = Patch::Merge(json!({"data": {"more": "1"}}));
    maps.patch("a", &PatchParams::default(), &merge).await.unwrap();
    let applied =
        |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": value}});
    let conflict = maps.patch("a", &PatchParams::apply("one"), &Patch::Apply(applied("w"))).await.unwrap_err();
    assert!(matches!(&conflict, kube::Error::Api(status) if status.code == 409), "{conflict}");
    maps.patch("a", &PatchParams::apply("one").force(), &Patch::Apply(applied("w"))).await.unwrap();
    maps.delete("a", &DeleteParams::default()).await.unwrap();
    let seen: Vec<(&str, usize)> = events
        .map_ok(|event| match event {
            WatchEvent::Modified(own) => ("modified", data(&own).len()),
            WatchEvent::Deleted(own) => ("deleted", data(&own).len()),
            other => panic!("{other:?}"),
        })
        .take(3)
        .try_collect()
        .await
        .unwrap();
    assert_eq!(seen, [("modified", 2), ("modified", 2), ("deleted", 2)]);
    assert!(maps.get_opt("a").await.unwrap().is_none());
}

async fn reaches_a_pod(pods: Api<Pod>) {
    let container = json!({"name": "c", "image": "nginx", "imagePullPolicy": "Never"});
    let pod: Pod = object(json!({"metadata": {"name": "web"}, "spec": {"containers": [container]}}));
    pods.create(&PostParams::default(), &pod).await.unwrap();
    await_condition(pods.clone(), "web", is_pod_running()).await.unwrap();

    let command = ["sh", "-c", "echo out; echo err >&2; read line; echo $line; exit 3"];
    let mut process = pods.exec("web", command, &AttachParams::default().stdin(true)).await.unwrap();
    let (mut out, mut err) = (String::new(), String::new());
    let (mut stdout, mut stderr) = (process.stdout().unwrap(), process.stderr().unwrap());
    process.stdin().unwrap().write_all(b"in\n").await.unwrap();
    let (read, complained) = tokio::join!(stdout.read_to_string(&mut out), stderr.read_to_string(&mut err));
    assert_eq!((read.unwrap(), complained.unwrap()), (out.len(), err.len()));
    assert_eq!((out.as_str(), err.as_str()), ("out\nin\n", "err\n"));
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("NonZeroExitCode"));

    let mut forward = pods.portforward("web", &[80]).await.unwrap();
    let mut stream = forward.take_stream(80).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    pods.delete("web", &DeleteParams::default().grace_period(0)).await.unwrap();
}
