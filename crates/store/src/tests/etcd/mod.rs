//! The store on a real etcd: the program `etcd`, or the one that `ETCD` names.

pub(super) mod cluster;
mod copies;
mod failures;
mod past;
mod shared;
mod split;
mod tls;
mod values;

use std::sync::Arc;
use std::time::Duration;

use crate::etcd::{EtcdOptions, Form};
use crate::{Event, NewValue, Options, Store, Watch};
use cluster::Cluster;

pub(in crate::tests) type TestStore = Store<()>;

/// Values are kept as they are and served with their revision behind them.
pub(in crate::tests) struct Plain;

impl Form for Plain {
    fn keep(&self, _: &str, value: &NewValue) -> Result<Vec<u8>, String> {
        Ok(value.bytes.clone())
    }

    fn serve(&self, _: &str, kept: &[u8]) -> Result<NewValue, String> {
        if kept.starts_with(b"!") {
            return Err("it begins with an exclamation mark".to_owned());
        }
        Ok(NewValue::new(kept, Some(kept.len())))
    }
}

pub(in crate::tests) fn text(text: &str) -> NewValue {
    NewValue::new(text, Some(text.len()))
}

pub(in crate::tests) fn options(cluster: &Cluster) -> EtcdOptions {
    let options = EtcdOptions::new(cluster.servers(), Arc::new(Plain));
    EtcdOptions { compaction_interval: Duration::ZERO, ..options }
}

pub(in crate::tests) async fn open(cluster: &Cluster) -> TestStore {
    open_with(options(cluster)).await
}

/// Opened beside the test's own runtime, whose thread it would block.
pub(in crate::tests) async fn open_with(options: EtcdOptions) -> TestStore {
    let open = move || Store::open_etcd(options, Options::default());
    tokio::task::spawn_blocking(open).await.expect("no panic").expect("etcd is there")
}

/// The next event, which must come soon.
pub(in crate::tests) async fn next(watch: &mut Watch<()>) -> Arc<Event<()>> {
    let event = tokio::time::timeout(Duration::from_secs(20), watch.next()).await;
    event.expect("in time").expect("the watch goes on").expect("an event")
}

/// Asks again until it is so.
pub(in crate::tests) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(30), wait).await.is_ok(), "{what}");
}
