//! Services and sets whose pods spread by default: for a pod without constraints of its own, the labels that it shares
//! with its like.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Selector, Store};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{ReplicationController, Service};

use crate::pod_info::PodInfo;
use crate::topology_spread::Constraint;

/// The caches of what pods belong to.
#[derive(Default)]
pub struct Workloads {
    pub services: Arc<Store<Service>>,
    pub replication_controllers: Arc<Store<ReplicationController>>,
    pub replica_sets: Arc<Store<ReplicaSet>>,
}

impl std::fmt::Debug for Workloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Workloads")
    }
}

impl Workloads {
    /// The constraints of a pod that has none; none as well if it belongs to nothing.
    pub fn default_constraints(&self, pod: &PodInfo) -> Vec<Constraint> {
        match self.selector(pod) {
            Some(selector) => Constraint::defaults(&selector).to_vec(),
            None => Vec::new(),
        }
    }

    /// The selectors of all services that select the pod, and that of its set.
    fn selector(&self, pod: &PodInfo) -> Option<Selector> {
        let mut labels = BTreeMap::new();
        let services = self.services.snapshot();
        for service in services.namespace(&pod.key.namespace) {
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            if let Some(selector) = selector.filter(|selector| !selector.is_empty())
                && Selector::of_labels(selector).matches(pod.labels())
            {
                labels.extend(selector.clone());
            }
        }
        let owner = pod.controller();
        let key = |name: &str| client::Key::new(&pod.key.namespace, name);
        let mut of_set = None;
        match owner.map(|owner| (owner.kind.as_str(), owner.name.as_str())) {
            Some(("ReplicationController", name)) => {
                let found = self.replication_controllers.get(&key(name));
                labels.extend(found.and_then(|found| found.spec.as_ref()?.selector.clone()).unwrap_or_default());
            }
            Some(("ReplicaSet", name)) => {
                of_set = self.replica_sets.get(&key(name)).and_then(|set| Some(set.spec.as_ref()?.selector.clone()));
            }
            _ => {}
        }
        let mut whole = of_set.unwrap_or_default();
        whole.match_labels.get_or_insert_default().extend(labels);
        let selector = Selector::of(&whole);
        (!selector.is_empty()).then_some(selector)
    }
}
