//! Events are kept for a while only.

use std::time::Duration;

use super::{Registry, Strategy};

pub struct EventStrategy;

impl Strategy for EventStrategy {
    fn time_to_live(&self, registry: &Registry) -> Option<Duration> {
        Some(registry.config().event_ttl)
    }
}
