//! What objects use of a quota's resources.
//!
//! Every namespaced kind counts as `count/<resource>.<group>` (some also under their plain name); pods and services use
//! more than that. The rules are here and nowhere else, for the admission plugin and for whoever recalculates.

use std::collections::BTreeMap;

use api::Kind;
use machinery::quantity::{Format, Quantity};
use serde_json::Value;

use crate::registry::object;

/// Amounts by resource name.
pub type Usage = BTreeMap<String, Quantity>;

/// Kinds that quotas also know by their plain name.
const PLAIN_COUNTS: &[&str] =
    &["configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"];
/// Between a storage class and what of it is counted.
const CLASS_SUFFIX: &str = ".storageclass.storage.k8s.io/";
/// Devices of a class are counted by the class' name, and as the extended resource that the class stands for.
const DEVICES_SUFFIX: &str = ".deviceclass.resource.k8s.io/devices";
const DEVICES_PREFIX: &str = "requests.deviceclass.resource.kubernetes.io/";
/// As many devices as a request for all of them can get.
const DEVICES_MAX: i64 = 32;
const CLAIM: [&str; 2] = ["persistentvolumeclaims", "requests.storage"];
/// What a pod uses under both its plain name and `requests.`.
const COMPUTE: [&str; 3] = ["cpu", "ephemeral-storage", "memory"];

/// The quantities of a map.
pub fn quantities(from: Option<&Value>) -> Usage {
    let pairs = from.and_then(Value::as_object).into_iter().flatten();
    pairs.filter_map(|(name, value)| Some((name.clone(), Quantity::from_json(value).ok()?))).collect()
}

fn one() -> Quantity {
    Quantity::new(1, Format::DecimalSI)
}

fn count_name(kind: &Kind) -> String {
    if kind.group.is_empty() {
        format!("count/{}", kind.plural)
    } else {
        format!("count/{}.{}", kind.plural, kind.group)
    }
}

fn is(kind: &Kind, plural: &str) -> bool {
    kind.group.is_empty() && kind.plural == plural
}

/// Whether objects of this kind use this resource.
pub fn measures(kind: &Kind, resource: &str) -> bool {
    if resource == count_name(kind)
        || (kind.group.is_empty() && PLAIN_COUNTS.contains(&resource) && kind.plural == resource)
    {
        return true;
    }
    if is(kind, "services") {
        return matches!(resource, "services.nodeports" | "services.loadbalancers");
    }
    if is(kind, "persistentvolumeclaims") {
        return resource == "requests.storage"
            || resource.split_once(CLASS_SUFFIX).is_some_and(|(_, of)| CLAIM.contains(&of));
    }
    if is_device_claim(kind) {
        return resource.ends_with(DEVICES_SUFFIX) || is_extended(resource);
    }
    is(kind, "pods")
        && (resource == "pods"
            || COMPUTE.contains(&resource)
            || resource.starts_with("hugepages-")
            || resource.starts_with("limits.")
            || (resource.starts_with("requests.") && resource != "requests.storage"))
}

fn is_device_claim(kind: &Kind) -> bool {
    kind.group == "resource.k8s.io" && kind.plural == "resourceclaims"
}

/// Whether a quota's resource is an extended one.
fn is_extended(resource: &str) -> bool {
    let foreign = resource.contains('/') && !resource.contains("kubernetes.io/");
    resource.starts_with(DEVICES_PREFIX) || foreign && resource.starts_with("requests.")
}

/// Whether a write to this part of an object can change what it uses.
pub fn changes_usage(kind: &Kind, subresource: &str) -> bool {
    subresource.is_empty() || is(kind, "pods") && subresource == "resize"
}

/// What one object uses. Pods that have ended use nothing but their place as an object.
pub fn usage(kind: &Kind, object: &Value) -> Usage {
    let mut usage = Usage::from([(count_name(kind), one())]);
    if kind.group.is_empty() && PLAIN_COUNTS.contains(&kind.plural) {
        usage.insert(kind.plural.to_owned(), one());
    }
    if is(kind, "services") {
        add_service(object, &mut usage);
    }
    if is(kind, "persistentvolumeclaims") {
        add_claim(object, &mut usage);
    }
    if is_device_claim(kind) {
        add_devices(object, &mut usage);
    }
    if is(kind, "pods") && !has_ended(object) {
        usage.insert("pods".to_owned(), one());
        add_pod(object, &mut usage);
    }
    usage
}

fn has_ended(pod: &Value) -> bool {
    matches!(object::text(pod, "/status/phase"), "Failed" | "Succeeded")
}

fn add_service(service: &Value, usage: &mut Usage) {
    let kind = object::text(service, "/spec/type");
    let ports = object::list(service, "/spec/ports");
    let node_ports = match kind {
        "NodePort" => ports.len(),
        "LoadBalancer"
            if service.pointer("/spec/allocateLoadBalancerNodePorts").and_then(Value::as_bool) == Some(false) =>
        {
            ports.iter().filter(|port| port.get("nodePort").and_then(Value::as_i64).unwrap_or(0) != 0).count()
        }
        "LoadBalancer" => ports.len(),
        _ => 0,
    };
    let count = |n: usize| Quantity::new(i64::try_from(n).unwrap_or(i64::MAX), Format::DecimalSI);
    usage.insert("services.nodeports".to_owned(), count(node_ports));
    usage.insert("services.loadbalancers".to_owned(), count(usize::from(kind == "LoadBalancer")));
}

/// A claim's size counts, and both it and its size count for its class as well.
fn add_claim(claim: &Value, usage: &mut Usage) {
    let class = object::text(claim, "/metadata/annotations/volume.beta.kubernetes.io~1storage-class");
    let class = if class.is_empty() { object::text(claim, "/spec/storageClassName") } else { class };
    if !class.is_empty() {
        usage.insert(format!("{class}{CLASS_SUFFIX}persistentvolumeclaims"), one());
    }
    // What a claim once got counts as long as it is larger than what is asked for.
    let asked = claim.pointer("/spec/resources/requests/storage").and_then(|size| Quantity::from_json(size).ok());
    let got = claim.pointer("/status/allocatedResources/storage").and_then(|size| Quantity::from_json(size).ok());
    let size = match (asked, got) {
        (Some(asked), Some(got)) => Some(if got > asked { got } else { asked }),
        (asked, _) => asked,
    };
    if let Some(size) = size {
        if !class.is_empty() {
            usage.insert(format!("{class}{CLASS_SUFFIX}requests.storage"), size.clone());
        }
        usage.insert("requests.storage".to_owned(), size);
    }
}

/// What a claim's devices of a class count as when the class stands for an extended resource.
pub fn add_extended(usage: &mut Usage, extended_of: impl Fn(&str) -> Option<String>) {
    let devices = usage.iter().filter_map(|(name, amount)| Some((name.strip_suffix(DEVICES_SUFFIX)?, amount)));
    let named =
        devices.filter_map(|(class, amount)| Some((format!("requests.{}", extended_of(class)?), amount.clone())));
    let extended: Vec<(String, Quantity)> = named.collect();
    for (name, amount) in extended {
        add(usage, &Usage::from([(name, amount)]));
    }
}

/// Of alternatives each class counts with the most that it may come to.
fn add_devices(claim: &Value, usage: &mut Usage) {
    for request in object::list(claim, "/spec/devices/requests") {
        let mut most: BTreeMap<&str, i64> = BTreeMap::new();
        let alternatives = object::list(request, "/firstAvailable");
        let exactly = request.get("exactly").filter(|exactly| exactly.is_object() && alternatives.is_empty());
        for wanted in alternatives.iter().chain(exactly) {
            let devices = match object::text(wanted, "/allocationMode") {
                "ExactCount" => object::number(wanted, "/count").unwrap_or(0),
                "All" => DEVICES_MAX,
                _ => 0,
            };
            let class = most.entry(object::text(wanted, "/deviceClassName")).or_default();
            *class = devices.max(*class);
        }
        for (class, devices) in most {
            for name in [format!("{class}{DEVICES_SUFFIX}"), format!("{DEVICES_PREFIX}{class}")] {
                add(usage, &Usage::from([(name, Quantity::new(devices, Format::DecimalSI))]));
            }
        }
    }
}

fn add_pod(pod: &Value, usage: &mut Usage) {
    for (name, amount) in of_pod(pod, "requests") {
        if COMPUTE.contains(&name.as_str()) || name.starts_with("hugepages-") {
            usage.insert(name.clone(), amount.clone());
        }
        usage.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in of_pod(pod, "limits") {
        usage.insert(format!("limits.{name}"), amount);
    }
}

/// What a pod uses at most at any time: its containers together, or one of its init containers if that is more. Init
/// containers that keep running count with the others.
pub fn of_pod(pod: &Value, which: &str) -> Usage {
    let mut sum = Usage::new();
    for container in object::list(pod, "/spec/containers") {
        add(&mut sum, &of_container(pod, container, "/status/containerStatuses", which));
    }
    let mut sidecars = Usage::new();
    let mut start = Usage::new();
    for container in object::list(pod, "/spec/initContainers") {
        let own = of_container(pod, container, "/status/initContainerStatuses", which);
        if object::text(container, "/restartPolicy") == "Always" {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            raise(&mut start, &sidecars);
        } else {
            let mut together = sidecars.clone();
            add(&mut together, &own);
            raise(&mut start, &together);
        }
    }
    raise(&mut sum, &start);
    let pod_level = quantities(pod.pointer(&format!("/spec/resources/{which}")));
    sum.extend(pod_level);
    if which == "requests" || !sum.is_empty() {
        let overhead = quantities(pod.pointer("/spec/overhead"));
        let known = |name: &String| which == "requests" || sum.contains_key(name);
        let overhead: Usage = overhead.into_iter().filter(|(name, _)| known(name)).collect();
        add(&mut sum, &overhead);
    }
    sum
}

/// A container uses what it asks for, and as long as its resize is under way what it had before if that is more. A resize
/// that its node can never make does not count.
fn of_container(pod: &Value, container: &Value, statuses: &str, which: &str) -> Usage {
    let asked = quantities(container.pointer(&format!("/resources/{which}")));
    let name = object::text(container, "/name");
    let status = object::list(pod, statuses).iter().find(|status| object::text(status, "/name") == name);
    let Some(status) = status.filter(|status| status.get("resources").is_some_and(Value::is_object)) else {
        return asked;
    };
    let mut used = quantities(status.pointer(&format!("/resources/{which}")));
    if which == "requests" {
        raise(&mut used, &quantities(status.get("allocatedResources")));
    }
    if !resize_is_infeasible(pod) {
        raise(&mut used, &asked);
    }
    used
}

fn resize_is_infeasible(pod: &Value) -> bool {
    object::list(pod, "/status/conditions").iter().any(|condition| {
        object::text(condition, "/type") == "PodResizePending" && object::text(condition, "/reason") == "Infeasible"
    })
}

fn add(sum: &mut Usage, more: &Usage) {
    for (name, quantity) in more {
        let total = sum.get(name).map_or_else(|| quantity.clone(), |have| have.add(quantity));
        sum.insert(name.clone(), total);
    }
}

fn raise(sum: &mut Usage, least: &Usage) {
    for (name, quantity) in least {
        if sum.get(name).is_none_or(|have| have < quantity) {
            sum.insert(name.clone(), quantity.clone());
        }
    }
}

/// Containers must name what a quota on compute resources counts: `cpu for: a,b; limits.memory for: a`.
pub fn missing(kind: &Kind, object: &Value, resources: &[&str]) -> String {
    if !is(kind, "pods") {
        return String::new();
    }
    let mut missing = Vec::new();
    for resource in resources {
        let (which, name) = match resource.split_once('.') {
            Some((which @ ("limits" | "requests"), name)) => (which, name),
            _ => ("requests", *resource),
        };
        if !COMPUTE.contains(&name) {
            continue;
        }
        let pod_level = object.pointer(&format!("/spec/resources/{which}")).and_then(|map| map.get(name)).is_some();
        let containers =
            object::list(object, "/spec/containers").iter().chain(object::list(object, "/spec/initContainers"));
        let without: Vec<&str> = containers
            .filter(|container| {
                container.pointer(&format!("/resources/{which}")).and_then(|map| map.get(name)).is_none()
            })
            .map(|container| object::text(container, "/name"))
            .collect();
        if !without.is_empty() && !pod_level {
            missing.push(format!("{resource} for: {}", without.join(",")));
        }
    }
    missing.sort_unstable();
    missing.join("; ")
}

/// Whether a quota's scopes let it count this object. Only pods have scopes.
pub fn in_scope(quota: &Value, kind: &Kind, object: &Value) -> bool {
    let scopes = object::texts(quota, "/spec/scopes").map(|scope| matches_scope(kind, object, scope, "Exists", &[]));
    let selected = object::list(quota, "/spec/scopeSelector/matchExpressions").iter().map(|expression| {
        let values: Vec<&str> = object::texts(expression, "/values").collect();
        let operator = object::text(expression, "/operator");
        matches_scope(kind, object, object::text(expression, "/scopeName"), operator, &values)
    });
    scopes.chain(selected).all(|matches| matches)
}

fn matches_scope(kind: &Kind, pod: &Value, scope: &str, operator: &str, values: &[&str]) -> bool {
    if !is(kind, "pods") {
        return false;
    }
    let terminating = object::number(pod, "/spec/activeDeadlineSeconds").is_some_and(|seconds| seconds >= 0);
    let best_effort = of_pod(pod, "requests").is_empty() && of_pod(pod, "limits").is_empty();
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort,
        "NotBestEffort" => !best_effort,
        "PriorityClass" => {
            let class = object::text(pod, "/spec/priorityClassName");
            match operator {
                "In" => values.contains(&class),
                "NotIn" => !values.contains(&class),
                "DoesNotExist" => class.is_empty(),
                _ => !class.is_empty(),
            }
        }
        "CrossNamespacePodAffinity" => uses_other_namespaces(pod),
        _ => false,
    }
}

/// Whether an (anti-)affinity term of the pod looks at pods of other namespaces.
fn uses_other_namespaces(pod: &Value) -> bool {
    ["podAffinity", "podAntiAffinity"].iter().any(|which| {
        let base = format!("/spec/affinity/{which}");
        let required = object::list(pod, &format!("{base}/requiredDuringSchedulingIgnoredDuringExecution")).iter();
        let preferred = object::list(pod, &format!("{base}/preferredDuringSchedulingIgnoredDuringExecution")).iter();
        required.chain(preferred.filter_map(|term| term.get("podAffinityTerm"))).any(|term| {
            !object::list(term, "/namespaces").is_empty() || term.get("namespaceSelector").is_some_and(|s| !s.is_null())
        })
    })
}
