//! Claims, volumes and classes as the caches show them, and what is decided about them but not yet written.

use std::collections::HashMap;
use std::sync::Arc;

use client::{Reflectors, Store};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::pod_info::PodKey;

/// What becomes of a pod's claims on the node that was chosen for it.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Volumes that are there, each for its claim.
    pub bindings: Vec<(Arc<PersistentVolume>, Arc<PersistentVolumeClaim>)>,
    /// Claims for which a volume shall be made that the node can reach.
    pub provisions: Vec<Arc<PersistentVolumeClaim>>,
}

impl Choice {
    /// Whether nothing is left to do: all claims are bound already.
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty() && self.provisions.is_empty()
    }

    /// All claims that it is about.
    pub fn claims(&self) -> impl Iterator<Item = &Arc<PersistentVolumeClaim>> {
        self.bindings.iter().map(|(_, claim)| claim).chain(&self.provisions)
    }
}

/// What is known of storage.
#[derive(Default)]
pub struct Storage {
    pub claims: Arc<Store<PersistentVolumeClaim>>,
    pub volumes: Arc<Store<PersistentVolume>>,
    pub classes: Arc<Store<StorageClass>>,
    /// By the pod whose binding is under way, with its node.
    assumed: HashMap<PodKey, (String, Arc<Choice>)>,
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Storage")
    }
}

impl Storage {
    /// Storage as these caches show it.
    pub fn of(caches: &Reflectors) -> Self {
        Self { claims: caches.store(), volumes: caches.store(), classes: caches.store(), assumed: HashMap::new() }
    }

    /// From now on decisions take it that the choice is carried out.
    pub fn assume(&mut self, pod: &PodKey, node: &str, choice: Arc<Choice>) {
        self.assumed.insert(pod.clone(), (node.to_owned(), choice));
    }

    /// The choice has been carried out, and the caches show it, or it never will be.
    pub fn forget(&mut self, pod: &PodKey) {
        self.assumed.remove(pod);
    }

    /// The claims that volumes, by their names, are meant for.
    pub fn assumed_bindings(&self) -> HashMap<&str, &PersistentVolumeClaim> {
        let bindings = self.assumed.values().flat_map(|(_, choice)| &choice.bindings);
        bindings.filter_map(|(volume, claim)| Some((volume.metadata.name.as_deref()?, &**claim))).collect()
    }

    /// The node for which a volume is asked for, by the uid of the claim.
    pub fn assumed_node(&self, claim_uid: Option<&str>) -> Option<&str> {
        let asks = |choice: &Choice| choice.provisions.iter().any(|claim| claim.metadata.uid.as_deref() == claim_uid);
        self.assumed.values().find(|(_, choice)| asks(choice)).map(|(node, _)| node.as_str())
    }
}
