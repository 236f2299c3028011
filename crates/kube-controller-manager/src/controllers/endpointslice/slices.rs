//! Spreads the endpoints of one service and one family over its slices with few changes: what is still wanted stays
//! where it is, what is missing goes first into slices that change anyway, then where there is room, then into new ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Intent, Object, Plan, Snapshot};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{
    HEADLESS, MANAGED_BY, OWN_NAME, SERVICE_NAME, TRIGGER_TIME, is_headless, of_family, publishes_all, zone_of,
};
use crate::common::controller_reference;
use crate::controllers::endpoints::pod_reference;
use crate::pods;

const ENDPOINTS_MAX: usize = 100;

/// One service and one family.
pub struct Work<'a> {
    /// The service.
    pub service: &'a Service,
    /// Its family.
    pub family: &'a str,
    /// The time to note on slices that change.
    pub trigger: &'a str,
    /// Where zones are looked up.
    pub nodes: &'a Snapshot<Node>,
}

/// Ports, in an order of their own so that they can be compared.
type Ports = Vec<(Option<String>, Option<i32>, Option<String>, Option<String>)>;

impl Work<'_> {
    /// Plans what turns the known slices into those that these pods call for.
    pub fn plan(&self, members: &[&Pod], known: Vec<Arc<EndpointSlice>>, plan: &mut Plan) {
        let mut wanted: BTreeMap<Ports, BTreeMap<String, Endpoint>> = BTreeMap::new();
        for pod in members {
            let Some(ip) = pods::ips(pod).into_iter().find(|ip| of_family(ip, Some(self.family))) else { continue };
            let endpoint = self.endpoint(pod, ip);
            wanted.entry(self.ports(pod)).or_default().insert(pod.meta_ref().uid.to_owned(), endpoint);
        }
        if wanted.is_empty() {
            // One empty slice says that the Service has been looked at.
            wanted.insert(Vec::new(), BTreeMap::new());
        }
        let mut by_ports: BTreeMap<Ports, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
        for slice in known {
            by_ports.entry(ports_of(&slice)).or_default().push(slice);
        }
        // A slice of ports that nobody has any more takes over other ports rather than give way to a new slice.
        let stale = by_ports.extract_if(.., |ports, _| !wanted.contains_key(ports));
        let mut spare: Vec<Arc<EndpointSlice>> = stale.flat_map(|(_, slices)| slices).collect();
        for (ports, endpoints) in wanted {
            let slices = by_ports.remove(&ports).unwrap_or_else(|| spare.pop().into_iter().collect());
            self.fill(&ports, endpoints, slices, plan);
        }
        for slice in spare {
            plan.write(Intent::delete(&*slice));
        }
    }

    fn fill(
        &self,
        ports: &Ports,
        mut missing: BTreeMap<String, Endpoint>,
        slices: Vec<Arc<EndpointSlice>>,
        plan: &mut Plan,
    ) {
        let placeholder = missing.is_empty();
        let mut kept: Vec<(Arc<EndpointSlice>, Vec<Endpoint>)> = Vec::new();
        for slice in slices {
            let stay = endpoints_of(&slice)
                .iter()
                .filter_map(|endpoint| missing.remove(endpoint.target_ref.as_ref()?.uid.as_deref()?));
            kept.push((slice.clone(), stay.collect()));
        }
        let mut missing = missing.into_values();
        // Slices that change anyway take in what is missing, the fullest first; then any that have room.
        let changes = |slice: &EndpointSlice, endpoints: &[Endpoint]| endpoints_of(slice) != endpoints;
        kept.sort_by_key(|(slice, endpoints)| (!changes(slice, endpoints), std::cmp::Reverse(endpoints.len())));
        for (_, endpoints) in &mut kept {
            let room = ENDPOINTS_MAX.saturating_sub(endpoints.len());
            endpoints.extend(missing.by_ref().take(room));
        }
        let mut empty_may_stay = placeholder;
        for (slice, endpoints) in kept {
            if endpoints.is_empty() && !std::mem::take(&mut empty_may_stay) {
                plan.write(Intent::delete(&*slice));
                continue;
            }
            let labels = self.labels();
            let other_ports = ports_of(&slice) != *ports;
            if other_ports || endpoints_of(&slice) != endpoints || slice.metadata.labels.as_ref() != Some(&labels) {
                let mut updated = EndpointSlice::clone(&slice);
                if other_ports {
                    updated.ports = endpoint_ports(ports);
                }
                updated.endpoints = (!endpoints.is_empty()).then_some(endpoints);
                updated.metadata.labels = Some(labels);
                updated
                    .metadata
                    .annotations
                    .get_or_insert_default()
                    .insert(TRIGGER_TIME.to_owned(), self.trigger.to_owned());
                plan.write(Intent::update(&updated));
            }
        }
        let rest: Vec<Endpoint> = missing.collect();
        for endpoints in rest.chunks(ENDPOINTS_MAX) {
            plan.write(Intent::create(&self.slice(ports, endpoints.to_vec())));
        }
        if empty_may_stay {
            plan.write(Intent::create(&self.slice(ports, Vec::new())));
        }
    }

    fn endpoint(&self, pod: &Pod, ip: &str) -> Endpoint {
        let (serving, terminating) = (pods::is_ready(pod), pod.metadata.deletion_timestamp.is_some());
        let ready = publishes_all(self.service) || (serving && !terminating);
        let node = pods::node_name(pod);
        let zone = self.nodes.find("", node).and_then(|node| zone_of(node)).cloned();
        Endpoint {
            addresses: vec![ip.to_owned()],
            conditions: Some(EndpointConditions {
                ready: Some(ready),
                serving: Some(serving),
                terminating: Some(terminating),
            }),
            hints: hints(self.service, ready, zone.as_deref(), node),
            hostname: pods::published_hostname(pod, self.service.meta_ref().name).map(str::to_owned),
            node_name: (!node.is_empty()).then(|| node.to_owned()),
            target_ref: Some(pod_reference(pod)),
            zone,
            ..Default::default()
        }
    }

    fn ports(&self, pod: &Pod) -> Ports {
        let ports = self.service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
        let mut resolved: Ports = ports
            .filter_map(|port| {
                let number = pods::target_port(pod, port)?;
                let protocol = port.protocol.clone().or_else(|| Some("TCP".to_owned()));
                Some((Some(port.name.clone().unwrap_or_default()), Some(number), protocol, port.app_protocol.clone()))
            })
            .collect();
        resolved.sort();
        resolved
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.service.metadata.labels.clone().unwrap_or_default();
        match is_headless(self.service) {
            true => labels.insert(HEADLESS.to_owned(), String::new()),
            false => labels.remove(HEADLESS),
        };
        labels.insert(SERVICE_NAME.to_owned(), self.service.meta_ref().name.to_owned());
        labels.insert(MANAGED_BY.to_owned(), OWN_NAME.to_owned());
        labels
    }

    fn slice(&self, ports: &Ports, endpoints: Vec<Endpoint>) -> EndpointSlice {
        let meta = self.service.meta_ref();
        EndpointSlice {
            metadata: ObjectMeta {
                generate_name: Some(format!("{}-", meta.name)),
                namespace: Some(meta.namespace.to_owned()),
                labels: Some(self.labels()),
                annotations: Some([(TRIGGER_TIME.to_owned(), self.trigger.to_owned())].into()),
                owner_references: Some(vec![controller_reference(self.service)]),
                ..Default::default()
            },
            address_type: self.family.to_owned(),
            endpoints: (!endpoints.is_empty()).then_some(endpoints),
            ports: endpoint_ports(ports),
        }
    }
}

fn endpoints_of(slice: &EndpointSlice) -> &[Endpoint] {
    slice.endpoints.as_deref().unwrap_or_default()
}

fn endpoint_ports(ports: &Ports) -> Option<Vec<EndpointPort>> {
    let ports = ports.iter().cloned();
    let ports: Vec<EndpointPort> =
        ports.map(|(name, port, protocol, app_protocol)| EndpointPort { name, port, protocol, app_protocol }).collect();
    (!ports.is_empty()).then_some(ports)
}

fn ports_of(slice: &EndpointSlice) -> Ports {
    let ports = slice.ports.iter().flatten();
    // An absent name is the empty name, whichever way a server writes it.
    let mut ports: Ports = ports
        .map(|port| {
            (Some(port.name.clone().unwrap_or_default()), port.port, port.protocol.clone(), port.app_protocol.clone())
        })
        .collect();
    ports.sort();
    ports
}

/// For whom an endpoint is meant first, if the Service asks for near ones.
fn hints(service: &Service, ready: bool, zone: Option<&str>, node: &str) -> Option<EndpointHints> {
    let distribution = service.spec.as_ref()?.traffic_distribution.as_deref().filter(|_| ready)?;
    let for_zones = zone.map(|zone| vec![ForZone { name: zone.to_owned() }]);
    let hints = match distribution {
        "PreferClose" | "PreferSameZone" => EndpointHints { for_nodes: None, for_zones },
        "PreferSameNode" => {
            let for_nodes = (!node.is_empty()).then(|| vec![ForNode { name: node.to_owned() }]);
            EndpointHints { for_nodes, for_zones }
        }
        _ => return None,
    };
    (hints.for_nodes.is_some() || hints.for_zones.is_some()).then_some(hints)
}
