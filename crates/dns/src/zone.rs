//! What the cluster's names mean: a pure function of Services, EndpointSlices and a question.
//!
//! Example, for a Service `web` in `default` with cluster IP 10.96.0.5 and port `http` 80:
//! `web.default.svc.cluster.local A` is 10.96.0.5, `_http._tcp.web.default.svc.cluster.local SRV` is
//! `0 100 80 web.default.svc.cluster.local`, `5.0.96.10.in-addr.arpa PTR` leads back. For a headless Service the address
//! records are those of its ready endpoints, each of which also has a name of its own below the Service's.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use client::Snapshot;
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

use crate::Error;

/// Seconds for which an answer may be kept; CoreDNS' default for the cluster's names.
const TTL_SECONDS: u32 = 5;
/// Version of the specification, answered at `dns-version.<domain>`.
const SPECIFICATION: &str = "1.1.0";
/// Share of each endpoint or Service in SRV records, all being equal.
const SRV_WEIGHT: u16 = 100;

/// The answer to a question.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Records(Vec<Record>),
    /// The name exists, but has no record of that type.
    NoData,
    /// There is no such name.
    NameError,
    /// A name that this zone has nothing to say about.
    Foreign,
    /// The name is an alias; its records may have to be asked for elsewhere.
    Alias(Box<Record>, Name),
}

/// The cluster's names at one moment.
pub struct Zone {
    domain: Name,
    services: HashMap<(String, String), Arc<Service>>,
    slices: HashMap<(String, String), Vec<Arc<EndpointSlice>>>,
    namespaces: std::collections::HashSet<String>,
    reverse: HashMap<IpAddr, BTreeSet<Name>>,
}

/// Reads a cluster domain such as `cluster.local`.
pub fn parse_domain(text: &str) -> Result<Name, Error> {
    let mut name = Name::from_ascii(text).map_err(|_| Error::Domain(text.to_owned()))?;
    name.set_fqdn(true);
    Ok(name.to_lowercase())
}

impl Zone {
    pub fn new(domain: Name, services: &Snapshot<Service>, slices: &Snapshot<EndpointSlice>) -> Self {
        let mut zone = Self {
            domain,
            services: HashMap::with_capacity(services.len()),
            slices: HashMap::new(),
            namespaces: std::collections::HashSet::new(),
            reverse: HashMap::new(),
        };
        for slice in slices.iter() {
            let service = slice.metadata.labels.as_ref().and_then(|labels| labels.get("kubernetes.io/service-name"));
            if let (Some(namespace), Some(service)) = (&slice.metadata.namespace, service) {
                zone.slices.entry((namespace.clone(), service.clone())).or_default().push(slice.clone());
            }
        }
        for service in services.iter() {
            let (Some(namespace), Some(name)) = (service.metadata.namespace.clone(), service.metadata.name.clone())
            else {
                continue;
            };
            zone.namespaces.insert(namespace.clone());
            zone.services.insert((namespace, name), service.clone());
        }
        zone.index_addresses();
        zone
    }

    fn index_addresses(&mut self) {
        let mut reverse: HashMap<IpAddr, BTreeSet<Name>> = HashMap::new();
        for ((namespace, name), service) in &self.services {
            let Some(owner) = self.service_name(namespace, name) else { continue };
            for address in cluster_ips(service) {
                reverse.entry(address).or_default().insert(owner.clone());
            }
            for (endpoint, address) in self.endpoints(service, namespace, name) {
                // Only endpoints with a host name of their own, or of a headless service, have a name to lead back to.
                if (is_headless(service) || endpoint.hostname.is_some())
                    && let Some(owner) = child(&endpoint_label(endpoint, address), &owner)
                {
                    reverse.entry(address).or_default().insert(owner);
                }
            }
        }
        self.reverse = reverse;
    }

    /// Answers a question about `name`. `owner` names in the answer are as the question spelled them.
    pub fn answer(&self, name: &Name, record_type: RecordType) -> Answer {
        let lower = name.to_lowercase();
        if let Some(address) = reverse_address(&lower) {
            return match self.reverse.get(&address) {
                Some(targets) if matches!(record_type, RecordType::PTR | RecordType::ANY) => Answer::Records(
                    targets.iter().map(|target| record(name, RData::PTR(PTR(target.clone())))).collect(),
                ),
                Some(_) => Answer::NoData,
                None => Answer::Foreign,
            };
        }
        if !self.domain.zone_of(&lower) {
            return Answer::Foreign;
        }
        let labels: Vec<String> = lower
            .iter()
            .take(usize::from(lower.num_labels() - self.domain.num_labels()))
            .map(|label| String::from_utf8_lossy(label).into_owned())
            .collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        match labels.as_slice() {
            [] => self.apex(name, record_type),
            ["dns-version"] => select(name, record_type, &[RData::TXT(TXT::new(vec![SPECIFICATION.to_owned()]))]),
            ["svc"] | ["pod"] => Answer::NoData,
            [namespace, "svc" | "pod"] if self.namespaces.contains(*namespace) => Answer::NoData,
            [address, namespace, "pod"] => self.pod(name, record_type, address, namespace),
            [service, namespace, "svc"] => self.service(name, record_type, service, namespace),
            [endpoint, service, namespace, "svc"] if !endpoint.starts_with('_') => {
                self.endpoint(name, record_type, endpoint, service, namespace)
            }
            [protocol, service, namespace, "svc"] if matches!(*protocol, "_tcp" | "_udp" | "_sctp") => {
                let exists = self.services.contains_key(&(namespace.to_string(), service.to_string()));
                if exists { Answer::NoData } else { Answer::NameError }
            }
            [port, protocol, service, namespace, "svc"] if port.starts_with('_') && protocol.starts_with('_') => {
                self.port(name, record_type, &port[1..], &protocol[1..], service, namespace)
            }
            _ => Answer::NameError,
        }
    }

    /// The zone's start of authority, for negative answers.
    pub fn start_of_authority(&self) -> Record {
        let server = child("dns", &child("ns", &self.domain).unwrap_or_default()).unwrap_or_default();
        let contact = child("hostmaster", &self.domain).unwrap_or_default();
        let seconds = TTL_SECONDS as i32;
        record(&self.domain, RData::SOA(SOA::new(server, contact, 1, 7200, 1800, 86_400, seconds.unsigned_abs())))
    }

    fn apex(&self, name: &Name, record_type: RecordType) -> Answer {
        let start = self.start_of_authority();
        let server = child("dns", &child("ns", &self.domain).unwrap_or_default()).unwrap_or_default();
        select(name, record_type, &[start.data, RData::NS(NS(server))])
    }

    fn service(&self, name: &Name, record_type: RecordType, service: &str, namespace: &str) -> Answer {
        let Some(found) = self.services.get(&(namespace.to_owned(), service.to_owned())) else {
            return Answer::NameError;
        };
        if let Some(target) = external_name(found) {
            return Answer::Alias(Box::new(record(name, RData::CNAME(CNAME(target.clone())))), target);
        }
        let addresses: Vec<IpAddr> = if is_headless(found) {
            let mut addresses: Vec<_> =
                self.endpoints(found, namespace, service).into_iter().map(|(_, address)| address).collect();
            addresses.sort();
            addresses.dedup();
            if addresses.is_empty() {
                return Answer::NameError;
            }
            addresses
        } else {
            cluster_ips(found)
        };
        let mut data: Vec<RData> = addresses.into_iter().map(address_data).collect();
        if record_type == RecordType::SRV {
            data = self.all_ports(found, namespace, service);
        }
        select(name, record_type, &data)
    }

    /// SRV of the Service's own name: one for each of its ports.
    fn all_ports(&self, service: &Service, namespace: &str, name: &str) -> Vec<RData> {
        let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let mut data = Vec::new();
        for port in ports {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            data.extend(self.port_data(service, namespace, name, port.name.as_deref().unwrap_or(""), protocol));
        }
        data
    }

    fn port(
        &self,
        name: &Name,
        record_type: RecordType,
        port: &str,
        protocol: &str,
        service: &str,
        namespace: &str,
    ) -> Answer {
        let Some(found) = self.services.get(&(namespace.to_owned(), service.to_owned())) else {
            return Answer::NameError;
        };
        let data = self.port_data(found, namespace, service, port, protocol);
        if data.is_empty() { Answer::NameError } else { select(name, record_type, &data) }
    }

    fn port_data(&self, service: &Service, namespace: &str, name: &str, port: &str, protocol: &str) -> Vec<RData> {
        let Some(owner) = self.service_name(namespace, name) else { return Vec::new() };
        let same = |other_name: Option<&str>, other_protocol: Option<&str>| {
            other_name.unwrap_or("") == port && other_protocol.unwrap_or("TCP").eq_ignore_ascii_case(protocol)
        };
        let srv = |number: i32, target: Name| {
            u16::try_from(number).ok().map(|number| RData::SRV(SRV::new(0, SRV_WEIGHT, number, target)))
        };
        if !is_headless(service) {
            let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
            return ports
                .filter(|candidate| same(candidate.name.as_deref(), candidate.protocol.as_deref()))
                .filter_map(|candidate| srv(candidate.port, owner.clone()))
                .collect();
        }
        let mut data = Vec::new();
        for slice in self.slices.get(&(namespace.to_owned(), name.to_owned())).into_iter().flatten() {
            let ports = slice
                .ports
                .iter()
                .flatten()
                .filter(|candidate| same(candidate.name.as_deref(), candidate.protocol.as_deref()));
            for number in ports.filter_map(|candidate| candidate.port) {
                for (endpoint, address) in ready_endpoints(slice, publishes_unready(service)) {
                    data.extend(
                        child(&endpoint_label(endpoint, address), &owner).and_then(|target| srv(number, target)),
                    );
                }
            }
        }
        data
    }

    fn endpoint(&self, name: &Name, record_type: RecordType, label: &str, service: &str, namespace: &str) -> Answer {
        let Some(found) = self.services.get(&(namespace.to_owned(), service.to_owned())) else {
            return Answer::NameError;
        };
        if !is_headless(found) {
            return Answer::NameError;
        }
        let data: Vec<RData> = self
            .endpoints(found, namespace, service)
            .into_iter()
            .filter(|(endpoint, address)| endpoint_label(endpoint, *address) == label)
            .map(|(_, address)| address_data(address))
            .collect();
        if data.is_empty() { Answer::NameError } else { select(name, record_type, &data) }
    }

    /// `10-244-0-7.<namespace>.pod.<domain>`: the address is in the name itself; only the namespace has to exist.
    fn pod(&self, name: &Name, record_type: RecordType, label: &str, namespace: &str) -> Answer {
        if !self.namespaces.contains(namespace) {
            return Answer::NameError;
        }
        let address = label.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::V4);
        let address = address.or_else(|_| label.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::V6));
        match address {
            Ok(address) => select(name, record_type, &[address_data(address)]),
            Err(_) => Answer::NameError,
        }
    }

    fn service_name(&self, namespace: &str, name: &str) -> Option<Name> {
        child(name, &child(namespace, &child("svc", &self.domain)?)?)
    }

    fn endpoints(&self, service: &Service, namespace: &str, name: &str) -> Vec<(&Endpoint, IpAddr)> {
        let slices = self.slices.get(&(namespace.to_owned(), name.to_owned()));
        let unready = publishes_unready(service);
        slices.into_iter().flatten().flat_map(|slice| ready_endpoints(slice, unready)).collect()
    }
}

fn ready_endpoints(slice: &EndpointSlice, unready: bool) -> Vec<(&Endpoint, IpAddr)> {
    let eligible = slice.endpoints.iter().flatten().filter(|endpoint| {
        unready || endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
    });
    eligible
        .flat_map(|endpoint| endpoint.addresses.iter().filter_map(move |text| Some((endpoint, text.parse().ok()?))))
        .collect()
}

fn publishes_unready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

/// An endpoint's own label: its host name, else its address with dashes.
fn endpoint_label(endpoint: &Endpoint, address: IpAddr) -> String {
    endpoint.hostname.clone().unwrap_or_else(|| address.to_string().replace(['.', ':'], "-"))
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.cluster_ip.as_deref() == Some("None"))
}

fn external_name(service: &Service) -> Option<Name> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() != Some("ExternalName") {
        return None;
    }
    let mut name = Name::from_ascii(spec.external_name.as_deref()?).ok()?;
    name.set_fqdn(true);
    Some(name)
}

fn cluster_ips(service: &Service) -> Vec<IpAddr> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let listed: Vec<IpAddr> = spec.cluster_ips.iter().flatten().filter_map(|text| text.parse().ok()).collect();
    if listed.is_empty() { spec.cluster_ip.iter().filter_map(|text| text.parse().ok()).collect() } else { listed }
}

fn address_data(address: IpAddr) -> RData {
    match address {
        IpAddr::V4(address) => RData::A(A(address)),
        IpAddr::V6(address) => RData::AAAA(AAAA(address)),
    }
}

fn record(name: &Name, data: RData) -> Record {
    Record::from_rdata(name.clone(), TTL_SECONDS, data)
}

/// Those of a name's data that a question asks for.
fn select(name: &Name, record_type: RecordType, data: &[RData]) -> Answer {
    let wanted = |data: &&RData| record_type == RecordType::ANY || data.record_type() == record_type;
    let records: Vec<Record> = data.iter().filter(wanted).map(|data| record(name, data.clone())).collect();
    if records.is_empty() { Answer::NoData } else { Answer::Records(records) }
}

fn child(label: &str, parent: &Name) -> Option<Name> {
    parent.prepend_label(label).ok()
}

/// The address in a name such as `5.0.96.10.in-addr.arpa`.
fn reverse_address(name: &Name) -> Option<IpAddr> {
    let labels: Vec<&str> = name.iter().map(std::str::from_utf8).collect::<Result<_, _>>().ok()?;
    match labels.as_slice() {
        [d, c, b, a, "in-addr", "arpa"] => format!("{a}.{b}.{c}.{d}").parse().ok().map(IpAddr::V4),
        [nibbles @ .., "ip6", "arpa"] if nibbles.len() == 32 => {
            let digits: String = nibbles.iter().rev().copied().collect();
            u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32).map(|bits| IpAddr::V6(bits.into()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
