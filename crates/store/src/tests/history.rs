//! Old states, compaction by time, by room and on demand, expiry.

use std::sync::Arc;
use std::time::Duration;

use crate::journal::Memory;
use crate::tests::{Manual, value};
use crate::{CompactError, ManualClock, NewValue, Options, Precondition, ReadError, Store, WriteError};

const KEY: &str = "/registry/pods/a/1";

fn with_clock(options: Options) -> (Manual, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let options = Options { clock: clock.clone(), ..options };
    (Manual::open(Box::new(Memory::default()), options).expect("an empty journal opens"), clock)
}

fn write(manual: &mut Manual, text: &str) {
    drop(manual.put(KEY, text));
    manual.commit();
}

#[test]
fn every_kept_revision_reads_as_it_was() {
    let (mut manual, _) = with_clock(Options::default());
    // Several checkpoints, groups of three.
    for at in 0..1000 {
        for part in 0..3 {
            drop(manual.put(&format!("/registry/pods/a/{}", (at + part) % 50), &format!("{}", at * 3 + part + 2)));
        }
        manual.commit();
    }
    assert_eq!(manual.store.revision(), 3001);
    for revision in (2..=3001).step_by(37) {
        let state = manual.store.snapshot_at(revision).expect("kept");
        assert_eq!(state.revision(), revision);
        let newest = state.range("", None).max_by_key(|entry| entry.revision).expect("not empty");
        assert_eq!((newest.revision, &newest.value[..]), (revision, revision.to_string().as_bytes()));
        assert_eq!(state.count("/registry/pods/"), state.range("", None).count());
    }
    assert_eq!(manual.store.snapshot_at(1).expect("kept").count(""), 0);
    assert_eq!(manual.store.snapshot_at(3002).err(), Some(ReadError::Future { current: 3001 }));
}

#[test]
fn history_ends_after_its_time_and_quiet_watches_may_still_resume() {
    let options = Options { history: Duration::from_secs(300), ..Options::default() };
    let (mut manual, clock) = with_clock(options);
    write(&mut manual, "2");
    clock.advance(Duration::from_secs(200));
    write(&mut manual, "3");
    clock.advance(Duration::from_secs(100));
    manual.store.upkeep();
    // What held until 2 was written is 300 s old; 2 itself was current until 100 s ago.
    assert_eq!(manual.store.compact_revision(), 2);
    assert_eq!(manual.store.snapshot_at(1).err(), Some(ReadError::Compacted { oldest: 2 }));
    assert_eq!(&manual.store.snapshot_at(2).expect("kept").get(KEY).expect("there").value[..], b"2");
    clock.advance(Duration::from_secs(200));
    manual.store.upkeep();
    assert_eq!(manual.store.compact_revision(), 3);
    assert!(manual.store.snapshot_at(3).is_ok(), "the present is always there");
    assert_eq!(manual.store.watch("/registry/pods/", 2).err(), Some(ReadError::Compacted { oldest: 3 }));
    assert!(manual.store.watch("/registry/nodes/", 1).is_ok(), "nothing happened to nodes since");
    assert_eq!(manual.store.stats().history_events, 0);
}

#[test]
fn fast_writing_does_not_keep_history_for_ever() {
    let (mut manual, clock) = with_clock(Options { history: Duration::from_secs(10), ..Options::default() });
    for _ in 0..3000 {
        clock.advance(Duration::from_millis(10));
        write(&mut manual, "x");
    }
    let events = manual.store.stats().history_events;
    assert!((1000..1100).contains(&events), "{events} events of 30 s are kept, 10 s are asked for");
}

#[test]
fn history_is_bounded_by_room() {
    let (mut manual, _) = with_clock(Options { history_bytes_max: 100_000, ..Options::default() });
    for _ in 0..1000 {
        write(&mut manual, &"x".repeat(1000));
    }
    let stats = manual.store.stats();
    assert!(stats.history_bytes <= 100_000 && stats.history_bytes > 80_000, "{}", stats.history_bytes);
    assert!(stats.compact_revision > 900);
    assert!(manual.store.snapshot_at(stats.compact_revision).is_ok());
}

#[tokio::test]
async fn compaction_on_demand_is_kept_over_a_restart() {
    let journal = Memory::default();
    let open = || Store::<()>::open(Box::new(journal.clone()), Options::default()).expect("it opens");
    let store = open();
    for _ in 0..5 {
        store.put(KEY, value("x"), Precondition::Any).await.expect("written");
    }
    store.compact(4).await.expect("it is in range");
    assert!(matches!(store.compact(3).await, Err(CompactError::Revision(ReadError::Compacted { oldest: 4 }))));
    assert!(matches!(store.compact(9).await, Err(CompactError::Revision(ReadError::Future { current: 6 }))));
    let check = |store: &Store<()>| {
        assert_eq!(store.compact_revision(), 4);
        assert_eq!(store.snapshot_at(3).err(), Some(ReadError::Compacted { oldest: 4 }));
        assert!(store.snapshot_at(4).is_ok());
        for prefix in ["/registry/pods/", "/registry/never-written/", ""] {
            assert_eq!(store.watch(prefix, 3).err(), Some(ReadError::Compacted { oldest: 4 }), "{prefix}");
            assert!(store.watch(prefix, 4).is_ok());
        }
    };
    check(&store);
    store.close().await;
    assert!(matches!(store.compact(5).await, Err(CompactError::Write(WriteError::Closed(_)))));
    check(&open());
}

#[test]
fn a_key_with_a_time_to_live_is_deleted_with_its_revision_written_in() {
    let (mut manual, clock) = with_clock(Options::default());
    let rv = NewValue::new(*b"{\"rv\":\"\"}", Some(7));
    let mut put = |value: NewValue, expires_in: u64| {
        let expires_at = crate::Clock::unix_seconds(&*clock) + expires_in;
        let change = crate::sequencer::Change::New { value, expires_at };
        let mut request = Some(crate::sequencer::Request {
            kind: crate::EventKind::Put,
            key: KEY,
            value: change,
            precondition: Precondition::Any,
        });
        drop(manual.shared.submit(&mut request));
        manual.commit();
    };
    put(rv.clone(), 60);
    put(rv, 120);
    clock.advance(Duration::from_secs(119));
    manual.store.upkeep();
    manual.commit();
    assert!(manual.store.get(KEY).is_some(), "a later write moves the expiry");
    clock.advance(Duration::from_secs(1));
    manual.store.upkeep();
    manual.commit();
    assert!(manual.store.get(KEY).is_none());
    let mut watch = manual.store.watch(KEY, 3).expect("kept");
    let event = watch.try_next().expect("an event").expect("an event");
    assert_eq!((event.kind, &event.entry.value[..]), (crate::EventKind::Delete, &b"{\"rv\":\"4\"}"[..]));
}
