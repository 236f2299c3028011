//! Keeps the status of every ResourceQuota: its limits as they are now, and what is used of them.
//!
//! What is created is charged by the API server when it is admitted; this controller gives back what is freed and sets
//! right what went wrong. So objects that come wake nothing, which also keeps an old view from undoing a fresh charge;
//! objects that go, changed limits and a look every five minutes do.

pub mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::reflector::{Collection, list};
use client::{ApiError, BoxFuture, Change, Controller, Intent, Key, Object, Outside, Plan, Sources, View};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service};
use k8s_openapi::api::resource::v1::{DeviceClass, ResourceClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use machinery::quantity::Quantity;

use self::usage::Usage;
use crate::monitors::discovery::Discovered;
use crate::monitors::{Monitors, Node, PLACE, place};

const RESYNC_PERIOD: Duration = Duration::from_secs(300);
/// Kinds that quotas also know by their plain name.
const PLAIN_COUNTS: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];
const CLAIMS: &str = "persistentvolumeclaims";
const DEVICE_CLAIMS: &str = "resourceclaims.resource.k8s.io";

/// The controller.
pub struct ResourceQuotas {
    /// Every object there is, and discovery.
    pub monitors: Arc<Monitors>,
}

/// The claims of storage in the quota's namespace, if it counts them.
pub struct Claims(pub Vec<PersistentVolumeClaim>);

/// The claims of devices in the quota's namespace, if it counts those, and the classes that there are.
pub struct DeviceClaims {
    pub claims: Vec<ResourceClaim>,
    pub classes: Vec<DeviceClass>,
}

impl Controller for ResourceQuotas {
    const NAME: &'static str = "resourcequota";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources
            .on::<ResourceQuota, _>(|_, change| change.new.filter(|_| limits_changed(change)).map(|quota| quota.key()));
        sources.on::<Pod, _>(|view, change| {
            let freed = frees_pod(change);
            change
                .old
                .filter(|_| freed)
                .map(|pod| counting(view, pod.meta_ref().namespace, counts_pods))
                .unwrap_or_default()
        });
        sources.on::<Service, _>(|view, change| {
            let spec = |service: &Service| service.spec.as_ref().map(|spec| (spec.type_.clone(), spec.ports.clone()));
            let freed = change.new.is_none_or(|new| change.old.is_some_and(|old| spec(old) != spec(new)));
            let namespace = change.old.filter(|_| freed).map(|service| service.meta_ref().namespace);
            namespace.map(|namespace| counting(view, namespace, counts_services)).unwrap_or_default()
        });
        sources.on_store(self.monitors.graph.clone(), |view, change: &Change<'_, Node>| {
            match (change.old, change.new) {
                (Some(gone), None) => {
                    let (resource, group_resource) = (&gone.resource, gone.resource.group_resource());
                    let counted = format!("count/{group_resource}");
                    let counts = |name: &str| {
                        name == counted
                            || (resource.group.is_empty() && name == resource.plural)
                            || (group_resource == CLAIMS && usage::is_claim_resource(name))
                            || (group_resource == DEVICE_CLAIMS && usage::is_device_resource(name))
                    };
                    counting(view, &gone.namespace, counts)
                }
                _ => Vec::new(),
            }
        });
        let monitors = self.monitors.clone();
        sources.wait_for(async move { monitors.wait_discovered().await });
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let discovered = self.monitors.discovered();
            let quotas = view.of::<ResourceQuota>();
            let counts_claims =
                quotas.get(key).is_some_and(|quota| hard(quota).keys().any(|name| usage::is_claim_resource(name)));
            if counts_claims && serves(&discovered, CLAIMS) {
                let path = format!("/api/v1/namespaces/{}/{CLAIMS}", key.namespace);
                let (claims, _) = list::<PersistentVolumeClaim>(&outside.client, &Collection::all(path)).await?;
                view.put(Arc::new(Claims(claims)));
            }
            let counts_devices =
                quotas.get(key).is_some_and(|quota| hard(quota).keys().any(|name| usage::is_device_resource(name)));
            if counts_devices && serves(&discovered, DEVICE_CLAIMS) {
                let group = "/apis/resource.k8s.io/v1";
                let claims = Collection::all(format!("{group}/namespaces/{}/resourceclaims", key.namespace));
                let (claims, _) = list::<ResourceClaim>(&outside.client, &claims).await?;
                let classes = Collection::all(format!("{group}/deviceclasses"));
                let (classes, _) = list::<DeviceClass>(&outside.client, &classes).await?;
                view.put(Arc::new(DeviceClaims { claims, classes }));
            }
            view.put(discovered);
            Ok(())
        })
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let quotas = view.of::<ResourceQuota>();
        let Some(quota) = quotas.get(key) else { return plan };
        plan.look_again_in(RESYNC_PERIOD);
        let used = used(view, quota, now);
        let known = quota.status.clone().unwrap_or_default();
        let hard = hard(quota).clone();
        if known.hard.unwrap_or_default() == hard && usage::quantities(known.used.iter().flatten()) == used {
            return plan;
        }
        plan.because(format!("the status of quota {key} is not what is used of it"));
        let used = used.into_iter().map(|(name, amount)| (name, ApiQuantity(amount.canonical()))).collect();
        let status = ResourceQuotaStatus { hard: Some(hard), used: Some(used) };
        plan.write(Intent::update_status(&ResourceQuota { status: Some(status), ..(**quota).clone() }));
        plan
    }
}

/// What is used of each limit; limits on what nobody can count are left out.
fn used(view: &View, quota: &ResourceQuota, now: Timestamp) -> Usage {
    let namespace = quota.meta_ref().namespace;
    let scoped = usage::has_scopes(quota);
    let (pods, services, graph) = (view.of::<Pod>(), view.of::<Service>(), view.of::<Node>());
    let discovered = view.extra::<Discovered>().unwrap_or_default();
    let names = hard(quota).keys();

    let mut sum = Usage::new();
    if names.clone().any(|name| counts_pods(name)) {
        let in_scope = pods.namespace(namespace).filter(|pod| usage::in_scope(quota, pod));
        let mut all = 0;
        for pod in in_scope {
            all += 1;
            if usage::is_charged(pod, now) {
                usage::add(&mut sum, usage::of_pod(pod));
            }
        }
        sum.insert("count/pods".to_owned(), usage::count(all));
    }
    // Scopes pick pods; nothing else is in any.
    if !scoped && names.clone().any(|name| counts_services(name)) {
        for service in services.namespace(namespace) {
            usage::add(&mut sum, usage::of_service(service));
        }
    }
    if let Some(claims) = view.extra::<Claims>().filter(|_| !scoped) {
        for claim in &claims.0 {
            usage::add(&mut sum, usage::of_claim(claim));
        }
    }
    if let Some(devices) = view.extra::<DeviceClaims>().filter(|_| !scoped) {
        for claim in &devices.claims {
            usage::add(&mut sum, usage::of_device_claim(claim, &devices.classes));
        }
    }
    let amount = |name: &String| -> Option<Quantity> {
        if name == "count/pods"
            || usage::is_pod_resource(name)
            || usage::is_service_resource(name)
            || usage::is_claim_resource(name)
            || usage::is_device_resource(name)
        {
            return Some(sum.get(name).cloned().unwrap_or_else(|| usage::count(0)));
        }
        let group_resource = match name.strip_prefix("count/") {
            Some(counted) => serves(&discovered, counted).then_some(counted)?,
            None => PLAIN_COUNTS.contains(&name.as_str()).then_some(name)?,
        };
        let objects = if scoped { 0 } else { graph.by(PLACE, &place(group_resource, namespace)).count() };
        Some(usage::count(objects))
    };
    names.filter_map(|name| Some((name.clone(), amount(name)?))).collect()
}

fn hard(quota: &ResourceQuota) -> &BTreeMap<String, ApiQuantity> {
    static NOTHING: BTreeMap<String, ApiQuantity> = BTreeMap::new();
    quota.spec.as_ref().and_then(|spec| spec.hard.as_ref()).unwrap_or(&NOTHING)
}

/// Whether a namespaced resource ("pods", "deployments.apps") can be counted.
fn serves(discovered: &Discovered, group_resource: &str) -> bool {
    let mut served = discovered.resources.iter().filter(|served| served.namespaced && served.is_monitored());
    served.any(|served| served.resource.group_resource() == group_resource)
}

fn counts_pods(name: &str) -> bool {
    name == "count/pods" || usage::is_pod_resource(name)
}

fn counts_services(name: &str) -> bool {
    usage::is_service_resource(name)
}

/// The quotas of a namespace that have a limit on one of these resources.
fn counting(view: &View, namespace: &str, counts: impl Fn(&str) -> bool) -> Vec<Key> {
    let quotas = view.of::<ResourceQuota>();
    let matching = quotas.namespace(namespace).filter(|quota| hard(quota).keys().any(|name| counts(name)));
    matching.map(|quota| quota.key()).collect()
}

/// A quota that is new or whose limits are not those of its status. What only the API server charged is no news.
fn limits_changed(change: &Change<'_, ResourceQuota>) -> bool {
    let Some(new) = change.new else { return false };
    let shown = new.status.as_ref().and_then(|status| status.hard.as_ref());
    change.old.is_none_or(|old| old.spec != new.spec) || shown.is_none_or(|shown| shown != hard(new))
}

/// A pod that goes or has ended.
fn frees_pod(change: &Change<'_, Pod>) -> bool {
    let ended = |pod: &Pod| crate::pods::is_terminal(pod);
    match (change.old, change.new) {
        (Some(_), None) => true,
        (Some(old), Some(new)) => (!ended(old) && ended(new)) || usage::of_pod(old) != usage::of_pod(new),
        (None, _) => false,
    }
}

#[cfg(test)]
mod tests;
