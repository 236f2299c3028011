//! The writes of a binding: what each side says of the other, and their phases.

use client::plan::reference_to;
use client::volumes::{BIND_COMPLETED, BOUND_BY_CONTROLLER, capacity, claim_ref, is_bound_to, volume_name};
use client::{Intent, Plan, annotation};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use machinery::quantity::Quantity;

/// Binds the two. What concerns the claim waits until the volume is known to be the claim's: only then nobody can take
/// it away.
pub fn bind(plan: &mut Plan, volume: &PersistentVolume, claim: &PersistentVolumeClaim) {
    let tied = tied_volume(volume, claim);
    if let Some(tied) = &tied {
        plan.because("the volume is the claim's from now on");
        plan.write(Intent::update(tied));
    }
    set_volume_phase(plan, tied.as_ref().unwrap_or(volume), "Bound", "");
    if tied.is_some() {
        return;
    }
    let tied = tied_claim(claim, volume);
    if let Some(tied) = &tied {
        plan.because("the claim has its volume");
        plan.write(Intent::update(tied));
    }
    set_claim_status(plan, tied.as_ref().unwrap_or(claim), "Bound", Some(volume));
}

/// The volume with a reference to the claim; nothing where it has it.
fn tied_volume(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<PersistentVolume> {
    let is_set_aside = is_bound_to(volume, claim);
    if is_set_aside && claim_ref(volume).is_some_and(|reference| reference.uid == claim.metadata.uid) {
        return None;
    }
    let mut tied = volume.clone();
    tied.spec.get_or_insert_default().claim_ref = Some(reference_to(claim));
    if !is_set_aside {
        annotate(&mut tied.metadata, BOUND_BY_CONTROLLER, "yes");
    }
    Some(tied)
}

/// The claim with the volume's name, complete; nothing where it is.
fn tied_claim(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> Option<PersistentVolumeClaim> {
    let mut tied = claim.clone();
    let name = volume.metadata.name.clone().unwrap_or_default();
    if volume_name(claim) != name {
        tied.spec.get_or_insert_default().volume_name = Some(name);
        annotate(&mut tied.metadata, BOUND_BY_CONTROLLER, "yes");
    }
    if annotation(&tied.metadata, BIND_COMPLETED).is_none() {
        annotate(&mut tied.metadata, BIND_COMPLETED, "yes");
    }
    (tied != *claim).then_some(tied)
}

/// Takes the volume from its claim. A claim that a person named stays named, without its uid.
pub fn unbind(plan: &mut Plan, volume: &PersistentVolume) {
    let mut free = volume.clone();
    let spec = free.spec.get_or_insert_default();
    if annotation(&volume.metadata, BOUND_BY_CONTROLLER).is_some() {
        spec.claim_ref = None;
        remove_annotation(&mut free.metadata, BOUND_BY_CONTROLLER);
    } else if let Some(reference) = &mut spec.claim_ref {
        reference.uid = None;
    }
    plan.write(Intent::update(&free));
    set_volume_phase(plan, &free, "Available", "");
}

/// Gives a volume its phase; whether that is news.
pub fn set_volume_phase(plan: &mut Plan, volume: &PersistentVolume, phase: &str, message: &str) -> bool {
    if volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(phase) {
        return false;
    }
    let mut volume = volume.clone();
    let status = volume.status.get_or_insert_default();
    status.phase = Some(phase.to_owned());
    status.message = (!message.is_empty()).then(|| message.to_owned());
    plan.write(Intent::update_status(&volume));
    true
}

/// Gives a claim its phase, and what it has of its volume; whether the phase is news. The capacity of a claim that is
/// bound already is for those who expand volumes.
pub fn set_claim_status(
    plan: &mut Plan,
    claim: &PersistentVolumeClaim,
    phase: &str,
    volume: Option<&PersistentVolume>,
) -> bool {
    let before = claim.status.clone().unwrap_or_default();
    let is_news = before.phase.as_deref() != Some(phase);
    let mut status = PersistentVolumeClaimStatus { phase: Some(phase.to_owned()), ..before.clone() };
    match volume {
        None => {
            status.access_modes = None;
            status.capacity = None;
            status.current_volume_attributes_class_name = None;
        }
        Some(volume) => {
            let spec = volume.spec.clone().unwrap_or_default();
            status.access_modes = spec.access_modes;
            if is_news {
                let known = before.capacity.as_ref().and_then(|capacity| capacity.get("storage"));
                let known = known.and_then(|known| Quantity::parse(&known.0).ok());
                if known != Some(capacity(volume)) {
                    status.capacity = spec.capacity;
                }
                let attributes = spec.volume_attributes_class_name.filter(|name| !name.is_empty());
                status.current_volume_attributes_class_name = attributes;
            }
        }
    }
    if status != before {
        plan.write(Intent::update_status(&PersistentVolumeClaim { status: Some(status), ..claim.clone() }));
    }
    is_news
}

/// Sets an annotation.
pub fn annotate(metadata: &mut ObjectMeta, key: &str, value: &str) {
    metadata.annotations.get_or_insert_default().insert(key.to_owned(), value.to_owned());
}

/// Takes an annotation away.
pub fn remove_annotation(metadata: &mut ObjectMeta, key: &str) {
    metadata.annotations.iter_mut().for_each(|annotations| drop(annotations.remove(key)));
    metadata.annotations = metadata.annotations.take().filter(|annotations| !annotations.is_empty());
}
