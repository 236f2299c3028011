//! What is counted of other servers, under upstream's names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Default)]
pub struct AggregatorMetrics {
    unavailable: Family<Service, Gauge>,
    failures: Family<Failure, Counter>,
}

/// APIServices are named by administrators, so their names bound the series.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Service {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    name: String,
    reason: &'static str,
}

impl AggregatorMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "aggregator_unavailable_apiservice",
            "Whether the server behind an APIService cannot be asked",
            self.unavailable.clone(),
        );
        registry.register(
            "aggregator_unavailable_apiservice",
            "How often the server behind an APIService was found not to be there, by the reason",
            self.failures.clone(),
        );
    }

    /// A check was made; the reason is that of a failure.
    pub fn observe(&self, name: &str, failure: Option<&'static str>) {
        let service = Service { name: name.to_owned() };
        self.unavailable.get_or_create(&service).set(i64::from(failure.is_some()));
        if let Some(reason) = failure {
            self.failures.get_or_create(&Failure { name: name.to_owned(), reason }).inc();
        }
    }
}
