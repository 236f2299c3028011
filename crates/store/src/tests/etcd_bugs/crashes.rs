//! Crashes: what etcd lost or counted wrongly when it was killed at a bad moment.

use super::rig::at_every_operation;
use crate::journal::{Retention, WalOptions};
use crate::tests::model::KEYS;

/// Never a snapshot.
const LOG: WalOptions =
    WalOptions { segment_bytes: 1024, snapshot_log_bytes: u64::MAX, recycle: true, retention: Retention::OFF };
/// A snapshot with every group.
const SNAPSHOTS: WalOptions =
    WalOptions { segment_bytes: 1024, snapshot_log_bytes: 1, recycle: true, retention: Retention::OFF };

/// etcd 14370: a cluster of one member told a client that its write was done before its own log had been synced, and a crash
/// in between lost it.
#[test]
fn an_acknowledged_write_is_there_after_a_crash_at_any_operation() {
    at_every_operation(
        LOG,
        |rig| rig.put(&KEYS[..1], "before"),
        |rig| (0..12).for_each(|at| rig.put(&[KEYS[at % 6]], &format!("{at}: {}", "x".repeat(100)))),
    );
}

/// etcd 13766: under load the index of what was applied was saved without the data that went with it (or the reverse); after a
/// crash entries were passed over or applied twice, and the members' revisions were no longer the same.
#[test]
fn the_revision_counts_the_writes_in_the_state_after_a_crash_under_load() {
    at_every_operation(
        WalOptions { snapshot_log_bytes: 2000, ..SNAPSHOTS },
        |rig| rig.put(&KEYS, "before"),
        |rig| {
            for round in 0..3 {
                // Groups of many writers, each larger than what a segment holds of small ones.
                rig.put(&KEYS, &"x".repeat(50 + round));
                rig.delete(&KEYS[..3]);
            }
        },
    );
}

/// etcd 14685: a crash while the database was defragmented, that is written anew into another file that then takes its place,
/// left a member with another revision than the others. Here the log is written anew as a snapshot, and its segments are
/// written over.
#[test]
fn a_crash_while_the_log_is_written_anew_changes_neither_state_nor_revision() {
    at_every_operation(
        SNAPSHOTS,
        // Snapshots have replaced others before, and segments are used again.
        |rig| (0..4).for_each(|at| rig.put(&KEYS, &format!("before {at}"))),
        |rig| (0..3).for_each(|at| rig.put(&KEYS[at..at + 2], &format!("after {at}"))),
    );
}

/// The same where older snapshots and the log behind them stay as history, some of which goes with each snapshot: what is
/// left of it is whole, and as much as was asked for.
#[test]
fn a_crash_while_history_goes_leaves_the_rest_whole() {
    at_every_operation(
        WalOptions { retention: Retention { revisions: Some(12), ..Retention::OFF }, ..SNAPSHOTS },
        |rig| (0..4).for_each(|at| rig.put(&KEYS, &format!("before {at}"))),
        |rig| {
            rig.put(&KEYS[..2], "after");
            rig.delete(&KEYS[1..4]);
            rig.put(&KEYS[3..], "after");
        },
    );
}

/// etcd 17780: when the newest revisions were deletions and compaction removed them, a crash before it was done left nothing
/// that said how far the revision had come: it went back, and revisions that clients had seen were given out again.
#[test]
fn the_revision_does_not_go_back_when_all_that_made_it_is_compacted_away() {
    for wal in [LOG, SNAPSHOTS] {
        at_every_operation(
            wal,
            |rig| rig.put(&KEYS, "before"),
            |rig| {
                rig.delete(&KEYS[..2]);
                rig.compact();
                rig.delete(&KEYS[2..]);
                rig.compact();
            },
        );
    }
}
