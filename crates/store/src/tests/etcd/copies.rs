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
    state.copy_to(&etcd).await.expect("copied");
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
    state.copy_to(&etcd).await.expect_err("they are there");

    let now = 1_700_000_000;
    let stay = |key: &str| match key {
        "/registry/things/1" => Stay::Not,
        "/registry/events/e" => Stay::For(Duration::from_secs(60)),
        _ => Stay::Always,
    };
    there.save(&back.path().join("store"), WalOptions::default(), None, now, stay).expect("saved");
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
