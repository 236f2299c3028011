//! ReplicaSet: keeps the number of pods that `spec.replicas` says, adopting matching pods of nobody and releasing pods
//! that no longer match, and reports counts.

use std::sync::Arc;

use client::{
    ApiError, BoxFuture, Change, Controller, Intent, Key, Object, Outside, Plan, Selector, Snapshot, Sources, View,
};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::claims::{self, Claim};
use crate::replicas::{self, Counts, Wanted};

/// The controller.
pub struct ReplicaSets;

impl Controller for ReplicaSets {
    const NAME: &'static str = "replicaset";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_own::<ReplicaSet>();
        sources.on::<Pod, _>(|view, change| owners_of(&view.of::<ReplicaSet>(), change));
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let selector = view.of::<ReplicaSet>().get(key).map(|set| selector(set));
        Box::pin(claims::observe_owner::<ReplicaSet, Pod>(outside, key, selector, view))
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let (sets, pods) = (view.of::<ReplicaSet>(), view.of::<Pod>());
        let Some(set) = sets.get(key) else { return plan };
        let Some(spec) = &set.spec else { return plan };
        let claim = Claim { owner: &**set, selector: &selector(set), may_adopt: claims::may_adopt(view) };
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
        let failure = replicas::pod_failure(view);
        let status = status(set, &counts, failure, now);
        let update = (set.status.as_ref() != Some(&status)).then(|| {
            let mut updated = ReplicaSet::clone(set);
            updated.status = Some(status);
            Intent::update_status(&updated)
        });
        // What was just adopted is counted next time, lest pods be made for it.
        let keeps = set.metadata.deletion_timestamp.is_none() && !adopts;
        if view.failure().is_some() {
            plan.writes.extend(update.clone());
        }
        let before = plan.writes.len();
        if keeps {
            let related = related_pods(set, &sets, &pods);
            replicas::keep(&mut plan, &**set, &claimed.owned, &related, &wanted, now);
        }
        // After creating or deleting pods there will be other counts to report.
        let settled = plan.writes.len() == before && !adopts;
        if view.failure().is_none() && (settled || observed(set) != set.metadata.generation) {
            plan.writes.extend(update);
        }
        plan
    }
}

fn observed(set: &ReplicaSet) -> Option<i64> {
    set.status.as_ref().and_then(|status| status.observed_generation)
}

fn selector(set: &ReplicaSet) -> Selector {
    set.spec.as_ref().map(|spec| Selector::of(&spec.selector)).unwrap_or_default()
}

/// The sets that a pod's change concerns: those that control it or did, or that may adopt it.
fn owners_of(sets: &Snapshot<ReplicaSet>, change: &Change<'_, Pod>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for pod in change.old.iter().chain(change.new.iter()) {
        let meta = pod.meta_ref();
        match meta.controller() {
            Some(owner) if owner.kind == "ReplicaSet" => keys.push(Key::new(meta.namespace, &owner.name)),
            Some(_) => {}
            None => {
                let matching = sets.namespace(meta.namespace).filter(|set| {
                    let selector = selector(set);
                    !selector.is_empty() && selector.matches(meta.labels)
                });
                keys.extend(matching.map(|set| set.key()));
            }
        }
    }
    keys.dedup();
    keys
}

/// The pods of all sets that have the same controller, this one included.
fn related_pods(set: &ReplicaSet, sets: &Snapshot<ReplicaSet>, pods: &Snapshot<Pod>) -> Vec<Arc<Pod>> {
    let meta = set.meta_ref();
    let own = |uid: &str| pods.owned_by(uid).cloned().collect::<Vec<_>>();
    match meta.controller() {
        Some(controller) => sets.owned_by(&controller.uid).flat_map(|sibling| own(sibling.meta_ref().uid)).collect(),
        None => own(meta.uid),
    }
}

fn status(
    set: &ReplicaSet,
    counts: &Counts,
    failure: Option<(&'static str, String)>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let known = set.status.clone().unwrap_or_default();
    let mut conditions = known.conditions.unwrap_or_default();
    let failing = conditions.iter().position(|condition| condition.type_ == "ReplicaFailure");
    match (failure, failing) {
        (Some((reason, message)), None) => conditions.push(ReplicaSetCondition {
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
    ReplicaSetStatus {
        replicas: counts.replicas,
        fully_labeled_replicas: some(counts.fully_labeled),
        ready_replicas: some(counts.ready),
        available_replicas: some(counts.available),
        terminating_replicas: Some(counts.terminating),
        observed_generation: set.metadata.generation,
        conditions: (!conditions.is_empty()).then_some(conditions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, body, lines, object, pod};
    use client::view::Failure;
    use serde_json::{Value, json};

    fn set(replicas: i32, status: Value) -> ReplicaSet {
        object(
            json!({"metadata": {"name": "r", "generation": 1}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "x"}},
            "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}, "status": status}),
        )
    }

    fn member(name: &str, more: Value) -> Pod {
        let mut value = json!({"metadata": {"name": name, "labels": {"app": "x"}, "ownerReferences":
            [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": "r-uid", "controller": true}]}});
        for (key, part) in more.as_object().unwrap() {
            if key == "metadata" {
                for (field, part) in part.as_object().unwrap() {
                    value["metadata"][field] = part.clone();
                }
            } else {
                value[key] = part.clone();
            }
        }
        pod(value)
    }

    fn plan(view: View) -> Plan {
        ReplicaSets.reconcile(&view, &Key::new("n", "r"), at(100))
    }

    #[test]
    fn missing_pods_are_created_from_the_template_with_the_set_as_controller() {
        let plan = plan(
            View::new()
                .with([set(2, json!({"replicas": 0, "observedGeneration": 1, "terminatingReplicas": 0}))])
                .with::<Pod>([]),
        );
        assert_eq!(lines(&plan), ["create pods n/r-", "create pods n/r-"]);
        let pod = body(&plan, 0);
        assert_eq!(
            pod["metadata"]["ownerReferences"][0],
            json!({"apiVersion": "apps/v1", "blockOwnerDeletion": true,
            "controller": true, "kind": "ReplicaSet", "name": "r", "uid": "r-uid"})
        );
        assert_eq!(pod["metadata"]["labels"], json!({"app": "x"}));
        assert_eq!(plan.writes[0].on_success.as_ref().unwrap().message, "Created pod: {}");
    }

    #[test]
    fn failed_pods_are_replaced_and_excess_ones_deleted() {
        let failed = member("a", json!({"status": {"phase": "Failed"}}));
        let going = member("b", json!({"metadata": {"deletionTimestamp": "1970-01-01T00:01:00Z"}}));
        let view = |replicas| {
            View::new().with([set(replicas, json!({"replicas": 1, "observedGeneration": 1}))]).with([
                failed.clone(),
                going.clone(),
                member("c", json!({})),
            ])
        };
        assert_eq!(lines(&plan(view(2))), ["create pods n/r-"]);
        let shrinking = plan(view(0));
        assert_eq!(lines(&shrinking), ["delete pods n/c"]);
        assert_eq!(shrinking.writes[0].on_success.as_ref().unwrap().message, "Deleted pod: c");
    }

    #[test]
    fn a_relabelled_pod_is_released_and_an_orphan_adopted_only_after_a_live_look() {
        let away = member("away", json!({"metadata": {"labels": {"app": "y"}}}));
        let orphan = pod(json!({"metadata": {"name": "orphan", "labels": {"app": "x"}}}));
        let view = || {
            View::new()
                .with([set(1, json!({"replicas": 0, "observedGeneration": 1}))])
                .with([away.clone(), orphan.clone()])
        };
        let unsure = plan(view());
        assert_eq!(lines(&unsure), ["patch pods n/away"]);
        let sure = plan(view().with_extra(claims::OwnerIsLive(true)));
        assert_eq!(lines(&sure), ["patch pods n/away", "patch pods n/orphan"]);
        assert_eq!(
            body(&sure, 0)["metadata"],
            json!({"ownerReferences": null, "uid": "away-uid", "resourceVersion": "7"})
        );
        assert_eq!(body(&sure, 1)["metadata"]["ownerReferences"][0]["uid"], "r-uid");
    }

    #[test]
    fn the_status_counts_ready_available_and_terminating_pods() {
        let ready = |since: &str| json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": since}]}});
        let mut wanted = set(2, json!({"replicas": 0}));
        wanted.spec.as_mut().unwrap().min_ready_seconds = Some(30);
        let plan = plan(View::new().with([wanted]).with([
            member("a", ready("1970-01-01T00:00:10Z")),
            member("b", ready("1970-01-01T00:01:30Z")),
            member("c", json!({"metadata": {"deletionTimestamp": "1970-01-01T00:01:00Z"}})),
        ]));
        assert_eq!(lines(&plan), ["update replicasets/status n/r"]);
        assert_eq!(
            body(&plan, 0)["status"],
            json!({"availableReplicas": 1, "fullyLabeledReplicas": 2, "observedGeneration": 1,
            "readyReplicas": 2, "replicas": 2, "terminatingReplicas": 1})
        );
        assert_eq!(plan.requeue_after.unwrap().as_secs(), 20);
    }

    #[test]
    fn a_refused_create_becomes_a_condition_before_it_is_tried_again() {
        let error = ApiError::from_answer(
            403,
            br#"{"message": "pods \"r-1\" is forbidden: exceeded quota", "reason": "Forbidden"}"#,
            None,
        );
        let failure = Failure { verb: "create", resource: "pods".to_owned(), error };
        let refused = plan(
            View::new()
                .with([set(1, json!({"replicas": 0, "observedGeneration": 1}))])
                .with::<Pod>([])
                .with_failure(Some(failure)),
        );
        assert_eq!(lines(&refused), ["update replicasets/status n/r", "create pods n/r-"]);
        assert_eq!(
            body(&refused, 0)["status"]["conditions"][0],
            json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "pods \"r-1\" is forbidden: exceeded quota", "lastTransitionTime": "1970-01-01T00:01:40Z"})
        );
        let condition = body(&refused, 0)["status"].clone();
        let settled = plan(View::new().with([set(1, condition)]).with([member("a", json!({}))]));
        assert_eq!(body(&settled, 0)["status"].get("conditions"), None);
    }

    #[test]
    fn a_set_that_is_being_deleted_makes_no_pods() {
        let mut going = set(3, json!({"replicas": 0, "observedGeneration": 1, "terminatingReplicas": 0}));
        going.metadata.deletion_timestamp = Some(Time(at(1)));
        assert_eq!(plan(View::new().with([going]).with::<Pod>([])), Plan::nothing());
    }
}
