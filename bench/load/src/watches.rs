//! 100 watchers of one resource while one writer changes one of its objects 1,000 times, and while eight do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::Args;
use crate::connection::Connection;
use crate::measure::rate;
use crate::operations::{MAPS, map, settle};
use crate::record::Recorder;
use crate::server::Server;

pub const WATCHERS: usize = 100;
const WRITES: usize = 1000;

pub async fn run(args: &Args, recorder: &mut Recorder) -> Result<()> {
    for writers in [1, 8] {
        if recorder.wants(&format!("watch.events.{writers}")) {
            fan_out(args, recorder, writers).await?;
        }
    }
    Ok(())
}

async fn fan_out(args: &Args, recorder: &mut Recorder, writers: usize) -> Result<()> {
    let server = Server::start(args).await?;
    let mut connection = server.connect().await?;
    settle(&mut connection).await?;
    let mut objects = Vec::new();
    for number in 0..writers {
        let body = map(&format!("busy-{number}")).to_string();
        let created = connection.send(Method::POST, MAPS, "application/json", body.into()).await?;
        objects.push(serde_json::from_slice::<Value>(&created)?);
    }
    let since = objects.last().map(|last| last["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned());
    let since = since.unwrap_or_default();
    let (all, began) = (Arc::new(Barrier::new(WATCHERS + 1)), Instant::now());
    let mut watchers = JoinSet::new();
    for _ in 0..WATCHERS {
        let mut own = server.connect().await?;
        let (all, since) = (all.clone(), since.clone());
        watchers.spawn(async move {
            let path = format!("{MAPS}?watch=true&resourceVersion={since}");
            let mut body = own.begin(Method::GET, &path, "application/json", Bytes::new()).await?.into_body();
            all.wait().await;
            let (mut rest, mut seen) = (Vec::new(), Vec::with_capacity(WRITES * writers));
            while seen.len() < WRITES * writers {
                let Some(frame) = body.frame().await else { break };
                let Ok(data) = frame?.into_data() else { continue };
                rest.extend_from_slice(&data);
                let mut from = 0;
                while let Some(end) = rest[from..].iter().position(|byte| *byte == b'\n') {
                    let took = written(&rest[from..from + end]).map(|at| began.elapsed().saturating_sub(at));
                    seen.extend(took);
                    from += end + 1;
                }
                rest.drain(..from);
            }
            anyhow::Ok(seen)
        });
    }
    all.wait().await;
    let (started, mut writing) = (Instant::now(), JoinSet::new());
    for object in objects {
        let own = server.connect().await?;
        writing.spawn(write(own, object, began));
    }
    while let Some(done) = writing.join_next().await {
        done??;
    }
    let mut took = Vec::new();
    while let Some(done) = watchers.join_next().await {
        took.extend(done??);
    }
    let wanted = WATCHERS * WRITES * writers;
    ensure!(took.len() == wanted, "{} of {wanted} events came", took.len());
    let own = rate(took, started.elapsed());
    recorder.rate(&format!("watch.events.{writers}"), &own, 0.0)?;
    let more = json!({ "watchers": WATCHERS, "writers": writers, "writes": WRITES * writers });
    recorder.add(&format!("watch.event.p99.{writers}"), "ms", own.p99_ms, 0.0, &more)
}

/// Changes one object again and again.
async fn write(mut connection: Connection, mut object: Value, began: Instant) -> Result<()> {
    let path = format!("{MAPS}/{}", object["metadata"]["name"].as_str().unwrap_or_default());
    for _ in 0..WRITES {
        object["data"]["at"] = began.elapsed().as_nanos().to_string().into();
        let answer = connection.send(Method::PUT, &path, "application/json", object.to_string().into()).await?;
        object = serde_json::from_slice(&answer)?;
    }
    Ok(())
}

/// When the writer wrote what the event shows, on its clock.
fn written(event: &[u8]) -> Option<Duration> {
    const KEY: &[u8] = b"\"at\":\"";
    let at = event.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let digits = event[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(Duration::from_nanos(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))))
}
