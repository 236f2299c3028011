//! What 10,000 pods of 4 KiB cost in resident memory, in the whole control plane and in the API server alone, and 100 idle watches.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::Args;
use crate::operations::{PODS, pod, settle};
use crate::record::Recorder;
use crate::server::Server;
use crate::watches::WATCHERS;

const COUNT: usize = 10_000;
const POD_BYTES: usize = 4096;
/// After so long a rest memory is looked at.
const REST: Duration = Duration::from_secs(5);

pub async fn run(args: &Args, recorder: &mut Recorder) -> Result<()> {
    if recorder.wants("memory.alone.pods") {
        let server = Server::start_alone(args).await?;
        tokio::time::sleep(REST).await;
        pods(&server, server.rss()?, "memory.alone.pods", recorder).await?;
    }
    if !recorder.wants("memory.pods") && !recorder.wants("memory.watches") && !recorder.wants("memory.idle") {
        return Ok(());
    }
    let server = Server::start(args).await?;
    let mut connection = server.connect().await?;
    settle(&mut connection).await?;
    tokio::time::sleep(REST).await;
    let idle = server.rss()?;
    add(recorder, "memory.idle", idle, json!({}))?;

    let mut watches = Vec::new();
    for _ in 0..WATCHERS {
        let mut own = server.connect().await?;
        let path = format!("{PODS}?watch=true&resourceVersion=0");
        let answer = own.begin(Method::GET, &path, "application/json", Bytes::new()).await?;
        watches.push((own, answer));
    }
    tokio::time::sleep(REST).await;
    let watching = server.rss()?;
    add(recorder, "memory.watches", watching.saturating_sub(idle), json!({ "watches": WATCHERS }))?;
    drop(watches);
    pods(&server, idle, "memory.pods", recorder).await
}

async fn pods(server: &Server, idle: u64, measure: &str, recorder: &mut Recorder) -> Result<()> {
    let mut connection = server.connect().await?;
    let mut stored = 0;
    for number in 0..COUNT {
        let body = pod(&format!("pod-{number}"), POD_BYTES).to_string();
        stored += connection.send(Method::POST, PODS, "application/json", body.into()).await?.len();
    }
    tokio::time::sleep(REST).await;
    let full = server.rss()?;
    let more = json!({ "pods": COUNT, "bytes_of_pods": stored, "rss": full });
    add(recorder, measure, full.saturating_sub(idle), more)
}

#[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
fn add(recorder: &mut Recorder, measure: &str, bytes: u64, more: Value) -> Result<()> {
    let mib = bytes as f64 / f64::from(1 << 20);
    println!("{measure}: {mib:.1} MiB {more}");
    recorder.add(measure, "MiB", mib, 0.0, &more)
}

/// Resident memory of a process in bytes.
pub fn rss(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
    Ok(kib << 10)
}
