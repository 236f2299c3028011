//! The log on a real file system: reopening, torn tails, damage, locks, snapshots.

use std::path::Path;

use crate::journal::{JournalError, Retention, Wal, WalOptions};
use crate::tests::{TestStore, value};
use crate::{OpenError, Options, Precondition, Store};

const SMALL: WalOptions =
    WalOptions { segment_bytes: 4096, snapshot_log_bytes: u64::MAX, recycle: true, retention: Retention::OFF };

pub fn open_with(folder: &Path, wal: WalOptions) -> Result<TestStore, OpenError> {
    // Snapshots are written at once, so that a test knows when they are done.
    let options = Options { spawn: std::sync::Arc::new(|work| work()), ..Options::default() };
    Store::open(Box::new(Wal::open(folder, wal)?), options)
}

pub fn open(folder: &Path) -> Result<TestStore, OpenError> {
    open_with(folder, SMALL)
}

pub async fn fill(store: &TestStore, count: usize) {
    for at in 0..count {
        let key = format!("/registry/pods/a/{}", at % 20);
        store.put(&key, value(&format!("{at:0100}")), Precondition::Any).await.expect("written");
    }
}

pub fn content(store: &TestStore) -> Vec<(String, u64, u64, Vec<u8>)> {
    let snapshot = store.snapshot();
    let line = |entry: &std::sync::Arc<crate::Entry<()>>| {
        (entry.key.to_string(), entry.create_revision, entry.revision, entry.value.to_vec())
    };
    snapshot.range("", None).map(line).collect()
}

pub fn names(folder: &Path, prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("a folder");
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.expect("an entry").file_name().into_string();
    let mut names: Vec<_> =
        entries.filter_map(|entry| name(entry).ok()).filter(|name| name.starts_with(prefix)).collect();
    names.sort();
    names
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).expect("an empty folder opens");
    fill(&store, 100).await;
    store.delete("/registry/pods/a/3", value("gone"), Precondition::Any).await.expect("deleted");
    let before = content(&store);
    drop(store);
    assert!(names(folder.path(), "log-").len() > 2, "the test spans segments");
    let store = open(folder.path()).expect("it opens again");
    assert_eq!(content(&store), before);
    assert_eq!(store.revision(), 102);
    assert_eq!(
        store.watch("", 1).expect("the whole log is history").try_next().expect("an event").expect("an event").revision,
        2
    );
    fill(&store, 1).await;
    assert_eq!(store.revision(), 103);
}

#[tokio::test]
async fn a_second_server_on_the_folder_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).expect("an empty folder opens");
    assert!(matches!(open(folder.path()).err(), Some(OpenError(JournalError::Locked { .. }))));
    store.close().await;
    open(folder.path()).expect("closing lets go of the folder");
}

#[tokio::test]
async fn a_tail_torn_at_any_byte_is_dropped_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).expect("an empty folder opens");
    fill(&store, 3).await;
    let before = content(&store);
    drop(store);
    let log = folder.path().join("log-000000000001");
    let without = std::fs::read(&log).expect("the log");
    let store = open(folder.path()).expect("it opens");
    fill(&store, 1).await;
    let after = content(&store);
    drop(store);
    let with = std::fs::read(&log).expect("the log");
    let start = (0..with.len()).find(|at| with[*at] != without[*at]).expect("the record begins somewhere");
    let end = (0..with.len()).rfind(|at| with[*at] != without[*at]).expect("the record ends somewhere") + 1;
    for cut in start..=end {
        // Zeros behind the cut, as set aside; and the file ending there, as a file system without that would have it.
        let mut torn = with.clone();
        torn[cut..].fill(0);
        for torn in [&torn[..], &with[..cut]] {
            std::fs::write(&log, torn).expect("written");
            let store = open(folder.path()).unwrap_or_else(|error| panic!("cut at {cut}: {error}"));
            let expected = if cut == end { &after } else { &before };
            assert_eq!(&content(&store), expected, "cut at {cut}");
        }
    }
    // Work goes on where the torn write was.
    std::fs::write(&log, &with[..end - 1]).expect("written");
    let store = open(folder.path()).expect("it opens");
    assert!(store.stats().journal.torn_bytes > 0);
    fill(&store, 50).await;
    let before = content(&store);
    drop(store);
    assert_eq!(content(&open(folder.path()).expect("it opens")), before);
}

#[tokio::test]
async fn damage_in_the_middle_is_refused_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).expect("an empty folder opens");
    fill(&store, 60).await;
    drop(store);
    let logs = names(folder.path(), "log-");
    assert!(logs.len() > 2);
    let mut refused = 0;
    for (log, last) in logs.iter().zip((0..logs.len()).map(|at| at == logs.len() - 1)) {
        let path = folder.path().join(log);
        let good = std::fs::read(&path).expect("the log");
        let used = good.iter().rposition(|byte| *byte != 0).expect("not empty");
        // The last record of the last segment can be damaged unnoticed: that is a torn tail.
        let end = if last { used - 300 } else { used };
        for at in (0..end).step_by(61) {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            std::fs::write(&path, &bad).expect("written");
            match open(folder.path()) {
                Err(OpenError(JournalError::Corrupt { file, offset, .. })) => {
                    assert_eq!(file, path);
                    assert!(offset <= at as u64 && at as u64 - offset < 256, "damage at {at} is reported at {offset}");
                    refused += 1;
                }
                Err(OpenError(JournalError::Version { .. })) if (8..12).contains(&at) => {}
                // Padding and unused header bytes carry nothing.
                Ok(store) => assert_eq!(store.revision(), 61, "damage at {at} of {log} goes unnoticed"),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(std::fs::read(&path).expect("the log"), bad, "a refused folder is left as it is");
        }
        std::fs::write(&path, &good).expect("written");
    }
    assert!(refused > 100, "{refused}");
    // A segment that is missing is damage too.
    let (path, aside) = (folder.path().join(&logs[1]), folder.path().join("aside"));
    std::fs::rename(&path, &aside).expect("renamed");
    let error = open(folder.path()).expect_err("a gap").to_string();
    assert!(error.contains(&logs[1]) && error.contains("missing"), "{error}");
    std::fs::rename(&aside, &path).expect("renamed");
    open(folder.path()).expect("whole again");
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    drop(open(folder.path()).expect("an empty folder opens"));
    let log = folder.path().join("log-000000000001");
    let mut bytes = std::fs::read(&log).expect("the log");
    bytes[8] = 200;
    std::fs::write(&log, bytes).expect("written");
    assert!(matches!(open(folder.path()).err(), Some(OpenError(JournalError::Version { version: 200, .. }))));
}

#[tokio::test]
async fn snapshots_replace_old_log_and_segments_are_used_again() {
    let wal = WalOptions { segment_bytes: 4096, snapshot_log_bytes: 20_000, ..WalOptions::default() };
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_with(folder.path(), wal).expect("an empty folder opens");
    fill(&store, 1000).await;
    let stats = store.stats();
    assert!(stats.snapshots > 4 && stats.snapshots_failed == 0, "{stats:?}");
    let before = content(&store);
    drop(store);
    assert_eq!(names(folder.path(), "snapshot-").len(), 1);
    assert!(names(folder.path(), "log-").len() <= 7);
    let spares = names(folder.path(), "spare-").len();
    assert!((1..=7).contains(&spares), "{spares} spares");
    let store = open_with(folder.path(), wal).expect("it opens");
    assert_eq!(content(&store), before);
    // What is older than the snapshot cannot be watched, what is newer can.
    let oldest = store.compact_revision();
    assert!(oldest > 500);
    assert_eq!(store.watch("/registry/pods/", oldest - 1).err(), Some(crate::ReadError::Compacted { oldest }));
    assert_eq!(store.watch("/registry/never/", oldest - 1).err(), Some(crate::ReadError::Compacted { oldest }));
    assert!(store.watch("/registry/pods/", oldest).is_ok());
    assert!(store.snapshot_at(oldest).is_ok());
    drop(store);
    // What an old segment holds behind the end of the log is not taken for a torn write.
    for count in 1..12 {
        let store = open_with(folder.path(), wal).expect("it opens");
        assert_eq!(store.stats().journal.torn_bytes, 0);
        fill(&store, count).await;
    }
}

#[tokio::test]
async fn a_damaged_snapshot_is_refused_with_its_place() {
    let wal = WalOptions { segment_bytes: 4096, snapshot_log_bytes: 20_000, ..WalOptions::default() };
    let folder = tempfile::tempdir().expect("a folder");
    let store = open_with(folder.path(), wal).expect("an empty folder opens");
    fill(&store, 300).await;
    drop(store);
    let path = folder.path().join(&names(folder.path(), "snapshot-")[0]);
    let good = std::fs::read(&path).expect("the snapshot");
    for at in (0..good.len()).step_by(97).chain([good.len() - 1]) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).expect("written");
        match open_with(folder.path(), wal).err() {
            Some(OpenError(JournalError::Corrupt { file, .. } | JournalError::Version { file, .. })) => {
                assert_eq!(file, path)
            }
            other => panic!("damage at {at}: {other:?}"),
        }
    }
    std::fs::write(&path, &good[..good.len() - 16]).expect("written");
    assert!(open_with(folder.path(), wal).is_err(), "a snapshot without its end");
    std::fs::write(&path, &good).expect("written");
    open_with(folder.path(), wal).expect("whole again");
}

#[tokio::test]
async fn a_time_to_live_goes_on_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(folder.path()).expect("an empty folder opens");
    let event = value("x").with_ttl(std::time::Duration::ZERO);
    store.put("/registry/events/a/1", event, Precondition::Any).await.expect("written");
    drop(store);
    let store = open(folder.path()).expect("it opens");
    assert!(store.get("/registry/events/a/1").is_some());
    let mut watch = store.watch("/registry/events/", 2).expect("a watch");
    store.upkeep();
    assert_eq!(watch.next().await.expect("open").expect("an event").kind, crate::EventKind::Delete);
}

#[tokio::test]
async fn a_log_smuggled_in_as_a_value_is_not_taken_for_log() {
    let other = tempfile::tempdir().expect("a folder");
    let store = open(other.path()).expect("an empty folder opens");
    fill(&store, 20).await;
    drop(store);
    let smuggled = std::fs::read(other.path().join("log-000000000001")).expect("the log");
    for shift in 0..8 {
        let folder = tempfile::tempdir().expect("a folder");
        let wal = WalOptions { segment_bytes: 1 << 16, ..SMALL };
        let store = open_with(folder.path(), wal).expect("an empty folder opens");
        fill(&store, 2).await;
        let mut bytes = vec![0; shift];
        bytes.extend_from_slice(&smuggled);
        store.put("/registry/pods/a/x", bytes.into(), Precondition::Any).await.expect("written");
        drop(store);
        // The write that carries it is torn: if what it carries counted as later batches, this would look like damage.
        let log = folder.path().join("log-000000000001");
        let mut torn = std::fs::read(&log).expect("the log");
        let end = torn.iter().rposition(|byte| *byte != 0).expect("not empty");
        torn[end] ^= 1;
        std::fs::write(&log, torn).expect("written");
        let store = open_with(folder.path(), wal).unwrap_or_else(|error| panic!("shift {shift}: {error}"));
        assert_eq!(store.revision(), 3);
    }
}

#[tokio::test]
async fn nobody_else_can_read_what_is_kept() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    // As earlier versions made it.
    std::fs::create_dir(&path).expect("made");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("set");
    let store = open_with(&path, WalOptions { snapshot_log_bytes: 4096, ..SMALL }).expect("a new folder opens");
    fill(&store, 200).await;
    store.close().await;
    let files: Vec<_> =
        std::fs::read_dir(&path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    assert!(files.len() > 2, "{files:?}");
    for file in files.iter().chain([&path]) {
        let mode = std::fs::metadata(file).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{} has mode {mode:o}", file.display());
    }
}
