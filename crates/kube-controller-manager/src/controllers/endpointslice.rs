//! EndpointSlices: the addresses of a Service in slices of at most 100, by address family and by ports. Slices that are
//! right stay untouched; what is missing fills slices that change anyway before new ones are made.

mod slices;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use client::{
    Action, Change, Controller, EventType, Index, Intent, Key, Note, Object, Plan, Selector, Snapshot, Sources, View,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::pods;
use slices::Work;

/// When what was seen last changed: read by those who measure how fast endpoints follow.
pub const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// Marks the endpoints of a Service without a cluster IP.
pub const HEADLESS: &str = "service.kubernetes.io/headless";
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OWN_NAME: &str = "endpointslice-controller.k8s.io";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The controller. Its keys are services.
pub struct EndpointSlices;

impl Controller for EndpointSlices {
    const NAME: &'static str = "endpointslice";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<Service>();
        sources.on::<Pod, _>(|view, change: &Change<'_, Pod>| services_of(&view.of::<Service>(), change));
        sources.on::<EndpointSlice, _>(|_, change| {
            let slice = change.latest()?;
            Some(Key::new(slice.meta_ref().namespace, own_label(slice, SERVICE_NAME)?))
        });
        sources.on::<Node, _>(node_concerns);
    }

    fn reconcile(&self, view: &View, key: &Key, _now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let (services, slices, pods) = (view.of::<Service>(), view.of::<EndpointSlice>(), view.of::<Pod>());
        // The slices of a Service that is gone are garbage collected: they are owned by it.
        let Some(service) = services.get(key) else { return plan };
        let Some(spec) = &service.spec else { return plan };
        let Some(selector) = spec.selector.as_ref().filter(|selector| !selector.is_empty()) else { return plan };
        if spec.type_.as_deref() == Some("ExternalName") || service.metadata.deletion_timestamp.is_some() {
            return plan;
        }
        let mut members: Vec<&Pod> =
            pods.select(&key.namespace, &Selector::of_labels(selector)).into_iter().map(|pod| &**pod).collect();
        let nodes = view.of::<Node>();
        members.retain(|pod| !pods::is_terminal(pod) && (publishes_all(service) || has_its_node(pod, &nodes)));
        let own = Selector::of_labels(
            &[(SERVICE_NAME.to_owned(), key.name.to_string()), (MANAGED_BY.to_owned(), OWN_NAME.to_owned())].into(),
        );
        let known = slices.select(&key.namespace, &own).into_iter().filter(|slice| !slice.meta_ref().deleting);
        // Slices of an earlier Service of this name are about to be collected: no place for this one's endpoints.
        let owned = |slice: &Arc<EndpointSlice>| {
            slice.meta_ref().controller().is_some_and(|owner| owner.uid == service.meta_ref().uid)
        };
        let (known, strange): (Vec<Arc<EndpointSlice>>, Vec<_>) = known.cloned().partition(owned);
        let trigger = trigger_time(service, &members);
        let families = families(service, &members);
        let other_family = known.iter().filter(|slice| !families.contains(&slice.address_type));
        for slice in strange.iter().chain(other_family) {
            plan.write(Intent::delete(&**slice));
        }
        for family in families {
            let known = known.iter().filter(|slice| slice.address_type == family);
            let work = Work { service, family: &family, trigger: &trigger, nodes: &nodes };
            work.plan(&members, known.cloned().collect(), &mut plan);
        }
        in_safe_order(&mut plan, service);
        plan
    }
}

/// New slices first and deletions last, so that no endpoint is missing in between; failures are told of.
fn in_safe_order(plan: &mut Plan, service: &Service) {
    let rank = |intent: &Intent| match intent.action {
        Action::Create { .. } => (0, "create"),
        Action::Update { .. } => (1, "update"),
        _ => (2, "delete"),
    };
    plan.writes.sort_by_key(|intent| rank(intent).0);
    let place = service.key();
    for intent in &mut plan.writes {
        let cause = format!("failed to {} EndpointSlice for Service {place}: {{}}", rank(intent).1);
        let message = format!("Error updating Endpoint Slices for Service {place}: {cause}");
        intent.on_failure = Some(Note::about(service, EventType::Warning, "FailedToUpdateEndpointSlices", message));
    }
}

/// A node that comes, goes or changes its zone changes the endpoints of its pods.
fn node_concerns(view: &View, change: &Change<'_, Node>) -> BTreeSet<Key> {
    if let (Some(old), Some(new)) = (change.old, change.new)
        && zone_of(old) == zone_of(new)
    {
        return BTreeSet::new();
    }
    let (pods, services) = (view.of::<Pod>(), view.of::<Service>());
    let name = change.latest().map_or("", |node| node.meta_ref().name);
    let of_pod = |pod| services_of(&services, &Change { old: None, new: Some(pod) });
    pods.by(Index::Node, name).flat_map(of_pod).collect()
}

fn zone_of(node: &Node) -> Option<&String> {
    node.metadata.labels.as_ref()?.get(ZONE)
}

/// A pod whose node is gone is gone too, though nobody has said so yet.
fn has_its_node(pod: &Pod, nodes: &Snapshot<Node>) -> bool {
    let node = pods::node_name(pod);
    node.is_empty() || nodes.find("", node).is_some()
}

/// Whether pods are published before they are ready.
fn publishes_all(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or(false)
}

/// The services whose endpoints a pod's change may change.
pub fn services_of(services: &Snapshot<Service>, change: &Change<'_, Pod>) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    for pod in change.old.iter().chain(change.new.iter()) {
        let meta = pod.meta_ref();
        for service in services.namespace(meta.namespace) {
            let selector =
                service.spec.as_ref().and_then(|spec| spec.selector.as_ref()).filter(|selector| !selector.is_empty());
            let labels = meta.labels;
            if selector.is_some_and(|selector| {
                selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
            }) {
                keys.insert(service.key());
            }
        }
    }
    keys
}

/// Whether an address is of a family ("IPv4", "IPv6"); without one any is.
pub fn of_family(ip: &str, family: Option<&str>) -> bool {
    matches!(
        (ip.parse::<IpAddr>(), family),
        (Ok(IpAddr::V4(_)), Some("IPv4")) | (Ok(IpAddr::V6(_)), Some("IPv6")) | (Ok(_), None)
    )
}

/// Whether a Service asks for no cluster IP.
pub fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// The latest of what endpoints depend on: the Service's creation and its pods' becoming ready, unready or terminating.
pub fn trigger_time(service: &Service, members: &[&Pod]) -> String {
    let created = service.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let ready = members
        .iter()
        .filter_map(|pod| pods::condition(pod, "Ready")?.last_transition_time.as_ref().map(|time| time.0));
    let latest = ready.chain(created).max().unwrap_or(Timestamp::UNIX_EPOCH);
    latest.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn own_label<'a>(slice: &'a EndpointSlice, key: &str) -> Option<&'a str> {
    slice.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn families(service: &Service, members: &[&Pod]) -> Vec<String> {
    let declared: Vec<String> =
        service.spec.iter().flat_map(|spec| spec.ip_families.iter().flatten()).cloned().collect();
    if !declared.is_empty() {
        return declared;
    }
    let ips: Vec<&str> = members.iter().flat_map(|pod| pods::ips(pod)).collect();
    let six = !ips.is_empty() && ips.iter().all(|ip| of_family(ip, Some("IPv6")));
    vec![if six { "IPv6" } else { "IPv4" }.to_owned()]
}

#[cfg(test)]
mod tests;
