//! Endpoints: the addresses behind a Service, all in one object. EndpointSlice took its place; every answer says so.

use std::net::IpAddr;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints};
use machinery::field::{Error, ErrorList, Path};
use machinery::names as formats;
use serde_json::Value;

use crate::kind::{Column, Deprecated, Kind, Version};
use crate::value::{integer, list, text};
use crate::{cells, checks, names};

/// As many addresses a row shows.
const SHOWN_MAX: usize = 3;
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];

pub static KIND: Kind = Kind {
    kind: "Endpoints",
    list_kind: "EndpointsList",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    versions: &[Version {
        deprecated: Some(Deprecated { since: "1.33", removed: None, replacement: "discovery.k8s.io/v1 EndpointSlice" }),
        ..Version::stored("v1", "io.k8s.api.core.v1.Endpoints")
    }],
    create_on_update: true,
    columns: &[
        Column::NAME,
        Column::new(
            "Endpoints",
            "string",
            0,
            "The set of all endpoints is the union of all subsets. Addresses are placed into subsets according to the IPs they share. A single address with multiple ports, some of which are ready and some of which are not (because they come from different containers) will result in the address being displayed in different subsets for the different ports. No address will appear in both Addresses and NotReadyAddresses in the same subset. Sets of addresses and ports that comprise a service.",
        ),
        Column::AGE,
    ],
    cells: |v, now| vec![cells::name(v), shown(v).into(), cells::age(v, now)],
    hooks: hooks!(
        Endpoints,
        true,
        names::subdomain,
        part { default: default, validate: validate, validate_update: validate_update }
    ),
    ..Kind::BASE
};

fn default(endpoints: &mut Endpoints) {
    for port in endpoints.subsets.iter_mut().flatten().flat_map(|s| s.ports.iter_mut().flatten()) {
        port.protocol.get_or_insert_with(|| "TCP".to_string());
    }
}

fn validate(endpoints: &Endpoints) -> ErrorList {
    let path = Path::new("subsets");
    let subsets = endpoints.subsets.iter().flatten().enumerate();
    subsets.flat_map(|(i, subset)| validate_subset(subset, &path.index(i))).collect()
}

/// Subsets that stay as they are need not hold by today's rules.
fn validate_update(new: &Endpoints, old: &Endpoints) -> ErrorList {
    if new.subsets == old.subsets { ErrorList::new() } else { validate(new) }
}

fn validate_subset(subset: &EndpointSubset, path: &Path) -> ErrorList {
    let addresses = subset.addresses.as_deref().unwrap_or(&[]);
    let not_ready = subset.not_ready_addresses.as_deref().unwrap_or(&[]);
    let mut errors = ErrorList::new();
    if addresses.is_empty() && not_ready.is_empty() {
        errors.push(Error::required(path, "must specify `addresses` or `notReadyAddresses`"));
    }
    for (field, addresses) in [("addresses", addresses), ("notReadyAddresses", not_ready)] {
        let path = path.child(field);
        for (i, address) in addresses.iter().enumerate() {
            errors.extend(validate_address(address, &path.index(i)));
        }
    }
    let ports = subset.ports.as_deref().unwrap_or(&[]);
    let path = path.child("ports");
    for (i, port) in ports.iter().enumerate() {
        errors.extend(validate_port(port, ports.len() > 1, &path.index(i)));
    }
    errors
}

fn validate_address(address: &EndpointAddress, path: &Path) -> ErrorList {
    let ip = path.child("ip");
    let mut errors = checks::each(&ip, &address.ip, formats::ip_legacy(&address.ip));
    if let Some(hostname) = address.hostname.as_deref().filter(|h| !h.is_empty()) {
        errors.extend(checks::dns_label(hostname, &path.child("hostname")));
    }
    if let Some(node) = &address.node_name {
        errors.extend(checks::dns_subdomain(node, &path.child("nodeName")));
    }
    errors.extend(checks::not_special_ip(&address.ip, &ip));
    errors
}

fn validate_port(port: &EndpointPort, named: bool, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    match port.name.as_deref().unwrap_or("") {
        "" if named => errors.push(Error::required(&path.child("name"), "")),
        "" => {}
        name => errors.extend(checks::dns_label(name, &path.child("name"))),
    }
    errors.extend(checks::port_number(port.port.into(), &path.child("port")));
    errors.extend(checks::one_of(port.protocol.as_deref(), PROTOCOLS, &path.child("protocol")));
    if let Some(protocol) = &port.app_protocol {
        errors.extend(checks::qualified_name(protocol, &path.child("appProtocol")));
    }
    errors
}

/// The first few ready addresses, once for each port, and how many more there are.
fn shown(endpoints: &Value) -> String {
    let subsets = list(endpoints, "/subsets");
    if subsets.is_empty() {
        return "<none>".to_string();
    }
    let mut all = subsets.iter().flat_map(|subset| {
        let (addresses, ports) = (list(subset, "/addresses"), list(subset, "/ports"));
        // A headless Service may have no ports.
        let alone = addresses.iter().filter(|_| ports.is_empty()).map(|a| text(a, "/ip").to_string());
        let with_ports =
            ports.iter().flat_map(|p| addresses.iter().map(|a| host_port(text(a, "/ip"), integer(p, "/port"))));
        alone.chain(with_ports)
    });
    let first: Vec<String> = all.by_ref().take(SHOWN_MAX).collect();
    match all.count() {
        0 => first.join(","),
        more => format!("{} + {more} more...", first.join(",")),
    }
}

fn host_port(address: &str, port: i64) -> String {
    match address.parse() {
        Ok(IpAddr::V6(v6)) => format!("[{v6}]:{port}"),
        _ => format!("{address}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::shown;
    use serde_json::json;

    #[test]
    fn a_row_shows_three_addresses() {
        let ready = json!([{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]);
        let subset = json!({"addresses": ready, "ports": [{"port": 80}, {"port": 81}]});
        assert_eq!(shown(&json!({"subsets": [subset]})), "10.0.0.1:80,[fd00::1]:80,10.0.0.1:81 + 1 more...");
        assert_eq!(shown(&json!({"subsets": [{"addresses": ready}]})), "10.0.0.1,fd00::1");
        assert_eq!(shown(&json!({"subsets": [{"notReadyAddresses": ready, "ports": [{"port": 80}]}]})), "");
        assert_eq!(shown(&json!({})), "<none>");
    }
}
