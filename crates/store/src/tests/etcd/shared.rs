//! Two stores on one etcd are one store.

use std::time::Duration;

use super::cluster::Cluster;
use super::{next, open, open_with, options, text, until};
use crate::{EventKind, Precondition, ReadError, WriteError};

const PODS: &str = "/registry/pods/";
const KEY: &str = "/registry/pods/default/a";

#[tokio::test(flavor = "multi_thread")]
async fn what_one_writes_the_other_sees_under_the_same_revision() {
    let cluster = Cluster::start(1, &[]);
    let (one, other) = (open(&cluster).await, open(&cluster).await);
    let (mut seen, mut seen_too) =
        (one.watch(PODS, one.revision()).expect("kept"), other.watch(PODS, other.revision()).expect("kept"));
    let made = one.put(KEY, text("a"), Precondition::Absent).await.expect("it is absent");
    assert_eq!(&made.value[..], format!("a{}", made.revision).as_bytes());
    assert!(std::sync::Arc::ptr_eq(&one.get(KEY).expect("read back at once"), &made));
    other.barrier().await.expect("etcd is there");
    let read = other.get(KEY).expect("nothing stale behind a barrier");
    assert_eq!((read.revision, read.create_revision, &read.value), (made.revision, made.revision, &made.value));
    let changed = other.put(KEY, text("b"), Precondition::Revision(made.revision)).await.expect("it is current");
    assert_eq!((changed.revision, changed.create_revision), (made.revision + 1, made.revision));
    let last = one.delete(KEY, text("last"), Precondition::Revision(changed.revision)).await.expect("it is current");
    assert_eq!(&last.value[..], format!("last{}", last.revision).as_bytes(), "its writer's own last state");
    assert_eq!(last.create_revision, made.revision);
    for watch in [&mut seen, &mut seen_too] {
        let events = [next(watch).await, next(watch).await, next(watch).await];
        assert_eq!(events.each_ref().map(|event| event.revision), [made.revision, changed.revision, last.revision]);
        assert_eq!(events.each_ref().map(|event| event.kind), [EventKind::Put, EventKind::Put, EventKind::Delete]);
        let gone = format!("b{}", last.revision);
        assert_eq!(&events[2].entry.value[..], gone.as_bytes(), "the last state at the deletion's revision");
        assert_eq!(&events[1].previous.as_ref().expect("it was there").value, &made.value);
    }
    assert_eq!(one.snapshot_at(made.revision).expect("kept").count(PODS), 1);
    assert!(one.get(KEY).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn conflicts_are_answered_with_what_is_there_and_read_back() {
    let cluster = Cluster::start(1, &[]);
    let (one, other) = (open(&cluster).await, open(&cluster).await);
    let conflict = |result| match result {
        Err(WriteError::Conflict(current)) => current.map(|entry: std::sync::Arc<crate::Entry<()>>| entry.revision),
        other => panic!("{other:?}"),
    };
    for precondition in [Precondition::Exists, Precondition::Revision(7)] {
        assert_eq!(conflict(one.put(KEY, text("a"), precondition).await), None);
    }
    assert_eq!(conflict(one.delete(KEY, text("a"), Precondition::Any).await), None);
    for round in 0..50 {
        let name = format!("{KEY}{round}");
        let made = one.put(&name, text("a"), Precondition::Absent).await.expect("it is absent").revision;
        assert_eq!(conflict(other.put(&name, text("b"), Precondition::Absent).await), Some(made));
        assert_eq!(other.get(&name).map(|entry| entry.revision), Some(made), "the next try knows better");
        one.delete(&name, text("a"), Precondition::Any).await.expect("it is there");
        assert_eq!(conflict(other.delete(&name, text("b"), Precondition::Revision(made)).await), None);
        assert!(other.get(&name).is_none(), "the next try knows better");
    }
    assert_eq!(other.stats().conflicts, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_update_is_lost_and_no_read_behind_a_barrier_is_stale() {
    let cluster = Cluster::start(1, &[]);
    let stores = [open(&cluster).await, open(&cluster).await];
    stores[0].put(KEY, text("0 "), Precondition::Absent).await.expect("it is absent");
    let acknowledged = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = |entry: &crate::Entry<()>| -> u64 {
        let text = std::str::from_utf8(&entry.value).expect("text");
        text.split(' ').next().and_then(|count| count.parse().ok()).expect("a count")
    };
    const ROUNDS: u64 = 40;
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..8 {
        let (store, acknowledged) = (stores[at % 2].clone(), acknowledged.clone());
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                loop {
                    let before = acknowledged.load(std::sync::atomic::Ordering::SeqCst);
                    store.barrier().await.expect("etcd is there");
                    let entry = store.get(KEY).expect("it is there");
                    let now = count(&entry);
                    assert!(now >= before, "read {now} after {before} was acknowledged");
                    let new = text(&format!("{} ", now + 1));
                    match store.put(KEY, new, Precondition::Revision(entry.revision)).await {
                        Ok(_) => {
                            acknowledged.fetch_max(now + 1, std::sync::atomic::Ordering::SeqCst);
                            break;
                        }
                        Err(WriteError::Conflict(_)) => {}
                        Err(error) => panic!("{error:?}"),
                    }
                }
            }
        });
    }
    tasks.join_all().await;
    stores[1].barrier().await.expect("etcd is there");
    let entry = stores[1].get(KEY).expect("it is there");
    assert_eq!(count(&entry), 8 * ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_of_others_keys_are_waited_for_and_counted() {
    let cluster = Cluster::start(1, &[]);
    let store = open(&cluster).await;
    let mut raw = cluster.raw(0).await;
    for round in 0..20 {
        let other = raw.put("/elsewhere/x", &round.to_string()).await;
        store.barrier().await.expect("etcd is there");
        assert!(store.revision() >= other, "{} before {other}", store.revision());
    }
    assert_eq!(store.snapshot().totals().entries, 0);
    // The readers of one moment share a read; each gets its answer.
    let barriers = (0..500).map(|_| {
        let store = store.clone();
        async move { store.barrier().await }
    });
    let answers = barriers.collect::<tokio::task::JoinSet<_>>().join_all().await;
    assert!(answers.iter().all(Result::is_ok));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_keys_of_one_transaction_are_all_told() {
    let cluster = Cluster::start(1, &[]);
    let store = open(&cluster).await;
    let keys = ["/registry/pods/default/a", "/registry/pods/default/b", "/registry/pods/default/c"];
    for key in keys {
        store.put(key, text("x"), Precondition::Absent).await.expect("it is absent");
    }
    let mut watch = store.watch(PODS, store.revision()).expect("kept");
    let revision = cluster.raw(0).await.delete(&keys).await;
    for (at, key) in keys.iter().enumerate() {
        let event = next(&mut watch).await;
        assert_eq!((&*event.entry.key, event.revision), (*key, revision));
        assert_eq!(watch.revision(), if at < 2 { revision - 1 } else { revision }, "no bookmark before the last");
    }
    assert_eq!(store.snapshot_at(revision - 1).expect("kept").count(PODS), 3);
    assert_eq!(store.snapshot_at(revision).expect("kept").count(PODS), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_comes_later_knows_what_etcd_still_knows() {
    let cluster = Cluster::start(1, &[]);
    let first = open(&cluster).await;
    let mut revisions = Vec::new();
    for at in 0..20 {
        let value = text(&format!("{at} "));
        revisions.push(first.put(KEY, value, Precondition::Any).await.expect("written").revision);
    }
    let late = open(&cluster).await;
    let mut watch = late.watch(PODS, revisions[3]).expect("etcd still has it");
    assert_eq!(next(&mut watch).await.revision, revisions[4]);
    let old = late.snapshot_at(revisions[5]).expect("etcd still has it");
    assert!(old.get(KEY).expect("it was there").value.starts_with(b"5 "));
    // What is compacted is refused.
    first.compact(revisions[10]).await.expect("compacted");
    assert_eq!(first.watch(PODS, revisions[8]).map(drop), Err(ReadError::Compacted { oldest: revisions[10] }));
    let later = open(&cluster).await;
    assert!(later.watch(PODS, revisions[9]).is_err());
    let mut watch = later.watch(PODS, revisions[10]).expect("etcd still has it");
    assert_eq!(next(&mut watch).await.revision, revisions[11]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_expire_share_a_lease_and_go_everywhere() {
    let cluster = Cluster::start(1, &[]);
    let mut reusing = options(&cluster);
    reusing.lease_reuse = Duration::from_secs(60);
    let (store, other) = (open_with(reusing).await, open(&cluster).await);
    let mut raw = cluster.raw(0).await;
    let mut leases = std::collections::HashSet::new();
    for at in 0..30 {
        let key = format!("/registry/events/default/e{at}");
        store.put(&key, text("x").with_ttl(Duration::from_secs(3600)), Precondition::Absent).await.expect("written");
        leases.insert(raw.get(&key).await.expect("written").lease);
    }
    assert!(leases.len() == 1 && !leases.contains(&0), "{leases:?}");
    let mut watch = other.watch("/registry/events/", other.revision()).expect("kept");
    let short = "/registry/events/default/short";
    store.put(short, text("x").with_ttl(Duration::from_secs(1)), Precondition::Absent).await.expect("written");
    loop {
        let event = next(&mut watch).await;
        if &*event.entry.key == short && event.kind == EventKind::Delete {
            break;
        }
    }
    until("it is gone here too", async || store.get(short).is_none()).await;
    assert_eq!(store.snapshot().count("/registry/events/"), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_the_servers_compacts_once_an_interval() {
    let cluster = Cluster::start(1, &[]);
    let mut compacting = options(&cluster);
    compacting.compaction_interval = Duration::from_millis(300);
    let first = open(&cluster).await;
    let old = first.put(KEY, text("a"), Precondition::Any).await.expect("written").revision;
    let newer = first.put(KEY, text("b"), Precondition::Any).await.expect("written").revision;
    let mut raw = cluster.raw(0).await;
    assert!(raw.has(old).await);
    let begun = std::time::Instant::now();
    let servers = [open_with(compacting.clone()).await, open_with(compacting).await];
    until("the history is compacted", async || !raw.has(old).await).await;
    let mark = raw.get("compact_rev_key").await.expect("the servers agree by it");
    let intervals = begun.elapsed().as_millis() as u64 / 300;
    assert!(mark.version <= intervals + 1, "{} times in {intervals} intervals", mark.version);
    assert!(raw.get(KEY).await.is_some_and(|kv| kv.mod_revision == newer), "what is there stays");
    // Servers go on through compactions.
    for server in &servers {
        server.barrier().await.expect("etcd is there");
        assert_eq!(server.get(KEY).map(|entry| entry.revision), Some(newer));
    }
}
