//! ServiceCIDRs: each gets a finalizer and says that it is ready; one that is to go stays while Services have addresses
//! that are of no other range.

use std::net::IpAddr;
use std::time::Duration;

use client::{Controller, Intent, Key, Plan, Sources, View};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const READY: &str = "Ready";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const ALLOCATOR: &str = "ipallocator.k8s.io";
/// Until all servers know that the range gives no more addresses.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// The controller. Its keys are ServiceCIDRs.
pub struct ServiceCidrs;

impl Controller for ServiceCidrs {
    const NAME: &'static str = "service-cidr";

    fn sources(&self, sources: &mut Sources<'_>) {
        // What one range holds back can be another's to take over.
        sources.on::<ServiceCIDR, _>(|view, change| {
            let mut keys = waiting(view);
            keys.extend(change.new.map(|range| key_of(range)));
            keys
        });
        sources.on::<IPAddress, _>(|view, change| if change.new.is_none() { waiting(view) } else { Vec::new() });
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let ranges = view.of::<ServiceCIDR>();
        let Some(range) = ranges.get(key) else { return plan };
        let has_finalizer = range.metadata.finalizers.iter().flatten().any(|own| own == FINALIZER);
        let Some(deleted) = &range.metadata.deletion_timestamp else {
            if !has_finalizer {
                let mut range = ServiceCIDR::clone(range);
                range.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
                plan.write(Intent::update(&range));
            } else if let Some(range) = with_ready(range, "True", "", "Kubernetes Service CIDR is ready", now) {
                plan.write(Intent::update_status(&range));
            }
            return plan;
        };
        if !has_finalizer {
            return plan;
        }
        if is_needed(view, range) {
            plan.because("Services have addresses of the range");
            let message = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
            plan.writes
                .extend(with_ready(range, "False", "Terminating", message, now).map(|r| Intent::update_status(&r)));
            return plan;
        }
        let left = deleted.0 + GRACE - now;
        if let Some(left) = Duration::try_from(left).ok().filter(|left| !left.is_zero()) {
            plan.look_again_in(left);
            return plan;
        }
        let mut range = ServiceCIDR::clone(range);
        range.metadata.finalizers.get_or_insert_default().retain(|own| own != FINALIZER);
        plan.write(Intent::update(&range));
        plan
    }
}

fn key_of(range: &ServiceCIDR) -> Key {
    Key::cluster(range.metadata.name.as_deref().unwrap_or_default())
}

/// The ranges that are to go.
fn waiting(view: &View) -> Vec<Key> {
    let ranges = view.of::<ServiceCIDR>();
    let waiting = ranges.iter().filter(|range| range.metadata.deletion_timestamp.is_some());
    waiting.map(|range| key_of(range)).collect()
}

/// The range with this condition; nothing where it has it.
fn with_ready(range: &ServiceCIDR, status: &str, reason: &str, message: &str, now: Timestamp) -> Option<ServiceCIDR> {
    let mut range = range.clone();
    let conditions = range.status.get_or_insert_default().conditions.get_or_insert_default();
    let known = conditions.iter().position(|condition| condition.type_ == READY);
    let before = known.map(|known| conditions.remove(known));
    if before.as_ref().is_some_and(|old| (&*old.status, &*old.reason, &*old.message) == (status, reason, message)) {
        return None;
    }
    conditions.push(Condition {
        type_: READY.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(now),
        observed_generation: None,
    });
    Some(range)
}

/// Whether a Service has an address of this range that no other range holds.
fn is_needed(view: &View, range: &ServiceCIDR) -> bool {
    let networks = networks(range);
    let ranges = view.of::<ServiceCIDR>();
    let others: Vec<Network> = ranges
        .iter()
        .filter(|other| other.metadata.uid != range.metadata.uid && other.metadata.deletion_timestamp.is_none())
        .flat_map(|other| self::networks(other))
        .collect();
    view.of::<IPAddress>().iter().any(|address| {
        let labels = address.metadata.labels.as_ref();
        let is_allocated = labels.and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == ALLOCATOR);
        let Some(address) = address.metadata.name.as_deref().and_then(|name| name.parse().ok()) else { return false };
        let within = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        is_allocated && within(&networks) && !within(&others)
    })
}

fn networks(range: &ServiceCIDR) -> Vec<Network> {
    let cidrs = range.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    cidrs.filter_map(|cidr| Network::parse(cidr)).collect()
}

/// A network by its address and the length of its prefix.
#[derive(Clone, Copy)]
struct Network {
    address: IpAddr,
    length: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        Some(Self { address: address.parse().ok()?, length: length.parse().ok()? })
    }

    fn contains(self, other: IpAddr) -> bool {
        let (a, b, bits) = match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits()), u128::from(b.to_bits()), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits(), b.to_bits(), 128),
            _ => return false,
        };
        let host_bits = u32::saturating_sub(bits, self.length);
        (a ^ b).checked_shr(host_bits).unwrap_or(0) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, lines, object};
    use serde_json::{Value, json};

    fn range(name: &str, cidr: &str, more: Value) -> ServiceCIDR {
        let mut range = json!({"metadata": {"name": name, "namespace": ""}, "spec": {"cidrs": [cidr]}});
        for (key, value) in more.as_object().into_iter().flatten() {
            range["metadata"][key] = value.clone();
        }
        object(range)
    }

    fn address(name: &str) -> IPAddress {
        object(json!({"metadata": {"name": name, "namespace": "", "labels": {MANAGED_BY: ALLOCATOR}},
            "spec": {"parentRef": {"resource": "services", "namespace": "n", "name": "s"}}}))
    }

    fn plan(ranges: Vec<ServiceCIDR>, addresses: Vec<IPAddress>, now: i64) -> Plan {
        let key = key_of(&ranges[0]);
        ServiceCidrs.reconcile(&View::new().with(ranges).with(addresses), &key, at(now))
    }

    #[test]
    fn a_range_gets_its_finalizer_and_then_is_ready() {
        assert_eq!(lines(&plan(vec![range("r", "10.0.0.0/24", json!({}))], vec![], 1)), ["update servicecidrs /r"]);
        let held = range("r", "10.0.0.0/24", json!({"finalizers": [FINALIZER]}));
        assert_eq!(lines(&plan(vec![held.clone()], vec![], 1)), ["update servicecidrs/status /r"]);
        let ready = with_ready(&held, "True", "", "Kubernetes Service CIDR is ready", at(1)).expect("a new condition");
        assert_eq!(plan(vec![ready], vec![], 2), Plan::nothing());
    }

    #[test]
    fn a_range_that_is_needed_stays() {
        let going = json!({"finalizers": [FINALIZER], "deletionTimestamp": "1970-01-01T00:00:10Z"});
        let going = range("r", "10.0.0.0/24", going);
        let used = vec![address("10.0.0.7"), address("10.9.0.1")];
        let waits = plan(vec![going.clone()], used.clone(), 60);
        assert_eq!(lines(&waits), ["update servicecidrs/status /r"]);
        let other = range("o", "10.0.0.0/16", json!({}));
        assert_eq!(lines(&plan(vec![going.clone(), other], used, 60)), ["update servicecidrs /r"]);
        let soon = plan(vec![going.clone()], vec![], 12);
        assert_eq!((lines(&soon), soon.requeue_after), (vec![], Some(Duration::from_secs(8))));
        assert_eq!(lines(&plan(vec![going], vec![], 20)), ["update servicecidrs /r"]);
    }

    #[test]
    fn networks_hold_what_shares_their_prefix() {
        for (network, address, within) in [
            ("10.0.0.0/24", "10.0.0.255", true),
            ("10.0.0.0/24", "10.0.1.0", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("fd00::/64", "fd00::1", true),
            ("fd00::/64", "10.0.0.1", false),
        ] {
            let network = Network::parse(network).expect("a network");
            assert_eq!(network.contains(address.parse().expect("an address")), within, "{address}");
        }
    }
}
