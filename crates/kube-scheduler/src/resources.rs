//! What pods ask for and nodes have, as plain integers: milli-CPUs, bytes, and counts of extended resources.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodSpec, PodStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as ApiQuantity;
use machinery::quantity::Quantity;

/// Scoring counts a container without requests as this much, so that such pods spread as well.
const DEFAULT_MILLI_CPU: i64 = 100;
const DEFAULT_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// An amount of each resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resources {
    pub milli_cpu: i64,
    pub memory_bytes: i64,
    pub ephemeral_storage_bytes: i64,
    /// Extended resources and huge pages by name.
    pub other: BTreeMap<String, i64>,
}

impl Resources {
    pub fn from_quantities(quantities: Option<&BTreeMap<String, ApiQuantity>>) -> Self {
        let mut resources = Self::default();
        for (name, quantity) in quantities.into_iter().flatten() {
            // The API server has refused what does not parse.
            let Ok(quantity) = Quantity::parse(&quantity.0) else { continue };
            match name.as_str() {
                "cpu" => resources.milli_cpu = quantity.milli_value(),
                "memory" => resources.memory_bytes = quantity.value(),
                "ephemeral-storage" => resources.ephemeral_storage_bytes = quantity.value(),
                "pods" => {}
                _ => drop(resources.other.insert(name.clone(), quantity.value())),
            }
        }
        resources
    }

    pub fn add(&mut self, more: &Self) {
        self.combine(more, |mine, theirs| mine.saturating_add(theirs));
    }

    pub fn subtract(&mut self, less: &Self) {
        self.combine(less, |mine, theirs| mine.saturating_sub(theirs));
        self.other.retain(|_, amount| *amount != 0);
    }

    fn raise_to(&mut self, least: &Self) {
        self.combine(least, i64::max);
    }

    fn combine(&mut self, other: &Self, operation: impl Fn(i64, i64) -> i64) {
        self.milli_cpu = operation(self.milli_cpu, other.milli_cpu);
        self.memory_bytes = operation(self.memory_bytes, other.memory_bytes);
        self.ephemeral_storage_bytes = operation(self.ephemeral_storage_bytes, other.ephemeral_storage_bytes);
        for (name, amount) in &other.other {
            let mine = self.other.entry(name.clone()).or_default();
            *mine = operation(*mine, *amount);
        }
    }
}

/// What a pod asks for in all: its containers and sidecars together, or the largest moment of its start if that is more,
/// plus the overhead of its runtime class. Requests of the pod as a whole replace those of its containers (KEP-2837).
pub fn pod_requests(pod: &Pod) -> Resources {
    let (none, status) = (PodSpec::default(), pod.status.as_ref());
    total(pod.spec.as_ref().unwrap_or(&none), |container| in_effect(container, asked(container), status))
}

/// The same for scoring, where what asks for nothing counts a little: (milli-CPUs, bytes).
pub fn pod_requests_for_scoring(pod: &Pod) -> (i64, i64) {
    let (none, status) = (PodSpec::default(), pod.status.as_ref());
    let requests = total(pod.spec.as_ref().unwrap_or(&none), |container| {
        let mut requests = asked(container);
        let has = |name: &str| {
            container.resources.as_ref().and_then(|r| r.requests.as_ref()).is_some_and(|asked| asked.contains_key(name))
        };
        if !has("cpu") {
            requests.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if !has("memory") {
            requests.memory_bytes = DEFAULT_MEMORY_BYTES;
        }
        in_effect(container, requests, status)
    });
    (requests.milli_cpu, requests.memory_bytes)
}

fn asked(container: &Container) -> Resources {
    Resources::from_quantities(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
}

/// While a container is resized it holds what it had as well as what it is to get: the larger counts. A resize that the
/// node can never make does not count.
fn in_effect(container: &Container, asked: Resources, status: Option<&PodStatus>) -> Resources {
    let Some(status) = status else { return asked };
    let all = status.container_statuses.iter().chain(&status.init_container_statuses).flatten();
    let named = |own: &&ContainerStatus| own.name == container.name;
    let Some((own, actual)) = all.into_iter().find(named).and_then(|own| Some((own, own.resources.as_ref()?))) else {
        return asked;
    };
    let mut held = Resources::from_quantities(actual.requests.as_ref());
    held.raise_to(&Resources::from_quantities(own.allocated_resources.as_ref()));
    let infeasible =
        status.conditions.iter().flatten().any(|condition| {
            condition.type_ == "PodResizePending" && condition.reason.as_deref() == Some("Infeasible")
        });
    if !infeasible {
        held.raise_to(&asked);
    }
    held
}

fn total(spec: &PodSpec, of: impl Fn(&Container) -> Resources) -> Resources {
    let mut running = Resources::default();
    for container in &spec.containers {
        running.add(&of(container));
    }
    let (mut sidecars, mut starting) = (Resources::default(), Resources::default());
    for container in spec.init_containers.iter().flatten() {
        let mut moment = of(container);
        if container.restart_policy.as_deref() == Some("Always") {
            running.add(&moment);
            sidecars.add(&moment);
            moment = Resources::default();
        }
        moment.add(&sidecars);
        starting.raise_to(&moment);
    }
    running.raise_to(&starting);
    if let Some(pod_level) = spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()) {
        let whole = Resources::from_quantities(Some(pod_level));
        for name in pod_level.keys() {
            match name.as_str() {
                "cpu" => running.milli_cpu = whole.milli_cpu,
                "memory" => running.memory_bytes = whole.memory_bytes,
                other => drop(running.other.insert(other.to_owned(), whole.other.get(other).copied().unwrap_or(0))),
            }
        }
    }
    running.add(&Resources::from_quantities(spec.overhead.as_ref()));
    running
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn requests(spec: serde_json::Value) -> Resources {
        pod_requests(&serde_json::from_value(json!({"spec": spec})).unwrap())
    }

    #[test]
    fn a_pod_under_resize_holds_the_larger_of_what_it_has_and_what_it_is_to_get() {
        let cpu = |amount: &str| json!({"requests": {"cpu": amount}});
        let pod = |spec: &str, allocated: &str, actual: &str, reason: &str| -> Pod {
            serde_json::from_value(json!({
                "spec": {"containers": [{"name": "a", "resources": cpu(spec)}]},
                "status": {
                    "conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
                    "containerStatuses": [{"name": "a", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                        "allocatedResources": {"cpu": allocated}, "resources": cpu(actual)}],
                },
            }))
            .unwrap()
        };
        let milli = |pod: &Pod| pod_requests(pod).milli_cpu;
        assert_eq!(milli(&pod("3", "1", "1", "Deferred")), 3000);
        assert_eq!(milli(&pod("1", "2", "1", "Deferred")), 2000);
        assert_eq!(milli(&pod("1", "1", "4", "Deferred")), 4000);
        assert_eq!(milli(&pod("9", "1", "1", "Infeasible")), 1000);
    }

    #[test]
    fn the_largest_moment_of_the_start_counts() {
        let asks = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let spec = json!({
            "containers": [{"name": "a", "resources": asks("100m")}, {"name": "b", "resources": asks("0.2")}],
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": asks("50m")},
                {"name": "i", "resources": asks("1")},
            ],
        });
        assert_eq!(requests(spec).milli_cpu, 1050);
    }

    #[test]
    fn sidecars_and_overhead_add_and_the_pod_level_replaces() {
        let mut spec = json!({
            "containers": [{"name": "a", "resources": {"requests": {"cpu": "1", "memory": "1Gi", "example.com/gpu": "2"}}}],
            "initContainers": [{"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}}],
            "overhead": {"cpu": "10m"},
        });
        let all = requests(spec.clone());
        assert_eq!((all.milli_cpu, all.memory_bytes, all.other["example.com/gpu"]), (1510, 1 << 30, 2));
        spec["resources"] = json!({"requests": {"cpu": "2"}});
        let all = requests(spec);
        assert_eq!((all.milli_cpu, all.memory_bytes), (2010, 1 << 30));
    }
}
