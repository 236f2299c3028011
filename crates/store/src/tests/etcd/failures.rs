//! etcd goes away, comes back, forgets, loses its leader.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::cluster::Cluster;
use super::{next, open, text, until};
use crate::{Precondition, WatchError, WriteError};

const PODS: &str = "/registry/pods/";
const KEY: &str = "/registry/pods/default/a";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_etcd_that_comes_back_is_followed_on_without_a_gap() {
    let mut cluster = Cluster::start(1, &[]);
    let store = open(&cluster).await;
    let mut watch = store.watch(PODS, store.revision()).expect("kept");
    let before = store.put(KEY, text("a"), Precondition::Absent).await.expect("written");
    cluster.kill(0);
    assert_eq!(store.get(KEY).map(|entry| entry.revision), Some(before.revision), "what was read can be read");
    let (one, other) = tokio::join!(store.barrier(), store.put(KEY, text("b"), Precondition::Any));
    let words = "etcdserver: request timed out";
    assert_eq!(one.expect_err("nobody knows").to_string(), words);
    let Err(WriteError::Unavailable(reason)) = other else { panic!("{other:?}") };
    assert!(&*reason == words || reason.starts_with("rpc error: code = Unavailable"), "{reason}");
    cluster.run(0);
    until("it is back", async || store.barrier().await.is_ok()).await;
    let after = store.put(KEY, text("c"), Precondition::Revision(before.revision)).await.expect("nothing came between");
    assert_eq!(next(&mut watch).await.revision, before.revision);
    assert_eq!(next(&mut watch).await.revision, after.revision, "the same watch, the next event");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_missed_what_is_compacted_is_told_to_begin_again() {
    let mut cluster = Cluster::start(1, &[]);
    let store = open(&cluster).await;
    let first = store.put(KEY, text("a"), Precondition::Absent).await.expect("written").revision;
    let mut watch = store.watch(PODS, first).expect("kept");
    let mut quiet = store.watch("/registry/nodes/", first).expect("kept");
    let port = cluster.port(0);
    cluster.move_to(0, Cluster::other_port());
    let mut raw = cluster.raw(0).await;
    for at in 0..10 {
        raw.put(KEY, &format!("{at} ")).await;
    }
    raw.delete(&[KEY]).await;
    let last = raw.put("/registry/pods/default/b", "b").await;
    raw.compact(last).await;
    cluster.move_to(0, port);
    for watch in [&mut watch, &mut quiet] {
        let end = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("in time");
        assert_eq!(end.map(|event| event.map(drop)), Some(Err(WatchError::Slow)));
    }
    store.barrier().await.expect("etcd is there");
    assert!(store.get(KEY).is_none() && store.get("/registry/pods/default/b").is_some());
    assert!(store.watch(PODS, first).is_err(), "no watch across the gap");
    assert!(store.watch(PODS, store.revision()).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_went_back_in_time_is_read_again() {
    let mut cluster = Cluster::start(1, &[]);
    let store = open(&cluster).await;
    for _ in 0..5 {
        store.put(KEY, text("a"), Precondition::Any).await.expect("written");
    }
    let mut watch = store.watch(PODS, store.revision()).expect("kept");
    cluster.wipe(0);
    let end = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("in time");
    assert_eq!(end.map(|event| event.map(drop)), Some(Err(WatchError::Slow)));
    until("it is back", async || store.barrier().await.is_ok()).await;
    assert!(store.get(KEY).is_none());
    let made = store.put(KEY, text("a"), Precondition::Absent).await.expect("written");
    assert_eq!((made.revision, store.revision()), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loss_of_the_leader_is_got_over_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start(3, &[]);
    let leader = cluster.leader().await;
    let (store, witness) = (open(&cluster).await, open(&cluster).await);
    let mut watch = witness.watch(PODS, witness.revision()).expect("kept");
    let acknowledged = Arc::new(parking_lot::Mutex::new(Vec::new()));
    let (serial, done) = (Arc::new(AtomicU64::new(0)), tokio_util::sync::CancellationToken::new());
    let mut writers = tokio::task::JoinSet::new();
    // More than one, as a write that was on its way to the dead leader hangs until etcd gives it up.
    for _ in 0..16 {
        let (store, acknowledged, serial, done) = (store.clone(), acknowledged.clone(), serial.clone(), done.clone());
        writers.spawn(async move {
            while !done.is_cancelled() {
                let key = format!("/registry/pods/default/p{}", serial.fetch_add(1, Ordering::Relaxed));
                let put = store.put(&key, text("x"), Precondition::Absent);
                // Whoever gives up does not know, and tries something else.
                if let Ok(Ok(entry)) = tokio::time::timeout(Duration::from_secs(2), put).await {
                    acknowledged.lock().push((Instant::now(), key, entry.revision));
                }
            }
        });
    }
    until("writes are acknowledged", async || acknowledged.lock().len() > 200).await;
    cluster.kill(leader);
    let killed = Instant::now();
    let again =
        || acknowledged.lock().iter().find(|(at, ..)| *at > killed + Duration::from_millis(20)).map(|own| own.0);
    until("writes are acknowledged again", async || again().is_some()).await;
    let away = again().expect("found above") - killed;
    assert!(away < Duration::from_secs(5), "away for {away:?}");
    let begun = Instant::now();
    store.barrier().await.expect("a leader is there");
    assert!(begun.elapsed() < Duration::from_secs(5), "a consistent read took {:?}", begun.elapsed());
    let count = acknowledged.lock().len();
    until("writing goes on", async || acknowledged.lock().len() > count + 200).await;
    done.cancel();
    writers.join_all().await;
    witness.barrier().await.expect("a leader is there");
    let mut acknowledged = std::mem::take(&mut *acknowledged.lock());
    acknowledged.sort_by_key(|(_, _, revision)| *revision);
    let last = acknowledged.last().expect("many").2;
    let mut seen = Vec::new();
    while seen.last().is_none_or(|(revision, _)| *revision < last) {
        let event = next(&mut watch).await;
        seen.push((event.revision, event.entry.key.to_string()));
    }
    assert!(seen.is_sorted());
    for (_, key, revision) in acknowledged {
        assert_eq!(witness.get(&key).map(|entry| entry.revision), Some(revision), "{key}");
        assert!(seen.binary_search(&(revision, key.clone())).is_ok(), "{key} was not told");
    }
}
