//! Compute resources of containers and pods: names, amounts, and what requests may be against limits.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use machinery::field::{Error, ErrorList, Path};
use machinery::names;
use machinery::quantity::Quantity;

use crate::checks;

pub type Amounts = BTreeMap<String, Text>;

/// Resources every quota, node or container may speak of without a domain.
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// Counted in whole things only.
const INTEGER: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

pub fn is_hugepages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Of Kubernetes itself: no domain, or kubernetes.io.
pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Of somebody else's domain, and a name a quota can prefix.
pub fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

pub fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || is_hugepages(name)
}

pub fn is_integer(name: &str) -> bool {
    INTEGER.contains(&name) || is_extended(name)
}

fn is_standard_for_containers(name: &str) -> bool {
    matches!(name, "cpu" | "memory" | "ephemeral-storage") || is_hugepages(name)
}

/// More may be promised than there is: not so for whole devices and huge pages.
fn is_overcommit_allowed(name: &str) -> bool {
    is_native(name) && !is_hugepages(name)
}

/// A resource name by itself.
pub fn name(name: &str, path: &Path) -> ErrorList {
    let mut errors = checks::qualified_name(name, path);
    if errors.is_empty() && !name.contains('/') && !is_standard(name) {
        errors.push(Error::invalid(path, name, "must be a standard resource type or fully qualified"));
    }
    errors
}

/// A resource name a container may ask for.
pub fn container_name(resource: &str, path: &Path) -> ErrorList {
    let mut errors = name(resource, path);
    if !resource.contains('/') {
        if !is_standard_for_containers(resource) {
            errors.push(Error::invalid(path, resource, "must be a standard resource for containers"));
        }
    } else if !is_native(resource) && !is_extended(resource) {
        errors.push(Error::invalid(path, resource, "doesn't follow extended resource name standard"));
    }
    errors
}

/// An amount: not negative, and whole where only whole things are counted.
pub fn amount(resource: &str, text: &Text, path: &Path) -> ErrorList {
    let mut errors: ErrorList = checks::non_negative_quantity(text, path).into_iter().collect();
    let Some(quantity) = checks::quantity(text) else { return errors };
    if is_integer(resource) && quantity.milli_value() % 1000 != 0 {
        errors.push(Error::invalid(path, quantity.to_string(), "must be an integer"));
    }
    errors
}

/// Whether an amount of huge pages is a whole number of pages.
fn hugepages(resource: &str, text: &Text, path: &Path) -> Option<Error> {
    let size = Quantity::parse(resource.strip_prefix("hugepages-")?).ok()?.value();
    let quantity = checks::quantity(text)?;
    (size <= 0 || quantity.value() <= 0 && quantity.signum() != 0 || quantity.value() % size != 0).then(|| {
        let shown = quantity.to_string();
        Error::invalid(path, &shown, format!("{shown} is not positive integer multiple of {resource}"))
    })
}

/// A container's resources. `pod_claims` are the names of spec.resourceClaims.
pub fn container(resources: &ResourceRequirements, pod_claims: &[&str], path: &Path) -> ErrorList {
    requirements(resources, pod_claims, path, container_name)
}

fn requirements(
    resources: &ResourceRequirements,
    pod_claims: &[&str],
    path: &Path,
    check_name: fn(&str, &Path) -> ErrorList,
) -> ErrorList {
    let mut errors = ErrorList::new();
    let (limits_path, requests_path) = (path.child("limits"), path.child("requests"));
    let none = Amounts::new();
    let limits = resources.limits.as_ref().unwrap_or(&none);
    let requests = resources.requests.as_ref().unwrap_or(&none);
    for (resource, text) in limits {
        let path = limits_path.key(resource);
        errors.extend(check_name(resource, &path));
        errors.extend(amount(resource, text, &path));
        errors.extend(hugepages(resource, text, &path));
    }
    for (resource, text) in requests {
        let path = requests_path.key(resource);
        errors.extend(check_name(resource, &path));
        errors.extend(amount(resource, text, &path));
        errors.extend(request_against_limit(resource, text, limits, &requests_path, &limits_path));
        errors.extend(hugepages(resource, text, &path));
    }
    let asks = |wanted: fn(&str) -> bool| limits.keys().chain(requests.keys()).any(|name| wanted(name));
    if asks(is_hugepages) && !asks(|name| matches!(name, "cpu" | "memory")) {
        errors.push(Error::forbidden(path, "HugePages require cpu or memory"));
    }
    errors.extend(claims(resources, pod_claims, &path.child("claims")));
    errors
}

fn request_against_limit(
    resource: &str,
    text: &Text,
    limits: &Amounts,
    requests: &Path,
    at_limits: &Path,
) -> Option<Error> {
    let request = checks::quantity(text)?;
    match limits.get(resource) {
        None if !is_overcommit_allowed(resource) => {
            Some(Error::required(at_limits, "Limit must be set for non overcommitable resources"))
        }
        None => None,
        Some(limit) => {
            let shown_limit = checks::shown(limit);
            match request.cmp(&checks::quantity(limit)?) {
                Ordering::Equal => None,
                _ if !is_overcommit_allowed(resource) => {
                    let detail = format!("must be equal to {resource} limit of {shown_limit}");
                    Some(Error::invalid(requests, request.to_string(), detail))
                }
                Ordering::Greater => {
                    let detail = format!("must be less than or equal to {resource} limit of {shown_limit}");
                    Some(Error::invalid(requests, request.to_string(), detail))
                }
                Ordering::Less => None,
            }
        }
    }
}

fn claims(resources: &ResourceRequirements, pod_claims: &[&str], path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut seen: Vec<String> = Vec::new();
    for (i, claim) in resources.claims.iter().flatten().enumerate() {
        let path = path.index(i);
        if claim.name.is_empty() {
            errors.push(Error::required(&path, ""));
            continue;
        }
        let key = match claim.request.as_deref() {
            Some(request) if !request.is_empty() => format!("{}/{request}", claim.name),
            _ => claim.name.clone(),
        };
        if seen.contains(&key) {
            errors.push(Error::duplicate(&path, &key));
        } else {
            seen.push(key);
        }
        if !pod_claims.contains(&claim.name.as_str()) {
            let detail = match pod_claims {
                [] => "must be one of the names in pod.spec.resourceClaims which is empty".to_string(),
                _ => "must be one of the names in pod.spec.resourceClaims".to_string(),
            };
            errors.push(checks::not_found_because(&path, &claim.name, &detail));
        }
    }
    errors
}

/// Resources of the pod as a whole, and of its containers against them.
pub fn pod(spec: &PodSpec, pod_claims: &[&str], path: &Path) -> ErrorList {
    let Some(resources) = &spec.resources else { return ErrorList::new() };
    let mut errors = ErrorList::new();
    if resources.claims.as_ref().is_some_and(|claims| !claims.is_empty()) {
        errors.push(Error::forbidden(&path.child("claims"), "may not be set for Resources at pod-level"));
    }
    let without_claims = ResourceRequirements { claims: None, ..resources.clone() };
    errors.extend(requirements(&without_claims, pod_claims, path, pod_level_name));
    let (requests, _) = aggregate(spec);
    let requests_path = path.child("requests");
    for (resource, text) in resources.requests.iter().flatten() {
        let (Some(total), Some(mine)) = (requests.get(resource), checks::quantity(text)) else { continue };
        if total.cmp(&mine) == Ordering::Greater {
            let detail = format!("must be greater than or equal to aggregate container requests of {total}");
            errors.push(Error::invalid(&requests_path.key(resource), mine.to_string(), detail));
        }
    }
    let containers = path.child("containers");
    for (i, container) in spec.containers.iter().enumerate() {
        let container_limits = container.resources.iter().flat_map(|r| r.limits.iter().flatten());
        for (resource, text) in container_limits {
            let Some(pod_limit) = resources.limits.as_ref().and_then(|l| l.get(resource)) else { continue };
            let (Some(mine), Some(limit)) = (checks::quantity(text), checks::quantity(pod_limit)) else { continue };
            if mine.cmp(&limit) == Ordering::Greater {
                let detail = format!("must be less than or equal to pod limits of {limit}");
                let at = containers.index(i);
                errors.push(Error::invalid(&at.key(resource).child("limits"), mine.to_string(), detail));
            }
        }
    }
    errors
}

fn pod_level_name(resource: &str, path: &Path) -> ErrorList {
    if matches!(resource, "cpu" | "memory") || is_hugepages(resource) {
        return ErrorList::new();
    }
    vec![Error::not_supported(path, resource, &["cpu", "hugepages-", "memory"])]
}

type Totals = BTreeMap<String, Quantity>;

/// What the containers of a pod add up to: the regular ones and restartable init containers run together; each other
/// init container runs alone beside the restartable ones started before it.
pub fn aggregate(spec: &PodSpec) -> (Totals, Totals) {
    let sum = |pick: fn(&ResourceRequirements) -> Option<&Amounts>| -> Totals {
        let of = |resources: Option<&ResourceRequirements>| -> Totals {
            let amounts = resources.and_then(pick).into_iter().flatten();
            amounts.filter_map(|(name, text)| Some((name.clone(), checks::quantity(text)?))).collect()
        };
        let mut running = Totals::new();
        for container in &spec.containers {
            add(&mut running, of(container.resources.as_ref()));
        }
        let mut sidecars = Totals::new();
        let mut starting = Totals::new();
        for container in spec.init_containers.iter().flatten() {
            let mine = of(container.resources.as_ref());
            if container.restart_policy.as_deref() == Some("Always") {
                add(&mut running, mine.clone());
                add(&mut sidecars, mine);
                raise(&mut starting, sidecars.clone());
            } else {
                let mut beside = sidecars.clone();
                add(&mut beside, mine);
                raise(&mut starting, beside);
            }
        }
        raise(&mut running, starting);
        running
    };
    (sum(|r| r.requests.as_ref()), sum(|r| r.limits.as_ref()))
}

fn add(totals: &mut Totals, more: Totals) {
    for (name, quantity) in more {
        match totals.get_mut(&name) {
            Some(total) => *total = total.add(&quantity),
            None => {
                totals.insert(name, quantity);
            }
        }
    }
}

fn raise(totals: &mut Totals, floor: Totals) {
    for (name, quantity) in floor {
        let higher = totals.get(&name).is_none_or(|total| total.cmp(&quantity) == Ordering::Less);
        if higher {
            totals.insert(name, quantity);
        }
    }
}
