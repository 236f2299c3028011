//! An IPAddress takes its address out of what Services can get, whoever made it.

use std::net::Ipv4Addr;

use api::Kind;
use async_trait::async_trait;
use serde_json::Value;

use super::{Registry, Strategy, object};
use crate::registry::allocator::Pool;
use crate::registry::keys;

pub struct IpAddressStrategy;

#[async_trait]
impl Strategy for IpAddressStrategy {
    async fn settle(&self, registry: &Registry, now: Option<&Value>, _: Option<&Value>) {
        if let Some(now) = now {
            note(registry, now);
        }
    }

    fn deleted(&self, registry: &Registry, object: &Value) {
        if let Some(address) = address(object) {
            registry.allocators().release(Pool::Address, address, &owner(object));
        }
    }

    fn rebuild(&self, registry: &Registry, kind: &'static Kind) {
        registry.list(kind, "").iter().for_each(|object| note(registry, object));
    }
}

/// Of a Service's address it is the Service that holds it.
fn note(registry: &Registry, object: &Value) {
    if let Some(address) = address(object) {
        registry.allocators().note_unless_held(Pool::Address, address, &owner(object));
    }
}

fn address(object: &Value) -> Option<u32> {
    object::name(object).parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits)
}

fn owner(object: &Value) -> String {
    keys::object(&api::networking::ip_address::KIND, "", object::name(object))
}
