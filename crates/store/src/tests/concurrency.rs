//! Many writers at once, on threads.

use std::sync::Arc;

use crate::journal::Memory;
use crate::tests::{memory, value};
use crate::{Entry, Options, Precondition, Store, WriteError};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn compare_and_swap_loses_no_increment() {
    let store = memory();
    store.put("/registry/counters/a", value("0"), Precondition::Absent).await.expect("it is absent");
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let number = |entry: &Entry<()>| -> u64 {
                    std::str::from_utf8(&entry.value).ok().and_then(|text| text.parse().ok()).expect("a number")
                };
                let mut current: Arc<Entry<()>> = store.get("/registry/counters/a").expect("it is there");
                let mut done = 0;
                while done < 200 {
                    let next = value(&(number(&current) + 1).to_string());
                    match store.put("/registry/counters/a", next, Precondition::Revision(current.revision)).await {
                        Ok(entry) => {
                            done += 1;
                            current = entry;
                        }
                        Err(WriteError::Conflict(Some(entry))) => {
                            assert!(store.revision() >= entry.revision, "a conflict shows only what is published");
                            current = entry;
                        }
                        Err(error) => panic!("{error:?}"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    let entry = store.get("/registry/counters/a").expect("it is there");
    assert_eq!((&entry.value[..], entry.revision), (&b"1600"[..], 1602));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_one_of_many_creates() {
    let store = memory();
    for round in 0..50 {
        let key = format!("/registry/pods/a/{round}");
        let tries: Vec<_> = (0..8)
            .map(|_| {
                let (store, key) = (store.clone(), key.clone());
                tokio::spawn(async move { store.put(&key, value("x"), Precondition::Absent).await.is_ok() })
            })
            .collect();
        let mut created = 0;
        for attempt in tries {
            created += usize::from(attempt.await.expect("no panic"));
        }
        assert_eq!(created, 1);
    }
    assert_eq!(store.revision(), 51);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_list_and_the_watch_from_it_are_the_whole_story() {
    let store = memory();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for at in 0..300 {
                    let key = format!("/registry/pods/{writer}/{}", at % 10);
                    if at % 7 == 6 {
                        let _ = store.delete(&key, value("gone"), Precondition::Any).await;
                    } else {
                        store.put(&key, value(&at.to_string()), Precondition::Any).await.expect("written");
                    }
                }
            })
        })
        .collect();
    let mirrors: Vec<_> = (0..20)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let snapshot = store.snapshot();
                let list = snapshot.range("/registry/pods/", None).map(|entry| (entry.key.clone(), entry.clone()));
                let mut mirror: std::collections::BTreeMap<_, _> = list.collect();
                let mut watch = store.watch("/registry/pods/", snapshot.revision()).expect("the present is kept");
                loop {
                    let event = watch.next().await.expect("not ended").expect("not slow");
                    if &*event.entry.key == "/registry/pods/end" {
                        return mirror;
                    }
                    match event.kind {
                        crate::EventKind::Put => mirror.insert(event.entry.key.clone(), event.entry.clone()),
                        crate::EventKind::Delete => mirror.remove(&event.entry.key),
                    };
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("no panic");
    }
    let truth: Vec<_> = store.snapshot().range("/registry/pods/", None).map(|entry| entry.revision).collect();
    store.put("/registry/pods/end", value(""), Precondition::Any).await.expect("written");
    for mirror in mirrors {
        let mirror = mirror.await.expect("no panic");
        assert_eq!(mirror.values().map(|entry| entry.revision).collect::<Vec<_>>(), truth);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn progress_is_never_ahead_of_an_event() {
    const WRITERS: u64 = 4;
    const WRITES: u64 = 3000;
    let options = Options { ring_events_max: (WRITERS * WRITES) as usize, ..Options::default() };
    let store = Store::<()>::open(Box::new(Memory::default()), options).expect("it opens");
    // Both ask all the time, so that they do while events are on their way.
    let watchers = ["/registry/pods/", ""].map(|prefix| {
        let mut watch = store.watch(prefix, 1).expect("nothing is compacted");
        std::thread::spawn(move || {
            let (mut seen, mut progress) = (0, 1);
            while seen < WRITERS * WRITES {
                let now = watch.revision();
                assert!(now >= progress, "progress went from {progress} back to {now}");
                progress = now;
                if let Some(event) = watch.try_next() {
                    let event = event.expect("an event");
                    assert!(event.revision > progress, "progress {progress} was ahead of {}", event.revision);
                    seen += 1;
                }
            }
        })
    });
    let writers = (0..WRITERS).map(|writer| {
        let store = store.clone();
        async move {
            for _ in 0..WRITES {
                store.put(&format!("/registry/pods/a/{writer}"), value("x"), Precondition::Any).await.expect("written");
            }
        }
    });
    writers.collect::<tokio::task::JoinSet<_>>().join_all().await;
    for watcher in watchers {
        watcher.join().expect("no panic");
    }
}
