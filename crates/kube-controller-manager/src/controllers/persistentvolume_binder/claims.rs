//! What a claim needs: a volume as long as it is not bound, and that volume's faith once it is.

use client::volumes::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, Place, SELECTED_NODE, best_match, claim_names, claim_ref, class_of_claim,
    is_bound_to, mismatch, named_class, volume_name, waits_for_consumer,
};
use client::{EventType, Intent, Key, Note, Plan, View, annotation};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;

use super::binding::{bind, set_claim_status};
use super::{Options, migration, provisioning};
use crate::pods;

/// Plans for a claim.
pub fn sync(options: &Options, view: &View, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    if let Some(claim) = migration::of_claim(claim) {
        plan.write(Intent::update(&claim));
        return;
    }
    if annotation(&claim.metadata, BIND_COMPLETED).is_some() {
        return keep(view, claim, plan);
    }
    match volume_name(claim) {
        "" => find(options, view, claim, plan),
        _ => take_named(view, claim, plan),
    }
    // What is missing may come in ways that nobody is told of, and people are reminded of what the claim waits for.
    plan.look_again_in(options.sync_period);
}

/// Any volume will do, and if there is none, one may be made.
fn find(options: &Options, view: &View, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    let classes = view.of::<StorageClass>();
    let class = classes.get(&Key::cluster(class_of_claim(claim)));
    let waits = class.is_some_and(|class| waits_for_consumer(class));
    let place = if waits { Place::NotYet } else { Place::Anywhere };
    let volumes = view.of::<PersistentVolume>();
    if let Some(volume) = best_match(claim, volumes.iter(), &place) {
        return bind(plan, volume, claim);
    }
    if named_class(claim).is_none()
        && let Some(default) = api::default_class::pick(
            classes.iter().map(|class| &class.metadata),
            &api::storage::storage_class::DEFAULT_ANNOTATIONS,
        )
    {
        let mut claim = claim.clone();
        claim.spec.get_or_insert_default().storage_class_name = Some(default);
        plan.write(Intent::update(&claim));
        return;
    }
    if waits && annotation(&claim.metadata, SELECTED_NODE).is_none() {
        plan.event(waiting(view, claim));
    } else if !class_of_claim(claim).is_empty() {
        return provisioning::ask(options, class.map(|class| &**class), claim, plan);
    } else {
        let message = "no persistent volumes available for this claim and no storage class is set";
        plan.event(Note::about(claim, EventType::Normal, "FailedBinding", message));
    }
    set_claim_status(plan, claim, "Pending", None);
}

/// Says for whom a claim waits whose volume is chosen together with a pod's node.
fn waiting(view: &View, claim: &PersistentVolumeClaim) -> Note {
    let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
    let pods = view.of::<Pod>();
    let waiting = pods.namespace(namespace).filter(|pod| {
        pods::node_name(pod).is_empty()
            && !pods::is_terminal(pod)
            && claim_names(pod).any(|name| Some(name) == claim.metadata.name)
    });
    let names: Vec<&str> = waiting.filter_map(|pod| pod.metadata.name.as_deref()).collect();
    let (reason, message) = match names.as_slice() {
        [] => ("WaitForFirstConsumer", "waiting for first consumer to be created before binding".to_owned()),
        [name] => ("WaitForPodScheduled", format!("waiting for pod {name} to be scheduled")),
        names => ("WaitForPodScheduled", format!("waiting for pods {} to be scheduled", names.join(","))),
    };
    Note::about(claim, EventType::Normal, reason, message)
}

/// A certain volume is wanted, by a person or by the scheduler.
fn take_named(view: &View, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    let name = volume_name(claim);
    let volumes = view.of::<PersistentVolume>();
    let Some(volume) = volumes.get(&Key::cluster(name)) else {
        plan.because("the volume that the claim names does not exist");
        set_claim_status(plan, claim, "Pending", None);
        return;
    };
    let warning = if claim_ref(volume).is_none() {
        let Some(why) = mismatch(volume, claim) else { return bind(plan, volume, claim) };
        Note::about(
            claim,
            EventType::Warning,
            "VolumeMismatch",
            format!("Cannot bind to requested volume \"{name}\": {why}"),
        )
    } else if is_bound_to(volume, claim) {
        return bind(plan, volume, claim);
    } else {
        let message = format!("volume \"{name}\" already bound to a different claim.");
        Note::about(claim, EventType::Warning, "FailedBinding", message)
    };
    plan.event(warning);
    // A claim that the binder itself bound elsewhere has lost its annotation: it is left as it is.
    if annotation(&claim.metadata, BOUND_BY_CONTROLLER).is_none() || claim_ref(volume).is_none() {
        set_claim_status(plan, claim, "Pending", None);
    }
}

/// The binding is complete and stays so, as long as the volume is there and says the same.
fn keep(view: &View, claim: &PersistentVolumeClaim, plan: &mut Plan) {
    let volumes = view.of::<PersistentVolume>();
    let volume = volumes.get(&Key::cluster(volume_name(claim)));
    let (reason, message) = match (volume_name(claim), volume) {
        ("", _) => ("ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"),
        (_, None) => ("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"),
        (_, Some(volume)) => {
            let reference = claim_ref(volume);
            if reference.is_none_or(|reference| reference.uid == claim.metadata.uid) {
                return bind(plan, volume, claim);
            }
            ("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
        }
    };
    if set_claim_status(plan, claim, "Lost", None) {
        plan.event(Note::about(claim, EventType::Warning, reason, message));
    }
}
