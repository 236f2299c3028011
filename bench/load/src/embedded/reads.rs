//! Gets out of the index by one thread, and one event on its way to 1,000 watchers.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use store::{Precondition, Store};
use tokio::sync::mpsc;

use super::{key, open, scratch, value};
use crate::Args;
use crate::measure::rate;
use crate::record::Recorder;

const KEYS: [usize; 2] = [10_000, 100_000];
const WATCHERS: usize = 1000;
const EVENTS: usize = 200;

pub async fn run(args: &Args, span: Duration, recorder: &mut Recorder) -> Result<()> {
    for keys in KEYS {
        let measure = format!("store.get.{keys}");
        if !recorder.wants(&measure) {
            continue;
        }
        let folder = scratch(args)?;
        let store = open(folder.path())?;
        fill(&store, keys).await?;
        let names: Vec<String> = (0..keys).map(|number| key(0, number)).collect();
        let (per_second, count) = tokio::task::spawn_blocking(move || gets(&store, &names, span)).await?;
        println!("{measure}: {per_second:.0}/s by one thread");
        recorder.add(&measure, "1/s", per_second, 0.0, &json!({ "keys": keys, "count": count }))?;
    }
    if recorder.wants("store.watch.1000") {
        let folder = scratch(args)?;
        watches(&open(folder.path())?, recorder).await?;
    }
    Ok(())
}

/// Writes so many keys, many at a time.
pub async fn fill(store: &Store<()>, count: usize) -> Result<()> {
    let mut writing = tokio::task::JoinSet::new();
    for number in 0..count {
        let store = store.clone();
        writing.spawn(async move { store.put(&key(0, number), value(), Precondition::Any).await.map(drop) });
        if writing.len() >= 1000 {
            writing.join_next().await.context("there are a thousand")???;
        }
    }
    while let Some(done) = writing.join_next().await {
        done??;
    }
    Ok(())
}

/// Keys in an order that no cache foresees.
#[expect(clippy::cast_precision_loss, reason = "counts of gets are far below 2^52")]
fn gets(store: &Store<()>, keys: &[String], span: Duration) -> (f64, usize) {
    let (started, mut count, mut at) = (Instant::now(), 0, 0);
    while started.elapsed() < span {
        for _ in 0..1000 {
            at = (at + 61_813) % keys.len();
            black_box(store.get(&keys[at]));
        }
        count += 1000;
    }
    (count as f64 / started.elapsed().as_secs_f64(), count)
}

/// From before a write until the last of the watchers has its event: the write's own sync is in it.
async fn watches(store: &Store<()>, recorder: &mut Recorder) -> Result<()> {
    let (sender, mut seen) = mpsc::channel(WATCHERS);
    let mut watchers = tokio::task::JoinSet::new();
    for _ in 0..WATCHERS {
        let (mut watch, sender) = (store.watch("/registry/configmaps/", store.revision())?, sender.clone());
        watchers.spawn(async move {
            while let Some(event) = watch.next().await {
                if event.is_err() || sender.send(Instant::now()).await.is_err() {
                    break;
                }
            }
        });
    }
    let mut took = Vec::new();
    for number in 0..EVENTS {
        let (begun, mut last) = (Instant::now(), None);
        store.put(&key(0, number), value(), Precondition::Any).await?;
        for _ in 0..WATCHERS {
            last = last.max(Some(seen.recv().await.context("a watcher ended")?));
        }
        took.extend(last.map(|last| last.duration_since(begun)));
    }
    watchers.shutdown().await;
    let rate = rate(took, Duration::from_secs(1));
    println!("store.watch.1000: p50 {:.2} ms, p99 {:.2} ms to the last of {WATCHERS}", rate.p50_ms, rate.p99_ms);
    let more = json!({ "watchers": WATCHERS, "events": EVENTS, "p99_ms": rate.p99_ms });
    recorder.add("store.watch.1000", "ms", rate.p50_ms, 0.0, &more)
}
