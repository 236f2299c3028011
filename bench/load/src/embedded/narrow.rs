//! What a node costs that lists and watches its own pods among those of a thousand: by the index, beside looking at every pod.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use store::journal::Memory;
use store::{NewValue, Options, Precondition, Store, Watch};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::measure::rate;
use crate::record::Recorder;

const PREFIX: &str = "/registry/pods/";
const NODES: usize = 1000;
const PODS: usize = 10_000;
const EVENTS: usize = 2000;

pub async fn run(span: Duration, recorder: &mut Recorder) -> Result<()> {
    if !recorder.wants("store.node") {
        return Ok(());
    }
    let store: Store<()> = Store::open(Box::new(Memory::default()), Options { index_of: node, ..Options::default() })?;
    for pod in 0..PODS {
        store.put(&key(pod), value(pod), Precondition::Any).await?;
    }
    lists(&store, span, recorder)?;
    watches(&store, recorder).await
}

fn key(pod: usize) -> String {
    format!("{PREFIX}load/pod-{pod:06}")
}

/// A kilobyte that begins with the node's name.
fn value(pod: usize) -> NewValue {
    let mut bytes = name(pod % NODES).into_bytes();
    bytes.resize(1024, b' ');
    NewValue::new(bytes, None)
}

fn name(node: usize) -> String {
    format!("node-{node:04}")
}

fn node(key: &str, value: &[u8]) -> Option<Arc<str>> {
    key.starts_with(PREFIX).then(|| std::str::from_utf8(value.get(..9)?).ok().map(Arc::from))?
}

fn lists(store: &Store<()>, span: Duration, recorder: &mut Recorder) -> Result<()> {
    let own = lists_a_second(span, |name| store.snapshot().indexed(name, PREFIX, None).map(black_box).count());
    let whole = lists_a_second(span, |name| {
        let snapshot = store.snapshot();
        snapshot.range(PREFIX, None).filter(|entry| entry.value.starts_with(name.as_bytes())).map(black_box).count()
    });
    println!("store.node.list: {own:.0}/s by the index, {whole:.0}/s by looking at each of {PODS} pods");
    recorder.add("store.node.list", "1/s", own, whole, &json!({ "pods": PODS, "nodes": NODES }))
}

#[expect(clippy::cast_precision_loss, reason = "counts of lists are far below 2^52")]
fn lists_a_second(span: Duration, list: impl Fn(&str) -> usize) -> f64 {
    let (started, mut count) = (Instant::now(), 0usize);
    while started.elapsed() < span {
        assert_eq!(list(&name(count * 617 % NODES)), PODS / NODES, "each node has as many pods");
        count += 1;
    }
    count as f64 / started.elapsed().as_secs_f64()
}

/// How long a write takes until the watcher of its node has it, while a thousand watch.
async fn watches(store: &Store<()>, recorder: &mut Recorder) -> Result<()> {
    let own =
        until_told(store, |name| store.watch_narrow(PREFIX, store::Narrow::Value(name), store.revision())).await?;
    let whole = until_told(store, |_| store.watch(PREFIX, store.revision())).await?;
    println!(
        "store.node.watch: {own:.4} ms by the index, {whole:.4} ms by looking at each event ({NODES} watchers, no disk)"
    );
    recorder.add("store.node.watch", "ms", own, whole, &json!({ "watchers": NODES, "events": EVENTS }))
}

async fn until_told(store: &Store<()>, watch: impl Fn(&str) -> Result<Watch<()>, store::ReadError>) -> Result<f64> {
    let (sender, mut told) = mpsc::channel(16);
    let mut watchers = JoinSet::new();
    for node in 0..NODES {
        let (name, sender) = (name(node), sender.clone());
        let mut watch = watch(&name)?;
        watchers.spawn(async move {
            while let Some(Ok(event)) = watch.next().await {
                if event.entry.value.starts_with(name.as_bytes()) && sender.send(()).await.is_err() {
                    break;
                }
            }
        });
    }
    let started = Instant::now();
    let mut took = Vec::new();
    for pod in 0..EVENTS {
        let begun = Instant::now();
        store.put(&key(pod), value(pod), Precondition::Any).await?;
        told.recv().await.context("a watcher ended")?;
        took.push(begun.elapsed());
    }
    let rate = rate(took, started.elapsed());
    watchers.shutdown().await;
    Ok(rate.p50_ms)
}
