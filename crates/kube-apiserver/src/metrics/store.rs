//! The store's own numbers, read when somebody asks. What upstream counts has its name; the rest begins with `canopus_store_`.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;
use store::{Histogram, Store};

use super::GroupResource;
use crate::registry::{Attrs, keys};

#[derive(Debug)]
struct StoreMetrics(Store<Attrs>);

pub fn register(store: Store<Attrs>, registry: &mut Registry) {
    registry.register_collector(Box::new(StoreMetrics(store)));
}

impl Collector for StoreMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let stats = self.0.stats();
        let sizes: Family<GroupResource, Gauge> = Family::default();
        for (prefix, totals) in &stats.resources {
            if let Some((group, resource)) = keys::resource(prefix) {
                let bytes = i64::try_from(totals.bytes).unwrap_or(i64::MAX);
                sizes.get_or_create(&GroupResource { group, resource }).set(bytes);
            }
        }
        let (name, help) = ("apiserver_resource_size_estimate_bytes", "Bytes of the keys and values of a resource");
        sizes.encode(encoder.encode_descriptor(name, help, None, sizes.metric_type())?)?;
        let journal = &stats.journal;
        for (name, help, value) in [
            ("quota_bytes", "Bytes that keys and values may have together; 0 is no limit", stats.quota_bytes),
            (
                "quota_alarm",
                "1 from 80 % of the quota on, until less than 75 % are used; at the quota only deletions are taken",
                stats.quota_alarm.into(),
            ),
            (
                "closed",
                "1 when no writes are taken any more, after a failure of the disk",
                stats.closed.is_some().into(),
            ),
            ("revision", "The newest revision", stats.revision),
            ("compact_revision", "The oldest revision that can be listed exactly", stats.compact_revision),
            ("log_size_bytes", "Bytes in the log since the last snapshot", journal.log_bytes),
            ("history_events", "Events kept for watches and for lists at old revisions", stats.history_events as u64),
            ("history_size_bytes", "Memory that these events hold on to", stats.history_bytes as u64),
            ("watchers", "Open watches of the store", stats.watchers as u64),
        ] {
            let (name, gauge) = (format!("canopus_store_{name}"), ConstGauge::new(value as f64));
            gauge.encode(encoder.encode_descriptor(&name, help, None, gauge.metric_type())?)?;
        }
        // Counters get their `_total` when they are written.
        for (name, help, value) in [
            ("writes", "Writes made durable", stats.writes),
            ("write_conflicts", "Writes refused by their precondition", stats.conflicts),
            ("writes_full", "Writes refused for want of room, of the quota or of the disk", stats.full),
            ("accepted_bytes", "Bytes of the keys and values written", stats.bytes_accepted),
            ("log_written_bytes", "Bytes written to the log", journal.bytes_written),
            ("snapshot_written_bytes", "Bytes written as snapshots", stats.snapshot_bytes),
            ("snapshots", "Snapshots of the whole state written", stats.snapshots),
            ("snapshots_failed", "Snapshots that could not be written", stats.snapshots_failed),
            ("watchers_slow", "Watches ended because they were too slow", stats.watchers_slow),
        ] {
            let (name, counter) = (format!("canopus_store_{name}"), ConstCounter::new(value));
            counter.encode(encoder.encode_descriptor(&name, help, None, counter.metric_type())?)?;
        }
        let (name, help) =
            ("canopus_store_append_duration_seconds", "Time of an append to the log, its fsync included");
        encode_histogram(&mut encoder, name, help, &stats.append_duration)?;
        let (name, help) = ("canopus_store_fsync_duration_seconds", "Time of an fsync of the log");
        encode_histogram(&mut encoder, name, help, &journal.sync_duration)
    }
}

fn encode_histogram(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, durations: &Histogram) -> fmt::Result {
    let last = durations.buckets.len() - 1;
    let bound = |bucket| if bucket == last { f64::INFINITY } else { Histogram::bound(bucket).as_secs_f64() };
    let buckets: Vec<_> = durations.buckets.iter().enumerate().map(|(at, count)| (bound(at), *count)).collect();
    let mut encoder = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    encoder.encode_histogram::<NoLabelSet>(durations.sum.as_secs_f64(), durations.count, &buckets, None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::testing::{Pki, admin, call};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_store_counts_is_told() {
        let pki = Pki::new();
        let mut config = pki.config();
        config.store_dir = Some(pki.path().join("store"));
        config.etcd = None;
        config.quota_backend_bytes = 100_000_000;
        let server = crate::Server::open(config).unwrap();
        server.start().await.unwrap();
        let metrics = async || {
            let (code, text) = call(&server, admin(), "GET", "/metrics", "").await;
            assert_eq!(code, 200);
            let text = text.as_str().unwrap().to_owned();
            move |name: &str| -> f64 {
                let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
                line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).rsplit(' ').next().unwrap().parse().unwrap()
            }
        };
        let before = metrics().await;
        let maps = "apiserver_resource_size_estimate_bytes{group=\"\",resource=\"configmaps\"}";
        let body = json!({"metadata": {"name": "m"}, "data": {"k": "x".repeat(500_000)}}).to_string();
        let maps_path = "/api/v1/namespaces/default/configmaps";
        assert_eq!(call(&server, admin(), "POST", maps_path, &body).await.0, 201);
        let after = metrics().await;
        assert!((500_000.0..501_000.0).contains(&(after(maps))), "{}", after(maps));
        let grown = |name: &str| after(name) - before(name);
        let accepted = grown("canopus_store_accepted_bytes_total");
        assert!(accepted >= 500_000.0 && grown("canopus_store_log_written_bytes_total") > accepted);
        assert_eq!((after("canopus_store_quota_bytes"), after("canopus_store_quota_alarm")), (100_000_000.0, 0.0));
        assert!(grown("canopus_store_fsync_duration_seconds_count") >= 1.0);
        let all = after("canopus_store_fsync_duration_seconds_count");
        assert_eq!(after("canopus_store_fsync_duration_seconds_bucket{le=\"+Inf\"}"), all);
        assert_eq!(after("canopus_store_closed"), 0.0);
    }
}
