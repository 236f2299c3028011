//! services/proxy: a ready endpoint of a Service.

use std::net::IpAddr;

use machinery::go_text::quote;
use machinery::status::Status;
use rand::RngExt as _;
use serde_json::Value;

use super::pod;
use crate::registry::Registry;

/// The address and port to go to for `port` (a number, a name, or "" for the only one) of a Service.
pub fn endpoint(registry: &Registry, namespace: &str, name: &str, port: &str) -> Result<(IpAddr, u16), Status> {
    let (services, _) = api::find("", "v1", "services").ok_or_else(Status::not_found_path)?;
    let service = registry.get(services, namespace, name)?;
    let port_name = port_name(&service, name, port)?;
    let none = || Status::service_unavailable(format!("no endpoints available for service {}", quote(name)));
    let (slices, _) = api::find("discovery.k8s.io", "v1", "endpointslices").ok_or_else(none)?;
    let slices = registry.list(slices, namespace);
    let own = slices.iter().filter(|slice| slice["metadata"]["labels"]["kubernetes.io/service-name"] == name);
    let mut candidates = Vec::new();
    for slice in own {
        let ports = slice["ports"].as_array().into_iter().flatten();
        let port = ports.filter(|port| pod::text(port, "/name") == port_name).find_map(|port| port["port"].as_u64());
        let Some(port) = port.and_then(|port| u16::try_from(port).ok()) else { continue };
        for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
            if let Some(address) = ready_address(registry, namespace, endpoint) {
                candidates.push((address, port));
            }
        }
    }
    if candidates.is_empty() {
        return Err(none());
    }
    Ok(candidates[rand::rng().random_range(0..candidates.len())])
}

/// Slices name ports; requests may give the Service's number instead.
fn port_name(service: &Value, name: &str, port: &str) -> Result<String, Status> {
    let ports: Vec<&Value> = service.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten().collect();
    if let Ok(number) = port.parse::<u64>() {
        let found = ports.iter().find(|own| own["port"].as_u64() == Some(number));
        return match found {
            Some(found) => Ok(pod::text(found, "/name").to_owned()),
            None => {
                let message = format!("no service port {number} found for service {}", quote(name));
                Err(Status::service_unavailable(message))
            }
        };
    }
    match ports[..] {
        [only] if port.is_empty() => Ok(pod::text(only, "/name").to_owned()),
        _ => Ok(port.to_owned()),
    }
}

/// The endpoint's address when it is ready and really is a pod's: otherwise whoever may write endpoints could reach
/// whatever the server can.
fn ready_address(registry: &Registry, namespace: &str, endpoint: &Value) -> Option<IpAddr> {
    if endpoint.pointer("/conditions/ready").and_then(Value::as_bool) == Some(false) {
        return None;
    }
    if pod::text(endpoint, "/targetRef/kind") != "Pod" {
        return None;
    }
    let pod = pod::get(registry, namespace, pod::text(endpoint, "/targetRef/name")).ok()?;
    let own: Vec<&str> = pod.pointer("/status/podIPs")?.as_array()?.iter().map(|ip| pod::text(ip, "/ip")).collect();
    let mut addresses = endpoint["addresses"].as_array()?.iter().filter_map(Value::as_str);
    let address = addresses.find(|address| own.contains(address))?;
    address.parse().ok().filter(super::proxy::is_proxyable)
}
