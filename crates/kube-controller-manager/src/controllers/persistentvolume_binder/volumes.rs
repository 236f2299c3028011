//! What a volume is: free, its claim's, or released and to be reclaimed.

use client::volumes::{BOUND_BY_CONTROLLER, bound_uid, modes_differ, volume_name};
use client::{EventType, Intent, Note, Plan, View, annotation};
use k8s_openapi::api::core::v1::PersistentVolume;

use super::binding::{set_volume_phase, unbind};
use super::provisioning::PROVISIONED_BY;
use super::{Options, live, migration, reclaiming};

/// Plans for a volume.
pub fn sync(options: &Options, view: &View, volume: &PersistentVolume, plan: &mut Plan) {
    if let Some(volume) = migration::of_volume(volume) {
        plan.write(Intent::update(&volume));
        return;
    }
    // Without the claim's uid the volume is only set aside; what concerns the claim is done when the claim's turn comes.
    if bound_uid(volume).is_none() {
        set_volume_phase(plan, volume, "Available", "");
        return;
    }
    let Some(claim) = live::claim_of(view, volume) else { return release(options, view, volume, plan) };
    let name = volume.metadata.name.as_deref().unwrap_or_default();
    match volume_name(&claim) {
        "" if modes_differ(volume, &claim) => {
            let claim_name = claim.metadata.name.as_deref().unwrap_or_default();
            plan.event(Note::about(
                volume,
                EventType::Warning,
                "VolumeMismatch",
                format!("Cannot bind PersistentVolume to requested PersistentVolumeClaim \"{claim_name}\" due to incompatible volumeMode."),
            ));
            plan.event(Note::about(
                &*claim,
                EventType::Warning,
                "VolumeMismatch",
                format!("Cannot bind PersistentVolume \"{name}\" to requested PersistentVolumeClaim due to incompatible volumeMode."),
            ));
            plan.look_again_in(options.sync_period);
        }
        "" => plan.because("the claim is yet to take the volume"),
        own if own == name => {
            set_volume_phase(plan, volume, "Bound", "");
        }
        _ if annotation(&volume.metadata, PROVISIONED_BY).is_some() && policy(volume) == "Delete" => {
            plan.because("made for a claim that has found another volume");
            release(options, view, volume, plan);
        }
        _ => {
            let by = annotation(&volume.metadata, BOUND_BY_CONTROLLER).map_or("a person", |_| "the binder");
            plan.because(format!("set aside by {by} for a claim that has another volume"));
            unbind(plan, volume);
        }
    }
}

/// First the volume says that it is released, then it is reclaimed.
fn release(options: &Options, view: &View, volume: &PersistentVolume, plan: &mut Plan) {
    match phase(volume) {
        "Released" | "Failed" => reclaiming::reclaim(options, view, volume, plan),
        _ => {
            set_volume_phase(plan, volume, "Released", "");
        }
    }
}

/// A volume's phase.
pub fn phase(volume: &PersistentVolume) -> &str {
    volume.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// What shall become of the volume.
pub fn policy(volume: &PersistentVolume) -> &str {
    volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref()).unwrap_or_default()
}
