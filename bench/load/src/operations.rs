//! create, get, update of ConfigMaps of 1 KiB, and lists of 1,000 pods, with 1 and with 8 clients.

use std::time::Duration;

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::Args;
use crate::connection::Connection;
use crate::measure::{Operation, repeat};
use crate::record::Recorder;
use crate::server::Server;
use crate::yardstick;

const CLIENTS: [usize; 2] = [1, 8];
const JSON: &str = "application/json";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
pub const MAPS: &str = "/api/v1/namespaces/default/configmaps";
pub const PODS: &str = "/api/v1/namespaces/default/pods";
const LISTED: usize = 1000;
/// Yardsticks need less time to settle.
const PART: u32 = 3;

pub fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "x".repeat(1024)}})
}

/// A pod of about as many bytes as given, stored; it has no service account token to wait for, and nobody schedules it: one
/// on a node that is not there would be collected before it was measured.
pub fn pod(name: &str, bytes: usize) -> Value {
    let filling = "x".repeat(bytes.saturating_sub(1500));
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "annotations": {"filling": filling}}, "spec": {
        "automountServiceAccountToken": false, "schedulerName": "none",
        "containers": [{"name": "c", "image": "busybox", "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}}]}})
}

/// The default service account is made by a controller, a moment after the start.
pub async fn settle(connection: &mut Connection) -> Result<()> {
    while connection.get("/api/v1/namespaces/default/serviceaccounts/default").await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

enum Do {
    /// Under names that begin so, and end with a count.
    Create(String, usize),
    Get(&'static str),
    Update(Value),
    List(&'static str, &'static str),
}

struct Client {
    connection: Connection,
    number: usize,
    what: Do,
}

impl Operation for Client {
    async fn once(&mut self) -> Result<()> {
        let number = self.number;
        match &mut self.what {
            Do::Create(prefix, count) => {
                *count += 1;
                let body = map(&format!("{prefix}-{count}")).to_string();
                self.connection.send(Method::POST, MAPS, JSON, body.into()).await?;
            }
            Do::Get(query) => {
                self.connection.get(&format!("{MAPS}/own-{number}{query}")).await?;
            }
            Do::Update(object) => {
                let path = format!("{MAPS}/own-{number}");
                let turn = object["data"]["turn"].as_str().map_or(0, str::len);
                object["data"]["turn"] = if turn == 1 { "ab".into() } else { "a".into() };
                let answer = self.connection.send(Method::PUT, &path, JSON, object.to_string().into()).await?;
                *object = serde_json::from_slice(&answer)?;
            }
            Do::List(query, accept) => {
                let path = format!("{PODS}{query}");
                let list = self.connection.send(Method::GET, &path, accept, Bytes::new()).await?;
                ensure!(list.len() > LISTED * 1000, "the list is short: {} bytes", list.len());
            }
        }
        Ok(())
    }
}

pub async fn run(args: &Args, span: Duration, recorder: &mut Recorder) -> Result<()> {
    let measures = ["create", "get", "get.rv0", "update", "list.json", "list.protobuf.rv0"];
    let wanted = |recorder: &Recorder, measure: &str| CLIENTS.iter().any(|n| recorder.wants(&format!("{measure}.{n}")));
    if !measures.iter().any(|measure| wanted(recorder, measure)) {
        return Ok(());
    }
    let server = Server::start(args).await?;
    let mut connection = server.connect().await?;
    settle(&mut connection).await?;
    for number in 0..CLIENTS[1] {
        let body = map(&format!("own-{number}")).to_string();
        connection.send(Method::POST, MAPS, JSON, body.into()).await?;
    }
    for number in 0..LISTED {
        let body = pod(&format!("pod-{number}"), 2900).to_string();
        connection.send(Method::POST, PODS, JSON, body.into()).await?;
    }
    for measure in measures {
        for clients in CLIENTS {
            let name = format!("{measure}.{clients}");
            if recorder.wants(&name) {
                let own = repeat(clients, span, async |number| client(&server, measure, clients, number).await).await?;
                let yardstick = yardstick(args, &mut connection, measure, clients, span / PART).await?;
                recorder.rate(&name, &own, yardstick)?;
            }
        }
    }
    Ok(())
}

async fn client(server: &Server, measure: &str, clients: usize, number: usize) -> Result<Client> {
    let mut connection = server.connect().await?;
    let what = match measure {
        "create" => Do::Create(format!("made-{clients}-{number}"), 0),
        "get" => Do::Get(""),
        "get.rv0" => Do::Get("?resourceVersion=0"),
        "update" => Do::Update(serde_json::from_slice(&connection.get(&format!("{MAPS}/own-{number}")).await?)?),
        "list.json" => Do::List("", JSON),
        _ => Do::List("?resourceVersion=0", PROTOBUF),
    };
    Ok(Client { connection, number, what })
}

async fn yardstick(
    args: &Args,
    connection: &mut Connection,
    measure: &str,
    clients: usize,
    span: Duration,
) -> Result<f64> {
    let answer = match measure {
        "create" | "update" => return yardstick::syncs(&args.root_parent, span, 1024).await,
        "list.json" => connection.get(PODS).await?,
        "list.protobuf.rv0" => {
            let path = format!("{PODS}?resourceVersion=0");
            connection.send(Method::GET, &path, PROTOBUF, Bytes::new()).await?
        }
        _ => connection.get(&format!("{MAPS}/own-0")).await?,
    };
    Ok(yardstick::answers(clients, span, answer).await?.per_second)
}
