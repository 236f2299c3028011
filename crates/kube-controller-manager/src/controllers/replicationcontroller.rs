//! ReplicationController: the ReplicaSet's ancestor, with a plain label selector and no count of terminating pods.

use client::{
    ApiError, BoxFuture, Change, Controller, Intent, Key, Object, Outside, Plan, Selector, Snapshot, Sources, View,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Pod, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::claims::{self, Claim};
use crate::replicas::{self, Counts, Wanted};

/// The controller.
pub struct ReplicationControllers;

impl Controller for ReplicationControllers {
    const NAME: &'static str = "replicationcontroller";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<ReplicationController>();
        sources.on::<Pod, _>(|view, change| owners_of(&view.of::<ReplicationController>(), change));
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let selector = view.of::<ReplicationController>().get(key).map(|owner| selector(owner));
        Box::pin(claims::observe_owner::<ReplicationController, Pod>(outside, key, selector, view))
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let (owners, pods) = (view.of::<ReplicationController>(), view.of::<Pod>());
        let Some(owner) = owners.get(key) else { return plan };
        let Some(spec) = &owner.spec else { return plan };
        let claim = Claim { owner: &**owner, selector: &selector(owner), may_adopt: claims::may_adopt(view) };
        let claimed = claim.over(&pods);
        let adopts = !claimed.writes.is_empty();
        plan.writes.extend(claimed.writes);
        let wanted = Wanted {
            replicas: spec.replicas.unwrap_or(1),
            template: spec.template.as_ref(),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or(0),
        };
        let counts = replicas::count(&claimed.owned, &wanted, now);
        if let Some(wait) = counts.next_available_in {
            plan.look_again_in(wait);
        }
        let status = status(owner, &counts, replicas::pod_failure(view), now);
        let update = (owner.status.as_ref() != Some(&status)).then(|| {
            let mut updated = ReplicationController::clone(owner);
            updated.status = Some(status);
            Intent::update_status(&updated)
        });
        if view.failure().is_some() {
            plan.writes.extend(update.clone());
        }
        let before = plan.writes.len();
        if owner.metadata.deletion_timestamp.is_none() && !adopts {
            replicas::keep(&mut plan, &**owner, &claimed.owned, &claimed.owned, &wanted, now);
        }
        let settled = plan.writes.len() == before && !adopts;
        let observed = owner.status.as_ref().and_then(|status| status.observed_generation);
        if view.failure().is_none() && (settled || observed != owner.metadata.generation) {
            plan.writes.extend(update);
        }
        plan
    }
}

fn selector(owner: &ReplicationController) -> Selector {
    let labels = owner.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    labels.map(Selector::of_labels).unwrap_or_default()
}

fn owners_of(owners: &Snapshot<ReplicationController>, change: &Change<'_, Pod>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for pod in change.old.iter().chain(change.new.iter()) {
        let meta = pod.meta_ref();
        match meta.controller() {
            Some(owner) if owner.kind == "ReplicationController" => keys.push(Key::new(meta.namespace, &owner.name)),
            Some(_) => {}
            None => {
                let matching = owners.namespace(meta.namespace).filter(|owner| {
                    let selector = selector(owner);
                    !selector.is_empty() && selector.matches(meta.labels)
                });
                keys.extend(matching.map(|owner| owner.key()));
            }
        }
    }
    keys.dedup();
    keys
}

fn status(
    owner: &ReplicationController,
    counts: &Counts,
    failure: Option<(&'static str, String)>,
    now: Timestamp,
) -> ReplicationControllerStatus {
    let known = owner.status.clone().unwrap_or_default();
    let mut conditions = known.conditions.unwrap_or_default();
    let failing = conditions.iter().position(|condition| condition.type_ == "ReplicaFailure");
    match (failure, failing) {
        (Some((reason, message)), None) => conditions.push(ReplicationControllerCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(Time(now)),
        }),
        (None, Some(position)) => {
            conditions.remove(position);
        }
        _ => {}
    }
    let some = |count: i32| (count > 0).then_some(count);
    ReplicationControllerStatus {
        replicas: counts.replicas,
        fully_labeled_replicas: some(counts.fully_labeled),
        ready_replicas: some(counts.ready),
        available_replicas: some(counts.available),
        observed_generation: owner.metadata.generation,
        conditions: (!conditions.is_empty()).then_some(conditions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, body, lines, object};
    use serde_json::json;

    #[test]
    fn it_keeps_its_pods_and_counts_them() {
        let owner: ReplicationController = object(
            json!({"metadata": {"name": "r", "generation": 2}, "spec": {"replicas": 1, "selector": {"a": "b"},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}, "status": {"replicas": 0}}),
        );
        let key = Key::new("n", "r");
        let first = ReplicationControllers.reconcile(&View::new().with([owner.clone()]).with::<Pod>([]), &key, at(1));
        assert_eq!(lines(&first), ["create pods n/r-", "update replicationcontrollers/status n/r"]);
        let mut pod: Pod = serde_json::from_value(body(&first, 0)).unwrap();
        pod.metadata.name = Some("r-1".to_owned());
        pod.metadata.uid = Some("u".to_owned());
        let second = ReplicationControllers.reconcile(&View::new().with([owner]).with([pod]), &key, at(1));
        assert_eq!(lines(&second), ["update replicationcontrollers/status n/r"]);
        assert_eq!(
            body(&second, 0)["status"],
            json!({"fullyLabeledReplicas": 1, "observedGeneration": 2, "replicas": 1})
        );
    }
}
