//! What was, out of files that are kept: every state against the one that was seen then, versions, times, limits.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::files::{content, names};
use crate::journal::compact::compact;
use crate::journal::inspect::{check_history, inspect};
use crate::journal::{JournalError, Memory, Retention, Wal, WalOptions};
use crate::tests::{TestStore, value};
use crate::{Clock as _, EventKind, ManualClock, Options, PastError, Precondition, ReadError, Revision, Store};

type States = BTreeMap<Revision, Vec<(String, u64, u64, Vec<u8>)>>;

const ALL: Retention = Retention { revisions: Some(u64::MAX), ..Retention::OFF };

fn wal(retention: Retention) -> WalOptions {
    WalOptions { segment_bytes: 4096, snapshot_log_bytes: 8192, retention, ..WalOptions::default() }
}

fn open_at(folder: &Path, retention: Retention, clock: &Arc<ManualClock>) -> TestStore {
    let options = Options { spawn: Arc::new(|work| work()), clock: clock.clone(), ..Options::default() };
    Store::open(Box::new(Wal::open(folder, wal(retention)).expect("a log")), options).expect("a store")
}

fn open(folder: &Path, retention: Retention) -> TestStore {
    open_at(folder, retention, &Arc::default())
}

/// Writes and deletes, and remembers the state after each.
async fn work(store: &TestStore, count: u64) -> States {
    let mut states = States::from([(store.revision(), content(store))]);
    for at in 0..count {
        let key = format!("/registry/pods/{}/{}", ["a", "b"][at as usize % 2], at % 14);
        if at % 5 == 4 && store.get(&key).is_some() {
            store.delete(&key, value("last"), Precondition::Any).await.expect("deleted");
        } else {
            store.put(&key, value(&format!("{at:0100}")), Precondition::Any).await.expect("written");
        }
        states.insert(store.revision(), content(store));
    }
    states
}

/// Nothing but the present is in memory any more.
async fn forget_memory(store: &TestStore) {
    store.compact(store.revision()).await.expect("compacted");
}

fn too_old(result: Result<impl Sized, PastError>) -> Option<Revision> {
    match result.err() {
        Some(PastError::Read(ReadError::Compacted { oldest })) => Some(oldest),
        _ => None,
    }
}

fn versions(store: &TestStore, key: &str, count_max: usize) -> Vec<(EventKind, Revision, String)> {
    let versions = store.versions(key, count_max).expect("they are read");
    versions
        .iter()
        .map(|own| (own.kind, own.entry.revision, String::from_utf8_lossy(&own.entry.value).into_owned()))
        .collect()
}

#[tokio::test]
async fn every_state_since_the_beginning_can_be_had_also_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), ALL);
    let mut states = work(&store, 300).await;
    drop(store);
    let store = open(folder.path(), ALL);
    states.extend(work(&store, 100).await);
    forget_memory(&store).await;
    assert!(names(folder.path(), "snapshot-").len() > 3, "the test spans snapshots");
    assert!(names(folder.path(), "spare-").is_empty());
    assert_eq!(store.kept_since().expect("it is read"), 1);
    for (revision, state) in &states {
        assert!(*revision == store.revision() || store.snapshot_at(*revision).is_err());
        for prefix in ["", "/registry/pods/a/", "/registry/pods/b/1", "/registry/none/"] {
            let past = store.past(prefix, *revision).expect("it is kept");
            let got: Vec<_> = past.range(prefix, None).map(|own| (own.key.to_string(), own.value.to_vec())).collect();
            let wanted = state.iter().filter(|(key, ..)| key.starts_with(prefix));
            let wanted: Vec<_> = wanted.map(|(key, _, _, value)| (key.clone(), value.clone())).collect();
            assert_eq!((past.revision(), got), (*revision, wanted), "{prefix} at {revision}");
        }
    }
    assert!(store.past("", store.revision() + 1).is_err());
    assert_eq!(check_history(folder.path()).expect("it is whole"), Some(1));
    // What looks into the folder sees the newest state, and what makes it small lets history go.
    let before = content(&store);
    let state = inspect(folder.path()).expect("it is whole").0;
    assert!(state.records().map(|record| record.key).eq(before.iter().map(|(key, ..)| key)));
    drop(store);
    compact(folder.path(), wal(ALL)).expect("compacted");
    assert_eq!((names(folder.path(), "snapshot-").len(), names(folder.path(), "log-").len()), (1, 1));
    let store = open(folder.path(), ALL);
    assert_eq!((content(&store), store.kept_since().expect("read")), (before, store.revision()));
}

#[tokio::test]
async fn damage_of_old_files_is_found_and_read_by_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), ALL);
    let states = work(&store, 300).await;
    forget_memory(&store).await;
    for name in [&names(folder.path(), "log-")[1], &names(folder.path(), "snapshot-")[0]] {
        let path = folder.path().join(name);
        let good = std::fs::read(&path).expect("a file");
        let mut bad = good.clone();
        bad[500] ^= 1;
        std::fs::write(&path, &bad).expect("written");
        let found = check_history(folder.path()).expect_err("it is damaged").to_string();
        assert!(found.contains(name.as_str()), "{found}");
        // Whatever lies before or behind the damage is as it was.
        let mut refused = 0;
        for (revision, state) in &states {
            match store.past("", *revision) {
                Ok(past) => assert!(past.range("", None).map(|own| &*own.key).eq(state.iter().map(|(key, ..)| &**key))),
                Err(PastError::Journal(JournalError::Corrupt { .. })) => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        // What the snapshot has the log before it makes too.
        let expected = if name.starts_with("log-") { 1..200 } else { 0..1 };
        assert!(expected.contains(&refused), "{name}: {refused} states of {}", states.len());
        std::fs::write(&path, &good).expect("written");
    }
    assert_eq!(check_history(folder.path()).expect("whole again"), Some(1));
}

fn flip(path: &Path) {
    let mut bytes = std::fs::read(path).expect("a file");
    bytes[500] ^= 1;
    std::fs::write(path, &bytes).expect("written");
}

#[tokio::test]
async fn versions_of_what_was_made_since_need_no_old_snapshot() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), Retention { revisions: Some(200), ..Retention::OFF });
    store.put("/registry/pods/x/old", value("old"), Precondition::Absent).await.expect("written");
    work(&store, 400).await;
    let (old, new) = ("/registry/pods/x/old", "/registry/pods/x/new");
    store.put(new, value("new"), Precondition::Absent).await.expect("written");
    work(&store, 50).await;
    forget_memory(&store).await;
    let told = versions(&store, new, 9);
    assert_eq!((told.len(), versions(&store, old, 9).len()), (1, 1));
    flip(&folder.path().join(&names(folder.path(), "snapshot-")[0]));
    assert_eq!(versions(&store, new, 9), told);
    assert!(matches!(store.versions(old, 9), Err(PastError::Journal(JournalError::Corrupt { .. }))));
}

#[tokio::test]
async fn a_time_in_damaged_log_is_refused_rather_than_taken_for_an_earlier_one() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Arc::new(ManualClock::default()));
    let begun = clock.unix_millis();
    let store = open_at(folder.path(), ALL, &clock);
    for _ in 0..200 {
        clock.advance(Duration::from_secs(10));
        work(&store, 1).await;
    }
    forget_memory(&store).await;
    let logs = names(folder.path(), "log-");
    for (at, offset) in [(1, 500), (2, 70)] {
        let path = folder.path().join(&logs[at]);
        let good = std::fs::read(&path).expect("a file");
        let mut bad = good.clone();
        bad[offset] ^= 1;
        std::fs::write(&path, &bad).expect("written");
        let mut refused = 0;
        for revision in 2..=store.revision() {
            match store.revision_at(begun + (revision - 1) * 10_000) {
                Ok(found) => assert_eq!(found, revision, "{} at {offset}", logs[at]),
                Err(PastError::Journal(JournalError::Corrupt { file, .. })) => {
                    assert_eq!(file, path);
                    refused += 1;
                }
                Err(error) => panic!("{error:?}"),
            }
        }
        assert!((1..60).contains(&refused), "{refused} refused");
        std::fs::write(&path, &good).expect("written");
    }
}

#[tokio::test]
async fn pages_of_one_state_read_the_files_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), ALL);
    work(&store, 200).await;
    forget_memory(&store).await;
    let first = store.past("/registry/pods/", 50).expect("kept");
    let second = store.past("/registry/pods/", 50).expect("kept");
    assert!(Arc::ptr_eq(&first.0, &second.0));
    assert!(!Arc::ptr_eq(&first.0, &store.past("/registry/pods/", 51).expect("kept").0));
}

#[tokio::test]
async fn without_retention_nothing_is_read_that_memory_has_let_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), Retention::OFF);
    work(&store, 30).await;
    store.compact(20).await.expect("compacted");
    assert_eq!(names(folder.path(), "log-").len(), 2, "the log is there all the same");
    assert_eq!(too_old(store.past("", 19)), Some(20));
    assert!(store.past("", 20).is_ok());
    let oldest = store.versions("/registry/pods/a/2", 9).expect("read").first().map(|own| own.entry.revision);
    assert!(oldest.is_some_and(|oldest| oldest <= 20));
    assert_eq!(store.kept_since().expect("known"), 20);
}

#[tokio::test]
async fn limits_of_number_time_and_bytes_end_what_is_kept() {
    for (retention, oldest) in [
        (Retention { revisions: Some(100), ..Retention::OFF }, 900..=901),
        (Retention { age: Some(Duration::from_secs(100)), ..Retention::OFF }, 900..=901),
        (Retention { bytes: Some(40_000), ..Retention::OFF }, 940..=941),
        (Retention { revisions: Some(u64::MAX), age: Some(Duration::from_secs(100)), ..Retention::OFF }, 900..=901),
    ] {
        let (folder, clock) = (tempfile::tempdir().expect("a folder"), Arc::new(ManualClock::default()));
        let store = open_at(folder.path(), retention, &clock);
        let mut states = States::new();
        for _ in 0..1000 {
            clock.advance(Duration::from_secs(1));
            states.extend(work(&store, 1).await);
        }
        forget_memory(&store).await;
        let since = store.kept_since().expect("it is read");
        // By up to a stretch farther than asked for; by bytes no farther.
        let (at_least, stretch) = (*oldest.start(), 120);
        match retention.bytes {
            None => assert!(since <= at_least && since + stretch > at_least, "{retention:?}: since {since}"),
            Some(_) => assert!(since < at_least && since > 500, "{retention:?}: since {since}"),
        }
        assert_eq!(too_old(store.past("", since - 1)), Some(since));
        for revision in since..=store.revision() {
            let past = store.past("", revision).expect("it is kept");
            let got: Vec<_> = past.range("", None).map(|own| (own.key.to_string(), own.revision)).collect();
            let wanted: Vec<_> = states[&revision].iter().map(|(key, _, at, _)| (key.clone(), *at)).collect();
            assert_eq!(got, wanted, "{retention:?} at {revision}");
        }
        let bytes = |prefix| {
            let sizes = names(folder.path(), prefix).into_iter();
            sizes.map(|name| std::fs::metadata(folder.path().join(name)).expect("a file").len()).sum::<u64>()
        };
        assert!(bytes("") < 40_000 + 30_000, "{retention:?}: {}", bytes(""));
        // With it off again, all of that goes at the next start.
        drop(store);
        let store = open(folder.path(), Retention::OFF);
        assert_eq!(names(folder.path(), "snapshot-").len(), 1);
        assert_eq!(content(&store), states[&store.revision()]);
    }
}

#[tokio::test]
async fn versions_of_a_key_are_told_from_the_oldest_kept_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let key = "/registry/pods/x/one";
    let (files, memory) = (open(folder.path(), ALL), TestStore::open(Box::new(Memory::default()), Options::default()));
    for store in [files, memory.expect("it opens")] {
        store.put(key, value("first"), Precondition::Absent).await.expect("written");
        work(&store, 150).await;
        store.put(key, value("second"), Precondition::Exists).await.expect("written");
        store.delete(key, value("last"), Precondition::Any).await.expect("deleted");
        work(&store, 150).await;
        store.put(key, value("again"), Precondition::Absent).await.expect("written");
        store.put("/registry/pods/x/one-more", value("other"), Precondition::Absent).await.expect("written");
        let told = versions(&store, key, 100);
        let kinds_and_texts: Vec<_> = told.iter().map(|(kind, _, text)| (*kind, text.as_str())).collect();
        let (put, delete) = (EventKind::Put, EventKind::Delete);
        assert_eq!(kinds_and_texts, [(put, "first"), (put, "second"), (delete, "last"), (put, "again")]);
        assert_eq!(told[2].1, told[1].1 + 1);
        assert!(store.versions(key, 100).expect("read").iter().all(|own| own.time.is_some()));
        assert_eq!(versions(&store, key, 2), told[2..]);
        assert_eq!(versions(&store, "/registry/pods/x/none", 9), []);
    }
}

#[tokio::test]
async fn the_oldest_version_is_the_one_that_the_oldest_snapshot_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path(), Retention { revisions: Some(50), ..Retention::OFF });
    store.put("/registry/pods/x/old", value("old"), Precondition::Absent).await.expect("written");
    store.put("/registry/pods/x/gone", value("gone"), Precondition::Absent).await.expect("written");
    store.delete("/registry/pods/x/gone", value("gone"), Precondition::Any).await.expect("deleted");
    work(&store, 600).await;
    store.put("/registry/pods/x/old", value("new"), Precondition::Exists).await.expect("written");
    // What memory has of it is told too, while it reaches farther back.
    assert_eq!(versions(&store, "/registry/pods/x/gone", 9).len(), 2);
    forget_memory(&store).await;
    assert!(store.kept_since().expect("read") > 300);
    let told = store.versions("/registry/pods/x/old", 9).expect("read");
    let told: Vec<_> = told.iter().map(|own| (own.entry.revision, own.time.is_some())).collect();
    assert_eq!(told, [(2, false), (store.revision(), true)]);
    assert_eq!(versions(&store, "/registry/pods/x/gone", 9), []);
}

#[tokio::test]
async fn a_revision_is_found_by_its_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(ManualClock::default());
    let begun = clock.unix_millis();
    let store = open_at(folder.path(), ALL, &clock);
    // The first of these is written after ten seconds, one every ten seconds.
    for _ in 0..300 {
        clock.advance(Duration::from_secs(10));
        work(&store, 1).await;
    }
    forget_memory(&store).await;
    drop(store);
    let store = open_at(folder.path(), ALL, &clock);
    assert!(names(folder.path(), "log-").len() > 5);
    let at = |seconds: u64| store.revision_at(begun + seconds * 1000).ok();
    assert_eq!([at(9), at(10), at(19), at(20)], [None, Some(2), Some(2), Some(3)]);
    for (count, seconds) in (10..=3000).step_by(10).enumerate() {
        assert_eq!((at(seconds), at(seconds + 9)), (Some(count as u64 + 2), Some(count as u64 + 2)));
    }
    assert_eq!(at(1_000_000), Some(store.revision()));
    let told = store.versions("/registry/pods/a/0", 1000).expect("read");
    assert!(told.len() > 10);
    assert!(told.iter().all(|own| own.time == Some(begun + (own.entry.revision - 1) * 10_000)), "{told:?}");
    // In memory alone times are those of this process, to half a second.
    let store: TestStore = Store::open(
        Box::new(Memory::default()),
        Options { clock: clock.clone(), history: Duration::from_secs(45), ..Options::default() },
    )
    .expect("it opens");
    for _ in 0..10 {
        clock.advance(Duration::from_secs(10));
        work(&store, 1).await;
    }
    let now = clock.unix_millis();
    assert_eq!((store.revision_at(now).ok(), store.revision_at(now - 11_000).ok()), (Some(11), Some(9)));
    assert_eq!(too_old(store.revision_at(now - 100_000)), Some(store.compact_revision()));
}

#[tokio::test]
async fn a_snapshot_says_when_it_was_the_state() {
    let (folder, clock) = (tempfile::tempdir().expect("a folder"), Arc::new(ManualClock::default()));
    let begun = clock.unix_millis();
    let store = open_at(folder.path(), ALL, &clock);
    clock.advance(Duration::from_secs(10));
    work(&store, 1).await;
    drop(store);
    // The only log left begins behind the snapshot, with a batch that comes an hour later.
    compact(folder.path(), wal(ALL)).expect("compacted");
    let store = open_at(folder.path(), ALL, &clock);
    clock.advance(Duration::from_secs(3600));
    work(&store, 1).await;
    let at = |seconds: u64| store.revision_at(begun + seconds * 1000).ok();
    assert_eq!([at(9), at(10), at(3609), at(3610)], [None, Some(2), Some(2), Some(3)]);
}
