//! Lists and watches of a part of a resource agree with those of all of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::journal::Memory;
use crate::tests::Manual;
use crate::tests::faulty_disk::Random;
use crate::{Event, EventKind, Narrow, Options, Precondition, Revision, Snapshot, Watch, WatchError};

const PREFIX: &str = "/registry/pods/";
const NODES: [&str; 4] = ["", "a", "b", "ab"];

/// Of pods what stands before the colon; other resources have no such field.
fn node(key: &str, value: &[u8]) -> Option<Arc<str>> {
    let value = std::str::from_utf8(value).ok().filter(|_| key.starts_with(PREFIX))?;
    value.split(':').next().map(Arc::from)
}

fn open(ring_events_max: usize) -> Manual {
    let options = Options { index_of: node, ring_events_max, ..Options::default() };
    Manual::open(Box::new(Memory::default()), options).expect("an empty journal opens")
}

type Told = (EventKind, String, Revision);

fn told(event: &Event<()>) -> Told {
    (event.kind, event.entry.key.to_string(), event.revision)
}

fn drain(watch: &mut Watch<()>) -> Vec<Told> {
    std::iter::from_fn(|| watch.try_next()).map(|event| told(&event.expect("an event"))).collect()
}

fn concerns(event: &Event<()>, value: &str) -> bool {
    let is = |entry: &Arc<crate::Entry<()>>| node(&entry.key, &entry.value).as_deref() == Some(value);
    is(&event.entry) || event.previous.as_ref().is_some_and(is)
}

fn check_list(snapshot: &Snapshot<()>) {
    for (value, prefix) in NODES.into_iter().flat_map(|value| [(value, PREFIX), (value, "/registry/pods/n1/")]) {
        let all = |start| {
            let of_node = |entry: &&Arc<crate::Entry<()>>| node(&entry.key, &entry.value).as_deref() == Some(value);
            snapshot.range(prefix, start).filter(of_node).map(|entry| entry.revision).collect::<Vec<_>>()
        };
        for start in [None, Some("/registry/pods/n1/3")] {
            let found: Vec<_> = snapshot.indexed(value, prefix, start).map(|entry| entry.revision).collect();
            assert_eq!(found, all(start), "{value:?} below {prefix} after {start:?} at {}", snapshot.revision());
        }
    }
}

#[test]
fn parts_agree_with_the_whole_at_every_revision() {
    let mut rng = Random(7);
    let mut store = open(10_000);
    let everything = store.store.watch(PREFIX, 1).expect("a watch");
    let mut watches = BTreeMap::new();
    for round in 0..600u64 {
        let (namespace, name) = (rng.below(3), rng.below(6));
        let key = if rng.below(8) == 0 { "/registry/nodes/x".into() } else { format!("{PREFIX}n{namespace}/{name}") };
        let kind = if rng.below(4) == 0 { EventKind::Delete } else { EventKind::Put };
        let text = format!("{}:{round}", NODES[rng.below(NODES.len() as u64) as usize]);
        // A deletion of nothing is refused.
        drop(store.submit(kind, &key, text.into_bytes().into(), Precondition::Any));
        if rng.below(3) == 0 {
            store.commit();
        }
        if round % 100 == 50 {
            store.commit();
            let after = 1 + rng.below(store.store.revision());
            for value in NODES {
                let watch =
                    store.store.watch_narrow(PREFIX, Narrow::Value(value), after).expect("nothing is compacted");
                watches.insert((round, value), (after, watch));
            }
        }
    }
    store.commit();
    let mut everything = everything;
    let events: Vec<_> = std::iter::from_fn(|| everything.try_next()).map(|event| event.expect("an event")).collect();
    assert!(events.len() > 300);
    for ((round, value), (after, mut watch)) in watches {
        let due =
            events.iter().filter(|event| event.revision > after && concerns(event, value)).map(|event| told(event));
        assert_eq!(drain(&mut watch), due.collect::<Vec<_>>(), "{value:?} from {round}");
        assert_eq!(watch.revision(), store.store.revision(), "it knows how far it is");
    }
    for revision in 1..=store.store.revision() {
        check_list(&store.store.snapshot_at(revision).expect("nothing is compacted"));
    }
}

#[test]
fn a_watch_of_one_key_sees_that_key_alone() {
    let mut store = open(100);
    let watch = |store: &Manual, after| {
        store.store.watch_narrow(PREFIX, Narrow::Key("/registry/pods/n/a"), after).expect("a watch")
    };
    let mut early = watch(&store, 1);
    for key in ["a", "ab", "b", "a"] {
        drop(store.put(&format!("/registry/pods/n/{key}"), "x:"));
        store.commit();
    }
    for (watch, due) in [(&mut early, vec![2, 5]), (&mut watch(&store, 2), vec![5]), (&mut watch(&store, 5), vec![])] {
        assert_eq!(drain(watch).into_iter().map(|(_, _, revision)| revision).collect::<Vec<_>>(), due);
    }
}

#[test]
fn a_part_holds_no_more_than_the_whole_and_tells_who_is_behind() {
    let mut store = open(3);
    let watch = |store: &Manual, after| store.store.watch_narrow(PREFIX, Narrow::Value("a"), after);
    let (mut slow, mut quick) = (watch(&store, 1).expect("a watch"), watch(&store, 1).expect("a watch"));
    let put = |store: &mut Manual, value: &str| {
        drop(store.put(&format!("{PREFIX}n/{value}"), &format!("{value}:")));
        store.commit();
    };
    put(&mut store, "a");
    assert_eq!(drain(&mut quick).len(), 1);
    for _ in 0..5 {
        put(&mut store, "b");
    }
    // What others do drops nothing of what this part has to tell, until it has to tell more.
    put(&mut store, "a");
    assert_eq!(slow.try_next().expect("an end").expect_err("it missed the first"), WatchError::Slow);
    assert_eq!(drain(&mut quick).len(), 1);
    assert!(watch(&store, 2).is_err(), "the whole resource no longer goes back so far");
    assert!(watch(&store, store.store.revision()).is_ok());
}

#[tokio::test]
async fn a_waiting_watch_of_a_part_is_woken_and_ended() {
    let store: crate::Store<()> =
        crate::Store::open(Box::new(Memory::default()), Options { index_of: node, ..Options::default() })
            .expect("a store");
    let mut watch = store.watch_narrow(PREFIX, Narrow::Value("a"), 1).expect("a watch");
    let waiting = tokio::spawn(async move {
        let event = watch.next().await.expect("an event").expect("an event");
        (told(&event), watch.next().await.expect("an end").expect_err("an end"))
    });
    store.put("/registry/pods/n/p", crate::tests::value("b:"), Precondition::Any).await.expect("written");
    store.put("/registry/pods/n/p", crate::tests::value("a:"), Precondition::Any).await.expect("written");
    store.close().await;
    let (event, end) = waiting.await.expect("no panic");
    assert_eq!(event, (EventKind::Put, "/registry/pods/n/p".to_owned(), 3));
    assert_eq!(end, WatchError::Closed);
}
