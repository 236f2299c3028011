//! Services get their cluster address and node ports here.
//!
//! On create and update: what the Service names itself is reserved for it, what it leaves open is chosen; what it had
//! and no longer needs is given up once the write has happened.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use api::Kind;
use async_trait::async_trait;
use machinery::field::{Error, Path};
use machinery::gvk::GroupKind;
use machinery::status::Status;
use serde_json::{Value, json};

use super::{Registry, Strategy, addresses, object};
use crate::registry::allocator::{AllocateError, Pool, Reservation};
use crate::registry::{group_kind, keys};

const NONE: &str = "None";

pub struct ServiceStrategy;

#[async_trait]
impl Strategy for ServiceStrategy {
    fn reserve(
        &self,
        registry: &Registry,
        new: &mut Value,
        old: Option<&Value>,
        _: bool,
    ) -> Result<Reservation, Status> {
        let Some((kind, _)) = api::find("", "v1", "services") else { return Ok(Reservation::default()) };
        let owner = keys::object(kind, object::namespace(new), object::name(new));
        let mut reservation = Reservation::new(registry.allocators().clone(), owner);
        let check = |owner: &str, value: u32| still_holds(registry, kind, owner, value);
        fill_addresses(kind, new, old, &mut reservation, &check)?;
        fill_ports(kind, new, old, &mut reservation, &check)?;
        fill_health_check_port(new, old, &mut reservation, &check)?;
        Ok(reservation)
    }

    async fn prepare(&self, registry: &Registry, new: &Value, old: Option<&Value>) -> Result<(), Status> {
        let claimed = claim_ports(registry, new, old).await?;
        let known = old.map(addresses::of).unwrap_or_default();
        for address in addresses::of(new).difference(&known) {
            let is_ours = addresses::claim(registry, *address, new).await;
            if !matches!(is_ours, Ok(true)) {
                crate::etcd::node_ports::release(registry, &claimed).await;
            }
            if !is_ours? {
                let path = Path::new("spec");
                let detail = format!("failed to allocate IP {address}: {}", AllocateError::AddressTaken);
                let list: Vec<&str> = object::texts(new, "/spec/clusterIPs").collect();
                let error = Error::invalid(&path.child("clusterIPs"), list, detail);
                return Err(invalid(&api::core::service::KIND, new, error));
            }
        }
        Ok(())
    }

    async fn settle(&self, registry: &Registry, now: Option<&Value>, other: Option<&Value>) {
        let kept = now.map(addresses::of).unwrap_or_default();
        let Some(other) = other else { return };
        if shares_ports(registry) {
            let kept: BTreeSet<u32> = now.map(node_ports).unwrap_or_default();
            let left = node_ports(other).difference(&kept).copied().collect();
            crate::etcd::node_ports::release(registry, &left).await;
        }
        for address in addresses::of(other).difference(&kept) {
            addresses::give_up(registry, *address, other).await;
        }
    }

    fn deleted(&self, registry: &Registry, object: &Value) {
        let Some((kind, _)) = api::find("", "v1", "services") else { return };
        let owner = keys::object(kind, object::namespace(object), object::name(object));
        let mut reservation = Reservation::new(registry.allocators().clone(), owner);
        for (pool, value) in values_of(object) {
            reservation.give_up(pool, value);
        }
        reservation.commit();
    }

    fn rebuild(&self, registry: &Registry, kind: &'static Kind) {
        for service in registry.list(kind, "") {
            let owner = keys::object(kind, object::namespace(&service), object::name(&service));
            for (pool, value) in values_of(&service) {
                registry.allocators().note(pool, value, &owner);
            }
        }
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}

/// Whether other servers hand out ports too.
fn shares_ports(registry: &Registry) -> bool {
    registry.store().is_shared()
}

/// Claims what a Service has and had not before from all servers.
async fn claim_ports(registry: &Registry, new: &Value, old: Option<&Value>) -> Result<BTreeSet<u32>, Status> {
    if !shares_ports(registry) {
        return Ok(BTreeSet::new());
    }
    let known = old.map(node_ports).unwrap_or_default();
    let wanted: BTreeSet<u32> = node_ports(new).difference(&known).copied().collect();
    match crate::etcd::node_ports::claim(registry, &wanted).await? {
        None => Ok(wanted),
        Some(port) => {
            let at =
                object::list(new, "/spec/ports").iter().position(|own| port_number(own.get("nodePort")) == Some(port));
            let Some(at) = at else { return Err(full(&AllocateError::PortTaken)) };
            let (spec, taken) = (Path::new("spec"), AllocateError::PortTaken.to_string());
            let ports = spec.child("ports");
            let item = ports.index(at);
            Err(invalid(&api::core::service::KIND, new, Error::invalid(&item.child("nodePort"), port, taken)))
        }
    }
}

/// The ports that a Service has on every node.
pub fn node_ports(service: &Value) -> BTreeSet<u32> {
    ports_of(service).into_iter().chain(health_check_port(service)).collect()
}

/// Another server may have written a Service: what it holds now is noted, what it no longer holds given up.
pub fn changed(registry: &Registry, owner: &str, before: Option<&Value>, now: Option<&Value>) {
    let held = now.map(values_of).unwrap_or_default();
    for (pool, value) in before.map(values_of).unwrap_or_default() {
        if !held.contains(&(pool, value)) {
            registry.allocators().release(pool, value, owner);
        }
    }
    for (pool, value) in held {
        registry.allocators().note_unless_held(pool, value, owner);
    }
}

/// Everything a Service holds.
fn values_of(service: &Value) -> Vec<(Pool, u32)> {
    let addresses = addresses_of(service).into_iter().map(|address| (Pool::Address, address));
    let ports = ports_of(service).into_iter().chain(health_check_port(service)).map(|port| (Pool::Port, port));
    addresses.chain(ports).collect()
}

fn addresses_of(service: &Value) -> Vec<u32> {
    object::texts(service, "/spec/clusterIPs")
        .filter_map(|text| Some(text.parse::<Ipv4Addr>().ok()?.to_bits()))
        .collect()
}

fn ports_of(service: &Value) -> Vec<u32> {
    object::list(service, "/spec/ports").iter().filter_map(|port| port_number(port.get("nodePort"))).collect()
}

fn health_check_port(service: &Value) -> Option<u32> {
    port_number(service.pointer("/spec/healthCheckNodePort"))
}

fn port_number(value: Option<&Value>) -> Option<u32> {
    value.and_then(Value::as_u64).and_then(|port| u32::try_from(port).ok()).filter(|port| *port != 0)
}

fn still_holds(registry: &Registry, kind: &Kind, owner: &str, value: u32) -> bool {
    if !owner.starts_with(&keys::prefix(kind)) {
        return registry.store().get(owner).is_some();
    }
    let service = keys::parse(kind, owner).and_then(|(namespace, name)| registry.get(kind, namespace, name).ok());
    service.is_some_and(|service| values_of(&service).iter().any(|(_, held)| *held == value))
}

fn invalid(kind: &Kind, service: &Value, error: Error) -> Status {
    let kind: GroupKind = group_kind(kind);
    Status::invalid(&kind, object::name(service), vec![error])
}

fn service_type(service: &Value) -> &str {
    match object::text(service, "/spec/type") {
        "" => "ClusterIP",
        text => text,
    }
}

fn fill_addresses(
    kind: &Kind,
    new: &mut Value,
    old: Option<&Value>,
    reservation: &mut Reservation,
    check: &dyn Fn(&str, u32) -> bool,
) -> Result<(), Status> {
    let held = old.map(addresses_of).unwrap_or_default();
    if service_type(new) == "ExternalName" {
        held.into_iter().for_each(|address| reservation.give_up(Pool::Address, address));
        return Ok(());
    }
    // The two ways of naming the address are brought together first; where they disagree, validation says so.
    let first = object::text(new, "/spec/clusterIP").to_owned();
    let mut list: Vec<String> = object::texts(new, "/spec/clusterIPs").map(str::to_owned).collect();
    let disagree = list.first().is_some_and(|address| *address != first);
    if list.is_empty() && !first.is_empty() {
        list.push(first.clone());
    }
    if disagree || list.iter().any(|address| address == NONE) {
        if !first.is_empty() && object::list(new, "/spec/clusterIPs").is_empty() {
            object::map_mut(new, "spec").insert("clusterIPs".to_owned(), json!(list));
        }
        fill_families(new);
        return Ok(());
    }
    if list.is_empty() {
        let address = held.first().copied().map_or_else(
            || {
                reservation.take_any(Pool::Address).map_err(|error| {
                    let path = Path::new("spec");
                    let detail = format!("failed to allocate a serviceIP: {error}");
                    invalid(kind, new, Error::internal(&path.child("clusterIPs"), detail))
                })
            },
            Ok,
        )?;
        list.push(Ipv4Addr::from_bits(address).to_string());
    } else {
        for text in &list {
            let Ok(address) = text.parse::<Ipv4Addr>() else { continue };
            if held.contains(&address.to_bits()) || !held.is_empty() {
                // A Service keeps the address it has; validation refuses another.
                continue;
            }
            reservation.take(Pool::Address, address.to_bits(), check).map_err(|error| {
                let path = Path::new("spec");
                let detail = format!("failed to allocate IP {text}: {error}");
                invalid(kind, new, Error::invalid(&path.child("clusterIPs"), &list, detail))
            })?;
        }
    }
    let spec = object::map_mut(new, "spec");
    spec.insert("clusterIP".to_owned(), list.first().cloned().unwrap_or_default().into());
    spec.insert("clusterIPs".to_owned(), json!(list));
    fill_families(new);
    Ok(())
}

/// One family: this cluster's. A headless Service without a selector says that its endpoints may be of any.
fn fill_families(new: &mut Value) {
    let headless = object::text(new, "/spec/clusterIP") == NONE;
    let selects = new.pointer("/spec/selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty());
    let any = headless && !selects;
    let spec = object::map_mut(new, "spec");
    if spec.get("ipFamilyPolicy").is_none_or(Value::is_null) {
        let policy = if any { "RequireDualStack" } else { "SingleStack" };
        spec.insert("ipFamilyPolicy".to_owned(), policy.into());
    }
    if spec.get("ipFamilies").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let families = if any { json!(["IPv4", "IPv6"]) } else { json!(["IPv4"]) };
        spec.insert("ipFamilies".to_owned(), families);
    }
}

fn wants_node_ports(service: &Value) -> bool {
    match service_type(service) {
        "NodePort" => true,
        "LoadBalancer" => {
            service.pointer("/spec/allocateLoadBalancerNodePorts").and_then(Value::as_bool).unwrap_or(true)
        }
        _ => false,
    }
}

fn fill_ports(
    kind: &Kind,
    new: &mut Value,
    old: Option<&Value>,
    reservation: &mut Reservation,
    check: &dyn Fn(&str, u32) -> bool,
) -> Result<(), Status> {
    let held = old.map(ports_of).unwrap_or_default();
    let may_have = matches!(service_type(new), "NodePort" | "LoadBalancer");
    let wanted = wants_node_ports(new);
    let name = object::name(new).to_owned();
    let mut used: Vec<u32> = Vec::new();
    // The same number serves two protocols of one port, as DNS wants it: (port, nodePort) pairs chosen so far.
    let mut chosen: Vec<(u64, String, u32)> = Vec::new();
    let ports = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut).map(Vec::as_mut_slice).unwrap_or_default();
    for (index, port) in ports.iter_mut().enumerate() {
        let Some(fields) = port.as_object_mut() else { continue };
        let protocol = fields.get("protocol").and_then(Value::as_str).unwrap_or("TCP").to_owned();
        let number = fields.get("port").and_then(Value::as_u64).unwrap_or_default();
        let asked = port_number(fields.get("nodePort"));
        let node_port = match asked {
            Some(value) if !may_have => {
                // Carried over by a change of the type: not an error, it is simply no longer there.
                if held.contains(&value) {
                    fields.shift_remove("nodePort");
                }
                continue;
            }
            Some(value) => {
                if !held.contains(&value) && !used.contains(&value) {
                    reservation.take(Pool::Port, value, check).map_err(|error| {
                        let spec = Path::new("spec");
                        let ports = spec.child("ports");
                        let item = ports.index(index);
                        let error = Error::invalid(&item.child("nodePort"), value, error.to_string());
                        Status::invalid(&group_kind(kind), &name, vec![error])
                    })?;
                }
                value
            }
            None if !wanted => continue,
            None => {
                let shared =
                    chosen.iter().find(|(other, other_protocol, _)| *other == number && *other_protocol != protocol);
                match shared {
                    Some((_, _, value)) => *value,
                    None => reservation.take_any(Pool::Port).map_err(|error| full(&error))?,
                }
            }
        };
        fields.insert("nodePort".to_owned(), node_port.into());
        used.push(node_port);
        chosen.push((number, protocol, node_port));
    }
    for value in held {
        if !used.contains(&value) {
            reservation.give_up(Pool::Port, value);
        }
    }
    Ok(())
}

fn full(error: &AllocateError) -> Status {
    Status::internal(format!("failed to allocate a nodePort: {error}"))
}

fn fill_health_check_port(
    new: &mut Value,
    old: Option<&Value>,
    reservation: &mut Reservation,
    check: &dyn Fn(&str, u32) -> bool,
) -> Result<(), Status> {
    let needs = service_type(new) == "LoadBalancer" && object::text(new, "/spec/externalTrafficPolicy") == "Local";
    let held = old.and_then(health_check_port);
    if !needs {
        if let Some(port) = held {
            reservation.give_up(Pool::Port, port);
            if health_check_port(new) == Some(port) {
                object::map_mut(new, "spec").shift_remove("healthCheckNodePort");
            }
        }
        return Ok(());
    }
    if held.is_some() {
        // It stays; validation refuses another, an update that leaves it out keeps it.
        if health_check_port(new).is_none() {
            object::map_mut(new, "spec").insert("healthCheckNodePort".to_owned(), held.into());
        }
        return Ok(());
    }
    let asked = new.pointer("/spec/healthCheckNodePort").and_then(Value::as_i64).filter(|port| *port != 0);
    let port = match asked {
        Some(asked) => {
            // What is no port number is out of the range like any other.
            let value = u32::try_from(asked).unwrap_or(0);
            reservation.take(Pool::Port, value, check).map_err(|error| {
                Status::internal(format!("failed to allocate requested HealthCheck NodePort {asked}: {error}"))
            })?;
            value
        }
        None => reservation.take_any(Pool::Port).map_err(|error| full(&error))?,
    };
    object::map_mut(new, "spec").insert("healthCheckNodePort".to_owned(), port.into());
    Ok(())
}
