//! What a pod's claims come to: which are bound and to what, which are bound together with the pod, and why the pod has
//! to wait if it has. Counted once for a decision; then each node is asked whether it can reach the volumes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::plan::reference_to;
use client::volumes::{
    Place, SELECTED_NODE, best_match, class_of_claim, class_of_volume, is_complete, requested, volume_name,
    waits_for_consumer,
};
use client::{Key, Snapshot, annotation};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;

use crate::affinity::Terms;
use crate::nodes::Nodes;
use crate::pod_info::PodInfo;
use crate::storage::{Choice, Storage};

/// A class whose volumes nobody makes.
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

/// The counts for one pod.
#[derive(Debug, Default)]
pub struct PodVolumes {
    /// Why the pod fits nowhere until its claims change.
    pub refusal: Option<String>,
    /// The volumes of the claims that are bound.
    pub bound: Vec<Arc<PersistentVolume>>,
    /// Whether a claim is bound to a volume that does not exist.
    pub is_lost: bool,
    /// Names of the claims that only one pod may use at a time.
    pub exclusive: Vec<String>,
    /// Claims that are bound together with the pod, the smallest first.
    unbound: Vec<Unbound>,
    /// Volumes of the classes of those claims.
    candidates: Vec<Arc<PersistentVolume>>,
    /// What volumes demand of a node, by their names.
    affinities: HashMap<String, Terms>,
}

#[derive(Debug)]
struct Unbound {
    claim: Arc<PersistentVolumeClaim>,
    class: Arc<StorageClass>,
    /// A volume is being made for this node.
    node: Option<String>,
}

impl PodVolumes {
    pub fn of(pod: &PodInfo, nodes: &Nodes) -> Self {
        if pod.claims.is_empty() {
            return Self::default();
        }
        let storage = &nodes.storage;
        let claims = match claims_of(pod, &storage.claims.snapshot()) {
            Ok(claims) => claims,
            Err(refusal) => return Self { refusal: Some(refusal), ..Self::default() },
        };
        let (volumes, classes) = (storage.volumes.snapshot(), storage.classes.snapshot());
        let mut known = Self::default();
        for claim in claims {
            if is_exclusive(&claim) {
                known.exclusive.extend(claim.metadata.name.clone());
            }
            let class = classes.get(&Key::cluster(class_of_claim(&claim)));
            if is_complete(&claim) {
                match volumes.get(&Key::cluster(volume_name(&claim))) {
                    Some(volume) => known.bound.push(volume.clone()),
                    None => known.is_lost = true,
                }
            } else if let Some(class) =
                class.filter(|class| waits_for_consumer(class) && volume_name(&claim).is_empty())
            {
                let node = annotation(&claim.metadata, SELECTED_NODE);
                let node = node.or_else(|| storage.assumed_node(claim.metadata.uid.as_deref())).map(str::to_owned);
                known.unbound.push(Unbound { claim, class: class.clone(), node });
            } else {
                known.refusal = Some("pod has unbound immediate PersistentVolumeClaims".to_owned());
                return known;
            }
        }
        known.unbound.sort_by_key(|unbound| requested(&unbound.claim));
        if known.unbound.iter().any(|unbound| unbound.node.is_none()) {
            known.candidates = candidates(storage, &volumes, &known.unbound);
        }
        known.affinities = known.bound.iter().chain(&known.candidates).filter_map(affinity_of).collect();
        known
    }

    /// Whether the node in `row` can reach the volume.
    fn reaches(&self, volume: &PersistentVolume, nodes: &Nodes, row: usize) -> bool {
        let terms = volume.metadata.name.as_ref().and_then(|name| self.affinities.get(name));
        terms.is_none_or(|terms| terms.admit(&nodes.names[row], &nodes.labels[row]))
    }

    /// Whether the node in `row` can reach all volumes of bound claims.
    pub fn reaches_bound(&self, nodes: &Nodes, row: usize) -> bool {
        self.bound.iter().all(|volume| self.reaches(volume, nodes, row))
    }

    /// What would become of the claims that are not bound; nothing if they cannot be had on the node in `row`.
    pub fn choose(&self, nodes: &Nodes, row: usize) -> Option<Choice> {
        let mut choice = Choice::default();
        let mut taken: Vec<&str> = Vec::new();
        for Unbound { claim, class, node } in &self.unbound {
            if let Some(node) = node {
                if *node != nodes.names[row] {
                    return None;
                }
                choice.provisions.push(claim.clone());
                continue;
            }
            let free = self.candidates.iter().filter(|volume| {
                class_of_volume(volume) == class_of_claim(claim)
                    && volume.metadata.name.as_deref().is_some_and(|name| !taken.contains(&name))
            });
            let reaches = |volume: &PersistentVolume| self.reaches(volume, nodes, row);
            match best_match(claim, free, &Place::Node(&reaches)) {
                Some(volume) => {
                    taken.extend(volume.metadata.name.as_deref());
                    choice.bindings.push((volume.clone(), claim.clone()));
                }
                None if can_provision(class, &nodes.labels[row]) => choice.provisions.push(claim.clone()),
                None => return None,
            }
        }
        Some(choice)
    }
}

/// The pod's claims, or why it has to wait for them.
fn claims_of(
    pod: &PodInfo,
    claims: &Snapshot<PersistentVolumeClaim>,
) -> Result<Vec<Arc<PersistentVolumeClaim>>, String> {
    let mut found = Vec::new();
    for own in &pod.claims {
        let name = &own.name;
        let Some(claim) = claims.find(&pod.key.namespace, name) else {
            return Err(match own.is_made_for_it {
                true => {
                    format!("waiting for ephemeral volume controller to create the persistentvolumeclaim \"{name}\"")
                }
                false => format!("persistentvolumeclaim \"{name}\" not found"),
            });
        };
        if claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Lost") {
            let volume = volume_name(claim);
            return Err(format!(
                "persistentvolumeclaim \"{name}\" bound to non-existent persistentvolume \"{volume}\""
            ));
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("persistentvolumeclaim \"{name}\" is being deleted"));
        }
        let owners = claim.metadata.owner_references.iter().flatten();
        if own.is_made_for_it && !owners.into_iter().any(|owner| owner.controller == Some(true) && owner.uid == pod.uid)
        {
            let namespace = &pod.key.namespace;
            return Err(format!("PVC {namespace}/{name} was not created for pod {} (pod is not owner)", pod.key));
        }
        found.push(claim.clone());
    }
    Ok(found)
}

fn is_exclusive(claim: &PersistentVolumeClaim) -> bool {
    let modes = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    modes.iter().any(|mode| mode == "ReadWriteOncePod")
}

/// The volumes of the classes that claims wait for; those that others are about to take already say so.
fn candidates(
    storage: &Storage,
    volumes: &Snapshot<PersistentVolume>,
    unbound: &[Unbound],
) -> Vec<Arc<PersistentVolume>> {
    let assumed = storage.assumed_bindings();
    let classes: Vec<&str> = unbound.iter().map(|unbound| class_of_claim(&unbound.claim)).collect();
    let of_classes = volumes.iter().filter(|volume| classes.contains(&class_of_volume(volume)));
    let as_assumed =
        of_classes.map(|volume| match volume.metadata.name.as_deref().and_then(|name| assumed.get(name)) {
            Some(claim) => {
                let mut volume = PersistentVolume::clone(volume);
                volume.spec.get_or_insert_default().claim_ref = Some(reference_to(*claim));
                Arc::new(volume)
            }
            None => volume.clone(),
        });
    as_assumed.collect()
}

fn affinity_of(volume: &Arc<PersistentVolume>) -> Option<(String, Terms)> {
    let required = volume.spec.as_ref()?.node_affinity.as_ref()?.required.as_ref()?;
    Some((volume.metadata.name.clone()?, Terms::of(required)))
}

/// Whether a volume of the class can be made that a node with these labels can reach.
fn can_provision(class: &StorageClass, labels: &BTreeMap<String, String>) -> bool {
    let topologies = class.allowed_topologies.as_deref().unwrap_or_default();
    let admits = topologies.iter().any(|topology| {
        let demands = topology.match_label_expressions.as_deref().unwrap_or_default();
        !demands.is_empty()
            && demands.iter().all(|demand| labels.get(&demand.key).is_some_and(|value| demand.values.contains(value)))
    });
    !matches!(&*class.provisioner, "" | NO_PROVISIONER) && (topologies.is_empty() || admits)
}

#[cfg(test)]
mod tests;
