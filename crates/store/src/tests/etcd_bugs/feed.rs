//! What etcd's watch may say wrongly, said to the feed by hand: responses that the versions with these bugs have sent.

use std::sync::Arc;
use std::time::Duration;

use crate::etcd::api::event::EventType;
use crate::etcd::api::{Event, KeyValue, ResponseHeader, WatchResponse};
use crate::etcd::apply::{self, Apply, Refused};
use crate::etcd::{EtcdOptions, Values, Waiters};
use crate::history::History;
use crate::index::{Index, Published};
use crate::ring::Rings;
use crate::shared::Shared;
use crate::tests::TestStore;
use crate::tests::etcd::Plain;
use crate::{Options, Revision, Store, Watch};

const KEY: &str = "/registry/pods/a/1";

fn empty(revision: Revision) -> Published<()> {
    Published { index: Index::new(Options::default().layout()), revision }
}

fn shared() -> Arc<Shared<()>> {
    let options = Options::default();
    let rings = Rings::new(10, options.layout(), options.ring_events_max);
    Shared::new(options, History::new(Arc::new(empty(10))), rings, Default::default())
}

/// A store at revision 10 that is empty, and the feed's hand on it.
fn followed(reports_progress: bool) -> (TestStore, Apply<()>) {
    let shared = shared();
    let values = Arc::new(Values::new(&EtcdOptions::new(Vec::new(), Arc::new(Plain)), None));
    let apply = Apply::new(&shared, &Arc::new(Waiters::default()), &values, reports_progress);
    (Store::assemble(shared, None), apply)
}

fn event(kind: EventType, key: &str, revision: Revision) -> Event {
    let key = bytes::Bytes::copy_from_slice(key.as_bytes());
    let kv = KeyValue { key, mod_revision: revision, create_revision: 11, ..KeyValue::default() };
    Event { r#type: kind.into(), kv: Some(kv) }
}

/// A response of a member that stands at `at`.
fn response(at: Revision, events: Vec<Event>) -> WatchResponse {
    let header = ResponseHeader { revision: at, ..ResponseHeader::default() };
    WatchResponse { header: Some(header), events, ..WatchResponse::default() }
}

fn put(revision: Revision) -> Event {
    event(EventType::Put, KEY, revision)
}

fn drain(watch: &mut Watch<()>) -> Vec<Revision> {
    std::iter::from_fn(|| watch.try_next()).map(|event| event.expect("an event").revision).collect()
}

/// etcd 15220: the answer to the question for progress overtook events of the same stream, so that whoever believed it took
/// an older state for the newest.
#[test]
fn progress_that_overtakes_events_is_not_believed() {
    let (store, mut feed) = followed(true);
    let mut watch = store.watch("/registry/pods/", 10).expect("kept");
    let part = WatchResponse { fragment: true, ..response(12, vec![put(11)]) };
    feed.take(part).expect("taken");
    feed.take(response(12, Vec::new())).expect("taken");
    assert_eq!((store.revision(), watch.revision()), (10, 10), "the rest of the response is still to come");
    feed.take(response(12, vec![put(12)])).expect("taken");
    assert_eq!(drain(&mut watch), [11, 12]);
    feed.take(response(15, Vec::new())).expect("taken");
    assert_eq!((store.revision(), watch.revision()), (15, 15), "between responses it is");
    // Of an etcd with the bug no answer counts.
    let (store, mut feed) = followed(false);
    feed.take(response(15, Vec::new())).expect("taken");
    assert_eq!(store.revision(), 10);
    feed.take(response(12, vec![put(12)])).expect("taken");
    assert_eq!(store.revision(), 12, "events alone do");
}

/// etcd 15271: a member that had been cut off took over the leader's state as a whole and told its watchers everything since
/// then once more. etcd 20221: a member that was behind told a watch on a revision that it did not have yet of older ones.
#[test]
fn what_a_member_that_was_behind_tells_again_is_told_once() {
    let (store, mut feed) = followed(true);
    let mut watch = store.watch("/registry/pods/", 10).expect("kept");
    let other = |revision| event(EventType::Put, "/registry/pods/a/2", revision);
    feed.take(response(13, vec![put(11), put(12), other(13)])).expect("taken");
    // Back in time, alone, with what is new, and in progress.
    feed.take(response(12, vec![put(11), put(12)])).expect("taken");
    feed.take(response(11, Vec::new())).expect("taken");
    assert_eq!((store.revision(), watch.revision()), (13, 10));
    assert_eq!(store.get(KEY).map(|entry| entry.revision), Some(12));
    feed.take(response(14, vec![put(12), other(13), event(EventType::Delete, KEY, 14)])).expect("taken");
    feed.take(response(13, vec![put(11), other(13)])).expect("taken");
    assert_eq!(drain(&mut watch), [11, 12, 13, 14]);
    assert!(store.get(KEY).is_none(), "what is deleted does not come back");
    assert_eq!((store.revision(), watch.revision()), (14, 14));
    assert_eq!(store.snapshot_at(12).expect("kept").count(""), 1);
}

/// etcd 17529 told nobody of the compaction that it had left events out for. Where it does tell, no event may count as known.
#[test]
fn a_watch_that_ends_for_a_compaction_is_told_apart_from_one_that_just_ends() {
    let (_store, mut feed) = followed(true);
    let ended = WatchResponse { canceled: true, cancel_reason: "no leader".into(), ..response(12, Vec::new()) };
    assert!(matches!(feed.take(ended), Err(Refused::Ended(reason)) if reason == "no leader"));
    let compacted = WatchResponse { canceled: true, compact_revision: 12, ..response(13, Vec::new()) };
    assert!(matches!(feed.take(compacted), Err(Refused::Compacted { oldest: 12 })));
}

/// Found with the tests of 18667 and mended: who waited for a write of its own while what the feed had missed was compacted was
/// not woken by the state that was then read as a whole, and timed out.
#[tokio::test]
async fn who_waits_for_a_revision_is_woken_by_a_state_that_has_it() {
    let (shared, waiters) = (shared(), Arc::new(Waiters::default()));
    let reached = |revision| {
        let shared = shared.clone();
        move || shared.dispatched.load(std::sync::atomic::Ordering::Acquire) >= revision
    };
    let wait = |revision| {
        let (waiters, reached) = (waiters.clone(), reached(revision));
        let wait = async move { waiters.wait(revision, reached).await };
        tokio::spawn(tokio::time::timeout(Duration::from_secs(20), wait))
    };
    let (due, later) = (wait(12), wait(13));
    // Both have taken their places: this runs when they wait.
    tokio::task::yield_now().await;
    apply::begin_anew(&shared, &waiters, empty(12));
    due.await.expect("no panic").expect("woken");
    assert!(!later.is_finished());
    apply::begin_anew(&shared, &waiters, empty(13));
    later.await.expect("no panic").expect("woken");
}
