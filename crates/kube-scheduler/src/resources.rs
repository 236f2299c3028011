//! What pods ask for and nodes have, as plain integers: milli-CPUs, bytes, and counts of extended resources.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
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
pub fn pod_requests(spec: &PodSpec) -> Resources {
    total(spec, |container| {
        Resources::from_quantities(container.resources.as_ref().and_then(|resources| resources.requests.as_ref()))
    })
}

/// The same for scoring, where what asks for nothing counts a little: (milli-CPUs, bytes).
pub fn pod_requests_for_scoring(spec: &PodSpec) -> (i64, i64) {
    let requests = total(spec, |container| {
        let asked = container.resources.as_ref().and_then(|resources| resources.requests.as_ref());
        let mut requests = Resources::from_quantities(asked);
        let has = |name: &str| asked.is_some_and(|asked| asked.contains_key(name));
        if !has("cpu") {
            requests.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if !has("memory") {
            requests.memory_bytes = DEFAULT_MEMORY_BYTES;
        }
        requests
    });
    (requests.milli_cpu, requests.memory_bytes)
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
        pod_requests(&serde_json::from_value(spec).unwrap())
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
