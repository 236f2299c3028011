//! The look for damage that the server takes by itself: what its store's files hold is read and checked now and then. The state
//! in memory is whole whatever the disk has done, so damage is mended by writing it anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use store::journal::scrub::{Scrubbed, scrub};
use store::{Store, chain};
use tokio_util::sync::CancellationToken;

use crate::registry::Attrs;

/// So slow that nobody else notices it: a gigabyte takes a minute.
const BYTES_PER_SECOND: u64 = 16 << 20;

/// What is counted of it.
#[derive(Clone, Debug, Default)]
pub struct ScrubMetrics {
    last: Gauge,
    bytes: Counter,
    damaged: Gauge,
    damaged_history: Gauge,
    repairs: Counter,
    failures: Counter,
}

impl ScrubMetrics {
    pub fn register(&self, registry: &mut Registry) {
        let (name, help) =
            ("canopus_store_scrub_last_timestamp_seconds", "When the store's files were last read to the end");
        registry.register(name, help, self.last.clone());
        // Counters get their `_total` when they are written.
        registry.register("canopus_store_scrub_read_bytes", "Bytes read to check them", self.bytes.clone());
        let (name, help) =
            ("canopus_store_scrub_damaged_files", "Damaged files of the store that are not replaced yet");
        registry.register(name, help, self.damaged.clone());
        let (name, help) = (
            "canopus_store_scrub_damaged_history_files",
            "Damaged files that are kept as history alone: a part of the past cannot be read",
        );
        registry.register(name, help, self.damaged_history.clone());
        let (name, help) = ("canopus_store_scrub_repairs", "Times that damaged files were replaced by a new snapshot");
        registry.register(name, help, self.repairs.clone());
        let (name, help) = ("canopus_store_scrub_failures", "Looks that failed, and repairs");
        registry.register(name, help, self.failures.clone());
    }
}

/// Looks every `interval`, the first time well before that. Until `shutdown`.
pub async fn run(
    store: Store<Attrs>,
    folder: PathBuf,
    interval: Duration,
    metrics: ScrubMetrics,
    shutdown: CancellationToken,
) {
    // Servers that were started together do not read together.
    let mut pause = interval.mul_f64(rand::random_range(0.02..0.1));
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shutdown.cancelled() => return,
        }
        pause = interval;
        if let Err(error) = look_and_mend(&store, &folder, &metrics, &shutdown).await {
            metrics.failures.inc();
            tracing::error!(error = error.as_str(), folder = %folder.display(), "failed to check the store's files");
        }
    }
}

async fn look_and_mend(
    store: &Store<Attrs>,
    folder: &Path,
    metrics: &ScrubMetrics,
    shutdown: &CancellationToken,
) -> Result<(), String> {
    if store.is_shared() {
        // The objects are in an etcd; what lies here was left behind.
        return Ok(());
    }
    let Some(found) = look(store, folder, metrics, shutdown).await? else { return Ok(()) };
    if found.damaged.is_empty() || store.is_shared() {
        return Ok(());
    }
    tracing::warn!("the state in memory is whole: it is written anew in the place of the damaged files");
    store.rewrite().await.map_err(|error| {
        format!("the damaged files could not be replaced ({error}): make a backup now, before this server is stopped")
    })?;
    metrics.repairs.inc();
    // Whether that mended everything is seen by looking.
    if look(store, folder, metrics, shutdown).await?.is_some_and(|found| found.damaged.is_empty()) {
        tracing::info!("the damaged files are replaced; if this happens again, the disk is failing");
    }
    Ok(())
}

/// One look; `None` if the server ended meanwhile.
async fn look(
    store: &Store<Attrs>,
    folder: &Path,
    metrics: &ScrubMetrics,
    shutdown: &CancellationToken,
) -> Result<Option<Scrubbed>, String> {
    let (reached, folder, shutdown) = (store.revision(), folder.to_owned(), shutdown.clone());
    let read = metrics.bytes.clone();
    let mut pace = move |bytes: usize| {
        read.inc_by(bytes as u64);
        std::thread::sleep(Duration::from_secs_f64(bytes as f64 / BYTES_PER_SECOND as f64));
        !shutdown.is_cancelled()
    };
    let looked = tokio::task::spawn_blocking(move || scrub(&folder, reached, &mut pace)).await;
    let found = looked.map_err(|error| error.to_string())?.map_err(|error| chain(&error))?;
    if let Some(found) = &found {
        for error in &found.damaged {
            tracing::error!(error = chain(error), "a file of the store is damaged");
        }
        for error in &found.damaged_history {
            tracing::error!(
                error = chain(error),
                "a file that is kept as history is damaged: the past cannot be read where it is needed; the present is whole"
            );
        }
        metrics.damaged_history.set(i64::try_from(found.damaged_history.len()).unwrap_or(i64::MAX));
        metrics.damaged.set(i64::try_from(found.damaged.len()).unwrap_or(i64::MAX));
        metrics.last.set(jiff::Timestamp::now().as_second());
        tracing::debug!(files = found.files, bytes = found.bytes, "the store's files were checked");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use serde_json::json;

    use super::*;
    use crate::testing::{Pki, admin, call};

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_finds_damage_below_it_and_mends_it() {
        let pki = Pki::new();
        let folder = pki.path().join("store");
        let mut config = pki.config();
        config.etcd = None;
        config.store_dir = Some(folder.clone());
        config.store_scrub_interval = Duration::from_secs(1);
        let server = crate::Server::open(config.clone()).unwrap();
        server.start().await.unwrap();
        let maps = "/api/v1/namespaces/default/configmaps";
        let map = json!({"metadata": {"name": "m"}, "data": {"k": "v"}}).to_string();
        assert_eq!(call(&server, admin(), "POST", maps, &map).await.0, 201);
        let metric = async |name: &str| -> i64 {
            let (_, text) = call(&server, admin(), "GET", "/metrics", "").await;
            let text = text.as_str().unwrap().to_owned();
            let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        let until = async |name: &str, is_enough: fn(i64) -> bool| {
            for _ in 0..600 {
                if is_enough(metric(name).await) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("{name} stays at {}", metric(name).await);
        };
        until("canopus_store_scrub_read_bytes_total", |bytes| bytes > 0).await;
        assert_eq!(metric("canopus_store_scrub_repairs_total").await, 0);

        let segment = folder.join("log-000000000001");
        let file = std::fs::File::options().read(true).write(true).open(&segment).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 500).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 500).unwrap();
        until("canopus_store_scrub_repairs_total", |repairs| repairs == 1).await;
        until("canopus_store_scrub_damaged_files", |files| files == 0).await;
        assert!(!segment.exists());
        assert!(metric("canopus_store_scrub_last_timestamp_seconds").await > 1_700_000_000);
        server.shutdown.cancel();
        server.registry.store().close().await;
        drop(server);
        let server = crate::Server::open(config).unwrap();
        assert_eq!(call(&server, admin(), "GET", &format!("{maps}/m"), "").await.1["data"]["k"], "v");
    }
}
