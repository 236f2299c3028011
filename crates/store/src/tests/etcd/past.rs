//! What was, as etcd tells it when memory has let it go.

use std::sync::Arc;

use super::{TestStore, open, text};
use crate::tests::etcd::cluster::Cluster;
use crate::{EventKind, PastError, Precondition, ReadError, Revision, Version};

const ONE: &str = "/registry/pods/a/one";

async fn past(store: &TestStore, prefix: &'static str, revision: Revision) -> Result<Vec<(String, String)>, PastError> {
    let store = store.clone();
    let read = move || {
        let past = store.past(prefix, revision)?;
        let line =
            |entry: &Arc<crate::Entry<()>>| (entry.key.to_string(), String::from_utf8_lossy(&entry.value).into_owned());
        Ok(past.range(prefix, None).map(line).collect())
    };
    tokio::task::spawn_blocking(read).await.expect("no panic")
}

async fn versions(store: &TestStore, key: &'static str, count_max: usize) -> Vec<Version<()>> {
    let store = store.clone();
    let read = move || store.versions(key, count_max).expect("they are read");
    tokio::task::spawn_blocking(read).await.expect("no panic")
}

fn told(versions: &[Version<()>]) -> Vec<(EventKind, String)> {
    versions.iter().map(|own| (own.kind, String::from_utf8_lossy(&own.entry.value).into_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn states_and_versions_are_had_as_far_back_as_etcd_has_them() {
    let cluster = Cluster::start(1, &[]);
    let store = open(&cluster).await;
    let put =
        async |key: &str, value: &str| store.put(key, text(value), Precondition::Any).await.expect("written").revision;
    let first = put(ONE, "first ").await;
    for at in 0..1200 {
        put(&format!("/registry/pods/b/{at}"), "other ").await;
    }
    put("/registry/pods/a/one-more", "more ").await;
    let second = put(ONE, "second ").await;
    let gone = store.delete(ONE, text("last "), Precondition::Any).await.expect("deleted").revision;
    let again = put(ONE, "again ").await;
    store.shared().forget(store.revision());
    assert!(store.snapshot_at(second).is_err(), "memory has let go of it");

    let line = |key: &str, value: &str, revision: Revision| (key.to_owned(), format!("{value}{revision}"));
    assert_eq!(past(&store, "/registry/pods/a/", first).await.expect("kept"), [line(ONE, "first ", first)]);
    let at_second = [line(ONE, "second ", second), line("/registry/pods/a/one-more", "more ", second - 1)];
    assert_eq!(past(&store, "/registry/pods/a/", second).await.expect("kept"), at_second);
    assert_eq!(past(&store, ONE, gone).await.expect("kept").len(), 1, "the key alone is gone");
    assert_eq!(past(&store, "/registry/pods/b/", second).await.expect("kept").len(), 1200);
    assert_eq!(past(&store, "", second).await.expect("kept").len(), 1202);

    let all = versions(&store, ONE, 100).await;
    let (put_kind, delete) = (EventKind::Put, EventKind::Delete);
    let wanted = [
        (put_kind, "first ", first),
        (put_kind, "second ", second),
        (delete, "second ", gone),
        (put_kind, "again ", again),
    ];
    assert_eq!(told(&all), wanted.map(|(kind, value, revision)| (kind, format!("{value}{revision}"))));
    assert!(all.iter().all(|own| own.time.is_some()), "{all:?}");
    assert_eq!(told(&versions(&store, ONE, 2).await), told(&all)[2..]);
    assert!(versions(&store, "/registry/pods/a/none", 9).await.is_empty());

    // Another server was not there and knows no times.
    let other = open(&cluster).await;
    let theirs = versions(&other, ONE, 100).await;
    assert_eq!(told(&theirs), told(&all));
    assert!(theirs.iter().all(|own| own.time.is_none()), "{theirs:?}");

    other.compact(second).await.expect("compacted");
    let old = past(&store, "/registry/pods/a/", second - 1).await;
    assert!(matches!(old, Err(PastError::Read(ReadError::Compacted { oldest })) if oldest == second), "{old:?}");
    assert_eq!(past(&store, "/registry/pods/a/", second).await.expect("kept"), at_second);
    assert_eq!(told(&versions(&store, ONE, 100).await), told(&all)[1..]);
    let since = tokio::task::spawn_blocking({
        let store = store.clone();
        move || store.kept_since().expect("it is read")
    });
    assert_eq!(since.await.expect("no panic"), second);
    store.close().await;
    other.close().await;
}
