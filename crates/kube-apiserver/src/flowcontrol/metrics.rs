//! What flow control counts, under upstream's names.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::level::{Counts, Rejection};

const WAIT_BUCKETS: [f64; 12] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLevel {
    priority_level: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSchema {
    priority_level: String,
    flow_schema: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    priority_level: String,
    flow_schema: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Waited {
    priority_level: String,
    flow_schema: String,
    execute: &'static str,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct FlowMetrics {
    dispatched: Family<OfSchema, Counter>,
    rejected: Family<Refused, Counter>,
    waited: Family<Waited, Histogram>,
    nominal: Family<OfLevel, Gauge>,
    lower: Family<OfLevel, Gauge>,
    upper: Family<OfLevel, Gauge>,
    current: Family<OfLevel, Gauge>,
    executing_seats: Family<OfLevel, Gauge>,
    executing_requests: Family<OfLevel, Gauge>,
    waiting_seats: Family<OfLevel, Gauge>,
    waiting_requests: Family<OfLevel, Gauge>,
}

impl Default for FlowMetrics {
    fn default() -> Self {
        Self {
            dispatched: Family::default(),
            rejected: Family::default(),
            waited: Family::new_with_constructor(|| Histogram::new(WAIT_BUCKETS)),
            nominal: Family::default(),
            lower: Family::default(),
            upper: Family::default(),
            current: Family::default(),
            executing_seats: Family::default(),
            executing_requests: Family::default(),
            waiting_seats: Family::default(),
            waiting_requests: Family::default(),
        }
    }
}

impl FlowMetrics {
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("apiserver_flowcontrol");
        registry.register("dispatched_requests", "Requests that were let in", self.dispatched.clone());
        registry.register("rejected_requests", "Requests that were turned away", self.rejected.clone());
        registry.register(
            "request_wait_duration_seconds",
            "Time that requests waited for their seats",
            self.waited.clone(),
        );
        for (name, help, gauge) in [
            ("nominal_limit_seats", "Seats that a level has by its shares", &self.nominal),
            ("lower_limit_seats", "Seats that a level never lends", &self.lower),
            ("upper_limit_seats", "Seats that a level has at most, with what it borrows", &self.upper),
            ("current_limit_seats", "Seats that a level has now", &self.current),
            ("current_executing_seats", "Seats taken", &self.executing_seats),
            ("current_executing_requests", "Requests being served", &self.executing_requests),
            ("current_inqueue_seats", "Seats waited for", &self.waiting_seats),
            ("current_inqueue_requests", "Requests that wait", &self.waiting_requests),
        ] {
            registry.register(name, help, gauge.clone());
        }
    }

    pub(super) fn dispatched(&self, level: &str, schema: &str, waited: Duration) {
        let (priority_level, flow_schema) = (level.to_owned(), schema.to_owned());
        self.waited(level, schema, "true", waited);
        self.dispatched.get_or_create(&OfSchema { priority_level, flow_schema }).inc();
    }

    pub(super) fn rejected(&self, level: &str, schema: &str, why: Rejection, waited: Duration) {
        let (priority_level, flow_schema) = (level.to_owned(), schema.to_owned());
        self.waited(level, schema, "false", waited);
        self.rejected.get_or_create(&Refused { priority_level, flow_schema, reason: why.reason() }).inc();
    }

    fn waited(&self, level: &str, schema: &str, execute: &'static str, waited: Duration) {
        let (priority_level, flow_schema) = (level.to_owned(), schema.to_owned());
        self.waited.get_or_create(&Waited { priority_level, flow_schema, execute }).observe(waited.as_secs_f64());
    }

    pub(super) fn level(&self, level: &str, counts: &Counts) {
        for (gauge, value) in [
            (&self.nominal, counts.nominal),
            (&self.lower, counts.lower),
            (&self.upper, counts.upper),
            (&self.current, counts.current),
            (&self.executing_seats, counts.executing_seats),
            (&self.executing_requests, counts.executing_requests),
            (&self.waiting_seats, counts.waiting_seats),
            (&self.waiting_requests, counts.waiting_requests),
        ] {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            gauge.get_or_create(&OfLevel { priority_level: level.to_owned() }).set(value);
        }
    }
}
