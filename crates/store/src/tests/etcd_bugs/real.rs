//! etcd as Debian has it, which has several of the bugs itself: what a store that follows it makes of them.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::etcd::EtcdOptions;
use crate::journal::{Opened, Transformer};
use crate::tests::etcd::cluster::Cluster;
use crate::tests::etcd::{next, open, open_with, options, text, until};
use crate::{Options, Precondition, Store, WatchError};

const PODS: &str = "/registry/pods/";
const KEY: &str = "/registry/pods/default/a";

/// etcd 18089 and 19179, and etcd is the one that has them: a watch from the revision on at which history begins is granted,
/// and the deletion made there is not in it. The store was away when it was deleted and when that was compacted, and would
/// have kept the key for good.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_etcd_compacted_while_nobody_looked_is_not_missed() {
    let mut cluster = Cluster::start(1, &[]);
    let store = open(&cluster).await;
    store.put(KEY, text("a"), Precondition::Absent).await.expect("written");
    let mut watch = store.watch(PODS, store.revision()).expect("kept");
    let port = cluster.port(0);
    cluster.move_to(0, Cluster::other_port());
    let mut raw = cluster.raw(0).await;
    let deleted = raw.delete(&[KEY]).await;
    assert_eq!(deleted, store.revision() + 1, "the very next revision");
    raw.put("/registry/pods/default/b", "b").await;
    raw.compact(deleted).await;
    cluster.move_to(0, port);
    until("it is back", async || store.barrier().await.is_ok()).await;
    assert!(store.get("/registry/pods/default/b").is_some());
    assert!(store.get(KEY).is_none(), "it has been deleted");
    let told = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("in time").expect("not ended");
    match told {
        Ok(event) => assert_eq!((event.revision, event.kind), (deleted, crate::EventKind::Delete)),
        Err(error) => assert_eq!(error, WatchError::Slow, "or it is told to list again"),
    }
}

/// etcd 15271: a member that comes back after the others have written on takes over the leader's state as a whole, and told
/// watchers what they knew. The store follows that member and no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_comes_back_by_a_snapshot_tells_everything_once() {
    let mut cluster = Cluster::start(3, &["--snapshot-count", "10"]);
    let at = (cluster.leader().await + 1) % 3;
    let one = EtcdOptions { servers: vec![cluster.servers()[at].clone()], ..options(&cluster) };
    let store = open_with(one).await;
    let mut watch = store.watch(PODS, store.revision()).expect("kept");
    let mut raw = cluster.raw((at + 1) % 3).await;
    let mut written = Vec::new();
    for round in 0..3 {
        for number in 0..5 {
            written.push(raw.put(KEY, &format!("before {round} {number} ")).await);
        }
        cluster.kill(at);
        // Far more than the leader keeps for those who come back.
        for number in 0..300 {
            written.push(raw.put(&format!("{KEY}{}", number % 7), &format!("{round} {number} ")).await);
        }
        cluster.run(at);
        for revision in written.drain(..) {
            assert_eq!(next(&mut watch).await.revision, revision);
        }
    }
    assert!(watch.try_next().is_none());
}

/// etcd 18667, for a transaction that this store makes: it reads the newest state alone, so it has the same end whatever is
/// compacted and whichever server makes it.
#[tokio::test(flavor = "multi_thread")]
async fn transactions_do_not_depend_on_what_is_compacted() {
    let cluster = Cluster::start(1, &[]);
    let (one, other) = (open(&cluster).await, open(&cluster).await);
    let old = one.put(KEY, text("a"), Precondition::Absent).await.expect("written").revision;
    let mut last = old;
    for at in 0..5 {
        let key = format!("/registry/nodes/n{at}");
        one.put(&key, text("n"), Precondition::Absent).await.expect("written");
        last = one.delete(&key, text("n"), Precondition::Any).await.expect("it is there").revision;
    }
    one.compact(last).await.expect("it exists");
    let refused = other.put(KEY, text("b"), Precondition::Revision(last)).await;
    assert!(matches!(&refused, Err(crate::WriteError::Conflict(Some(entry))) if entry.revision == old), "{refused:?}");
    let new = other.put(KEY, text("b"), Precondition::Revision(old)).await.expect("it has not changed").revision;
    assert_eq!(new, last + 1);
    for store in [&one, &other] {
        store.barrier().await.expect("etcd is there");
        let entry = store.get(KEY).expect("it is there");
        assert_eq!((entry.create_revision, entry.revision), (old, new));
    }
}

/// Opens values as long as its key is there.
#[derive(Default)]
struct Key {
    is_away: AtomicBool,
}

impl Transformer for Key {
    fn ready(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn seal<'v>(&self, _: &str, value: &'v [u8]) -> Result<Cow<'v, [u8]>, String> {
        Ok(value.into())
    }

    fn open<'v>(&self, _: &str, kept: &'v [u8]) -> Result<Opened<'v>, String> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err("the key is away".to_owned());
        }
        Ok(Opened { value: kept.into(), stale: false })
    }

    fn generation(&self) -> u64 {
        1
    }
}

/// etcd 14571: a member that had not loaded its permissions yet refused entries of the log that the others applied, counted
/// them as done, and had other data from then on. Here no entry is refused for who wrote it; what one server alone may be
/// unable to take over is a value whose key it does not have. It stands still then, and says so to whoever asks for the newest.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_cannot_open_is_not_passed_over() {
    let cluster = Cluster::start(1, &[]);
    let key = Arc::new(Key::default());
    let (etcd, transformer) = (options(&cluster), key.clone());
    let opening =
        move || Store::<()>::open_etcd(etcd, Options { transformer: Some(transformer), ..Options::default() });
    let store = tokio::task::spawn_blocking(opening).await.expect("no panic").expect("etcd is there");
    let before = store.put(KEY, text("a"), Precondition::Absent).await.expect("written").revision;
    let mut watch = store.watch(PODS, before).expect("kept");
    key.is_away.store(true, Ordering::SeqCst);
    let mut raw = cluster.raw(0).await;
    let unread = raw.put(KEY, "b").await;
    let later = raw.put("/registry/pods/default/b", "b").await;
    until("it has tried", async || store.barrier().await.is_err()).await;
    assert_eq!((store.revision(), watch.revision()), (before, before), "it does not go on without what it cannot read");
    assert!(watch.try_next().is_none() && store.get("/registry/pods/default/b").is_none());
    key.is_away.store(false, Ordering::SeqCst);
    assert_eq!(next(&mut watch).await.revision, unread);
    assert_eq!(next(&mut watch).await.revision, later);
    store.barrier().await.expect("it is as new as etcd");
    assert_eq!(store.get(KEY).map(|entry| entry.revision), Some(unread));
}
