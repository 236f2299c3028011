//! Many writers at once, on threads.

use std::sync::Arc;

use crate::tests::{memory, value};
use crate::{Entry, Precondition, WriteError};

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
