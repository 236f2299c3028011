//! What claims and volumes say of each other: the rules of matching that the volume binder and the scheduler share.
//!
//! A claim and a volume are bound when each names the other. The volume comes first (`spec.claimRef`), then the claim
//! (`spec.volumeName`), then the annotation [`BIND_COMPLETED`], so that whoever is interrupted can go on.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod, Volume};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::{Selector, annotation};

/// On a claim: its binding is complete, and a volume that is missing now is lost.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On a claim or a volume: the binder chose the other side, not a person.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// On a claim: the node for which a volume shall be made.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The class that a claim names; nothing where it leaves that open. "" asks for volumes without a class.
pub fn named_class(claim: &PersistentVolumeClaim) -> Option<&str> {
    let named = || claim.spec.as_ref()?.storage_class_name.as_deref();
    annotation(&claim.metadata, BETA_CLASS).or_else(named)
}

/// A claim's class, "" for none.
pub fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    named_class(claim).unwrap_or_default()
}

/// A volume's class, "" for none.
pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    let named = || volume.spec.as_ref()?.storage_class_name.as_deref();
    annotation(&volume.metadata, BETA_CLASS).or_else(named).unwrap_or_default()
}

/// The volume that a claim names, "" for none.
pub fn volume_name(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}

/// The claim that a volume names.
pub fn claim_ref(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// The uid of the claim that a volume is bound to; nothing where it is free or only set aside for a name.
pub fn bound_uid(volume: &PersistentVolume) -> Option<&str> {
    claim_ref(volume)?.uid.as_deref().filter(|uid| !uid.is_empty())
}

/// Whether a reference without a uid, or with this claim's, names the claim.
pub fn refers_to(reference: &ObjectReference, claim: &PersistentVolumeClaim) -> bool {
    let uid = reference.uid.as_deref().unwrap_or_default();
    reference.name == claim.metadata.name
        && reference.namespace == claim.metadata.namespace
        && (uid.is_empty() || Some(uid) == claim.metadata.uid.as_deref())
}

/// Whether the volume is bound to the claim, or set aside for it.
pub fn is_bound_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    claim_ref(volume).is_some_and(|reference| refers_to(reference, claim))
}

/// Whether the claim's side of the binding is complete.
pub fn is_complete(claim: &PersistentVolumeClaim) -> bool {
    !volume_name(claim).is_empty() && annotation(&claim.metadata, BIND_COMPLETED).is_some()
}

/// Whether volumes of the class are bound only when a pod needs them.
pub fn waits_for_consumer(class: &StorageClass) -> bool {
    class.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer")
}

/// The name of the claim behind a pod's volume, be it named or made for the pod.
pub fn claim_name(pod: &Pod, volume: &Volume) -> Option<String> {
    if let Some(source) = &volume.persistent_volume_claim {
        return Some(source.claim_name.clone());
    }
    volume.ephemeral.as_ref().map(|_| format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name))
}

/// The names of the claims behind a pod's volumes.
pub fn claim_names(pod: &Pod) -> impl Iterator<Item = String> + '_ {
    pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()).filter_map(|volume| claim_name(pod, volume))
}

/// The storage that a claim asks for.
pub fn requested(claim: &PersistentVolumeClaim) -> machinery::quantity::Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    storage(resources.and_then(|resources| resources.requests.as_ref()))
}

/// The storage that a volume has.
pub fn capacity(volume: &PersistentVolume) -> machinery::quantity::Quantity {
    storage(volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()))
}

/// What cannot be read has passed validation in another form of it, and counts as nothing.
fn storage(resources: Option<&BTreeMap<String, Quantity>>) -> machinery::quantity::Quantity {
    let text = resources.and_then(|resources| resources.get("storage"));
    text.and_then(|text| machinery::quantity::Quantity::parse(&text.0).ok()).unwrap_or_default()
}

fn mode(mode: Option<&String>) -> &str {
    mode.map_or("Filesystem", String::as_str)
}

/// Whether one is a device and the other holds files.
pub fn modes_differ(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    mode(volume.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref()))
        != mode(claim.spec.as_ref().and_then(|spec| spec.volume_mode.as_ref()))
}

fn attributes_differ(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let of_volume = volume.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    let of_claim = claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref());
    of_volume.unwrap_or_default() != of_claim.unwrap_or_default()
}

/// Whether the volume can be had in every way that the claim asks for.
fn has_access_modes(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let offered = volume.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    let wanted = claim.spec.as_ref().and_then(|spec| spec.access_modes.as_deref()).unwrap_or_default();
    wanted.iter().all(|mode| offered.contains(mode))
}

/// Why the volume that a claim names is not fit for it, in upstream's words.
pub fn mismatch(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<&'static str> {
    if capacity(volume) < requested(claim) {
        Some("requested PV is too small")
    } else if class_of_volume(volume) != class_of_claim(claim) {
        Some("storageClassName does not match")
    } else if attributes_differ(volume, claim) {
        Some("volumeAttributesClassName does not match")
    } else if modes_differ(volume, claim) {
        Some("incompatible volumeMode")
    } else if !has_access_modes(volume, claim) {
        Some("incompatible accessMode")
    } else {
        None
    }
}

/// Where a claim is to be bound.
pub enum Place<'a> {
    /// Anywhere.
    Anywhere,
    /// Nowhere yet: only a volume that was set aside for the claim will do.
    NotYet,
    /// On a node that can reach the volumes of which this is true.
    Node(&'a dyn Fn(&PersistentVolume) -> bool),
}

/// The volume to bind a claim to: one that was set aside for it, else the smallest that fits. Away from nodes those with
/// the fewest access modes come first, so that what can be shared stays for those who need it.
pub fn best_match<'a, V>(
    claim: &PersistentVolumeClaim,
    volumes: impl IntoIterator<Item = &'a V>,
    place: &Place<'_>,
) -> Option<&'a V>
where
    V: std::ops::Deref<Target = PersistentVolume> + 'a,
{
    let wanted = requested(claim);
    let class = class_of_claim(claim);
    let selector = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref()).map(Selector::of);
    let is_fit = |volume: &PersistentVolume| {
        claim_ref(volume).is_none_or(|reference| refers_to(reference, claim))
            && capacity(volume) >= wanted
            && !modes_differ(volume, claim)
            && !attributes_differ(volume, claim)
            && volume.metadata.deletion_timestamp.is_none()
            && has_access_modes(volume, claim)
    };
    let is_free = |volume: &PersistentVolume| {
        volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Available")
            && selector.as_ref().is_none_or(|selector| selector.matches(volume.metadata.labels.as_ref()))
            && class_of_volume(volume) == class
    };
    let candidates = volumes.into_iter().filter(|volume| {
        is_fit(volume)
            && (is_bound_to(volume, claim)
                || match place {
                    Place::Anywhere => is_free(volume),
                    Place::NotYet => false,
                    Place::Node(reaches) => is_free(volume) && reaches(volume),
                })
    });
    let best = candidates.min_by_key(|volume| {
        let modes = match place {
            Place::Node(_) => 0,
            _ => volume.spec.as_ref().and_then(|spec| spec.access_modes.as_ref()).map_or(0, Vec::len),
        };
        (modes, Reverse(is_bound_to(volume, claim)), capacity(volume))
    })?;
    // The claim will get the volume that was set aside for it and no other: on this node it gets none.
    match place {
        Place::Node(reaches) if is_bound_to(best, claim) && !reaches(best) => None,
        _ => Some(best),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use serde_json::{Value, json};

    fn merged(mut base: Value, more: &Value) -> Value {
        for (key, value) in more.as_object().into_iter().flatten() {
            match base.get(key) {
                Some(Value::Object(_)) if value.is_object() => base[key] = merged(base[key].take(), value),
                _ => base[key] = value.clone(),
            }
        }
        base
    }

    fn volume(name: &str, more: Value) -> Arc<PersistentVolume> {
        let base = json!({"metadata": {"name": name}, "spec": {"capacity": {"storage": "5Gi"},
            "accessModes": ["ReadWriteOnce"], "storageClassName": "c"}, "status": {"phase": "Available"}});
        Arc::new(serde_json::from_value(merged(base, &more)).unwrap())
    }

    fn claim(more: Value) -> PersistentVolumeClaim {
        let base = json!({"metadata": {"name": "x", "namespace": "n", "uid": "u"}, "spec": {"storageClassName": "c",
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}});
        serde_json::from_value(merged(base, &more)).unwrap()
    }

    fn best(claim: &PersistentVolumeClaim, volumes: &[Arc<PersistentVolume>], place: &Place<'_>) -> Option<String> {
        best_match(claim, volumes, place).and_then(|volume| volume.metadata.name.clone())
    }

    #[test]
    fn the_smallest_that_fits_is_taken_and_few_access_modes_come_first() {
        let sized = |name: &str, size: &str| volume(name, json!({"spec": {"capacity": {"storage": size}}}));
        let shared = volume(
            "shared",
            json!({"spec": {"capacity": {"storage": "2Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"]}}),
        );
        let volumes = [shared, sized("small", "1Gi"), sized("big", "9Gi"), sized("right", "3Gi")];
        assert_eq!(best(&claim(json!({})), &volumes, &Place::Anywhere).as_deref(), Some("right"));
        assert_eq!(best(&claim(json!({})), &volumes, &Place::Node(&|_| true)).as_deref(), Some("shared"));
        assert_eq!(best(&claim(json!({})), &volumes, &Place::NotYet), None);
        let many = claim(json!({"spec": {"accessModes": ["ReadWriteMany"]}}));
        assert_eq!(best(&many, &volumes, &Place::Anywhere).as_deref(), Some("shared"));
    }

    #[test]
    fn what_is_taken_leaving_of_another_kind_or_not_selected_is_passed_over() {
        for more in [
            json!({"spec": {"claimRef": {"name": "other", "namespace": "n"}}}),
            json!({"spec": {"claimRef": {"name": "x", "namespace": "n", "uid": "before"}}}),
            json!({"spec": {"volumeMode": "Block"}}),
            json!({"spec": {"storageClassName": "d"}}),
            json!({"spec": {"volumeAttributesClassName": "gold"}}),
            json!({"status": {"phase": "Pending"}}),
            json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:00Z"}}),
        ] {
            assert_eq!(best(&claim(json!({})), &[volume("v", more.clone())], &Place::Anywhere), None, "{more}");
        }
        let choosy = claim(json!({"spec": {"selector": {"matchLabels": {"disk": "fast"}}}}));
        let slow = volume("slow", json!({"metadata": {"labels": {"disk": "slow"}}}));
        let fast = volume("fast", json!({"metadata": {"labels": {"disk": "fast"}}}));
        assert_eq!(best(&choosy, &[slow, fast], &Place::Anywhere).as_deref(), Some("fast"));
    }

    #[test]
    fn a_volume_set_aside_is_taken_before_all_others_and_is_the_only_one_for_its_claim() {
        let aside = volume(
            "aside",
            json!({"spec": {"capacity": {"storage": "9Gi"}, "storageClassName": "d",
            "claimRef": {"name": "x", "namespace": "n"}}, "status": {"phase": "Pending"}}),
        );
        let volumes = [volume("free", json!({})), aside];
        assert_eq!(best(&claim(json!({})), &volumes, &Place::Anywhere).as_deref(), Some("aside"));
        assert_eq!(best(&claim(json!({})), &volumes, &Place::NotYet).as_deref(), Some("aside"));
        let not_aside = |volume: &PersistentVolume| volume.metadata.name.as_deref() != Some("aside");
        assert_eq!(best(&claim(json!({})), &volumes, &Place::Node(&not_aside)), None);
    }

    #[test]
    fn a_named_volume_that_does_not_fit_is_told_why() {
        let why = |of_volume: Value, of_claim: Value| mismatch(&volume("v", of_volume), &claim(of_claim));
        assert_eq!(why(json!({}), json!({})), None);
        let big = json!({"spec": {"resources": {"requests": {"storage": "6Gi"}}}});
        assert_eq!(why(json!({}), big), Some("requested PV is too small"));
        let annotated = json!({"metadata": {"annotations": {BETA_CLASS: "d"}}});
        assert_eq!(why(json!({}), annotated.clone()), Some("storageClassName does not match"));
        assert_eq!(why(annotated.clone(), annotated), None);
        assert_eq!(why(json!({"spec": {"volumeMode": "Block"}}), json!({})), Some("incompatible volumeMode"));
        let many = json!({"spec": {"accessModes": ["ReadWriteMany"]}});
        assert_eq!(why(json!({}), many), Some("incompatible accessMode"));
    }
}
