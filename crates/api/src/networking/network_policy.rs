//! NetworkPolicy: who may talk to some pods, and to whom they may talk.

use std::net::IpAddr;

use k8s_openapi::api::networking::v1::{
    IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use machinery::field::{Error, ErrorList, Path};
use machinery::names as rules;
use serde_json::Value;

use crate::kind::{Column, Deprecated, Kind, Version};
use crate::{cells, checks, names, strategy};

const SCHEMA: &str = "io.k8s.api.networking.v1.NetworkPolicy";
const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];
const TYPES: &[&str] = &["Ingress", "Egress"];

pub static KIND: Kind = Kind {
    group: "networking.k8s.io",
    kind: "NetworkPolicy",
    list_kind: "NetworkPolicyList",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short_names: &["netpol"],
    versions: &[
        Version::stored("v1", SCHEMA),
        Version::old(
            "extensions",
            "v1beta1",
            SCHEMA,
            Deprecated { since: "1.9", removed: Some("1.16"), replacement: "networking.k8s.io/v1 NetworkPolicy" },
            |_| {},
        ),
    ],
    generation: true,
    columns: &[
        Column::NAME,
        Column::new(
            "Pod-Selector",
            "string",
            0,
            "podSelector selects the pods to which this NetworkPolicy object applies. The array of rules is applied to any pods selected by this field. An empty selector matches all pods in the policy's namespace. Multiple network policies can select the same set of pods. In this case, the ingress rules for each are combined additively. This field is optional. If it is not specified, it defaults to an empty selector.",
        ),
        Column::AGE,
    ],
    cells: |v, now| vec![cells::name(v), cells::label_selector(v.pointer("/spec/podSelector")), cells::age(v, now)],
    hooks: hooks!(
        NetworkPolicy,
        true,
        names::subdomain,
        part {
            default: default,
            prepare_create: |new: &mut Value| strategy::set_generation(new, 1),
            prepare_update: |new: &mut Value, old: &Value| strategy::bump_generation(new, old, &["spec"]),
            validate: validate,
            validate_update: |new, _old| validate(new),
        }
    ),
    ..Kind::BASE
};

fn default(policy: &mut NetworkPolicy) {
    let spec = policy.spec.get_or_insert_default();
    let ingress = spec.ingress.iter_mut().flatten().filter_map(|rule| rule.ports.as_mut());
    let egress = spec.egress.iter_mut().flatten().filter_map(|rule| rule.ports.as_mut());
    for port in ingress.chain(egress).flatten() {
        port.protocol.get_or_insert_with(|| "TCP".to_string());
    }
    if spec.policy_types.as_ref().is_none_or(Vec::is_empty) {
        let has_egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
        spec.policy_types = Some(TYPES[..if has_egress { 2 } else { 1 }].iter().map(|t| (*t).to_string()).collect());
    }
}

fn validate(policy: &NetworkPolicy) -> ErrorList {
    let default = NetworkPolicySpec::default();
    let (spec, path) = (policy.spec.as_ref().unwrap_or(&default), Path::new("spec"));
    let mut errors = ErrorList::new();
    if let Some(selector) = &spec.pod_selector {
        errors.extend(checks::label_selector(selector, &path.child("podSelector")));
    }
    let ingress = path.child("ingress");
    for (at, rule) in spec.ingress.iter().flatten().enumerate() {
        let at = ingress.index(at);
        errors.extend(ports(rule.ports.as_deref(), &at.child("ports")));
        errors.extend(peers(rule.from.as_deref(), &at.child("from")));
    }
    let egress = path.child("egress");
    for (at, rule) in spec.egress.iter().flatten().enumerate() {
        let at = egress.index(at);
        errors.extend(ports(rule.ports.as_deref(), &at.child("ports")));
        errors.extend(peers(rule.to.as_deref(), &at.child("to")));
    }
    let (types, at) = (spec.policy_types.as_deref().unwrap_or_default(), path.child("policyTypes"));
    if types.len() > TYPES.len() {
        errors.push(Error::invalid(&at, types, "may not specify more than two policyTypes"));
        return errors;
    }
    let unknown = types.iter().enumerate().filter(|(_, name)| !TYPES.contains(&name.as_str()));
    errors.extend(unknown.map(|(index, name)| Error::not_supported(&at.index(index), name, TYPES)));
    errors
}

fn ports(ports: Option<&[NetworkPolicyPort]>, path: &Path) -> ErrorList {
    let each = ports.unwrap_or_default().iter().enumerate();
    each.flat_map(|(at, port)| validate_port(port, &path.index(at))).collect()
}

fn validate_port(port: &NetworkPolicyPort, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    if let Some(protocol) = port.protocol.as_deref().filter(|protocol| !PROTOCOLS.contains(protocol)) {
        errors.push(Error::not_supported(&path.child("protocol"), protocol, PROTOCOLS));
    }
    match &port.port {
        Some(IntOrString::Int(number)) => errors.extend(checks::port_number((*number).into(), &path.child("port"))),
        Some(IntOrString::String(name)) => {
            errors.extend(checks::each(&path.child("port"), name, rules::port_name(name)));
        }
        None => {}
    }
    let (Some(end), at) = (port.end_port, path.child("endPort")) else { return errors };
    match &port.port {
        None => errors.push(Error::invalid(&at, end, "may not be specified when `port` is not specified")),
        Some(IntOrString::String(_)) => {
            errors.push(Error::invalid(&at, end, "may not be specified when `port` is non-numeric"));
        }
        Some(IntOrString::Int(first)) => {
            if end < *first {
                errors.push(Error::invalid(&at, first, "must be greater than or equal to `port`"));
            }
            errors.extend(checks::port_number(end.into(), &at));
        }
    }
    errors
}

fn peers(peers: Option<&[NetworkPolicyPeer]>, path: &Path) -> ErrorList {
    let each = peers.unwrap_or_default().iter().enumerate();
    each.flat_map(|(at, peer)| validate_peer(peer, &path.index(at))).collect()
}

fn validate_peer(peer: &NetworkPolicyPeer, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let selectors = [("podSelector", &peer.pod_selector), ("namespaceSelector", &peer.namespace_selector)];
    let mut selected = false;
    for (name, selector) in selectors {
        if let Some(selector) = selector {
            selected = true;
            errors.extend(checks::label_selector(selector, &path.child(name)));
        }
    }
    match &peer.ip_block {
        Some(block) => {
            errors.extend(validate_block(block, &path.child("ipBlock")));
            if selected {
                errors.push(Error::forbidden(path, "may not specify both ipBlock and another peer"));
            }
        }
        None if !selected => errors.push(Error::required(path, "must specify a peer")),
        None => {}
    }
    errors
}

fn validate_block(block: &IPBlock, path: &Path) -> ErrorList {
    let at = path.child("cidr");
    if block.cidr.is_empty() {
        return vec![Error::required(&at, "")];
    }
    let mut errors = checks::cidr(&block.cidr, &at);
    let Some(whole) = network(&block.cidr) else { return errors };
    let at = path.child("except");
    for (index, except) in block.except.iter().flatten().enumerate() {
        let at = at.index(index);
        errors.extend(checks::cidr(except, &at));
        if network(except).is_some_and(|part| !is_strict_part(part, whole)) {
            errors.push(Error::invalid(&at, except, "must be a strict subset of `cidr`"));
        }
    }
    errors
}

/// The address as a number in the 128 bits of its family, and the length of the prefix in them.
fn network(text: &str) -> Option<(bool, u128, u32)> {
    let (address, bits) = text.split_once('/')?;
    let bits: u32 = bits.parse().ok()?;
    Some(match address.parse().ok()? {
        IpAddr::V4(address) => (true, u128::from(address.to_bits()), bits + 96),
        IpAddr::V6(address) => (false, address.to_bits(), bits),
    })
}

fn is_strict_part(part: (bool, u128, u32), whole: (bool, u128, u32)) -> bool {
    let prefix = |address: u128| address.checked_shr(128 - whole.2).unwrap_or(0);
    part.0 == whole.0 && part.2 > whole.2 && prefix(part.1) == prefix(whole.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_network_is_smaller_and_inside() {
        let is_part =
            |part, whole| is_strict_part(network(part).expect("a network"), network(whole).expect("a network"));
        assert!(is_part("10.1.0.0/16", "10.0.0.0/8") && is_part("10.0.0.0/8", "0.0.0.0/0"));
        assert!(is_part("fd00:1::/32", "fd00::/16"));
        for (part, whole) in [
            ("11.0.0.0/16", "10.0.0.0/8"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.0/7", "10.0.0.0/8"),
            ("fd00::/16", "0.0.0.0/0"),
        ] {
            assert!(!is_part(part, whole), "{part} {whole}");
        }
    }
}
