//! Bits that go bad below a running store: nobody notices, but the look does, and a new snapshot mends it; and in what is kept as
//! history, which nothing mends.

use std::path::{Path, PathBuf};

use crate::journal::restore::restore;
use crate::journal::scrub::{Scrubbed, scrub};
use crate::journal::{JournalError, Record, Retention, WalOptions};
use crate::tests::faulty_disk::Random;
use crate::tests::files::{content, fill, names, open_with};
use crate::tests::{TestStore, value};
use crate::{EventKind, OpenError, Precondition};

/// Segments are new, so that what is not zero in them was written to them.
const WAL: WalOptions =
    WalOptions { segment_bytes: 4096, snapshot_log_bytes: u64::MAX, recycle: false, retention: Retention::OFF };

fn look(folder: &Path, store: &TestStore) -> Scrubbed {
    scrub(folder, store.revision(), &mut |_| true).expect("it can be read").expect("it was not ended")
}

/// A store with a snapshot and several segments behind it.
async fn filled(folder: &Path) -> TestStore {
    let store = open_with(folder, WAL).expect("it opens");
    fill(&store, 60).await;
    store.rewrite().await.expect("a snapshot");
    fill(&store, 60).await;
    assert!(names(folder, "log-").len() > 2 && names(folder, "snapshot-").len() == 1);
    store
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("read");
    let at = at.min(bytes.len() - 1);
    bytes[at] ^= 1;
    // In place, as a disk does it: the store has the file open.
    std::os::unix::fs::FileExt::write_all_at(
        &std::fs::File::options().write(true).open(file).expect("opened"),
        &bytes[at..=at],
        at as u64,
    )
    .expect("written");
}

fn copy_of(folder: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a folder");
    for name in names(folder, "") {
        std::fs::copy(folder.join(&name), copy.path().join(&name)).expect("copied");
    }
    copy
}

fn files(found: &Scrubbed) -> Vec<PathBuf> {
    let file = |error: &JournalError| match error {
        JournalError::Corrupt { file, .. } => file.clone(),
        other => panic!("{other}"),
    };
    found.damaged.iter().map(file).collect()
}

#[tokio::test]
async fn damage_that_nobody_notices_is_found_and_mended() {
    for part in ["log-", "snapshot-"] {
        let folder = tempfile::tempdir().expect("a folder");
        let store = filled(folder.path()).await;
        let whole = look(folder.path(), &store);
        assert_eq!((whole.damaged.len(), whole.files), (0, names(folder.path(), "log-").len() + 1));
        assert!(whole.bytes > 10_000, "{whole:?}");

        let file = folder.path().join(&names(folder.path(), part)[0]);
        flip(&file, 300);
        // Nobody notices: it is written and read on, and what the store tells of itself is well. But it could not be started again.
        fill(&store, 5).await;
        let stats = store.stats();
        assert!(stats.closed.is_none() && stats.snapshots_failed == 0);
        let restarted = open_with(copy_of(folder.path()).path(), WAL);
        assert!(matches!(restarted, Err(OpenError(JournalError::Corrupt { .. }))), "{restarted:?}");

        assert_eq!(files(&look(folder.path(), &store)), [file]);
        store.rewrite().await.expect("the state in memory is whole");
        assert_eq!(look(folder.path(), &store).damaged.len(), 0);
        fill(&store, 5).await;
        let before = content(&store);
        drop(store);
        assert_eq!(content(&open_with(folder.path(), WAL).expect("it starts again")), before);
    }
}

#[tokio::test]
async fn the_end_of_the_log_is_missed_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = filled(folder.path()).await;
    let newest = folder.path().join(names(folder.path(), "log-").last().expect("a segment"));
    // The last batch alone: a restart would take it for one that was never finished.
    let bytes = std::fs::read(&newest).expect("read");
    let last = bytes.iter().rposition(|byte| *byte != 0).expect("it holds something");
    flip(&newest, last);
    assert_eq!(files(&look(folder.path(), &store)), [newest]);
    let removed = folder.path().join(&names(folder.path(), "log-")[1]);
    std::fs::remove_file(&removed).expect("removed");
    assert!(files(&look(folder.path(), &store)).contains(&removed), "what is not there is damaged too");
    store.rewrite().await.expect("the state in memory is whole");
    assert_eq!(look(folder.path(), &store).damaged.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_beside_a_busy_store_raises_no_false_alarm() {
    // Old files go with each snapshot: all of them, or those that are beyond the history that is kept.
    for retention in [Retention::OFF, Retention { bytes: Some(256 << 10), ..Retention::OFF }] {
        look_beside_writers(retention).await;
    }
}

async fn look_beside_writers(retention: Retention) {
    let folder = tempfile::tempdir().expect("a folder");
    // Segments come, are replaced and written over all the time.
    let wal = WalOptions { segment_bytes: 16 << 10, snapshot_log_bytes: 64 << 10, recycle: true, retention };
    let store = open_with(folder.path(), wal).expect("it opens");
    let done = tokio_util::sync::CancellationToken::new();
    let writers: tokio::task::JoinSet<()> = (0..4)
        .map(|writer| {
            let (store, done) = (store.clone(), done.clone());
            async move {
                while !done.is_cancelled() {
                    let key = format!("/registry/pods/a/{writer}");
                    store.put(&key, value(&"x".repeat(700)), Precondition::Any).await.expect("written");
                }
            }
        })
        .collect();
    let mut looks = 0;
    while looks < 100 || store.stats().snapshots < 20 {
        let (store, folder) = (store.clone(), folder.path().to_owned());
        // As slow as a real one is beside such writers.
        let mut pace = |_| {
            std::thread::yield_now();
            true
        };
        let looked = move || scrub(&folder, store.revision(), &mut pace);
        let found = tokio::task::spawn_blocking(looked).await.expect("no panic").expect("readable");
        let found = found.expect("it was not ended");
        let alarms: Vec<_> = found.damaged.iter().chain(&found.damaged_history).map(ToString::to_string).collect();
        assert_eq!(alarms, [""; 0], "{retention:?}");
        looks += 1;
    }
    done.cancel();
    writers.join_all().await;
}

#[tokio::test]
async fn a_look_ends_when_its_server_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = filled(folder.path()).await;
    let mut pieces = 0;
    let ended = scrub(folder.path(), store.revision(), &mut |_| {
        pieces += 1;
        pieces < 3
    });
    assert!(ended.expect("readable").is_none());
    assert_eq!(pieces, 3);
}

#[tokio::test]
async fn damage_of_what_is_kept_as_history_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let retention = Retention { revisions: Some(1_000_000), ..Retention::OFF };
    let store = open_with(folder.path(), WalOptions { retention, ..WAL }).expect("it opens");
    for _ in 0..3 {
        fill(&store, 60).await;
        store.rewrite().await.expect("a snapshot");
    }
    fill(&store, 5).await;
    let (logs, snapshots) = (names(folder.path(), "log-"), names(folder.path(), "snapshot-"));
    assert!(logs.len() > 3 && snapshots.len() == 3);
    let whole = look(folder.path(), &store);
    assert_eq!((whole.files, whole.damaged.len(), whole.damaged_history.len()), (logs.len() + snapshots.len(), 0, 0));
    for name in [&logs[1], &snapshots[0]] {
        let file = folder.path().join(name);
        flip(&file, 300);
        let found = look(folder.path(), &store);
        assert!(found.damaged.is_empty(), "a restart does not need {name}");
        let [JournalError::Corrupt { file: told, .. }] = &found.damaged_history[..] else { panic!("{found:?}") };
        assert_eq!(*told, file);
        flip(&file, 300);
    }
    let newest = folder.path().join(&snapshots[2]);
    flip(&newest, 300);
    let found = look(folder.path(), &store);
    assert_eq!((files(&found), found.damaged_history.len()), (vec![newest], 0));
}

/// A store of which only the present is in memory, with four snapshots and the log behind each.
async fn with_history(folder: &Path, retention: Retention) -> TestStore {
    let store = open_with(folder, WalOptions { retention, ..WAL }).expect("it opens");
    for _ in 0..4 {
        fill(&store, 60).await;
        store.rewrite().await.expect("a snapshot");
    }
    fill(&store, 5).await;
    store.compact(store.revision()).await.expect("compacted");
    store
}

/// The states that cannot be read.
fn refused(store: &TestStore, since: u64) -> Vec<u64> {
    (since..=store.revision()).filter(|revision| store.past("", *revision).is_err()).collect()
}

#[tokio::test]
async fn what_the_look_calls_lost_is_what_cannot_be_read() {
    let from_the_beginning = Retention { revisions: Some(1_000_000), ..Retention::OFF };
    let some = Retention { revisions: Some(100), ..Retention::OFF };
    // Of an empty log, of one that goes on from a backup, and of which the oldest is gone.
    for (retention, is_restored, seeds) in
        [(from_the_beginning, false, 60..100), (from_the_beginning, true, 2060..2100), (some, false, 140..180)]
    {
        let folder = tempfile::tempdir().expect("a folder");
        if is_restored {
            let entry = |key| Record {
                kind: EventKind::Put,
                key,
                create_revision: 7,
                revision: 9,
                value: b"kept",
                revision_at: None,
                expires_at: 0,
            };
            restore(folder.path(), WAL, 1000, ["/registry/a", "/registry/b"].map(entry)).expect("restored");
        }
        let store = with_history(folder.path(), retention).await;
        let since = store.kept_since().expect("it is read");
        assert_eq!(refused(&store, since), [0; 0]);
        assert!(if retention == some { since > 1 } else { since == if is_restored { 1000 } else { 1 } });
        let all = [names(folder.path(), "log-"), names(folder.path(), "snapshot-")].concat();
        let (mut damaged, mut lost) = (0, 0);
        for seed in seeds {
            let mut random = Random(seed);
            let flips: Vec<_> = (0..random.below(3) + 1)
                .map(|_| (&all[random.below(all.len() as u64) as usize], [20, 300, 1500][random.below(3) as usize]))
                .collect();
            let flip_all = || flips.iter().for_each(|(name, at)| flip(&folder.path().join(name), *at));
            flip_all();
            let found = look(folder.path(), &store);
            // Of what a restart needs the past makes no use that is told here.
            if found.damaged.is_empty() {
                let told: Vec<u64> = found.lost.iter().cloned().flatten().collect();
                assert_eq!(told, refused(&store, since), "{retention:?}, seed {seed}: {flips:?}");
                damaged += usize::from(!found.damaged_history.is_empty());
                lost += usize::from(!told.is_empty());
            }
            flip_all();
        }
        assert!(damaged > 10 && lost > 5, "{retention:?}: {damaged} damaged, {lost} with a loss");
        assert!(look(folder.path(), &store).damaged_history.is_empty(), "whole again");
    }
}

#[tokio::test]
async fn a_damaged_old_snapshot_loses_nothing_while_an_older_one_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = with_history(folder.path(), Retention { revisions: Some(100), ..Retention::OFF }).await;
    let snapshots = names(folder.path(), "snapshot-");
    let [oldest, middle, newest] = &snapshots[..] else { panic!("{snapshots:?}") };
    let revision = |name: &str| name["snapshot-".len()..].parse::<u64>().expect("a revision");
    flip(&folder.path().join(middle), 300);
    let found = look(folder.path(), &store);
    assert_eq!((found.damaged_history.len(), found.lost), (1, vec![]));
    let past = store.past("", revision(middle) + 3).expect("the one before it makes the state");
    assert_eq!(past.range("", None).count(), 20);
    flip(&folder.path().join(oldest), 300);
    let found = look(folder.path(), &store);
    assert_eq!((found.damaged_history.len(), found.lost), (2, vec![revision(oldest)..=revision(newest) - 1]));
}
