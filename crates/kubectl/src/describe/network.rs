//! Services and what is behind them.

use serde_json::Value;

use super::Related;
use super::text::{Text, or_none};
use crate::value::{self, at, int, list, show, text};

pub fn service(out: &mut Text, service: &Value, related: &Related) {
    out.head(service, true);
    out.labels(0, service);
    out.annotations(0, service);
    out.pairs(0, "Selector", at(service, "spec.selector"), "=");
    out.field(0, "Type", text(service, "spec.type"));
    out.maybe(0, "IP Family Policy", text(service, "spec.ipFamilyPolicy"));
    let strings = |path: &str| list(service, path).iter().map(show).collect::<Vec<_>>().join(",");
    out.maybe(0, "IP Families", &strings("spec.ipFamilies"));
    out.field(0, "IP", text(service, "spec.clusterIP"));
    let addresses = strings("spec.clusterIPs");
    out.field(0, "IPs", or_none(&addresses));
    out.maybe(0, "External IPs", &strings("spec.externalIPs"));
    out.maybe(0, "Desired LoadBalancer IP", text(service, "spec.loadBalancerIP"));
    out.maybe(0, "External Name", text(service, "spec.externalName"));
    let ingress: Vec<&str> = list(service, "status.loadBalancer.ingress")
        .iter()
        .map(|point| if text(point, "ip").is_empty() { text(point, "hostname") } else { text(point, "ip") })
        .collect();
    out.maybe(0, "LoadBalancer Ingress", &ingress.join(", "));
    for port in list(service, "spec.ports") {
        let name = if text(port, "name").is_empty() { "<unset>" } else { text(port, "name") };
        let protocol = text(port, "protocol");
        out.field(0, "Port", format!("{name}\t{}/{protocol}", int(port, "port")));
        out.field(0, "TargetPort", format!("{}/{protocol}", show(&port["targetPort"])));
        if int(port, "nodePort") > 0 {
            out.field(0, "NodePort", format!("{name}\t{}/{protocol}", int(port, "nodePort")));
        }
        out.field(0, "Endpoints", endpoints_of(port, &related.others));
    }
    out.field(0, "Session Affinity", text(service, "spec.sessionAffinity"));
    out.maybe(0, "External Traffic Policy", text(service, "spec.externalTrafficPolicy"));
    out.maybe(0, "Internal Traffic Policy", text(service, "spec.internalTrafficPolicy"));
    if int(service, "spec.healthCheckNodePort") > 0 {
        out.field(0, "HealthCheck NodePort", int(service, "spec.healthCheckNodePort").to_string());
    }
    out.maybe(0, "LoadBalancer Source Ranges", &strings("spec.loadBalancerSourceRanges"));
}

/// The first three addresses behind a port, and how many more there are.
fn endpoints_of(port: &Value, slices: &[Value]) -> String {
    let mut found = Vec::new();
    for slice in slices {
        for own in list(slice, "ports").iter().filter(|own| text(own, "name") == text(port, "name")) {
            for endpoint in list(slice, "endpoints") {
                // A state that is not known counts as ready.
                if at(endpoint, "conditions.ready") != &Value::Bool(false) {
                    found.extend(
                        list(endpoint, "addresses").iter().map(|address| join(&show(address), int(own, "port"))),
                    );
                }
            }
        }
    }
    match found.len() {
        0 => String::new(),
        1..=3 => found.join(","),
        count => format!("{} + {} more...", found[..3].join(","), count - 3),
    }
}

fn join(address: &str, port: i64) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

pub fn endpoints(out: &mut Text, endpoints: &Value, _: &Related) {
    out.head(endpoints, true);
    out.labels(0, endpoints);
    out.annotations(0, endpoints);
    out.line(0, "Subsets:");
    for subset in list(endpoints, "subsets") {
        for (label, field) in [("Addresses", "addresses"), ("NotReadyAddresses", "notReadyAddresses")] {
            let addresses: Vec<&str> = list(subset, field).iter().map(|address| text(address, "ip")).collect();
            out.field(1, label, or_none(&addresses.join(",")));
        }
        if !list(subset, "ports").is_empty() {
            out.line(1, "Ports:");
            out.line(2, "Name\tPort\tProtocol");
            out.line(2, "----\t----\t--------");
            for port in list(subset, "ports") {
                let name = if text(port, "name").is_empty() { "<unset>" } else { text(port, "name") };
                out.line(2, format!("{name}\t{}\t{}", int(port, "port"), text(port, "protocol")));
            }
        }
        out.line(0, "");
    }
}

pub fn endpoint_slice(out: &mut Text, slice: &Value, _: &Related) {
    out.head(slice, true);
    out.labels(0, slice);
    out.annotations(0, slice);
    out.field(0, "AddressType", text(slice, "addressType"));
    if list(slice, "ports").is_empty() {
        out.line(0, "Ports: <unset>");
    } else {
        out.line(0, "Ports:");
        out.line(1, "Name\tPort\tProtocol");
        out.line(1, "----\t----\t--------");
        for port in list(slice, "ports") {
            let name = if text(port, "name").is_empty() { "<unset>" } else { text(port, "name") };
            let number = port["port"].as_i64().map_or_else(|| "<unset>".to_owned(), |port| port.to_string());
            out.line(1, format!("{name}\t{number}\t{}", text(port, "protocol")));
        }
    }
    if list(slice, "endpoints").is_empty() {
        out.line(0, "Endpoints: <none>");
        return;
    }
    out.line(0, "Endpoints:");
    for endpoint in list(slice, "endpoints") {
        let addresses: Vec<String> = list(endpoint, "addresses").iter().map(show).collect();
        out.line(1, format!("- Addresses:\t{}", addresses.join(", ")));
        let ready = at(endpoint, "conditions.ready").as_bool().map_or("<unset>".to_owned(), |ready| ready.to_string());
        out.line(2, "Conditions:");
        out.field(3, "Ready", ready);
        let hostname = text(endpoint, "hostname");
        out.field(2, "Hostname", if hostname.is_empty() { "<unset>" } else { hostname });
        if endpoint["targetRef"].is_object() {
            out.field(
                2,
                "TargetRef",
                format!("{}/{}", text(endpoint, "targetRef.kind"), text(endpoint, "targetRef.name")),
            );
        }
        let node = text(endpoint, "nodeName");
        out.field(2, "NodeName", if node.is_empty() { "<unset>" } else { node });
        let zone = value::text(endpoint, "zone");
        out.field(2, "Zone", if zone.is_empty() { "<unset>" } else { zone });
    }
}
