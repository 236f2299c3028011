//! Quota, value size, a disk without room, a disk that fails.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::journal::{Batch, Journal, JournalError, Memory, Visitor, Wal, WalOptions};
use crate::sequencer::{Change, Request};
use crate::tests::faulty_disk::{Fault, FaultyDisk};
use crate::tests::{Manual, value};
use crate::{EventKind, NewValue, Options, Precondition, Store, WriteError};

const KEY: &str = "/registry/pods/a/1";

fn on(disk: &FaultyDisk) -> Manual {
    let options = WalOptions { segment_bytes: 4096, snapshot_log_bytes: 1 << 20, ..WalOptions::default() };
    Manual::open(Box::new(Wal::on(Arc::new(disk.clone()), options)), Options::default()).expect("it opens")
}

#[tokio::test]
async fn the_quota_refuses_growth_and_lets_out() {
    let options = Options { quota_bytes: 100, ..Options::default() };
    let store = Store::<()>::open(Box::new(Memory::default()), options).expect("it opens");
    store.put(KEY, value(&"x".repeat(80)), Precondition::Any).await.expect("98 bytes");
    let refused = store.put("/registry/pods/a/2", value("x"), Precondition::Any).await;
    assert!(matches!(refused, Err(WriteError::Full(_))), "{refused:?}");
    store.put(KEY, value(&"x".repeat(79)), Precondition::Any).await.expect("it shrinks");
    store.delete(KEY, value(&"x".repeat(200)), Precondition::Any).await.expect("deleting is always possible");
    store.put("/registry/pods/a/2", value("x"), Precondition::Any).await.expect("there is room again");
    assert_eq!(store.stats().full, 1);
}

#[tokio::test]
async fn there_is_an_alarm_well_before_the_quota() {
    let open = |journal: &Memory| {
        let options = Options { quota_bytes: 1000, ..Options::default() };
        Store::<()>::open(Box::new(journal.clone()), options).expect("it opens")
    };
    let journal = Memory::default();
    let store = open(&journal);
    let mut alarms = Vec::new();
    // The key has 18 bytes.
    for bytes in [700, 781, 782, 733, 731, 781, 782] {
        store.put(KEY, value(&"x".repeat(bytes)), Precondition::Any).await.expect("within the quota");
        alarms.push(store.stats().quota_alarm);
    }
    assert_eq!(alarms, [false, false, true, true, false, false, true]);
    store.close().await;
    assert!(open(&journal).stats().quota_alarm, "after a restart too");
}

#[tokio::test]
async fn an_oversized_value_is_refused() {
    let options = Options { value_bytes_max: 1000, ..Options::default() };
    let store = Store::<()>::open(Box::new(Memory::default()), options).expect("it opens");
    let refused = store.put(KEY, NewValue::new(vec![0; 1000], None), Precondition::Any).await;
    assert!(matches!(refused, Err(WriteError::TooLarge { bytes: 1018, bytes_max: 1000 })), "{refused:?}");
}

#[test]
fn a_full_disk_refuses_writes_and_recovers_by_itself() {
    let disk = FaultyDisk::new(1);
    let mut manual = on(&disk);
    let mut first = manual.put(KEY, "1");
    manual.commit();
    assert!(first.try_recv().expect("answered").is_ok());
    disk.set_capacity(disk.used());
    // The first segment is set aside already; the one after it is not.
    let mut written = 1;
    let refused = loop {
        let mut answer = manual.put(KEY, &"x".repeat(500));
        manual.commit();
        match answer.try_recv().expect("answered") {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 20, "the disk never gets full");
    };
    assert!(matches!(refused, WriteError::Full(_)), "{refused:?}");
    assert_eq!(manual.store.revision(), 1 + written, "what was refused is not seen");
    // What gathered upon a failing group fails with it, and its revisions are given out again.
    let mut one = manual.put(KEY, &"y".repeat(500));
    let mut two = manual.put("/registry/pods/a/2", "y");
    manual.commit();
    for answer in [&mut one, &mut two] {
        assert!(matches!(answer.try_recv().expect("answered"), Err(WriteError::Full(_))));
    }
    assert!(manual.store.get("/registry/pods/a/2").is_none());
    disk.set_capacity(u64::MAX);
    let mut again = manual.put("/registry/pods/a/2", "z");
    manual.commit();
    let entry = again.try_recv().expect("answered").expect("there is room again");
    assert_eq!(entry.revision, 2 + written);
    drop(manual);
    let manual = on(&disk);
    assert_eq!(manual.store.revision(), 2 + written);
    assert_eq!(&manual.store.get("/registry/pods/a/2").expect("kept").value[..], b"z");
}

/// A journal that lets the test act in the middle of an append.
struct Hooked(Box<dyn FnMut() -> Result<(), JournalError> + Send>);

impl Journal for Hooked {
    fn replay(&mut self, _: &mut dyn Visitor) -> Result<(), JournalError> {
        Ok(())
    }

    fn append(&mut self, _: Batch<'_>) -> Result<(), JournalError> {
        (self.0)()
    }
}

#[test]
fn what_gathered_upon_a_failing_group_fails_with_it() {
    let (during, arrived) = (Arc::new(Mutex::new(None::<Box<dyn FnOnce() + Send>>)), Arc::new(Mutex::new(Vec::new())));
    let hook = during.clone();
    let append = move || match hook.lock().take() {
        Some(act) => {
            act();
            Err(JournalError::Full { doing: "test", source: std::io::ErrorKind::StorageFull.into() })
        }
        None => Ok(()),
    };
    let mut manual = Manual::open(Box::new(Hooked(Box::new(append))), Options::default()).expect("it opens");
    let (shared, answers) = (manual.shared.clone(), arrived.clone());
    *during.lock() = Some(Box::new(move || {
        // Numbered on top of what is about to fail.
        let change = Change::New { value: value("later"), expires_at: 0 };
        let request =
            Request { kind: EventKind::Put, key: KEY, value: change, precondition: Precondition::Revision(2) };
        answers.lock().push(shared.submit(&mut Some(request)).expect("room").expect("the precondition holds"));
    }));
    let mut first = manual.put(KEY, "first");
    manual.commit();
    assert!(matches!(first.try_recv(), Ok(Err(WriteError::Full(_)))));
    let mut second = arrived.lock().pop().expect("it was submitted");
    assert!(matches!(second.try_recv(), Ok(Err(WriteError::Full(_)))));
    let mut third = manual.put(KEY, "third");
    manual.commit();
    assert_eq!(third.try_recv().expect("answered").expect("written").revision, 2, "revisions nobody saw are used");
}

#[test]
fn after_a_failed_sync_nothing_is_written_any_more() {
    let disk = FaultyDisk::new(2);
    let mut manual = on(&disk);
    drop(manual.put(KEY, "1"));
    manual.commit();
    // The write itself is the next operation, its sync the one after that.
    disk.fail_after(1, Fault::Eio);
    let mut failed = manual.put(KEY, "2");
    manual.commit();
    assert!(matches!(failed.try_recv().expect("answered"), Err(WriteError::Closed(_))));
    let refused = manual.submit(EventKind::Put, KEY, value("3"), Precondition::Any);
    assert!(matches!(refused, Err(WriteError::Closed(_))), "even though the disk works again");
    assert_eq!(&manual.store.get(KEY).expect("reads go on").value[..], b"1");
    assert!(manual.store.stats().closed.is_some());
}
