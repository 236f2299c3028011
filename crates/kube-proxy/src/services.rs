//! Which ports lead where: a pure function of Services and EndpointSlices.
//!
//! Example: a Service `default/web` with port `http` 80 → target 8080 and two ready endpoints becomes one `ServicePort`
//! with cluster IP and port as its entry and two `Endpoint`s; a NodePort adds a second entry to the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use client::Snapshot;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// A port of a Service: what the proxy keeps rules for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServicePortName {
    pub namespace: String,
    pub name: String,
    pub port: String,
    pub protocol: Protocol,
}

impl std::fmt::Display for ServicePortName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/{}", self.namespace, self.name, self.protocol.name(), self.port)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }

    fn parse(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("" | "TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub address: Ipv4Addr,
    pub port: u16,
}

/// Everything that the rules of one port of a Service depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    pub cluster_ip: Ipv4Addr,
    /// External and load balancer addresses that lead here as well.
    pub external_ips: BTreeSet<Ipv4Addr>,
    pub port: u16,
    pub node_port: Option<u16>,
    /// Seconds for which a client stays with its endpoint (`sessionAffinity: ClientIP`).
    pub affinity_seconds: Option<u32>,
    /// Endpoints for traffic from inside the cluster (`internalTrafficPolicy` applied).
    pub internal: Vec<Endpoint>,
    /// Endpoints for traffic from outside (`externalTrafficPolicy` applied).
    pub external: Vec<Endpoint>,
    /// `externalTrafficPolicy: Local`: the client's address is kept, traffic without a local endpoint is dropped.
    pub external_local: bool,
}

/// Decides for every port of every Service that has a cluster IP.
pub fn plan(
    services: &Snapshot<Service>,
    slices: &Snapshot<EndpointSlice>,
    node_name: &str,
) -> BTreeMap<ServicePortName, ServicePort> {
    let mut by_service: BTreeMap<(&str, &str), Vec<&EndpointSlice>> = BTreeMap::new();
    for slice in slices.iter().filter(|slice| slice.address_type == "IPv4") {
        let labels = slice.metadata.labels.as_ref();
        let service = labels.and_then(|labels| labels.get("kubernetes.io/service-name"));
        if let (Some(namespace), Some(service)) = (&slice.metadata.namespace, service) {
            by_service.entry((namespace, service)).or_default().push(slice);
        }
    }
    let mut plan = BTreeMap::new();
    for service in services.iter() {
        let (Some(namespace), Some(name), Some(spec)) =
            (&service.metadata.namespace, &service.metadata.name, &service.spec)
        else {
            continue;
        };
        // Headless and ExternalName services have no address to proxy; another proxy may have been asked for.
        let labels = service.metadata.labels.as_ref();
        if labels.is_some_and(|labels| labels.contains_key("service.kubernetes.io/service-proxy-name")) {
            continue;
        }
        let Some(cluster_ip) = cluster_ip(service) else { continue };
        let slices = by_service.get(&(namespace.as_str(), name.as_str())).map(Vec::as_slice).unwrap_or_default();
        let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
        let external_local = spec.external_traffic_policy.as_deref() == Some("Local");
        for port in spec.ports.iter().flatten() {
            let Some(protocol) = Protocol::parse(port.protocol.as_deref()) else { continue };
            let Ok(number) = u16::try_from(port.port) else { continue };
            let port_name = port.name.clone().unwrap_or_default();
            let candidates = candidates(slices, &port_name, protocol, node_name);
            plan.insert(
                ServicePortName { namespace: namespace.clone(), name: name.clone(), port: port_name, protocol },
                ServicePort {
                    cluster_ip,
                    external_ips: external_ips(service),
                    port: number,
                    node_port: port.node_port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0),
                    affinity_seconds: affinity_seconds(service),
                    internal: choose(&candidates, internal_local),
                    external: choose(&candidates, external_local),
                    external_local,
                },
            );
        }
    }
    plan
}

fn cluster_ip(service: &Service) -> Option<Ipv4Addr> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let listed = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    listed.filter_map(|address| address.parse().ok()).next()
}

fn external_ips(service: &Service) -> BTreeSet<Ipv4Addr> {
    let listed = service.spec.iter().flat_map(|spec| spec.external_ips.iter().flatten()).cloned();
    let balancer = service.status.iter().filter_map(|status| status.load_balancer.as_ref());
    let ingress = balancer
        .flat_map(|balancer| balancer.ingress.iter().flatten())
        .filter(|ingress| ingress.ip_mode.as_deref() != Some("Proxy"))
        .filter_map(|ingress| ingress.ip.clone());
    listed.chain(ingress).filter_map(|address| address.parse().ok()).collect()
}

fn affinity_seconds(service: &Service) -> Option<u32> {
    let spec = service.spec.as_ref()?;
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let configured =
        spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    Some(configured.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(10_800))
}

struct Candidate {
    endpoint: Endpoint,
    ready: bool,
    /// Terminating, but still able to answer: used when nothing is ready any more.
    serving: bool,
    local: bool,
}

fn candidates(slices: &[&EndpointSlice], port_name: &str, protocol: Protocol, node_name: &str) -> Vec<Candidate> {
    let mut found = BTreeMap::new();
    for slice in slices {
        let port = slice.ports.iter().flatten().find(|port| {
            port.name.as_deref().unwrap_or("") == port_name
                && Protocol::parse(port.protocol.as_deref()) == Some(protocol)
        });
        let Some(port) = port.and_then(|port| u16::try_from(port.port?).ok()) else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            // All addresses of an endpoint are the same endpoint; upstream uses the first.
            let Some(address) = endpoint.addresses.first().and_then(|address| address.parse().ok()) else { continue };
            let conditions = endpoint.conditions.as_ref();
            let ready = conditions.and_then(|conditions| conditions.ready).unwrap_or(true);
            let serving = conditions.and_then(|conditions| conditions.serving).unwrap_or(ready);
            let terminating = conditions.and_then(|conditions| conditions.terminating).unwrap_or(false);
            let endpoint_on = endpoint.node_name.as_deref();
            let endpoint = Endpoint { address, port };
            let candidate =
                Candidate { endpoint, ready, serving: serving && terminating, local: endpoint_on == Some(node_name) };
            found.insert(endpoint, candidate);
        }
    }
    found.into_values().collect()
}

/// Ready endpoints, or, when there is none, those that still serve while they terminate.
fn choose(candidates: &[Candidate], local_only: bool) -> Vec<Endpoint> {
    let eligible = || candidates.iter().filter(|candidate| !local_only || candidate.local);
    let ready: Vec<Endpoint> =
        eligible().filter(|candidate| candidate.ready).map(|candidate| candidate.endpoint).collect();
    if !ready.is_empty() {
        return ready;
    }
    eligible().filter(|candidate| candidate.serving).map(|candidate| candidate.endpoint).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn service(spec: Value) -> Service {
        let object = json!({"metadata": {"namespace": "default", "name": "web"}, "spec": spec});
        serde_json::from_value(object).unwrap()
    }

    pub(crate) fn slice(endpoints: Value) -> EndpointSlice {
        let object = json!({
            "metadata": {"namespace": "default", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
            "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}], "endpoints": endpoints,
        });
        serde_json::from_value(object).unwrap()
    }

    fn only(service: Service, slice: EndpointSlice) -> ServicePort {
        plan(&Snapshot::of([service]), &Snapshot::of([slice]), "here").into_values().next().unwrap()
    }

    fn addresses(endpoints: &[Endpoint]) -> Vec<String> {
        endpoints.iter().map(|endpoint| format!("{}:{}", endpoint.address, endpoint.port)).collect()
    }

    #[test]
    fn ready_endpoints_are_used_and_terminating_ones_only_in_need() {
        let web = service(json!({"clusterIP": "10.96.0.5", "ports": [{"port": 80}]}));
        let terminating =
            json!({"addresses": ["10.244.0.3"], "conditions": {"ready": false, "serving": true, "terminating": true}});
        let unready = json!({"addresses": ["10.244.0.4"], "conditions": {"ready": false, "serving": false}});
        let ready = json!({"addresses": ["10.244.0.2"], "conditions": {"ready": true}});
        let both = only(web.clone(), slice(json!([ready, terminating, unready])));
        assert_eq!(addresses(&both.internal), ["10.244.0.2:8080"]);
        let need = only(web, slice(json!([terminating, unready])));
        assert_eq!(addresses(&need.internal), ["10.244.0.3:8080"]);
    }

    #[test]
    fn local_policies_choose_endpoints_of_this_node() {
        let web = service(json!({
            "clusterIP": "10.96.0.5", "type": "NodePort", "externalTrafficPolicy": "Local",
            "ports": [{"port": 80, "nodePort": 30080}],
        }));
        let endpoints = json!([{"addresses": ["10.244.0.2"], "nodeName": "here"}, {"addresses": ["10.244.1.2"], "nodeName": "there"}]);
        let port = only(web, slice(endpoints));
        assert_eq!(addresses(&port.external), ["10.244.0.2:8080"]);
        assert_eq!(port.internal.len(), 2);
        assert_eq!(port.node_port, Some(30080));
    }

    #[test]
    fn headless_and_external_services_are_left_alone() {
        let headless = service(json!({"clusterIP": "None", "ports": [{"port": 80}]}));
        let external = service(json!({"type": "ExternalName", "externalName": "example.org", "ports": [{"port": 80}]}));
        for alone in [headless, external] {
            assert!(plan(&Snapshot::of([alone]), &Snapshot::default(), "here").is_empty());
        }
    }
}
