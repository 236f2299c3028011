//! What `/metrics` of the API server says of scheduled backups.

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct BackupMetrics {
    last_success: Gauge,
    failures: Counter,
    last_size: Gauge,
}

impl BackupMetrics {
    pub fn register(&self, registry: &mut Registry) {
        let (name, help) = ("canopus_backup_last_success_timestamp_seconds", "When the newest backup was made");
        registry.register(name, help, self.last_success.clone());
        // Counters get their `_total` when they are written.
        registry.register("canopus_backup_failures", "Tries of a backup that failed", self.failures.clone());
        registry.register("canopus_backup_last_size_bytes", "Size of the newest backup", self.last_size.clone());
    }

    /// A backup of an earlier life was found.
    pub fn found(&self, at: Timestamp) {
        self.last_success.set(at.as_second());
    }

    pub fn made(&self, at: Timestamp, bytes: u64) {
        self.last_success.set(at.as_second());
        self.last_size.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub fn failed(&self) {
        self.failures.inc();
    }
}
