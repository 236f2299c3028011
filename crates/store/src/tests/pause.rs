//! Another place takes the place of a store's journal while the store is in use.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{TestStore, memory, value};
use crate::{Precondition, ReadError, Revision, Stay, WatchError};

async fn put(store: &TestStore, key: &str, text: &str) -> Revision {
    store.put(key, value(text), Precondition::Any).await.expect("written").revision
}

/// An empty store at a revision beyond that of another.
async fn beyond(store: &TestStore) -> TestStore {
    let next = memory();
    next.raise("/registry/scratch", &value(""), store.revision() + 10).await.expect("raised");
    next
}

#[tokio::test]
async fn what_is_begun_in_a_pause_goes_to_the_next_place() {
    let store = memory();
    let first = put(&store, "/registry/things/a", "1").await;
    let mut watch = store.watch("/registry/things/", first).expect("nothing is compacted");
    let next = beyond(&store).await;
    let pause = store.pause().await;
    let (writer, waiter) = (store.clone(), store.clone());
    let writing = tokio::spawn(async move { put(&writer, "/registry/things/b", "2").await });
    let waiting = tokio::spawn(async move { waiter.wait_for(first + 1).await });
    pause.snapshot().copy_to(None, &next, |_| Stay::Always).await.expect("copied");
    assert_eq!(store.revision(), first, "the writer waits");
    let copied = next.revision();
    pause.go_on_with(next.clone()).await;

    let second = writing.await.expect("no panic");
    assert!(second > copied);
    waiting.await.expect("no panic").expect("it is reached in the new place");
    assert_eq!(next.get("/registry/things/b").expect("it is there").revision, second);
    assert!(store.get("/registry/things/a").expect("copied").revision > first);
    // Whoever knows the old place begins anew.
    assert_eq!(watch.next().await.expect("an end").expect_err("an end"), WatchError::Slow);
    assert!(watch.next().await.is_none());
    for old in [first, copied - 1] {
        assert!(matches!(store.watch("/registry/things/", old), Err(ReadError::Compacted { .. })), "{old}");
        assert!(matches!(store.snapshot_at(old), Err(ReadError::Compacted { .. })), "{old}");
    }
    let mut watch = store.watch("/registry/things/", copied).expect("from the new place on");
    assert_eq!(watch.next().await.expect("an event").expect("an event").revision, second);
}

#[tokio::test]
async fn a_pause_that_leads_nowhere_leaves_everything_as_it_was() {
    let store = memory();
    let first = put(&store, "/registry/things/a", "1").await;
    let mut watch = store.watch("/registry/things/", first).expect("nothing is compacted");
    let pause = store.pause().await;
    let writer = store.clone();
    let writing = tokio::spawn(async move { put(&writer, "/registry/things/b", "2").await });
    let own = pause.put("/registry/things/c", value("3"), Precondition::Absent).await.expect("who pauses may write");
    assert_eq!(own.revision, first + 1);
    drop(pause);
    assert_eq!(writing.await.expect("no panic"), first + 2);
    for revision in [first + 1, first + 2] {
        assert_eq!(watch.next().await.expect("an event").expect("an event").revision, revision);
    }
    assert!(!store.is_shared());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_write_is_lost_between_two_places_and_revisions_only_rise() {
    let store = memory();
    let ended = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (store, ended) = (store.clone(), ended.clone());
            tokio::spawn(async move {
                let mut last = (0, 0);
                for round in 1.. {
                    let revision = put(&store, &format!("/registry/things/{writer}"), &round.to_string()).await;
                    assert!(revision > last.1, "{revision} follows {}", last.1);
                    last = (round, revision);
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                }
                last
            })
        })
        .collect();
    for _ in 0..5 {
        store.wait_for(store.revision() + 50).await.expect("they write");
        let next = memory();
        // They write meanwhile, and must not come so far.
        while next.revision() < store.revision() + 2000 {
            next.raise("/registry/scratch", &value(""), store.revision() + 4000).await.expect("raised");
        }
        let copied = store.snapshot();
        copied.copy_to(None, &next, |_| Stay::Always).await.expect("copied");
        let pause = store.pause().await;
        pause.snapshot().copy_to(Some(&copied), &next, |_| Stay::Always).await.expect("copied");
        assert!(next.revision() > pause.snapshot().revision());
        pause.go_on_with(next).await;
    }
    ended.store(true, Ordering::Relaxed);
    for (writer, writing) in writers.into_iter().enumerate() {
        let (round, revision) = writing.await.expect("no panic");
        let entry = store.get(&format!("/registry/things/{writer}")).expect("it is there");
        assert_eq!((entry.revision, &entry.value[..]), (revision, round.to_string().as_bytes()));
    }
}
