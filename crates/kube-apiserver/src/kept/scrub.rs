//! The look for damage that the server takes by itself: what its store's files hold is read and checked now and then. The state
//! in memory is whole whatever the disk has done, so damage is mended by writing it anew.

use std::path::{Path, PathBuf};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use store::journal::JournalError;
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
    lost: Gauge,
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
            "Damaged files that are kept as history alone; the present is whole",
        );
        registry.register(name, help, self.damaged_history.clone());
        let (name, help) = (
            "canopus_store_scrub_lost_history_revisions",
            "Revisions whose states damaged history cannot give any more",
        );
        registry.register(name, help, self.lost.clone());
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
        tell_of_history(found);
        let lost: u64 = found.lost.iter().map(|lost| lost.end() - lost.start() + 1).sum();
        metrics.lost.set(i64::try_from(lost).unwrap_or(i64::MAX));
        metrics.damaged_history.set(i64::try_from(found.damaged_history.len()).unwrap_or(i64::MAX));
        metrics.damaged.set(i64::try_from(found.damaged.len()).unwrap_or(i64::MAX));
        metrics.last.set(jiff::Timestamp::now().as_second());
        tracing::debug!(files = found.files, bytes = found.bytes, "the store's files were checked");
    }
    Ok(found)
}

/// Says what is damaged that no start needs, and what cannot be read any more because of it.
fn tell_of_history(found: &Scrubbed) {
    for error in &found.damaged_history {
        match error {
            // What this error advises is for who cannot start.
            JournalError::Corrupt { file, offset, detail } => {
                tracing::error!(file = %file.display(), offset, detail, "a file that is kept as history is damaged");
            }
            error => tracing::error!(error = chain(error), "a file that is kept as history is damaged"),
        }
    }
    for lost in &found.lost {
        let (first, last) = (lost.start(), lost.end());
        tracing::error!(
            first,
            last,
            "what was at these resource versions cannot be read any more; the present and all else that is kept are whole"
        );
    }
    if !found.damaged_history.is_empty() && found.lost.is_empty() {
        tracing::warn!("nothing of history is lost yet: what the damaged files hold is made of older ones");
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;
    use std::sync::Arc;

    use serde_json::json;
    use store::journal::Retention;

    use super::*;
    use crate::Server;
    use crate::testing::{Pki, admin, call};

    async fn metric(server: &Arc<Server>, name: &str) -> i64 {
        let (_, text) = call(server, admin(), "GET", "/metrics", "").await;
        let text = text.as_str().unwrap().to_owned();
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    async fn until(server: &Arc<Server>, name: &str, is_enough: impl Fn(i64) -> bool) {
        for _ in 0..600 {
            if is_enough(metric(server, name).await) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{name} stays at {}", metric(server, name).await);
    }

    fn flip(file: &Path) {
        let file = std::fs::File::options().read(true).write(true).open(file).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, 500).unwrap();
        file.write_all_at(&[byte[0] ^ 1], 500).unwrap();
    }

    const MAPS: &str = "/api/v1/namespaces/default/configmaps";

    async fn make(server: &Arc<Server>, name: &str) {
        let map = json!({"metadata": {"name": name}, "data": {"k": "v"}}).to_string();
        assert_eq!(call(server, admin(), "POST", MAPS, &map).await.0, 201);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_finds_damage_below_it_and_mends_it() {
        let pki = Pki::new();
        let folder = pki.path().join("store");
        let mut config = pki.config();
        config.etcd = None;
        config.store_dir = Some(folder.clone());
        config.store_scrub_interval = Duration::from_secs(1);
        let server = Server::open(config.clone()).unwrap();
        server.start().await.unwrap();
        make(&server, "m").await;
        until(&server, "canopus_store_scrub_read_bytes_total", |bytes| bytes > 0).await;
        assert_eq!(metric(&server, "canopus_store_scrub_repairs_total").await, 0);

        let segment = folder.join("log-000000000001");
        flip(&segment);
        until(&server, "canopus_store_scrub_repairs_total", |repairs| repairs == 1).await;
        until(&server, "canopus_store_scrub_damaged_files", |files| files == 0).await;
        assert!(!segment.exists());
        assert!(metric(&server, "canopus_store_scrub_last_timestamp_seconds").await > 1_700_000_000);
        server.shutdown.cancel();
        server.registry.store().close().await;
        drop(server);
        let server = Server::open(config).unwrap();
        assert_eq!(call(&server, admin(), "GET", &format!("{MAPS}/m"), "").await.1["data"]["k"], "v");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn damage_of_history_is_told_and_nothing_is_written_anew_for_it() {
        let pki = Pki::new();
        let folder = pki.path().join("store");
        let mut config = pki.config();
        config.etcd = None;
        config.store_dir = Some(folder.clone());
        config.history_retention = Retention { revisions: Some(1_000_000), ..Retention::OFF };
        config.store_scrub_interval = Duration::from_secs(1);
        let server = Server::open(config).unwrap();
        server.start().await.unwrap();
        make(&server, "m").await;
        server.registry.store().rewrite().await.unwrap();
        flip(&folder.join("log-000000000001"));
        until(&server, "canopus_store_scrub_damaged_history_files", |files| files == 1).await;
        until(&server, "canopus_store_scrub_lost_history_revisions", |lost| lost > 0).await;
        assert_eq!(metric(&server, "canopus_store_scrub_damaged_files").await, 0);
        assert_eq!(metric(&server, "canopus_store_scrub_repairs_total").await, 0);
        assert_eq!(call(&server, admin(), "GET", &format!("{MAPS}/m"), "").await.0, 200);
        server.shutdown.cancel();
    }
}
