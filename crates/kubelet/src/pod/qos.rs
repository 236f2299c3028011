//! Quality of service: a pod's class, what it asks for in total, and the numbers that the kernel gets for them.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity,
};

use super::{PodExt, is_sidecar};
use crate::{cri::v1::LinuxContainerResources, quantity};

/// How a pod's requests and limits rank it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QosClass {
    /// Every container's limits equal its requests.
    Guaranteed,
    /// Something is asked for.
    Burstable,
    /// Nothing is asked for.
    BestEffort,
}

impl QosClass {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

fn amount(list: Option<&BTreeMap<String, Quantity>>, resource: &str) -> i128 {
    list.and_then(|list| list.get(resource)).map_or(0, quantity::milli)
}

/// Thousandths of a resource that a container requests; a limit alone counts as a request.
pub fn request(resources: Option<&ResourceRequirements>, resource: &str) -> i128 {
    let Some(resources) = resources else { return 0 };
    match amount(resources.requests.as_ref(), resource) {
        0 => amount(resources.limits.as_ref(), resource),
        request => request,
    }
}

/// Thousandths of a resource to which a container is limited; 0 for no limit.
pub fn limit(resources: Option<&ResourceRequirements>, resource: &str) -> i128 {
    resources.map_or(0, |resources| amount(resources.limits.as_ref(), resource))
}

/// The class of a pod, over cpu and memory of all its containers.
pub fn class(pod: &Pod) -> QosClass {
    if let Some(resources) = pod.pod_spec().resources.as_ref() {
        return rank(std::iter::once(Some(resources)));
    }
    rank(pod.main_containers().iter().chain(pod.init_containers()).map(|c| c.resources.as_ref()))
}

fn rank<'a>(all: impl Iterator<Item = Option<&'a ResourceRequirements>>) -> QosClass {
    let (mut any, mut guaranteed) = (false, true);
    for resources in all {
        for resource in ["cpu", "memory"] {
            let (request, limit) = (request(resources, resource), limit(resources, resource));
            any |= request > 0 || limit > 0;
            guaranteed &= limit > 0 && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => QosClass::BestEffort,
        (true, true) => QosClass::Guaranteed,
        (true, false) => QosClass::Burstable,
    }
}

/// What a pod requests of one resource: the larger of its main containers with all sidecars and of each init container
/// with the sidecars before it, plus overhead.
pub fn pod_request(pod: &Pod, resource: &str) -> i128 {
    total(pod, resource, request)
}

/// A pod's limit for one resource, or 0 if some container has none.
pub fn pod_limit(pod: &Pod, resource: &str) -> i128 {
    let all = pod.main_containers().iter().chain(pod.init_containers());
    let pod_level = limit(pod.pod_spec().resources.as_ref(), resource);
    if pod_level == 0 && all.into_iter().any(|c| limit(c.resources.as_ref(), resource) == 0) {
        return 0;
    }
    total(pod, resource, limit)
}

/// What a pod's limits for one resource add up to; a container without one counts as nothing.
pub fn sum_of_limits(pod: &Pod, resource: &str) -> i128 {
    total(pod, resource, limit)
}

fn total(pod: &Pod, resource: &str, of: impl Fn(Option<&ResourceRequirements>, &str) -> i128) -> i128 {
    let pod_level = of(pod.pod_spec().resources.as_ref(), resource);
    let amount_of = |container: &Container| of(container.resources.as_ref(), resource);
    let (mut sidecars, mut init_peak) = (0, 0);
    for container in pod.init_containers() {
        let own = amount_of(container);
        if is_sidecar(container) {
            sidecars += own;
            init_peak = init_peak.max(sidecars);
        } else {
            init_peak = init_peak.max(sidecars + own);
        }
    }
    let main: i128 = pod.main_containers().iter().map(amount_of).sum();
    let containers = if pod_level > 0 { pod_level } else { init_peak.max(main + sidecars) };
    containers + amount(pod.pod_spec().overhead.as_ref(), resource)
}

/// cgroup v1 shares of so many thousandths of a CPU.
pub fn cpu_shares(milli_cpu: i128) -> i64 {
    i64::try_from((milli_cpu * 1024 / 1000).clamp(2, 262_144)).unwrap_or(2)
}

/// CPU quota per 100 ms period; 0 for none.
pub fn cpu_quota(milli_cpu: i128) -> i64 {
    if milli_cpu == 0 { 0 } else { i64::try_from((milli_cpu * 100).max(1000)).unwrap_or(i64::MAX) }
}

/// What the runtime is told about a container's share of the machine.
pub fn container_resources(
    pod: &Pod,
    container: &Container,
    memory_capacity: u64,
    unified: bool,
) -> LinuxContainerResources {
    let resources = container.resources.as_ref();
    let cpu_limit = limit(resources, "cpu");
    let memory_limit = limit(resources, "memory") / 1000;
    let mut out = LinuxContainerResources {
        cpu_period: 100_000,
        cpu_quota: cpu_quota(cpu_limit),
        cpu_shares: cpu_shares(request(resources, "cpu")),
        memory_limit_in_bytes: i64::try_from(memory_limit).unwrap_or(i64::MAX),
        oom_score_adj: oom_score_adj(pod, container, memory_capacity),
        ..Default::default()
    };
    if unified {
        // The kernel then kills a container as a whole, which is what "the container was OOM killed" means.
        out.unified.insert("memory.oom.group".into(), "1".into());
    }
    out
}

/// Who dies first when memory runs out: what uses more than it asked for.
pub fn oom_score_adj(pod: &Pod, container: &Container, memory_capacity: u64) -> i64 {
    if pod.pod_spec().priority.unwrap_or(0) >= 2_000_001_000 {
        return -997;
    }
    match class(pod) {
        QosClass::Guaranteed => -997,
        QosClass::BestEffort => 1000,
        QosClass::Burstable => {
            let request = request(container.resources.as_ref(), "memory") / 1000;
            let part = 1000 * request / i128::from(memory_capacity.max(1));
            i64::try_from((1000 - part).clamp(3, 999)).unwrap_or(999)
        }
    }
}
