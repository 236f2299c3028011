//! Resources of a pod's containers, and of the pod as a whole, apart from the rest of its spec.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use serde::{Deserialize, Serialize};

use crate::pod::{PodExt, qos};

/// Resources by container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Allocation {
    /// Of main and init containers.
    pub containers: BTreeMap<String, ResourceRequirements>,
    /// Of the pod as a whole, where its spec names any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<ResourceRequirements>,
}

/// What of a container can be resized, in thousandths; 0 for nothing asked or no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// CPUs asked for.
    pub cpu_request: i128,
    /// CPUs at most.
    pub cpu_limit: i128,
    /// Bytes asked for.
    pub memory_request: i128,
    /// Bytes at most.
    pub memory_limit: i128,
}

impl Amounts {
    /// Reads them.
    pub fn of(resources: Option<&ResourceRequirements>) -> Self {
        Self {
            cpu_request: qos::request(resources, "cpu"),
            cpu_limit: qos::limit(resources, "cpu"),
            memory_request: qos::request(resources, "memory"),
            memory_limit: qos::limit(resources, "memory"),
        }
    }

    /// Whether `resource` differs.
    pub fn differ_in(&self, other: &Self, resource: &str) -> bool {
        match resource {
            "cpu" => (self.cpu_request, self.cpu_limit) != (other.cpu_request, other.cpu_limit),
            _ => (self.memory_request, self.memory_limit) != (other.memory_request, other.memory_limit),
        }
    }
}

impl Allocation {
    /// What a pod's spec asks for.
    pub fn of(pod: &Pod) -> Self {
        let all = pod.main_containers().iter().chain(pod.init_containers());
        let containers = all.map(|c| (c.name.clone(), c.resources.clone().unwrap_or_default())).collect();
        Self { containers, pod: pod.pod_spec().resources.clone() }
    }

    /// Whether a pod's spec asks for the same.
    pub fn fits(&self, pod: &Pod) -> bool {
        let mut all = pod.main_containers().iter().chain(pod.init_containers());
        let whole = Amounts::of(self.pod.as_ref()) == Amounts::of(pod.pod_spec().resources.as_ref());
        whole && all.all(|container| self.amounts(container) == Amounts::of(container.resources.as_ref()))
    }

    /// What a container has; one that is not known has what it asks for.
    pub fn amounts(&self, container: &Container) -> Amounts {
        Amounts::of(self.containers.get(&container.name).or(container.resources.as_ref()))
    }

    /// The pod as if its spec asked for this.
    pub fn applied(&self, pod: &Pod) -> Pod {
        let mut pod = pod.clone();
        let Some(spec) = &mut pod.spec else { return pod };
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            if let Some(own) = self.containers.get(&container.name) {
                container.resources = Some(own.clone());
            }
        }
        if self.pod.is_some() {
            spec.resources.clone_from(&self.pod);
        }
        pod
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(cpu: &str) -> Pod {
        serde_json::from_value(json!({"spec": {"containers": [
            {"name": "a", "image": "i", "resources": {"requests": {"cpu": cpu}}}, {"name": "b"}]}}))
        .unwrap()
    }

    #[test]
    fn equal_amounts_in_other_words_are_no_difference() {
        let allocation = Allocation::of(&pod("1"));
        assert!(allocation.fits(&pod("1000m")));
        assert!(!allocation.fits(&pod("2")));
        let applied = allocation.applied(&pod("2"));
        assert_eq!(qos::pod_request(&applied, "cpu"), 1000);
        assert_eq!(applied.spec.unwrap().containers[0].image.as_deref(), Some("i"));
    }
}
