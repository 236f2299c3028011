//! Deployment: one ReplicaSet a version of the pod template, and the way from one to the next.
//!
//! A pass reads top to bottom: find the sets (old ones and the one whose template equals the Deployment's), then either
//! only scale (paused, or the size changed) or move one step of the rollout (rolling or Recreate), then report. All steps
//! change a [`Sets`] in memory; the differences become the plan's writes.

mod hash;
mod report;
mod revisions;
mod rollout;
mod scaling;
mod sets;

use client::{
    ApiError, BoxFuture, Change, Controller, Intent, Key, Object, Outside, Plan, Selector, Snapshot, Sources, View,
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;

use crate::claims::{self, Claim};
use sets::Sets;

/// The controller.
pub struct Deployments;

impl Controller for Deployments {
    const NAME: &'static str = "deployment";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<Deployment>();
        sources.on::<ReplicaSet, _>(|view, change| owners_of(&view.of::<Deployment>(), change));
        // Recreate waits for the last old pod to be gone.
        sources.on::<Pod, _>(|view, change| match (change.old, change.new) {
            (Some(pod), None) => recreating_owner(view, pod),
            _ => None,
        });
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let selector = view.of::<Deployment>().get(key).map(|deployment| selector(deployment));
        Box::pin(claims::observe_owner::<Deployment, ReplicaSet>(outside, key, selector, view))
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let (deployments, replica_sets, pods) = (view.of::<Deployment>(), view.of::<ReplicaSet>(), view.of::<Pod>());
        let Some(deployment) = deployments.get(key) else { return plan };
        let claim = Claim { owner: &**deployment, selector: &selector(deployment), may_adopt: claims::may_adopt(view) };
        let claimed = claim.over(&replica_sets);
        if !claimed.writes.is_empty() {
            plan.because("taking in or letting go replica sets first");
            plan.writes = claimed.writes;
            return plan;
        }
        let mut sets = Sets::of(deployment, claimed.owned);
        if deployment.metadata.deletion_timestamp.is_some() {
            report::plain(&mut sets, now);
            return sets.into_plan(plan);
        }
        report::pausing(&mut sets, now);
        if sets.paused() || sets.size_changed() {
            revisions::sync(&mut sets, None, view, now);
            scaling::scale(&mut sets);
            if sets.paused() {
                revisions::clean_up(&mut sets);
            }
            report::plain(&mut sets, now);
            return sets.into_plan(plan);
        }
        let names = |name: &str| replica_sets.find(&key.namespace, name).cloned();
        let waiting = if sets.recreates() {
            rollout::recreate(&mut sets, &pods, &names, view, now)
        } else {
            rollout::roll(&mut sets, &names, view, now)
        };
        if let Some(reason) = waiting {
            plan.because(reason);
        }
        if let Some(wait) = report::progress(&mut sets, now) {
            plan.look_again_in(wait);
        }
        sets.into_plan(plan)
    }
}

fn selector(deployment: &Deployment) -> Selector {
    deployment.spec.as_ref().map(|spec| Selector::of(&spec.selector)).unwrap_or_default()
}

fn owners_of(deployments: &Snapshot<Deployment>, change: &Change<'_, ReplicaSet>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for set in change.old.iter().chain(change.new.iter()) {
        let meta = set.meta_ref();
        match meta.controller() {
            Some(owner) if owner.kind == "Deployment" => keys.push(Key::new(meta.namespace, &owner.name)),
            Some(_) => {}
            None => {
                let matching = deployments.namespace(meta.namespace).filter(|deployment| {
                    let selector = selector(deployment);
                    !selector.is_empty() && selector.matches(meta.labels)
                });
                keys.extend(matching.map(|deployment| deployment.key()));
            }
        }
    }
    keys.dedup();
    keys
}

fn recreating_owner(view: &View, pod: &Pod) -> Option<Key> {
    let meta = pod.meta_ref();
    let owner = meta.controller().filter(|owner| owner.kind == "ReplicaSet")?;
    let sets = view.of::<ReplicaSet>();
    let set = sets.find(meta.namespace, &owner.name)?;
    let key = Key::new(meta.namespace, &set.meta_ref().controller()?.name);
    let deployments = view.of::<Deployment>();
    let strategy = deployments.get(&key)?.spec.as_ref()?.strategy.as_ref()?.type_.as_deref();
    (strategy == Some("Recreate")).then_some(key)
}

/// The write that replaces a changed object, if it has changed.
fn replaced(before: &ReplicaSet, after: &ReplicaSet) -> Option<Intent> {
    (before != after).then(|| Intent::update(after))
}

#[cfg(test)]
mod tests;
