//! A real process on real files, killed while it writes: whatever it reported as written is there afterwards.
//!
//! The test starts its own binary again, told by the environment to be the writer.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::journal::{Wal, WalOptions};
use crate::tests::model::number;
use crate::tests::{TestStore, value};
use crate::{Options, Precondition, Store};

const FOLDER: &str = "STORE_TEST_WRITER_FOLDER";
const WRITERS: usize = 4;

fn open(folder: &Path) -> TestStore {
    let wal = WalOptions { segment_bytes: 64 << 10, snapshot_log_bytes: 100 << 10, ..WalOptions::default() };
    let journal = Wal::open(folder, wal).expect("the folder opens");
    Store::open(Box::new(journal), Options::default()).expect("the store opens")
}

/// The writer: several tasks, each writing its own key over and over, each printing what it was answered. Never ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let store = open(Path::new(&folder));
    let tasks = (0..WRITERS).map(|writer| {
        let store = store.clone();
        async move {
            for number in 0u64.. {
                let text = format!("{number:0>500}");
                let entry = store.put(&format!("/registry/pods/a/{writer}"), value(&text), Precondition::Any).await;
                println!("written {writer} {}", entry.expect("written").revision);
            }
        }
    });
    let tasks: Vec<_> = tasks.map(tokio::spawn).collect();
    for task in tasks {
        task.await.expect("no panic");
    }
}

/// `STORE_KILLS` times, 20 unless set.
#[test]
fn a_killed_server_has_lost_nothing_it_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut newest = [0; WRITERS];
    let rounds = number("STORE_KILLS", 20);
    for round in 1..=rounds {
        let mut child = Command::new(std::env::current_exe().expect("this binary"))
            .args(["--exact", "--nocapture", "tests::kill::writer"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        // Killed at another point each time; what is still in the pipe then was acknowledged too.
        let mut seen = 0;
        for line in lines {
            let line = line.expect("text");
            let Some((_, rest)) = line.split_once("written ") else { continue };
            // The last line may be cut short by the kill: then it has no number that counts.
            let mut words = rest.split(' ').map(str::parse::<u64>);
            if let (Some(Ok(writer)), Some(Ok(revision))) = (words.next(), words.next()) {
                let newest = &mut newest[writer as usize];
                *newest = revision.max(*newest);
            }
            seen += 1;
            if seen == (round * 13) % 1000 + 1 {
                child.kill().expect("it is killed");
            }
        }
        child.wait().expect("it is gone");
        let store = open(folder.path());
        for (writer, revision) in newest.iter().enumerate().filter(|(_, revision)| **revision > 0) {
            let entry = store.get(&format!("/registry/pods/a/{writer}")).expect("it was written");
            assert!(entry.revision >= *revision, "round {round}: writer {writer} lost {revision}");
        }
    }
    let acknowledged: u64 = newest.iter().copied().max().unwrap_or(0);
    println!("{rounds} kills, the newest acknowledged write is {acknowledged}");
    assert!(acknowledged > rounds, "little was written");
}
