//! Bits that go bad below a running store: nobody notices, but the look does, and a new snapshot mends it.

use std::path::{Path, PathBuf};

use crate::journal::scrub::{Scrubbed, scrub};
use crate::journal::{JournalError, Retention, WalOptions};
use crate::tests::files::{content, fill, names, open_with};
use crate::tests::{TestStore, value};
use crate::{OpenError, Precondition};

const WAL: WalOptions =
    WalOptions { segment_bytes: 4096, snapshot_log_bytes: u64::MAX, spares_max: 2, retention: Retention::OFF };

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
    let folder = tempfile::tempdir().expect("a folder");
    // Segments come, are replaced and written over all the time.
    let wal =
        WalOptions { segment_bytes: 16 << 10, snapshot_log_bytes: 64 << 10, spares_max: 2, retention: Retention::OFF };
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
        assert_eq!(
            found.expect("it was not ended").damaged.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [""; 0]
        );
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
