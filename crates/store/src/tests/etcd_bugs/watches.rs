//! Watches and compaction: what etcd told watchers twice, too early, or not at all.

use std::sync::Arc;
use std::time::Duration;

use crate::journal::{Memory, Wal, WalOptions};
use crate::tests::faulty_disk::{Fault, FaultyDisk};
use crate::tests::{Manual, memory, value};
use crate::{
    CompactError, EventKind, Options, Precondition, ReadError, Revision, Store, Watch, WatchError, WriteError,
};

const PODS: &str = "/registry/pods/";
const KEY: &str = "/registry/pods/a/1";

fn drain(watch: &mut Watch<()>) -> Vec<Revision> {
    std::iter::from_fn(|| watch.try_next()).map(|event| event.expect("an event").revision).collect()
}

/// etcd 17247: events of a transaction that failed halfway stayed in a cache, and the next transaction told them as its own.
/// Here a group that finds no room has been numbered and its revisions are given out again.
#[test]
fn what_was_refused_is_told_to_no_watch_under_the_revision_that_it_would_have_had() {
    let mut point = 0;
    loop {
        let disk = FaultyDisk::new(point);
        let wal = WalOptions { segment_bytes: 1024, snapshot_log_bytes: u64::MAX, ..WalOptions::default() };
        let open =
            || Manual::open(Box::new(Wal::on(Arc::new(disk.clone()), wal)), Options::default()).expect("it opens");
        let mut manual = open();
        let mut watch = manual.store.watch("", 1).expect("kept");
        drop(manual.put(KEY, &"x".repeat(900)));
        manual.commit();
        disk.fail_after(point, Fault::Enospc);
        let refused = [manual.put("/registry/pods/a/refused", "r"), manual.put(KEY, "r"), manual.put("/odd", "r")];
        manual.commit();
        let answers = refused.map(|answer| answer.blocking_recv().expect("answered"));
        if disk.is_to_fail() {
            assert!(point > 3, "{point} operations are no append");
            break;
        }
        point += 1;
        if matches!(answers[0], Err(WriteError::Closed(_))) {
            continue;
        }
        assert!(answers.iter().all(|answer| matches!(answer, Err(WriteError::Full(_)))), "{answers:?}");
        assert_eq!(drain(&mut watch), [2], "nothing of what was refused");
        let told = [manual.put("/registry/pods/a/told", "t"), manual.put(KEY, "t")];
        manual.commit();
        let _ = told.map(|answer| answer.blocking_recv().expect("answered").expect("there is room"));
        let check = |watch: &mut Watch<()>| {
            let events: Vec<_> =
                std::iter::from_fn(|| watch.try_next()).map(|event| event.expect("an event")).collect();
            let brief = |at: usize| (events[at].revision, &*events[at].entry.key, &events[at].entry.value[..]);
            assert_eq!(events.len(), 2);
            assert_eq!(brief(0), (3, "/registry/pods/a/told", &b"t"[..]));
            assert_eq!(brief(1), (4, KEY, &b"t"[..]));
            assert_eq!(events[1].previous.as_ref().map(|previous| previous.revision), Some(2));
        };
        check(&mut watch);
        drop(manual);
        check(&mut open().store.watch("", 2).expect("the log has it"));
    }
}

/// etcd 17529: watchers that could not be served for long were behind a compaction when their turn came, and the events in
/// between were left out without a word.
#[test]
fn a_watcher_that_is_behind_a_compaction_or_the_ring_is_ended_and_skips_nothing() {
    for compacted_at in [None, Some(30), Some(60), Some(100)] {
        let options = Options { ring_events_max: 64, ..Options::default() };
        let mut manual = Manual::open(Box::new(Memory::default()), options).expect("it opens");
        let mut watchers: Vec<_> = (0..40).map(|_| manual.store.watch(PODS, 1).expect("kept")).collect();
        let mut seen = vec![(Vec::new(), None); watchers.len()];
        let read = |watch: &mut Watch<()>, (seen, end): &mut (Vec<Revision>, Option<WatchError>)| {
            let next = watch.try_next();
            match &next {
                Some(Ok(event)) => seen.push(event.revision),
                Some(Err(error)) => *end = Some(*error),
                None => {}
            }
            next.is_some()
        };
        for round in 2..=200 {
            // Every third write is of another resource.
            drop(manual.put(if round % 3 == 0 { "/registry/nodes/n" } else { KEY }, "x"));
            manual.commit();
            if compacted_at == Some(round) {
                let (reply, _) = tokio::sync::oneshot::channel();
                manual.shared.sequencer.lock().submit_compact(round - 9, reply);
                manual.commit();
            }
            // The first read with every write, the last ones hardly ever.
            for (at, (watch, seen)) in (1..).zip(watchers.iter_mut().zip(&mut seen)) {
                if round % at == 0 {
                    read(watch, seen);
                }
            }
        }
        let all: Vec<Revision> = (2..=200).filter(|revision| revision % 3 != 0).collect();
        let mut ended = 0;
        for (watch, seen) in watchers.iter_mut().zip(&mut seen) {
            while read(watch, seen) {}
            let (seen, end) = seen;
            assert_eq!(seen[..], all[..seen.len()], "no event is skipped");
            match end {
                None => assert_eq!(seen.len(), all.len(), "all or an error"),
                Some(error) => {
                    assert_eq!(*error, WatchError::Slow);
                    assert!(seen.len() < all.len() && watch.try_next().is_none());
                    ended += 1;
                }
            }
        }
        assert!(ended > 10 && ended < 40, "{ended} of 40 were ended");
    }
}

/// What a watch from `after` gives, if the history that it needs is still there.
fn told(store: &Store<()>, after: Revision) -> Option<Vec<(Revision, EventKind)>> {
    let mut watch = match store.watch(PODS, after) {
        Ok(watch) => watch,
        Err(ReadError::Compacted { oldest }) => {
            assert!(oldest > after);
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    Some(
        std::iter::from_fn(|| watch.try_next())
            .map(|event| event.expect("kept"))
            .map(|e| (e.revision, e.kind))
            .collect(),
    )
}

/// etcd 18089: a compaction at the revision of a deletion removed the deletion itself, which a watch from that revision on was
/// allowed to ask for and did not get.
#[tokio::test]
async fn a_watch_from_a_compacted_deletion_on_is_refused_or_gets_the_deletion() {
    for compacted in 1..=6 {
        let journal = Memory::default();
        let open = || Store::<()>::open(Box::new(journal.clone()), Options::default()).expect("it opens");
        let store = open();
        for text in ["2", "3", "4"] {
            store.put(KEY, value(text), Precondition::Any).await.expect("written");
        }
        store.delete(KEY, value("5"), Precondition::Any).await.expect("deleted");
        store.put(KEY, value("6"), Precondition::Absent).await.expect("written");
        store.compact(compacted).await.expect("it exists");
        let check = |store: &Store<()>| {
            for after in 1..=6 {
                let kind = |revision| if revision == 5 { EventKind::Delete } else { EventKind::Put };
                let all: Vec<_> = (after + 1..=6).map(|revision| (revision, kind(revision))).collect();
                let expected = (after >= compacted).then_some(all);
                assert_eq!(told(store, after), expected, "after {after}, compacted at {compacted}");
            }
        };
        check(&store);
        store.close().await;
        check(&open());
    }
}

/// etcd 19179: a watch that was opened at the very revision at which a compaction was under way missed the deletion there.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_watch_opened_while_its_revision_is_compacted_is_refused_or_gets_the_deletion() {
    let journal = Memory::default();
    let store = Store::<()>::open(Box::new(journal.clone()), Options::default()).expect("it opens");
    let mut outcomes = [0; 3];
    for round in 0..300 {
        store.put(KEY, value("x"), Precondition::Absent).await.expect("it is absent");
        let deleted = store.delete(KEY, value("x"), Precondition::Any).await.expect("it is there").revision;
        let (compacting, watching) = (store.clone(), store.clone());
        let compaction = tokio::spawn(async move { compacting.compact(deleted).await });
        let watch = tokio::spawn(async move {
            if round % 2 == 0 {
                tokio::task::yield_now().await;
            }
            let mut watch = match watching.watch(PODS, deleted - 1) {
                Err(error) => return (0, Err(error)),
                Ok(watch) => watch,
            };
            let next = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("it is not missed");
            match next.expect("it has not ended before") {
                Ok(event) => (1, Ok((event.revision, event.kind))),
                Err(error) => {
                    assert_eq!(error, WatchError::Slow);
                    (2, Ok((deleted, EventKind::Delete)))
                }
            }
        });
        let (outcome, got) = watch.await.expect("no panic");
        match got {
            Ok(event) => assert_eq!(event, (deleted, EventKind::Delete), "round {round}"),
            Err(error) => assert_eq!(error, ReadError::Compacted { oldest: deleted }),
        }
        outcomes[outcome] += 1;
        match compaction.await.expect("no panic") {
            Ok(()) => {}
            Err(CompactError::Revision(error)) => panic!("{error}"),
            Err(CompactError::Write(error)) => panic!("{error:?}"),
        }
        assert_eq!(told(&store, deleted - 1), None, "afterwards it is refused");
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "refused, told, ended: {outcomes:?}");
}

/// etcd 20221, and 15271 from the watcher's side: a watch on a revision that was not there yet was told of older events, and its
/// progress began before where the watch did.
#[test]
fn a_watch_on_a_future_revision_tells_nothing_older_in_events_or_progress() {
    let mut manual = Manual::open(Box::new(Memory::default()), Options::default()).expect("it opens");
    let put = |manual: &mut Manual| {
        drop(manual.put(KEY, "x"));
        manual.commit();
    };
    put(&mut manual);
    for ahead in 0..5 {
        let after = manual.store.revision() + ahead;
        let open = || manual.store.watch(PODS, after).expect("the future is never compacted");
        // One that is asked for its progress, and one that is not.
        let (mut watch, mut quiet) = (open(), open());
        let mut progress = watch.revision();
        assert_eq!(progress, after);
        for _ in 0..8 {
            put(&mut manual);
            // Progress is asked for before the event is taken, and after.
            let before = watch.revision();
            assert!(before >= progress && before >= after);
            let revision = manual.store.revision();
            let event = watch.try_next().map(|event| event.expect("an event").revision);
            assert_eq!(event, (revision > after).then_some(revision));
            assert_eq!(drain(&mut quiet), Vec::from_iter(event));
            assert!(event.is_none_or(|event| event > before), "progress was ahead of an event");
            progress = watch.revision();
            assert_eq!(progress, revision.max(after));
        }
    }
}

/// etcd 18667: a transaction that read at a compacted revision failed on the member that was asked, while the others, which had
/// left the read out, applied its writes. Here a write reads only what is newest, so what is compacted must not decide it.
#[tokio::test]
async fn what_is_compacted_decides_no_write() {
    let store = memory();
    let old = store.put(KEY, value("old"), Precondition::Absent).await.expect("it is absent").revision;
    let gone = "/registry/pods/a/gone";
    store.put(gone, value("x"), Precondition::Absent).await.expect("it is absent");
    let deleted = store.delete(gone, value("x"), Precondition::Any).await.expect("it is there").revision;
    store.compact(deleted).await.expect("it exists");
    let conflict = store.put(gone, value("y"), Precondition::Revision(deleted - 1)).await;
    assert!(matches!(conflict, Err(WriteError::Conflict(None))), "{conflict:?}");
    let conflict = store.put(KEY, value("y"), Precondition::Revision(old + 1)).await;
    assert!(matches!(&conflict, Err(WriteError::Conflict(Some(entry))) if entry.revision == old), "{conflict:?}");
    let entry = store.put(KEY, value("new"), Precondition::Revision(old)).await.expect("the key has not changed");
    assert_eq!((entry.create_revision, entry.revision), (old, deleted + 1));
    store.put(gone, value("y"), Precondition::Absent).await.expect("it is gone");
}
