//! Watches: order, prefixes, progress, slowness, compaction.

use crate::journal::Memory;
use crate::tests::{Manual, memory, value};
use crate::{Options, Precondition, ReadError, Watch, WatchError};

fn manual(ring_events_max: usize) -> Manual {
    let options = Options { ring_events_max, ..Options::default() };
    Manual::open(Box::new(Memory::default()), options).expect("an empty journal opens")
}

fn drain(watch: &mut Watch<()>) -> Vec<u64> {
    std::iter::from_fn(|| watch.try_next()).map(|event| event.expect("an event").revision).collect()
}

#[test]
fn a_watch_sees_its_prefix_from_its_revision_on() {
    let mut manual = manual(100);
    for key in ["pods/a/1", "nodes/n", "pods/b/1", "pods/a/2"] {
        drop(manual.put(&format!("/registry/{key}"), "x"));
        manual.commit();
    }
    let watch = |prefix: &str, after| manual.store.watch(prefix, after).expect("nothing is compacted");
    assert_eq!(drain(&mut watch("/registry/pods/", 1)), [2, 4, 5]);
    assert_eq!(drain(&mut watch("/registry/pods/a/", 2)), [5]);
    assert_eq!(drain(&mut watch("/registry/pods/a/1", 1)), [2]);
    assert_eq!(drain(&mut watch("/registry/", 2)), [3, 4, 5]);
    assert_eq!(drain(&mut watch("", 1)), [2, 3, 4, 5]);
    assert!(drain(&mut watch("/registry/pods/", 5)).is_empty());
}

#[test]
fn a_watch_from_the_future_waits_for_it() {
    let mut manual = manual(100);
    let mut watch = manual.store.watch("/registry/pods/", 3).expect("the future is never compacted");
    for _ in 0..3 {
        drop(manual.put("/registry/pods/a/1", "x"));
        manual.commit();
    }
    assert_eq!(drain(&mut watch), [4]);
}

#[test]
fn progress_moves_with_other_resources_but_not_past_undelivered_events() {
    let mut manual = manual(100);
    let mut watch = manual.store.watch("/registry/pods/a/", 1).expect("a watch");
    assert_eq!(watch.revision(), 1);
    for key in ["/registry/nodes/n", "/registry/pods/b/1"] {
        drop(manual.put(key, "x"));
        manual.commit();
    }
    assert_eq!(watch.revision(), 3);
    drop(manual.put("/registry/pods/b/1", "x"));
    drop(manual.put("/registry/pods/a/1", "x"));
    assert_eq!(watch.revision(), 3, "what is not durable is no progress");
    manual.commit();
    assert_eq!(watch.revision(), 4);
    assert_eq!(drain(&mut watch), [5]);
    assert_eq!(watch.revision(), 5);
}

#[test]
fn a_watcher_that_falls_off_the_ring_is_told_so_and_ends() {
    let mut manual = manual(8);
    let put = |manual: &mut Manual, key: &str, count: usize| {
        for _ in 0..count {
            drop(manual.put(key, "x"));
            manual.commit();
        }
    };
    let mut slow = manual.store.watch("/registry/pods/", 1).expect("a watch");
    let mut other = manual.store.watch("/registry/nodes/", 1).expect("a watch");
    put(&mut manual, "/registry/nodes/n", 1);
    put(&mut manual, "/registry/pods/a/1", 8);
    assert_eq!(drain(&mut slow).len(), 8, "exactly the ring's length is no loss");
    put(&mut manual, "/registry/pods/a/1", 9);
    assert!(matches!(slow.try_next(), Some(Err(WatchError::Slow))));
    assert!(slow.try_next().is_none());
    assert_eq!(drain(&mut other), [2], "a busy resource does not push out the events of another");
    assert_eq!(manual.store.stats().watchers_slow, 1);
    // The ring keeps the last eight: 12 to 19.
    assert_eq!(manual.store.watch("/registry/pods/", 10).err(), Some(ReadError::Compacted { oldest: 11 }));
    assert_eq!(drain(&mut manual.store.watch("/registry/pods/", 11).expect("kept")).len(), 8);
    assert_eq!(drain(&mut manual.store.watch("/registry/nodes/", 1).expect("kept")), [2]);
}

#[tokio::test]
async fn many_watchers_are_woken_and_see_the_same_in_order() {
    let store = memory();
    let watchers: Vec<_> = (0..50)
        .map(|_| {
            let mut watch = store.watch("/registry/pods/", 1).expect("a watch");
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.len() < 100 {
                    seen.push(watch.next().await.expect("not ended").expect("an event").revision);
                }
                seen
            })
        })
        .collect();
    for at in 0..100 {
        store.put(&format!("/registry/pods/a/{}", at % 7), value("x"), Precondition::Any).await.expect("written");
    }
    for watcher in watchers {
        assert_eq!(watcher.await.expect("no panic"), (2..=101).collect::<Vec<_>>());
    }
    assert_eq!(store.stats().watchers, 0);
}

#[tokio::test]
async fn waiting_for_a_revision_ends_when_it_is_published() {
    let store = memory();
    let waiter = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for(3).await }
    });
    for _ in 0..2 {
        store.put("/registry/pods/a/1", value("x"), Precondition::Any).await.expect("written");
    }
    assert_eq!(waiter.await.expect("no panic"), Ok(()));
}
