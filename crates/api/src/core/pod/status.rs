//! The status of a pod: what a new pod has, and what an update of the status subresource may do.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec, PodStatus};
use machinery::field::{Error, ErrorList, Path};
use serde_json::{Value, json};

use super::{claims, resources};
use crate::{checks, strategy};

/// A new pod is pending, and blocked while it has scheduling gates.
pub fn begin(pod: &mut Value) {
    strategy::set_generation(pod, 1);
    let spec: PodSpec = pod.get("spec").and_then(|s| serde::Deserialize::deserialize(s).ok()).unwrap_or_default();
    let mut status = json!({"phase": "Pending", "qosClass": qos_class(&spec)});
    if spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        // Nothing here knows the time; the pod was made just now.
        let now = pod.pointer("/metadata/creationTimestamp").cloned();
        status["conditions"] = json!([{
            "type": "PodScheduled",
            "status": "False",
            "lastTransitionTime": now,
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }]);
    }
    if let Some(pod) = pod.as_object_mut() {
        pod.insert("status".to_string(), status);
    }
}

/// Guaranteed: requests and limits of cpu and memory are given and equal everywhere. BestEffort: nothing is given.
pub fn qos_class(spec: &PodSpec) -> &'static str {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    // Resources of the pod as a whole decide alone, where they are given.
    let of_pod = spec.resources.as_ref().filter(|r| !is_empty(r.requests.as_ref()) || !is_empty(r.limits.as_ref()));
    let all: Vec<_> = match of_pod {
        Some(resources) => vec![resources.clone()],
        None => containers.map(|c| c.resources.clone().unwrap_or_default()).collect(),
    };
    let mut burstable = false;
    let mut guaranteed = true;
    for resources in &all {
        for name in ["cpu", "memory"] {
            let amount = |amounts: Option<&resources::Amounts>| {
                amounts.and_then(|a| a.get(name)).and_then(checks::quantity).filter(|q| q.signum() > 0)
            };
            let (request, limit) = (amount(resources.requests.as_ref()), amount(resources.limits.as_ref()));
            burstable |= request.is_some() || limit.is_some();
            guaranteed &= match (request, limit) {
                (Some(request), Some(limit)) => request.cmp(&limit) == std::cmp::Ordering::Equal,
                _ => false,
            };
        }
    }
    match (burstable, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn is_empty(amounts: Option<&resources::Amounts>) -> bool {
    amounts.is_none_or(resources::Amounts::is_empty)
}

/// The older single address and the list agree; the older one wins.
pub fn default(status: &mut PodStatus) {
    let single = status.pod_ip.clone().filter(|ip| !ip.is_empty());
    let first = status.pod_ips.as_ref().and_then(|ips| ips.first()).map(|ip| ip.ip.clone());
    match (single, first) {
        (Some(single), first) if first.as_ref() != Some(&single) => {
            status.pod_ips = Some(vec![k8s_openapi::api::core::v1::PodIP { ip: single }]);
        }
        (None, Some(first)) => status.pod_ip = Some(first),
        _ => {}
    }
}

/// The rest of the pod belongs to the main resource.
pub fn prepare(new: &mut Value, old: &Value) {
    strategy::update_status(new, old);
    let owners = old.pointer("/metadata/ownerReferences").cloned();
    if let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("ownerReferences");
        if let Some(owners) = owners {
            metadata.insert("ownerReferences".to_string(), owners);
        }
    }
    let class = old.pointer("/status/qosClass").cloned();
    let Some(new) = new.as_object_mut() else { return };
    let status = new.entry("status").or_insert_with(|| json!({}));
    if let (Some(status), Some(class)) = (status.as_object_mut(), class)
        && status.get("qosClass").and_then(Value::as_str).unwrap_or("").is_empty()
    {
        status.insert("qosClass".to_string(), class);
    }
}

pub fn update(new: &Pod, old: &Pod) -> ErrorList {
    let (none, path) = (PodStatus::default(), Path::new("status"));
    let (status, was) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    let mut errors = ErrorList::new();
    if let Some(node) = status.nominated_node_name.as_deref().filter(|n| !n.is_empty()) {
        errors.extend(checks::dns_subdomain(node, &path.child("nominatedNodeName")));
    }
    if status.qos_class != was.qos_class {
        let class = status.qos_class.as_deref().unwrap_or("");
        errors.push(Error::invalid(&path.child("qosClass"), class, "field is immutable"));
    }
    let spec = old.spec.clone().unwrap_or_default();
    errors.extend(terminated_stays(
        status.container_statuses.as_deref().unwrap_or(&[]),
        was.container_statuses.as_deref().unwrap_or(&[]),
        |name| restarts(&spec, name),
        &path.child("containerStatuses"),
    ));
    errors.extend(terminated_stays(
        status.init_container_statuses.as_deref().unwrap_or(&[]),
        was.init_container_statuses.as_deref().unwrap_or(&[]),
        |name| init_restarts(&spec, name),
        &path.child("initContainerStatuses"),
    ));
    errors.extend(terminated_stays(
        status.ephemeral_container_statuses.as_deref().unwrap_or(&[]),
        was.ephemeral_container_statuses.as_deref().unwrap_or(&[]),
        |_| Restarts::Never,
        &path.child("ephemeralContainerStatuses"),
    ));
    errors.extend(host_ips(status, &path));
    errors.extend(pod_ips(status, &path.child("podIPs")));
    errors.extend(claims::statuses(status, &spec, &path));
    errors
}

#[derive(PartialEq)]
enum Restarts {
    Always,
    OnFailure,
    Never,
}

fn by_policy(policy: Option<&str>) -> Restarts {
    match policy {
        Some("Never") => Restarts::Never,
        Some("OnFailure") => Restarts::OnFailure,
        _ => Restarts::Always,
    }
}

fn restarts(spec: &PodSpec, name: &str) -> Restarts {
    let container = spec.containers.iter().find(|c| c.name == name);
    // Rules may restart what the policy alone would not.
    if container.is_some_and(|c| c.restart_policy_rules.as_ref().is_some_and(|rules| !rules.is_empty())) {
        return Restarts::Always;
    }
    by_policy(container.and_then(|c| c.restart_policy.as_deref()).or(spec.restart_policy.as_deref()))
}

fn init_restarts(spec: &PodSpec, name: &str) -> Restarts {
    let container = spec.init_containers.iter().flatten().find(|c| c.name == name);
    match container.and_then(|c| c.restart_policy.as_deref()) {
        Some("Always") => Restarts::Always,
        _ if spec.restart_policy.as_deref() == Some("Never") => Restarts::OnFailure,
        _ => Restarts::Always,
    }
}

/// What will not be restarted stays terminated.
fn terminated_stays(
    new: &[ContainerStatus],
    old: &[ContainerStatus],
    restarts: impl Fn(&str) -> Restarts,
    path: &Path,
) -> ErrorList {
    let mut errors = ErrorList::new();
    for (i, old) in old.iter().enumerate() {
        let Some(ended) = old.state.as_ref().and_then(|s| s.terminated.as_ref()) else { continue };
        match restarts(&old.name) {
            Restarts::Always => continue,
            Restarts::OnFailure if ended.exit_code != 0 => continue,
            _ => {}
        }
        let now = new.iter().find(|new| new.name == old.name);
        if now.is_some_and(|now| now.state.as_ref().is_none_or(|state| state.terminated.is_none())) {
            let at = path.index(i);
            errors.push(Error::forbidden(&at.child("state"), "may not be transitioned to non-terminated state"));
        }
    }
    errors
}

fn host_ips(status: &PodStatus, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let list = path.child("hostIPs");
    let addresses = status.host_ips.as_deref().unwrap_or(&[]);
    let Some(first) = addresses.first() else { return errors };
    if status.host_ip.as_deref().unwrap_or("") != first.ip {
        errors.push(Error::invalid(&list.index(0).child("ip"), &first.ip, "must be equal to `hostIP`"));
    }
    for (i, address) in addresses.iter().enumerate() {
        errors.extend(checks::ip(&address.ip, &list.index(i)));
    }
    errors.extend(one_per_family(addresses.iter().map(|a| a.ip.as_str()), &list));
    errors
}

fn pod_ips(status: &PodStatus, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let addresses = status.pod_ips.as_deref().unwrap_or(&[]);
    for (i, address) in addresses.iter().enumerate() {
        errors.extend(checks::ip(&address.ip, &path.index(i)));
    }
    if errors.is_empty() {
        errors.extend(one_per_family(addresses.iter().map(|a| a.ip.as_str()), path));
    }
    errors
}

fn one_per_family<'a>(addresses: impl Iterator<Item = &'a str> + Clone, path: &Path) -> Option<Error> {
    let families: Vec<bool> = addresses.clone().map(|a| a.contains(':')).collect();
    let too_many = families.len() > 2 || families.len() == 2 && families[0] == families[1];
    too_many.then(|| {
        let shown: Vec<_> = addresses.map(|ip| json!({"IP": ip})).collect();
        Error::invalid(path, shown, "may specify no more than one IP for each IP family")
    })
}
