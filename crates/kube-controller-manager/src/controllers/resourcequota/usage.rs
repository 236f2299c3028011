//! What pods, services and claims use of a quota's resources: the same counting as when they are admitted.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    Affinity, Container, PersistentVolumeClaim, Pod, PodAffinityTerm, ResourceQuota, ResourceRequirements, Service,
};
use k8s_openapi::api::resource::v1::{DeviceClass, DeviceRequest, ResourceClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use machinery::quantity::{Format, Quantity};

use crate::pods;

/// Amounts by resource name.
pub type Usage = BTreeMap<String, Quantity>;

/// What a pod uses under both its plain name and `requests.`.
const COMPUTE: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];
const CLASS_INFIX: &str = ".storageclass.storage.k8s.io/";

/// Devices of a class are counted by the class' name, and as the extended resource that the class stands for.
const DEVICES_SUFFIX: &str = ".deviceclass.resource.k8s.io/devices";
const DEVICES_PREFIX: &str = "requests.deviceclass.resource.kubernetes.io/";
/// As many devices as a request for all of them can get.
const DEVICES_MAX: i64 = 32;

/// A whole number of things.
pub fn count(things: usize) -> Quantity {
    Quantity::new(i64::try_from(things).unwrap_or(i64::MAX), Format::DecimalSI)
}

/// Adds amounts to amounts.
pub fn add(sum: &mut Usage, more: Usage) {
    for (name, quantity) in more {
        let total = sum.get(&name).map(|have| have.add(&quantity)).unwrap_or(quantity);
        sum.insert(name, total);
    }
}

/// The quantities of a map as it stands in an object. What cannot be read was never admitted.
pub fn quantities<'a>(map: impl IntoIterator<Item = (&'a String, &'a ApiQuantity)>) -> Usage {
    map.into_iter().filter_map(|(name, value)| Some((name.clone(), Quantity::parse(&value.0).ok()?))).collect()
}

/// Whether this resource is one that pods use (besides their count as objects).
pub fn is_pod_resource(resource: &str) -> bool {
    resource == "pods"
        || COMPUTE.contains(&resource)
        || resource.starts_with("hugepages-")
        || resource.starts_with("limits.")
        || (resource.starts_with("requests.") && resource != "requests.storage")
}

/// Whether this resource is one that services use.
pub fn is_service_resource(resource: &str) -> bool {
    matches!(resource, "services" | "services.nodeports" | "services.loadbalancers")
}

/// Whether this resource is one that claims of storage use.
pub fn is_claim_resource(resource: &str) -> bool {
    matches!(resource, "requests.storage" | "persistentvolumeclaims") || resource.contains(CLASS_INFIX)
}

/// Whether this resource is one that claims of devices use.
pub fn is_device_resource(resource: &str) -> bool {
    let foreign = resource.contains('/') && !resource.contains("kubernetes.io/");
    resource.ends_with(DEVICES_SUFFIX)
        || resource.starts_with(DEVICES_PREFIX)
        || foreign && resource.starts_with("requests.")
}

/// Whether a pod still uses anything: it has not ended, nor should it have ended by now.
pub fn is_charged(pod: &Pod, now: Timestamp) -> bool {
    let meta = &pod.metadata;
    let times = meta.deletion_timestamp.as_ref().zip(meta.deletion_grace_period_seconds);
    let overdue = times.is_some_and(|(deleted, grace)| {
        deleted.0.checked_add(SignedDuration::from_secs(grace)).is_ok_and(|end| now > end)
    });
    !pods::is_terminal(pod) && !overdue
}

/// What a charged pod uses.
pub fn of_pod(pod: &Pod) -> Usage {
    let mut usage = Usage::from([("pods".to_owned(), count(1))]);
    for (name, amount) in of_containers(pod, Which::Requests) {
        if COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            usage.insert(name.clone(), amount.clone());
        }
        usage.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in of_containers(pod, Which::Limits) {
        usage.insert(format!("limits.{name}"), amount);
    }
    usage
}

/// What a service uses.
pub fn of_service(service: &Service) -> Usage {
    let spec = service.spec.clone().unwrap_or_default();
    let kind = spec.type_.as_deref().unwrap_or_default();
    let ports = spec.ports.unwrap_or_default();
    let node_ports = match kind {
        "NodePort" => ports.len(),
        "LoadBalancer" if spec.allocate_load_balancer_node_ports == Some(false) => {
            ports.iter().filter(|port| port.node_port.unwrap_or(0) != 0).count()
        }
        "LoadBalancer" => ports.len(),
        _ => 0,
    };
    Usage::from([
        ("services".to_owned(), count(1)),
        ("services.nodeports".to_owned(), count(node_ports)),
        ("services.loadbalancers".to_owned(), count(usize::from(kind == "LoadBalancer"))),
    ])
}

/// What a claim of storage uses, in all and of its class.
pub fn of_claim(claim: &PersistentVolumeClaim) -> Usage {
    let mut usage = Usage::from([("persistentvolumeclaims".to_owned(), count(1))]);
    let spec = claim.spec.clone().unwrap_or_default();
    let requests = spec.resources.and_then(|resources| resources.requests).unwrap_or_default();
    if let Some(storage) = quantities(&requests).remove("storage") {
        usage.insert("requests.storage".to_owned(), storage);
    }
    let annotations = claim.metadata.annotations.as_ref();
    let annotated = annotations.and_then(|all| all.get("volume.beta.kubernetes.io/storage-class"));
    if let Some(class) = annotated.or(spec.storage_class_name.as_ref()).filter(|class| !class.is_empty()) {
        let named = |(name, amount): (&String, &Quantity)| (format!("{class}{CLASS_INFIX}{name}"), amount.clone());
        let of_class = usage.iter().map(named).collect();
        add(&mut usage, of_class);
    }
    usage
}

/// What a claim of devices uses of each class, under all names that the class has.
pub fn of_device_claim(claim: &ResourceClaim, classes: &[DeviceClass]) -> Usage {
    let mut usage = Usage::new();
    for request in claim.spec.devices.iter().flat_map(|devices| devices.requests.iter().flatten()) {
        for (class, devices) in devices_by_class(request) {
            let mut names = vec![format!("{class}{DEVICES_SUFFIX}"), format!("{DEVICES_PREFIX}{class}")];
            let declared = classes.iter().find(|declared| declared.metadata.name.as_deref() == Some(class));
            let extended = declared.and_then(|declared| declared.spec.extended_resource_name.as_deref());
            names.extend(extended.map(|name| format!("requests.{name}")));
            for name in names {
                add(&mut usage, Usage::from([(name, Quantity::new(devices, Format::DecimalSI))]));
            }
        }
    }
    usage
}

/// Of alternatives each class counts with the most that it may come to.
fn devices_by_class(request: &DeviceRequest) -> BTreeMap<&str, i64> {
    let alternatives = request.first_available.as_deref().unwrap_or_default();
    let exactly = request.exactly.iter().filter(|_| alternatives.is_empty());
    let exactly = exactly.map(|exactly| (&exactly.device_class_name, &exactly.allocation_mode, exactly.count));
    let alternatives = alternatives.iter().map(|item| (&item.device_class_name, &item.allocation_mode, item.count));
    let mut most = BTreeMap::new();
    for (class, mode, count) in alternatives.chain(exactly) {
        let devices = match mode.as_deref() {
            Some("ExactCount") => count.unwrap_or(0),
            Some("All") => DEVICES_MAX,
            _ => 0,
        };
        let class: &mut i64 = most.entry(class.as_str()).or_default();
        *class = devices.max(*class);
    }
    most
}

#[derive(Clone, Copy)]
enum Which {
    Requests,
    Limits,
}

fn listed(resources: Option<&ResourceRequirements>, which: Which) -> Usage {
    let map = resources.and_then(|resources| match which {
        Which::Requests => resources.requests.as_ref(),
        Which::Limits => resources.limits.as_ref(),
    });
    quantities(map.into_iter().flatten())
}

/// What a pod uses at most at any time: its containers together, or one of its init containers if that is more. Init
/// containers that keep running count with the others.
fn of_containers(pod: &Pod, which: Which) -> Usage {
    let Some(spec) = &pod.spec else { return Usage::new() };
    let own = |container: &Container| of_container(pod, container, which);
    let mut sum = Usage::new();
    for container in &spec.containers {
        add(&mut sum, own(container));
    }
    let (mut sidecars, mut start) = (Usage::new(), Usage::new());
    for container in spec.init_containers.iter().flatten() {
        let mut together = sidecars.clone();
        add(&mut together, own(container));
        raise(&mut start, &together);
        if container.restart_policy.as_deref() == Some("Always") {
            add(&mut sum, own(container));
            sidecars = together;
        }
    }
    raise(&mut sum, &start);
    sum.extend(listed(spec.resources.as_ref(), which));
    let overhead = quantities(spec.overhead.iter().flatten());
    let counts = |name: &String| matches!(which, Which::Requests) || sum.contains_key(name);
    let overhead = overhead.into_iter().filter(|(name, _)| counts(name)).collect();
    add(&mut sum, overhead);
    sum
}

/// A container uses what it asks for, and as long as its resize is under way what it had before if that is more. A resize
/// that its node can never make does not count.
fn of_container(pod: &Pod, container: &Container, which: Which) -> Usage {
    let asked = listed(container.resources.as_ref(), which);
    let Some(status) = &pod.status else { return asked };
    let mut all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let Some(own) = all.find(|own| own.name == container.name && own.resources.is_some()) else { return asked };
    let mut used = listed(own.resources.as_ref(), which);
    if matches!(which, Which::Requests) {
        raise(&mut used, &quantities(own.allocated_resources.iter().flatten()));
    }
    let infeasible =
        status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "PodResizePending" && condition.reason.as_deref() == Some("Infeasible")
        });
    if !infeasible {
        raise(&mut used, &asked);
    }
    used
}

fn raise(sum: &mut Usage, least: &Usage) {
    for (name, quantity) in least {
        if sum.get(name).is_none_or(|have| have < quantity) {
            sum.insert(name.clone(), quantity.clone());
        }
    }
}

/// Whether a quota has scopes, and so counts some pods only.
pub fn has_scopes(quota: &ResourceQuota) -> bool {
    let Some(spec) = &quota.spec else { return false };
    let selected = spec.scope_selector.as_ref().and_then(|selector| selector.match_expressions.as_ref());
    spec.scopes.iter().flatten().next().is_some() || selected.is_some_and(|expressions| !expressions.is_empty())
}

/// Whether a quota's scopes let it count this pod.
pub fn in_scope(quota: &ResourceQuota, pod: &Pod) -> bool {
    let Some(spec) = &quota.spec else { return true };
    let mut selected = spec.scope_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
    spec.scopes.iter().flatten().all(|scope| matches_scope(pod, scope, "Exists", &[]))
        && selected.all(|expression| {
            let values = expression.values.as_deref().unwrap_or_default();
            matches_scope(pod, &expression.scope_name, &expression.operator, values)
        })
}

fn matches_scope(pod: &Pod, scope: &str, operator: &str, values: &[String]) -> bool {
    let spec = pod.spec.as_ref();
    let terminating = spec.and_then(|spec| spec.active_deadline_seconds).is_some_and(|seconds| seconds >= 0);
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        "PriorityClass" => {
            let class = spec.and_then(|spec| spec.priority_class_name.as_deref()).unwrap_or_default();
            let listed = values.iter().any(|value| value == class);
            match operator {
                "In" => listed,
                "NotIn" => !listed,
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        "CrossNamespacePodAffinity" => {
            spec.and_then(|spec| spec.affinity.as_ref()).is_some_and(looks_into_other_namespaces)
        }
        _ => false,
    }
}

/// Whether the pod asks for no cpu and no memory anywhere.
fn is_best_effort(pod: &Pod) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let asks = |resources: &ResourceRequirements| {
        let mut amounts = listed(Some(resources), Which::Requests);
        amounts.append(&mut listed(Some(resources), Which::Limits));
        amounts.iter().any(|(name, amount)| matches!(name.as_str(), "cpu" | "memory") && !amount.is_zero())
    };
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let containers = containers.filter_map(|container| container.resources.as_ref());
    !containers.chain(spec.resources.as_ref()).any(asks)
}

fn looks_into_other_namespaces(affinity: &Affinity) -> bool {
    let elsewhere = |term: &PodAffinityTerm| {
        term.namespaces.as_ref().is_some_and(|namespaces| !namespaces.is_empty()) || term.namespace_selector.is_some()
    };
    let near = affinity.pod_affinity.iter().any(|near| {
        let required = near.required_during_scheduling_ignored_during_execution.iter().flatten();
        let preferred = near.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        required.chain(preferred.map(|weighted| &weighted.pod_affinity_term)).any(elsewhere)
    });
    let far = affinity.pod_anti_affinity.iter().any(|far| {
        let required = far.required_during_scheduling_ignored_during_execution.iter().flatten();
        let preferred = far.preferred_during_scheduling_ignored_during_execution.iter().flatten();
        required.chain(preferred.map(|weighted| &weighted.pod_affinity_term)).any(elsewhere)
    });
    near || far
}
