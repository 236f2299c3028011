//! Events sent to watchers, by resource.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const SIZE_BUCKETS: [f64; 8] = [1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resource {
    group: String,
    version: String,
    resource: String,
}

#[derive(Clone)]
pub(super) struct Watches {
    events: Family<Resource, Counter>,
    sizes: Family<Resource, Histogram>,
}

/// The counters of one resource; looked up once a watch.
#[derive(Clone)]
pub struct WatchCounters {
    events: Counter,
    sizes: Histogram,
}

impl WatchCounters {
    /// An event of this many bytes was sent.
    pub fn sent(&self, bytes: usize) {
        self.events.inc();
        self.sizes.observe(bytes as f64);
    }
}

impl Default for Watches {
    fn default() -> Self {
        Self { events: Family::default(), sizes: Family::new_with_constructor(|| Histogram::new(SIZE_BUCKETS)) }
    }
}

impl Watches {
    pub fn register(&self, registry: &mut Registry) {
        registry.register("apiserver_watch_events", "Events sent to watchers", self.events.clone());
        registry.register("apiserver_watch_events_sizes", "Bytes of events sent to watchers", self.sizes.clone());
    }

    pub fn of(&self, group: &str, version: &str, resource: &str) -> WatchCounters {
        let labels = Resource { group: group.into(), version: version.into(), resource: resource.into() };
        let (events, sizes) = (self.events.get_or_create(&labels).clone(), self.sizes.get_or_create(&labels).clone());
        WatchCounters { events, sizes }
    }
}
