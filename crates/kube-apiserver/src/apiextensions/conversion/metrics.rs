//! What conversions by webhook count, under upstream's names.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

const BUCKETS: [f64; 14] = [0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// Cheap to clone.
#[derive(Clone)]
pub struct ConversionMetrics {
    requests: Family<Asked, Counter>,
    durations: Family<Asked, Histogram>,
}

/// What was wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    Call,
    MalformedResponse,
    PartialResponse,
    InvalidConvertedObject,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    failure_type: &'static str,
    result: &'static str,
}

impl Default for ConversionMetrics {
    fn default() -> Self {
        Self { requests: Family::default(), durations: Family::new_with_constructor(|| Histogram::new(BUCKETS)) }
    }
}

impl ConversionMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "apiserver_crd_conversion_webhook_request",
            "Questions to conversion webhooks by their end",
            self.requests.clone(),
        );
        registry.register(
            "apiserver_crd_conversion_webhook_duration_seconds",
            "Time that conversion webhooks took to answer",
            self.durations.clone(),
        );
    }

    pub fn observe(&self, failed: Option<Failed>, took: Duration) {
        let (result, failure_type) = match failed {
            None => ("success", ""),
            Some(Failed::Call) => ("failure", "conversion_webhook_call_failure"),
            Some(Failed::MalformedResponse) => ("failure", "conversion_webhook_malformed_response_failure"),
            Some(Failed::PartialResponse) => ("failure", "conversion_webhook_partial_response_failure"),
            Some(Failed::InvalidConvertedObject) => ("failure", "conversion_webhook_invalid_converted_object_failure"),
        };
        let labels = Asked { failure_type, result };
        self.requests.get_or_create(&labels).inc();
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
    }
}
