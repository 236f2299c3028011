//! What audit counts, under upstream's names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// Cheap to clone.
#[derive(Clone, Default)]
pub struct AuditMetrics {
    pub events: Counter,
    pub rejected: Counter,
    errors: Family<Failed, Counter>,
    levels: Family<Leveled, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    plugin: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Leveled {
    level: &'static str,
}

impl AuditMetrics {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("apiserver_audit_event", "Audit events given to the backends", self.events.clone());
        registry.register(
            "apiserver_audit_requests_rejected",
            "Requests that failed because their audit event could not be written",
            self.rejected.clone(),
        );
        registry.register(
            "apiserver_audit_error",
            "Audit events that were lost, by the part that lost them",
            self.errors.clone(),
        );
        registry.register("apiserver_audit_level", "Requests by the level of their audit rule", self.levels.clone());
    }

    pub fn failed(&self, plugin: &'static str, events: usize) {
        self.errors.get_or_create(&Failed { plugin }).inc_by(events as u64);
    }

    pub fn leveled(&self, level: &'static str) {
        self.levels.get_or_create(&Leveled { level }).inc();
    }
}
