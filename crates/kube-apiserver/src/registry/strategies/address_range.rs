//! ServiceCIDRs say from where Services get their addresses: the allocator follows them.

use api::Kind;
use async_trait::async_trait;
use serde_json::Value;

use super::{Registry, Strategy, object};
use crate::registry::allocator::Range;

pub struct AddressRangeStrategy;

#[async_trait]
impl Strategy for AddressRangeStrategy {
    async fn settle(&self, registry: &Registry, _: Option<&Value>, _: Option<&Value>) {
        follow(registry);
    }

    fn rebuild(&self, registry: &Registry, _: &'static Kind) {
        follow(registry);
    }
}

fn follow(registry: &Registry) {
    let kind = &api::networking::service_cidr::KIND;
    registry.allocators().follow(|own| {
        let objects = registry.list(kind, "");
        // The servers' own range is good before anybody said so, until it is to go.
        let own_goes = objects
            .iter()
            .any(|range| object::name(range) == api::networking::service_cidr::DEFAULT && object::is_deleting(range));
        let ready = objects.iter().filter(|range| !object::is_deleting(range) && is_ready(range));
        let ready = ready.flat_map(|range| object::texts(range, "/spec/cidrs").filter_map(Range::of_network));
        let mut ranges: Vec<Range> = (!own_goes).then_some(own).into_iter().collect();
        for range in ready {
            if !ranges.contains(&range) {
                ranges.push(range);
            }
        }
        ranges
    });
}

fn is_ready(range: &Value) -> bool {
    let conditions = object::list(range, "/status/conditions");
    conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}
