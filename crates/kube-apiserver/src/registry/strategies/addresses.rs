//! The IPAddresses of Services: made before a Service has an address, gone after it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use api::Kind;
use machinery::status::Status;
use serde_json::{Value, json};

use super::{Registry, object};
use crate::registry::{DeleteOptions, NoAdmission, WriteOptions};

const KIND: &Kind = &api::networking::ip_address::KIND;
const SERVICES: &Kind = &api::core::service::KIND;
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const ALLOCATOR: &str = "ipallocator.k8s.io";
const TRIES: usize = 3;

/// The cluster addresses of a Service.
pub fn of(service: &Value) -> BTreeSet<IpAddr> {
    object::texts(service, "/spec/clusterIPs").filter_map(|text| text.parse().ok()).collect()
}

/// Writes down that a Service has an address; `false` where somebody else has it.
pub async fn claim(registry: &Registry, address: IpAddr, service: &Value) -> Result<bool, Status> {
    let name = address.to_string();
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    let parent = json!({
        "group": SERVICES.group,
        "resource": SERVICES.plural,
        "namespace": object::namespace(service),
        "name": object::name(service),
    });
    let claim = json!({
        "metadata": { "name": name, "labels": { FAMILY: family, MANAGED_BY: ALLOCATOR } },
        "spec": { "parentRef": parent },
    });
    for _ in 0..TRIES {
        match registry.create(KIND, "", claim.clone(), &WriteOptions::default(), &NoAdmission).await {
            Err(status) if status.is_already_exists() => {}
            result => return result.map(|_| true),
        }
        let Ok(current) = registry.get(KIND, "", &name) else { continue };
        if owner(&current) == Some((object::namespace(service), object::name(service))) {
            return Ok(true);
        }
        // The Service before may be gone and its address still on the way out.
        if !is_left_over(registry, &current) {
            return Ok(false);
        }
        release(registry, &current).await?;
    }
    Ok(false)
}

/// Takes back what was written down for a Service about an address that it no longer has.
pub async fn give_up(registry: &Registry, address: IpAddr, service: &Value) {
    let Ok(current) = registry.get(KIND, "", &address.to_string()) else { return };
    if owner(&current) != Some((object::namespace(service), object::name(service))) {
        return;
    }
    if let Err(status) = release(registry, &current).await {
        // What is left over is found by the next repair.
        tracing::warn!(%address, %status, "failed to give an address up");
    }
}

/// Makes what lacks for the Services there are, and removes what Services left that are gone.
pub async fn repair(registry: &Registry) -> Result<(), Status> {
    for service in registry.list(SERVICES, "") {
        for address in of(&service) {
            if registry.entry(KIND, "", &address.to_string()).is_err() && !claim(registry, address, &service).await? {
                tracing::warn!(%address, service = object::name(&service), "an address belongs to somebody else");
            }
        }
    }
    for address in registry.list(KIND, "") {
        if is_left_over(registry, &address) {
            release(registry, &address).await?;
        }
    }
    Ok(())
}

/// The Service for which an address was written down.
fn owner(address: &Value) -> Option<(&str, &str)> {
    let part = |field: &str| object::text(address, &format!("/spec/parentRef/{field}"));
    let is_service = part("group") == SERVICES.group && part("resource") == SERVICES.plural;
    is_service.then(|| (part("namespace"), part("name")))
}

/// Written down by the allocator for a Service that does not have it. One that is only just being made is none: its
/// address is reserved.
fn is_left_over(registry: &Registry, address: &Value) -> bool {
    if address["metadata"]["labels"][MANAGED_BY] != ALLOCATOR {
        return false;
    }
    let Some((namespace, name)) = owner(address) else { return false };
    let Ok(parsed) = object::name(address).parse::<IpAddr>() else { return false };
    let has = registry.get(SERVICES, namespace, name).is_ok_and(|service| of(&service).contains(&parsed));
    !has && !registry.allocators().is_pending(parsed)
}

async fn release(registry: &Registry, address: &Value) -> Result<(), Status> {
    let options = DeleteOptions { uid: Some(object::uid(address).to_owned()), ..DeleteOptions::default() };
    match registry.delete(KIND, "", object::name(address), &options, &NoAdmission).await {
        Err(status) if !(status.is_not_found() || status.is_conflict()) => Err(status),
        _ => Ok(()),
    }
}
