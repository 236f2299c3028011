//! Endpoints: the old, single object with all addresses of a Service.

use std::collections::BTreeMap;

use client::{Change, Controller, EventType, Intent, Key, Note, Object, Plan, Selector, Sources, View, annotation};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::endpointslice::{HEADLESS, TRIGGER_TIME, is_headless, of_family, services_of, trigger_time};
use crate::pods;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const OWN_NAME: &str = "endpoint-controller";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const ADDRESSES_MAX: usize = 1000;

/// The controller. Its keys are services.
pub struct EndpointsController;

impl Controller for EndpointsController {
    const NAME: &'static str = "endpoints";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<Service>();
        // Endpoints that somebody else keeps concern us only when their Service goes.
        sources.on::<Endpoints, _>(|_, change| {
            change.latest().filter(|known| label(known, MANAGED_BY) == Some(OWN_NAME)).map(|known| known.key())
        });
        sources.on::<Pod, _>(|view, change: &Change<'_, Pod>| services_of(&view.of::<Service>(), change));
    }

    fn reconcile(&self, view: &View, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let (services, all, pods) = (view.of::<Service>(), view.of::<Endpoints>(), view.of::<Pod>());
        let known = all.get(key);
        let Some(service) = services.get(key) else {
            // Also those made by hand for a Service without a selector: only its deletion leads here.
            if let Some(known) = known {
                plan.write(Intent::delete(&**known));
            }
            return plan;
        };
        let Some(spec) = service.spec.as_ref().filter(|spec| spec.type_.as_deref() != Some("ExternalName")) else {
            return plan;
        };
        let Some(selector) = spec.selector.as_ref().filter(|selector| !selector.is_empty()) else { return plan };
        let mut members: Vec<&Pod> =
            pods.select(&key.namespace, &Selector::of_labels(selector)).into_iter().map(|pod| &**pod).collect();
        members.retain(|pod| !pods::is_terminal(pod));
        let mut subsets = subsets(service, &members);
        let truncated = truncate(&mut subsets);
        let subsets = (!subsets.is_empty()).then_some(subsets);
        let labels = labels(service);
        let known_truncated = known.is_some_and(|known| annotation(&known.metadata, OVER_CAPACITY).is_some());
        if let Some(known) = known
            && known.subsets == subsets
            && known.metadata.labels.as_ref() == Some(&labels)
            && known_truncated == truncated
        {
            return plan;
        }
        let mut wanted = known.map_or_else(
            || Endpoints {
                metadata: ObjectMeta {
                    name: Some(key.name.to_string()),
                    namespace: Some(key.namespace.to_string()),
                    ..Default::default()
                },
                subsets: None,
            },
            |known| Endpoints::clone(known),
        );
        wanted.subsets = subsets;
        wanted.metadata.labels = Some(labels);
        let annotations = wanted.metadata.annotations.get_or_insert_default();
        annotations.insert(TRIGGER_TIME.to_owned(), trigger_time(service, &members));
        match truncated {
            true => annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned()),
            false => annotations.remove(OVER_CAPACITY),
        };
        let failed = |reason, message| Note::about(&**service, EventType::Warning, reason, message);
        plan.write(match known {
            Some(_) => {
                let message = format!("Failed to update endpoint {key}: {{}}");
                Intent::update(&wanted).on_failure(failed("FailedToUpdateEndpoint", message))
            }
            None => {
                let message = format!("Failed to create endpoint for service {key}: {{}}");
                Intent::create(&wanted).on_failure(failed("FailedToCreateEndpoint", message))
            }
        });
        plan
    }
}

fn label<'a>(endpoints: &'a Endpoints, key: &str) -> Option<&'a str> {
    endpoints.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    match is_headless(service) {
        true => labels.insert(HEADLESS.to_owned(), String::new()),
        false => labels.remove(HEADLESS),
    };
    labels.insert(MANAGED_BY.to_owned(), OWN_NAME.to_owned());
    labels
}

/// Addresses grouped so that each subset's ports are those of all its addresses: a port with p and q and a port with p
/// alone are two subsets. Addresses are ordered, ports too, so that equal situations give equal objects.
fn subsets(service: &Service, members: &[&Pod]) -> Vec<EndpointSubset> {
    let spec = service.spec.clone().unwrap_or_default();
    let publish_all = spec.publish_not_ready_addresses.unwrap_or(false);
    let family = spec.ip_families.iter().flatten().next().map(String::as_str);
    // Each port with its addresses first; then ports that have the same addresses share a subset.
    let mut addresses_of: BTreeMap<Option<PortKey>, Addresses> = BTreeMap::new();
    for pod in members {
        if pod.metadata.deletion_timestamp.is_some() && !publish_all {
            continue;
        }
        let Some(ip) = pods::ips(pod).into_iter().find(|ip| of_family(ip, family)) else { continue };
        let ready = publish_all || pods::is_ready(pod);
        let identity = (ip.to_owned(), pod.meta_ref().uid.to_owned(), ready);
        let service_ports = spec.ports.as_deref().unwrap_or_default();
        let mut ports: Vec<Option<PortKey>> = Vec::new();
        for port in service_ports {
            if let Some(number) = pods::target_port(pod, port) {
                let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
                ports.push(Some((port.name.clone().unwrap_or_default(), number, protocol, port.app_protocol.clone())));
            }
        }
        if service_ports.is_empty() && is_headless(service) {
            ports.push(None);
        }
        for port in ports {
            addresses_of.entry(port).or_default().insert(identity.clone(), address(service, pod, ip));
        }
    }
    let mut shared: Vec<(Vec<Option<PortKey>>, Addresses)> = Vec::new();
    for (port, addresses) in addresses_of {
        match shared.iter_mut().find(|(_, known)| known.keys().eq(addresses.keys())) {
            Some((ports, _)) => ports.push(port),
            None => shared.push((vec![port], addresses)),
        }
    }
    let subsets = shared.into_iter().map(|(ports, addresses)| {
        let mut subset = EndpointSubset::default();
        for ((_, _, ready), address) in addresses {
            let list = if ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
            list.get_or_insert_default().push(address);
        }
        let ports = ports.into_iter().flatten().map(|(name, port, protocol, app_protocol)| EndpointPort {
            name: (!name.is_empty()).then_some(name),
            port,
            protocol: Some(protocol),
            app_protocol,
        });
        let ports: Vec<EndpointPort> = ports.collect();
        subset.ports = (!ports.is_empty()).then_some(ports);
        subset
    });
    subsets.collect()
}

/// Address, uid of the pod, readiness.
type Identity = (String, String, bool);
type Addresses = BTreeMap<Identity, EndpointAddress>;
/// Name, number, protocol, application protocol.
type PortKey = (String, i32, String, Option<String>);

fn address(service: &Service, pod: &Pod, ip: &str) -> EndpointAddress {
    let node = pods::node_name(pod);
    EndpointAddress {
        ip: ip.to_owned(),
        hostname: pods::published_hostname(pod, service.meta_ref().name).map(str::to_owned),
        node_name: (!node.is_empty()).then(|| node.to_owned()),
        target_ref: Some(pod_reference(pod)),
    }
}

/// The reference that an endpoint carries to its pod.
pub fn pod_reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..Default::default()
    }
}

/// Keeps the object at a size that watchers can bear. True if something had to go; those not ready go first.
fn truncate(subsets: &mut Vec<EndpointSubset>) -> bool {
    let mut room = ADDRESSES_MAX;
    let mut cut = false;
    let mut keep = |list: &mut Option<Vec<EndpointAddress>>| {
        let Some(addresses) = list else { return };
        cut |= addresses.len() > room;
        addresses.truncate(room);
        room -= addresses.len();
        if addresses.is_empty() {
            *list = None;
        }
    };
    for subset in subsets.iter_mut() {
        keep(&mut subset.addresses);
    }
    for subset in subsets.iter_mut() {
        keep(&mut subset.not_ready_addresses);
    }
    subsets.retain(|subset| subset.addresses.is_some() || subset.not_ready_addresses.is_some());
    cut
}

#[cfg(test)]
mod tests;
