//! Looking into a folder beside the store that writes to it, and making one out of what was seen.

use std::collections::BTreeMap;
use std::path::Path;

use crate::journal::compact::compact;
use crate::journal::inspect::{State, inspect};
use crate::journal::restore::restore;
use crate::journal::{JournalError, Wal, WalOptions};
use crate::tests::{TestStore, value};
use crate::{Options, Precondition, ReadError, Store};

fn open(folder: &Path) -> TestStore {
    let options = Options { spawn: std::sync::Arc::new(|work| work()), ..Options::default() };
    let wal = WalOptions { segment_bytes: 4096, snapshot_log_bytes: 8192, ..WalOptions::default() };
    Store::open(Box::new(Wal::open(folder, wal).expect("a log")), options).expect("a store")
}

async fn fill(store: &TestStore) {
    for at in 0..200 {
        let key = format!("/registry/pods/a/{}", at % 20);
        store.put(&key, value(&format!("{at:0100}")), Precondition::Any).await.expect("written");
    }
    store.delete("/registry/pods/a/3", value("gone"), Precondition::Any).await.expect("deleted");
}

fn of_store(store: &TestStore) -> BTreeMap<String, (u64, u64, Vec<u8>)> {
    let snapshot = store.snapshot();
    let all = snapshot.range("", None);
    all.map(|entry| (entry.key.to_string(), (entry.create_revision, entry.revision, entry.value.to_vec()))).collect()
}

fn of_state(state: &State) -> BTreeMap<String, (u64, u64, Vec<u8>)> {
    let all = state.records();
    all.map(|own| (own.key.to_owned(), (own.create_revision, own.revision, own.value.to_vec()))).collect()
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let read = |entry: std::fs::DirEntry| {
        (entry.file_name().into_string().expect("a name"), std::fs::read(entry.path()).expect("a file"))
    };
    entries.map(read).collect()
}

#[tokio::test]
async fn a_look_sees_what_is_durable_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    fill(&store).await;
    let before = files(folder.path());
    let (state, inspection) = inspect(folder.path()).expect("it is whole");
    assert_eq!(of_state(&state), of_store(&store));
    assert_eq!((inspection.revision, inspection.torn_bytes), (store.revision(), 0));
    assert!(inspection.snapshot.is_some(), "the test spans a snapshot");
    let stats = store.stats();
    // 200 writes of 100 bytes and their keys, and one deletion.
    assert!((23_600..24_000).contains(&stats.bytes_accepted), "{}", stats.bytes_accepted);
    assert!(stats.journal.bytes_written > stats.bytes_accepted && stats.snapshot_bytes > 0);
    assert_eq!(stats.journal.sync_duration.count, stats.appends);
    let last = stats.snapshot_bytes / stats.snapshots;
    assert!(inspection.snapshot_bytes.abs_diff(last) < 500, "{inspection:?}, of {last} bytes each");
    assert!(inspection.accepted_bytes > 0 && inspection.accepted_bytes < inspection.log_bytes, "{inspection:?}");
    assert_eq!(state.get("/registry/pods/a/4").expect("a key").key, "/registry/pods/a/4");
    assert!(state.get("/registry/pods/a/3").is_none());
    assert_eq!(files(folder.path()), before);
}

#[tokio::test]
async fn damage_is_found_and_said_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    fill(&store).await;
    drop(store);
    let snapshot = files(folder.path()).into_keys().find(|name| name.starts_with("snapshot-")).expect("a snapshot");
    let path = folder.path().join(snapshot);
    let mut bytes = std::fs::read(&path).expect("read");
    bytes[200] ^= 1;
    std::fs::write(&path, bytes).expect("written");
    let error = inspect(folder.path()).expect_err("a bit is wrong");
    assert!(matches!(&error, JournalError::Corrupt { file, .. } if *file == path), "{error}");
}

#[tokio::test]
async fn a_restored_folder_goes_on_at_the_revision_given() {
    let (folder, other) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("another"));
    let store = open(folder.path());
    fill(&store).await;
    let before = of_store(&store);
    let (state, _) = inspect(folder.path()).expect("it is whole");
    let revision = store.revision() + 1000;
    restore(other.path(), WalOptions::default(), revision, state.records()).expect("restored");
    let error =
        restore(other.path(), WalOptions::default(), revision, state.records()).expect_err("it is there already");
    assert!(std::error::Error::source(&error).expect("a reason").to_string().contains("has a log already"));
    let restored = open(other.path());
    assert_eq!(of_store(&restored), before);
    assert_eq!(restored.revision(), revision);
    assert!(
        matches!(restored.watch("", store.revision()), Err(ReadError::Compacted { .. })),
        "history is not promised"
    );
    restored.put("/registry/pods/a/new", value("new"), Precondition::Any).await.expect("written");
    drop(restored);
    assert_eq!(open(other.path()).revision(), revision + 1);
}

#[test]
fn a_state_is_no_older_than_what_is_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let kind = crate::EventKind::Put;
    let (key, value) = ("/registry/a", b"x".as_slice());
    let newer =
        crate::journal::Record { kind, key, create_revision: 9, revision: 9, value, revision_at: None, expires_at: 0 };
    restore(folder.path(), WalOptions::default(), 8, [newer]).expect_err("it is newer");
}

#[tokio::test]
async fn a_compacted_folder_holds_the_same_in_less_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path());
    fill(&store).await;
    let (before, revision) = (of_store(&store), store.revision());
    let wal = WalOptions { segment_bytes: 4096, ..WalOptions::default() };
    let error = compact(folder.path(), wal).expect_err("a store uses it");
    assert!(matches!(error, JournalError::Locked { .. }), "{error}");
    drop(store);
    let bytes = || files(folder.path()).values().map(Vec::len).sum::<usize>();
    let full = bytes();
    assert_eq!(compact(folder.path(), wal).expect("compacted"), revision);
    assert!(bytes() < full, "{} of {full} bytes", bytes());
    let names: Vec<String> = files(folder.path()).into_keys().collect();
    assert_eq!(names.len(), 3, "the lock, a snapshot and a segment: {names:?}");
    let store = open(folder.path());
    assert_eq!((of_store(&store), store.revision()), (before, revision));
    assert_eq!(store.compact_revision(), revision, "history is gone");
    store.put("/registry/pods/a/new", value("new"), Precondition::Any).await.expect("written");
    drop(store);
    assert_eq!(open(folder.path()).revision(), revision + 1);
}
