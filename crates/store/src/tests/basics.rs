//! Reading, writing, preconditions, snapshots.

use crate::journal::Memory;
use crate::tests::{Manual, memory, value};
use crate::{EventKind, NewValue, Options, Precondition, Totals, WriteError};

const KEY: &str = "/registry/pods/default/a";

#[tokio::test]
async fn a_write_gets_the_next_revision_and_is_read_back() {
    let store = memory();
    assert_eq!(store.revision(), 1);
    let put = NewValue::new(*b"{\"resourceVersion\":\"\"}", Some(20));
    let entry = store.put(KEY, put, Precondition::Absent).await.expect("the key is absent");
    assert_eq!((entry.revision, entry.create_revision), (2, 2));
    assert_eq!(&entry.value[..], b"{\"resourceVersion\":\"2\"}");
    let read = store.get(KEY).expect("it is there");
    assert!(std::sync::Arc::ptr_eq(&read, &entry));
    let again = store.put(KEY, value("b"), Precondition::Revision(2)).await.expect("the revision is right");
    assert_eq!((again.revision, again.create_revision, store.revision()), (3, 2, 3));
}

#[tokio::test]
async fn preconditions_are_checked_and_answered_with_the_current_entry() {
    let store = memory();
    let conflict = |result| match result {
        Err(WriteError::Conflict(current)) => current.map(|entry: std::sync::Arc<crate::Entry<()>>| entry.revision),
        other => panic!("{other:?}"),
    };
    assert_eq!(conflict(store.put(KEY, value("a"), Precondition::Exists).await), None);
    assert_eq!(conflict(store.put(KEY, value("a"), Precondition::Revision(1)).await), None);
    assert_eq!(conflict(store.delete(KEY, value("a"), Precondition::Any).await), None);
    store.put(KEY, value("a"), Precondition::Any).await.expect("no condition");
    assert_eq!(conflict(store.put(KEY, value("b"), Precondition::Absent).await), Some(2));
    assert_eq!(conflict(store.put(KEY, value("b"), Precondition::Revision(1)).await), Some(2));
    assert_eq!(conflict(store.delete(KEY, value("b"), Precondition::Revision(3)).await), Some(2));
    assert_eq!(store.revision(), 2, "a refused write takes no revision");
    let gone = store.delete(KEY, value("last"), Precondition::Revision(2)).await.expect("the revision is right");
    assert_eq!((gone.revision, gone.create_revision, &gone.value[..]), (3, 2, &b"last"[..]));
    assert!(store.get(KEY).is_none());
    let entry = store.put(KEY, value("new"), Precondition::Absent).await.expect("it is gone");
    assert_eq!((entry.create_revision, entry.revision), (4, 4), "a new life begins");
    assert_eq!(store.stats().conflicts, 6);
}

#[test]
fn writes_in_one_group_see_each_other_and_readers_see_none_of_them_before_it_is_durable() {
    let mut manual = Manual::open(Box::new(Memory::default()), Options::default()).expect("it opens");
    let mut first = manual.put(KEY, "a");
    let mut refused = manual
        .submit(EventKind::Put, KEY, value("b"), Precondition::Absent)
        .expect("a conflict with what is not durable has to wait");
    let mut second = manual.submit(EventKind::Put, KEY, value("c"), Precondition::Revision(2)).expect("taken");
    let mut watch = manual.store.watch("/registry/pods/", 1).expect("nothing is compacted");
    assert!(manual.store.get(KEY).is_none() && watch.try_next().is_none() && manual.store.revision() == 1);
    assert!(refused.try_recv().is_err(), "a state that nobody may see is not told in a conflict either");
    manual.commit();
    assert_eq!(first.try_recv().expect("answered").expect("written").revision, 2);
    assert!(matches!(refused.try_recv(), Ok(Err(WriteError::Conflict(Some(entry)))) if entry.revision == 2));
    assert_eq!(second.try_recv().expect("answered").expect("written").revision, 3);
    assert_eq!(manual.store.stats().appends, 1);
    let seen: Vec<u64> =
        std::iter::from_fn(|| watch.try_next()).map(|event| event.expect("an event").revision).collect();
    assert_eq!(seen, [2, 3]);
    let known = manual.submit(EventKind::Put, KEY, value("d"), Precondition::Absent);
    assert!(matches!(known, Err(WriteError::Conflict(Some(_)))), "a conflict with a durable state is answered at once");
}

#[tokio::test]
async fn ranges_are_ordered_by_key_and_resumed_behind_a_key() {
    let store = memory();
    for key in
        ["/registry/pods/b/1", "/registry/pods/a/2", "/registry/pods/a/1", "/registry/podsx/a/1", "/registry/nodes/n"]
    {
        store.put(key, value("x"), Precondition::Any).await.expect("written");
    }
    let snapshot = store.snapshot();
    let keys = |prefix: &str, after: Option<&str>| -> Vec<String> {
        snapshot.range(prefix, after).map(|entry| entry.key.to_string()).collect()
    };
    assert_eq!(keys("/registry/pods/", None), ["/registry/pods/a/1", "/registry/pods/a/2", "/registry/pods/b/1"]);
    assert_eq!(keys("/registry/pods/a/", Some("/registry/pods/a/1")), ["/registry/pods/a/2"]);
    assert_eq!(keys("/registry/pods/", Some("/registry/pods/a/10")), ["/registry/pods/a/2", "/registry/pods/b/1"]);
    assert_eq!(keys("/registry/pods/", Some("/registry/a")).len(), 3, "a key before the prefix changes nothing");
    assert!(keys("/registry/pods/", Some("/registry/pods/z")).is_empty());
    let counts =
        ["/registry/pods/", "/registry/pods/a/", "/registry/", "", "/registry/none/"].map(|p| snapshot.count(p));
    assert_eq!(counts, [3, 2, 5, 5, 0]);
    // A snapshot stands still.
    store.delete("/registry/pods/a/1", value("x"), Precondition::Any).await.expect("deleted");
    assert_eq!((snapshot.count("/registry/pods/"), store.snapshot().count("/registry/pods/")), (3, 2));
    assert!(snapshot.get("/registry/pods/a/1").is_some());
}

#[tokio::test]
async fn totals_follow_writes_and_deletions() {
    let store = memory();
    store.put("/registry/pods/a/1", value("12345"), Precondition::Any).await.expect("written");
    store.put("/registry/pods/a/1", value("123"), Precondition::Any).await.expect("written");
    store.put("/registry/nodes/n", value("1"), Precondition::Any).await.expect("written");
    let stats = store.stats();
    assert_eq!(stats.totals, Totals { entries: 2, bytes: 18 + 3 + 17 + 1 });
    let pods = stats.resources.iter().find(|(name, _)| &**name == "/registry/pods/").expect("a resource");
    assert_eq!(pods.1, Totals { entries: 1, bytes: 21 });
    store.delete("/registry/pods/a/1", value(""), Precondition::Any).await.expect("deleted");
    assert_eq!(store.stats().totals, Totals { entries: 1, bytes: 18 });
}

#[tokio::test]
async fn a_resource_is_changed_by_writes_to_it_alone() {
    let store = memory();
    let changed = |prefix: &str| store.snapshot().changed(prefix);
    assert_eq!(changed("/registry/pods/"), 0);
    let pod = store.put("/registry/pods/a/1", value("1"), Precondition::Any).await.expect("written").revision;
    let node = store.put("/registry/nodes/n", value("1"), Precondition::Any).await.expect("written").revision;
    assert_eq!([changed("/registry/pods/"), changed("/registry/pods/b/"), changed("/registry/")], [pod, pod, node]);
    let gone = store.delete("/registry/pods/a/1", value(""), Precondition::Any).await.expect("deleted").revision;
    assert_eq!([changed("/registry/pods/"), changed("/registry/nodes/")], [gone, node]);
}

#[tokio::test]
async fn a_closed_store_reads_but_does_not_write() {
    let store = memory();
    store.put(KEY, value("a"), Precondition::Any).await.expect("written");
    let mut watch = store.watch("/registry/pods/", 2).expect("a watch");
    store.close().await;
    assert!(store.get(KEY).is_some());
    assert!(matches!(store.put(KEY, value("b"), Precondition::Any).await, Err(WriteError::Closed(_))));
    assert_eq!(watch.next().await.map(|event| event.map(|_| ())), Some(Err(crate::WatchError::Closed)));
    assert!(watch.next().await.is_none());
    assert_eq!(store.wait_for(2).await, Ok(()));
    assert_eq!(store.wait_for(3).await, Err(crate::ReadError::Closed));
    let mut late = store.watch("/registry/none/", 2).expect("a watch");
    assert_eq!(late.next().await.map(|event| event.map(|_| ())), Some(Err(crate::WatchError::Closed)));
}

#[tokio::test]
async fn a_store_reopened_from_its_journal_is_the_same() {
    let journal = Memory::default();
    let open = || crate::Store::<()>::open(Box::new(journal.clone()), Options::default()).expect("it opens");
    let store = open();
    store.put(KEY, value("a"), Precondition::Any).await.expect("written");
    store.put(KEY, value("b"), Precondition::Any).await.expect("written");
    store.put("/registry/pods/default/b", value("b"), Precondition::Any).await.expect("written");
    store.delete("/registry/pods/default/b", value("z"), Precondition::Any).await.expect("deleted");
    store.close().await;
    let store = open();
    assert_eq!(store.revision(), 5);
    let entry = store.get(KEY).expect("it is there");
    assert_eq!((entry.create_revision, entry.revision, &entry.value[..]), (2, 3, &b"b"[..]));
    // Watches go on where they were, history is there.
    let mut watch = store.watch("/registry/pods/", 3).expect("kept");
    let event = watch.next().await.expect("an event").expect("an event");
    assert_eq!((event.kind, event.revision), (EventKind::Put, 4));
    let event = watch.next().await.expect("an event").expect("an event");
    assert_eq!((event.kind, &event.entry.value[..]), (EventKind::Delete, &b"z"[..]));
    assert_eq!(event.previous.as_ref().map(|entry| entry.revision), Some(4));
    assert_eq!(store.snapshot_at(4).expect("kept").count("/registry/pods/"), 2);
}
