//! A whole state on its way from files to an etcd and back.

use std::time::Duration;

use super::{Cluster, open, text};
use crate::journal::{Wal, WalOptions};
use crate::{Options, Precondition, Stay, Store};

const SCRATCH: &str = "/registry/scratch";

fn files(folder: &std::path::Path) -> Store<()> {
    let wal = Wal::open(folder, WalOptions::default()).expect("a log");
    Store::open(Box::new(wal), Options::default()).expect("a store")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_goes_to_etcd_and_back_and_revisions_only_rise() {
    let (folder, back) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("another"));
    let from = files(folder.path());
    for at in 0..200 {
        let key = format!("/registry/things/{}", at % 70);
        from.put(&key, text(&format!("{at}@")), Precondition::Any).await.expect("written");
    }
    let expiring = text("event@").with_ttl(Duration::from_secs(3600));
    from.put("/registry/events/e", expiring, Precondition::Any).await.expect("written");
    let state = from.snapshot();

    let cluster = Cluster::start(1, &[]);
    let etcd = open(&cluster).await;
    etcd.raise(SCRATCH, &text(""), state.revision()).await.expect("raised");
    assert!(etcd.revision() >= state.revision());
    assert_eq!(etcd.snapshot().totals().entries, 0, "what it was raised with is gone");
    state.copy_to(None, &etcd, |_| Stay::Always).await.expect("copied");
    let there = etcd.snapshot();
    assert_eq!(there.totals().entries, 71);
    for entry in there.range("", None) {
        let value = |bytes: &[u8]| String::from_utf8_lossy(bytes).split('@').next().map(str::to_owned);
        let before = state.get(&entry.key).expect("it was there");
        assert_eq!(value(&entry.value), value(&before.value), "{}", entry.key);
        assert!(entry.revision > state.revision(), "{} stands at {}", entry.key, entry.revision);
        assert!(entry.value.ends_with(format!("@{}", entry.revision).as_bytes()));
    }
    // A second time it is refused: what is there is nobody's to overwrite.
    state.copy_to(None, &etcd, |_| Stay::Always).await.expect_err("they are there");

    let now = 1_700_000_000;
    let stay = |key: &str| match key {
        "/registry/things/1" => Stay::Not,
        "/registry/events/e" => Stay::For(Duration::from_secs(60)),
        _ => Stay::Always,
    };
    there.save(&back.path().join("store"), there.revision(), WalOptions::default(), None, now, stay).expect("saved");
    let returned = files(&back.path().join("store"));
    assert_eq!(returned.revision(), there.revision());
    let kept = returned.snapshot();
    assert_eq!(kept.totals().entries, 70);
    assert!(kept.get("/registry/things/1").is_none());
    let (own, theirs) = (kept.get("/registry/things/2"), there.get("/registry/things/2"));
    let of = |entry: Option<&std::sync::Arc<crate::Entry<()>>>| {
        entry.map(|entry| (entry.create_revision, entry.revision, entry.value.clone()))
    };
    assert_eq!(of(own), of(theirs));
    assert!(kept.get("/registry/events/e").expect("it has not expired").expires());
    returned.put("/registry/things/2", text("new"), Precondition::Exists).await.expect("it goes on");
    assert_eq!(returned.revision(), there.revision() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_in_use_goes_to_etcd_and_back() {
    let (folder, back) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("another"));
    let store = files(folder.path());
    for at in 0..100 {
        store.put(&format!("/registry/things/{at}"), text("1@"), Precondition::Any).await.expect("written");
    }
    let cluster = Cluster::start(1, &[]);
    let etcd = open(&cluster).await;
    let moved = store.moved(false);
    let copied = store.snapshot();
    etcd.raise(SCRATCH, &text(""), copied.revision() + 1000).await.expect("raised");
    copied.copy_to(None, &etcd, |_| Stay::Always).await.expect("copied");
    store.delete("/registry/things/1", text("1@"), Precondition::Any).await.expect("deleted");
    store.put("/registry/things/2", text("2@"), Precondition::Any).await.expect("changed");
    store.put("/registry/things/new", text("2@"), Precondition::Any).await.expect("made");
    let pause = store.pause().await;
    assert_eq!(pause.snapshot().copy_to(Some(&copied), &etcd, |_| Stay::Always).await.expect("copied"), 3);
    pause.go_on_with(etcd).await;
    moved.await;
    assert!(store.is_shared());
    assert_eq!(store.snapshot().totals().entries, 100);
    assert!(store.get("/registry/things/1").is_none());
    assert!(store.get("/registry/things/2").expect("it is there").value.starts_with(b"2@"));
    let own = open(&cluster).await;
    let write = store.put("/registry/things/3", text("3@"), Precondition::Exists).await.expect("written");
    own.wait_for(write.revision).await.expect("others see it");
    assert!(own.get("/registry/things/3").expect("it is there").value.starts_with(b"3@"));
    own.close().await;

    // A reader asks for what is newest all the time.
    let reader = store.clone();
    let reading = tokio::spawn(async move {
        while reader.is_shared() {
            reader.barrier().await.expect("answered, in the old place or in the new");
        }
    });
    let moved = store.moved(true);
    let (copied, folder) = (store.snapshot(), back.path().join("store"));
    let above = copied.revision() + 1000;
    let stay = |key: &str| match key {
        "/registry/things/left" => Stay::Not,
        "/registry/things/event" => Stay::For(Duration::from_secs(3600)),
        _ => Stay::Always,
    };
    copied.save(&folder, above, WalOptions::default(), None, 0, stay).expect("saved");
    let files = files(&folder);
    // Meanwhile it is written to.
    let untouched = store.get("/registry/things/4").expect("it is there");
    store.put("/registry/things/left", text("1@"), Precondition::Any).await.expect("written");
    store.put("/registry/things/event", text("1@"), Precondition::Any).await.expect("written");
    store.put("/registry/things/3", text("4@"), Precondition::Revision(write.revision)).await.expect("written");
    store.delete("/registry/things/2", text("2@"), Precondition::Exists).await.expect("deleted");
    let pause = store.pause().await;
    store.barrier().await.expect("etcd is there");
    let last = pause.snapshot();
    assert_eq!(last.copy_to(Some(&copied), &files, stay).await.expect("copied"), 3);
    let lost: Vec<_> = last.in_one_of(&files.snapshot()).map(|entry| entry.key.to_string()).collect();
    assert_eq!(lost, ["/registry/things/left"]);
    pause.go_on_with(files).await;
    moved.await;
    reading.await.expect("no panic");
    assert!(!store.is_shared());
    assert_eq!(store.revision(), above + 3, "files go on beyond where etcd was");
    assert!(store.get("/registry/things/event").expect("it is there").expires());
    assert!(store.get("/registry/things/2").is_none());
    let changed = store.get("/registry/things/3").expect("it is there");
    assert!(changed.value.starts_with(b"4@") && changed.revision > last.revision());
    // What nobody touched is what it was.
    let next = store.put("/registry/things/4", text("5@"), Precondition::Revision(untouched.revision)).await;
    assert_eq!(next.expect("versions are what they were").revision, above + 4);
}
