//! Keys, values and their limits.

use std::sync::Arc;

use super::cluster::Cluster;
use super::{Plain, TestStore, next, open, open_with, options, text};
use crate::etcd::EtcdOptions;
use crate::journal::{Opened, Transformer};
use crate::{Options, Precondition, Store, WriteError};

const KEY: &str = "/registry/pods/default/a";

#[tokio::test(flavor = "multi_thread")]
async fn keys_lie_below_the_prefix_as_upstream_puts_them() {
    let cluster = Cluster::start(1, &[]);
    let store = open_with(EtcdOptions { prefix: "/clusters/one/".into(), ..options(&cluster) }).await;
    let usual = open(&cluster).await;
    store.put(KEY, text("a"), Precondition::Absent).await.expect("written");
    let mut raw = cluster.raw(0).await;
    let kept = raw.get("/clusters/one/pods/default/a").await.expect("it is there");
    assert_eq!(&kept.value[..], b"a");
    assert!(raw.get(KEY).await.is_none());
    usual.barrier().await.expect("etcd is there");
    assert!(usual.get(KEY).is_none(), "another prefix is another cluster");
    raw.put("/clusters/one/nodes/n", "n").await;
    store.barrier().await.expect("etcd is there");
    assert!(store.get("/registry/nodes/n").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_nobody_can_read_is_marked_and_can_be_replaced() {
    let cluster = Cluster::start(1, &[]);
    let mut raw = cluster.raw(0).await;
    raw.put(KEY, "!").await;
    let store = open(&cluster).await;
    let mut watch = store.watch("/registry/pods/", store.revision()).expect("kept");
    let entry = store.get(KEY).expect("it is not lost");
    assert!(entry.is_malformed());
    let refused = store.put(KEY, text("a"), Precondition::Absent).await;
    assert!(matches!(refused, Err(WriteError::Conflict(Some(current))) if current.is_malformed()));
    store.put(KEY, text("a"), Precondition::Revision(entry.revision)).await.expect("it is current");
    assert!(!next(&mut watch).await.entry.is_malformed());
}

/// Turns all bits around.
struct Flip;

impl Transformer for Flip {
    fn ready(&self, _: &str) -> Result<(), String> {
        Ok(())
    }

    fn seal<'v>(&self, _: &str, value: &'v [u8]) -> Result<std::borrow::Cow<'v, [u8]>, String> {
        Ok(value.iter().map(|byte| !byte).collect::<Vec<_>>().into())
    }

    fn open<'v>(&self, key: &str, kept: &'v [u8]) -> Result<Opened<'v>, String> {
        Ok(Opened { value: self.seal(key, kept)?, stale: false })
    }

    fn generation(&self) -> u64 {
        1
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_encrypted_on_their_way() {
    let cluster = Cluster::start(1, &[]);
    let open = |etcd: EtcdOptions| {
        let options = Options { transformer: Some(Arc::new(Flip)), ..Options::default() };
        tokio::task::spawn_blocking(move || TestStore::open_etcd(etcd, options))
    };
    let store = open(options(&cluster)).await.expect("no panic").expect("it opens");
    store.put(KEY, text("abc"), Precondition::Absent).await.expect("written");
    let kept = cluster.raw(0).await.get(KEY).await.expect("it is there").value;
    assert_eq!(kept.iter().map(|byte| !byte).collect::<Vec<_>>(), b"abc");
    let again = open(options(&cluster)).await.expect("no panic").expect("it opens");
    assert_eq!(again.get(KEY).map(|entry| entry.value.clone()), store.get(KEY).map(|entry| entry.value.clone()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_etcd_says_so_in_its_own_words() {
    let cluster = Cluster::start(1, &["--quota-backend-bytes", "4000000"]);
    let store = open(&cluster).await;
    let huge = store.put(KEY, text(&"x".repeat(1_700_000)), Precondition::Any).await.expect_err("too large");
    assert_eq!(huge.to_string(), "etcdserver: request is too large");
    let large = "x".repeat(1 << 20);
    let mut refused = None;
    // It counts what it has committed, every tenth of a second: a quick disk takes many writes until then.
    for _ in 0..1000 {
        match store.put(KEY, text(&large), Precondition::Any).await {
            Ok(_) => {}
            Err(error) => {
                refused = Some(error.to_string());
                break;
            }
        }
    }
    assert_eq!(refused.as_deref(), Some("etcdserver: mvcc: database space exceeded"));
    assert!(store.get(KEY).is_some());
    store.barrier().await.expect("reads go on");
}

#[test]
fn an_etcd_that_is_not_there_is_told_at_the_start() {
    let server = format!("http://127.0.0.1:{}", Cluster::other_port()).parse().expect("a URL");
    let mut options = EtcdOptions::new(vec![server], Arc::new(Plain));
    options.open_timeout = std::time::Duration::from_millis(200);
    let Err(error) = Store::<()>::open_etcd(options, Options::default()) else { panic!("there is none") };
    assert!(error.to_string().contains("Connection refused"), "{error}");
}
