//! 100 watchers of one resource while one writer changes one of its objects 1,000 times.

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
use crate::measure::rate;
use crate::operations::{MAPS, map, settle};
use crate::record::Recorder;
use crate::server::Server;

const MEASURE: &str = "watch.events";
pub const WATCHERS: usize = 100;
const WRITES: usize = 1000;

pub async fn run(args: &Args, recorder: &mut Recorder) -> Result<()> {
    if !recorder.wants(MEASURE) {
        return Ok(());
    }
    let server = Server::start(args).await?;
    let mut connection = server.connect().await?;
    settle(&mut connection).await?;
    let created = connection.send(Method::POST, MAPS, "application/json", map("busy").to_string().into()).await?;
    let mut object: Value = serde_json::from_slice(&created)?;
    let since = object["metadata"]["resourceVersion"].as_str().unwrap_or_default().to_owned();
    let (all, began) = (Arc::new(Barrier::new(WATCHERS + 1)), Instant::now());
    let mut watchers = JoinSet::new();
    for _ in 0..WATCHERS {
        let mut own = server.connect().await?;
        let (all, since) = (all.clone(), since.clone());
        watchers.spawn(async move {
            let path = format!("{MAPS}?watch=true&resourceVersion={since}&fieldSelector=metadata.name%3Dbusy");
            let mut body = own.begin(Method::GET, &path, "application/json", Bytes::new()).await?.into_body();
            all.wait().await;
            let (mut events, mut seen) = (Vec::new(), Vec::with_capacity(WRITES));
            while seen.len() < WRITES {
                let Some(frame) = body.frame().await else { break };
                let Ok(data) = frame?.into_data() else { continue };
                events.extend_from_slice(&data);
                while let Some(end) = events.iter().position(|byte| *byte == b'\n') {
                    let took = written(&events[..end]).map(|at| began.elapsed().saturating_sub(at));
                    seen.extend(took);
                    events.drain(..=end);
                }
            }
            anyhow::Ok(seen)
        });
    }
    all.wait().await;
    let started = Instant::now();
    for _ in 0..WRITES {
        object["data"]["at"] = began.elapsed().as_nanos().to_string().into();
        let path = format!("{MAPS}/busy");
        let answer = connection.send(Method::PUT, &path, "application/json", object.to_string().into()).await?;
        object = serde_json::from_slice(&answer)?;
    }
    let mut took = Vec::new();
    while let Some(done) = watchers.join_next().await {
        took.extend(done??);
    }
    ensure!(took.len() == WATCHERS * WRITES, "{} of {} events came", took.len(), WATCHERS * WRITES);
    let own = rate(took, started.elapsed());
    recorder.rate(MEASURE, &own, 0.0)?;
    let more = json!({ "watchers": WATCHERS, "writes": WRITES });
    recorder.add("watch.event.p99", "ms", own.p99_ms, 0.0, &more)
}

/// When the writer wrote what the event shows, on its clock.
fn written(event: &[u8]) -> Option<Duration> {
    const KEY: &[u8] = b"\"at\":\"";
    let at = event.windows(KEY.len()).position(|window| window == KEY)? + KEY.len();
    let digits = event[at..].iter().take_while(|byte| byte.is_ascii_digit());
    Some(Duration::from_nanos(digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))))
}
