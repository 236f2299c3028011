//! Plans of rollouts, from snapshots.

use client::view::Failure;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::testing::{at, body, lines, object};

fn deployment(image: &str, replicas: i32, more: Value) -> Deployment {
    let mut value = json!({"metadata": {"name": "d", "generation": 1}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "x"}},
        "progressDeadlineSeconds": 600, "revisionHistoryLimit": 10,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": image}]}}}});
    for (key, part) in more.as_object().into_iter().flatten() {
        for (field, part) in part.as_object().unwrap() {
            value[key][field] = part.clone();
        }
    }
    object(value)
}

/// A set of the test's Deployment: its image is its version.
fn set(image: &str, revision: i64, replicas: i32, available: i32) -> ReplicaSet {
    let hash = format!("h{image}");
    object(
        json!({"metadata": {"name": format!("d-{hash}"), "generation": 1, "creationTimestamp": format!("1970-01-01T00:00:0{revision}Z"),
        "labels": {"app": "x", "pod-template-hash": hash},
        "annotations": {"deployment.kubernetes.io/revision": revision.to_string(), "deployment.kubernetes.io/desired-replicas": "4",
            "deployment.kubernetes.io/max-replicas": "5"},
        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "d-uid", "controller": true, "blockOwnerDeletion": true}]},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "x", "pod-template-hash": hash}},
            "template": {"metadata": {"labels": {"app": "x", "pod-template-hash": hash}}, "spec": {"containers": [{"name": "c", "image": image}]}}},
        "status": {"replicas": replicas, "availableReplicas": available, "readyReplicas": available, "observedGeneration": 1}}),
    )
}

fn view(deployment: Deployment, sets: impl IntoIterator<Item = ReplicaSet>) -> View {
    View::new().with([deployment]).with(sets).with::<Pod>([])
}

fn plan(view: &View) -> Plan {
    Deployments.reconcile(view, &Key::new("n", "d"), at(100))
}

fn conditions(status: &Value) -> Vec<String> {
    let show = |condition: &Value| {
        format!(
            "{} {} {} {}",
            condition["type"].as_str().unwrap(),
            condition["status"].as_str().unwrap(),
            condition["reason"].as_str().unwrap(),
            condition["message"].as_str().unwrap_or_default()
        )
    };
    status["conditions"].as_array().unwrap().iter().map(show).collect()
}

fn notes(plan: &Plan) -> Vec<String> {
    plan.writes.iter().filter_map(|write| write.on_success.as_ref()).map(|note| note.message.clone()).collect()
}

/// "d-<hash> 3" for each written set.
fn sizes(plan: &Plan) -> Vec<String> {
    (0..plan.writes.len())
        .map(|n| body(plan, n))
        .filter(|body| body["kind"] == "ReplicaSet")
        .map(|body| format!("{} {}", body["metadata"]["name"].as_str().unwrap(), body["spec"]["replicas"]))
        .collect()
}

#[test]
fn a_new_deployment_gets_its_first_set() {
    let plan = plan(&view(deployment("a", 3, json!({})), []));
    let set = body(&plan, 0);
    let hash = set["metadata"]["labels"]["pod-template-hash"].as_str().unwrap().to_owned();
    let name = format!("d-{hash}");
    assert_eq!(lines(&plan), [format!("create replicasets n/{name}"), "update deployments/status n/d".to_owned()]);
    assert_eq!(set["spec"]["replicas"], 3);
    assert_eq!(set["spec"]["selector"]["matchLabels"], json!({"app": "x", "pod-template-hash": hash}));
    assert_eq!(set["spec"]["template"]["metadata"]["labels"], json!({"app": "x", "pod-template-hash": hash}));
    assert_eq!(
        set["metadata"]["annotations"],
        json!({"deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4", "deployment.kubernetes.io/revision": "1"})
    );
    assert_eq!(notes(&plan), [format!("Scaled up replica set {name} from 0 to 3")]);
    let updated = body(&plan, 1);
    assert_eq!(updated["metadata"]["annotations"], json!({"deployment.kubernetes.io/revision": "1"}));
    assert_eq!(
        conditions(&updated["status"]),
        [
            format!("Progressing True NewReplicaSetCreated Created new replica set \"{name}\""),
            "Available False MinimumReplicasUnavailable Deployment does not have minimum availability.".to_owned(),
        ]
    );
}

#[test]
fn without_replicas_it_is_available_and_complete_at_once() {
    let plan = plan(&view(deployment("a", 0, json!({})), []));
    let updated = body(&plan, 1);
    let name = body(&plan, 0)["metadata"]["name"].as_str().unwrap().to_owned();
    assert_eq!(
        conditions(&updated["status"]),
        [
            "Available True MinimumReplicasAvailable Deployment has minimum availability.".to_owned(),
            format!("Progressing True NewReplicaSetAvailable ReplicaSet \"{name}\" has successfully progressed."),
        ]
    );
    assert!(notes(&plan).is_empty());
}

#[test]
fn a_rolling_update_goes_within_surge_and_unavailability() {
    // 4 wanted, surge 1, 1 may be missing.
    let rolling = |sets: Vec<ReplicaSet>| sizes(&plan(&view(deployment("b", 4, json!({})), sets)));
    assert_eq!(rolling(vec![set("a", 1, 4, 4), set("b", 2, 0, 0)]), ["d-hb 1"]);
    assert_eq!(rolling(vec![set("a", 1, 4, 4), set("b", 2, 1, 0)]), ["d-ha 3"]);
    assert_eq!(rolling(vec![set("a", 1, 3, 3), set("b", 2, 1, 0)]), ["d-hb 2"]);
    assert_eq!(rolling(vec![set("a", 1, 3, 3), set("b", 2, 2, 0)]), Vec::<String>::new(), "waits for the new ones");
    assert_eq!(rolling(vec![set("a", 1, 3, 3), set("b", 2, 2, 1)]), ["d-ha 2"]);
    assert_eq!(rolling(vec![set("a", 1, 4, 1), set("b", 2, 1, 0)]), ["d-ha 3"], "unhealthy ones go first");
}

#[test]
fn the_end_of_a_rollout_is_reported_and_old_history_deleted() {
    let sets = vec![set("a", 1, 0, 0), set("b", 2, 0, 0), set("c", 3, 4, 4)];
    let plan = plan(&view(
        deployment(
            "c",
            4,
            json!({"spec": {"revisionHistoryLimit": 1}, "metadata": {"annotations": {"deployment.kubernetes.io/revision": "3"}}}),
        ),
        sets,
    ));
    assert_eq!(lines(&plan), ["delete replicasets n/d-ha", "update deployments/status n/d"]);
    let status = &body(&plan, 1)["status"];
    assert_eq!(status["availableReplicas"], 4);
    assert_eq!(
        conditions(status)[1],
        "Progressing True NewReplicaSetAvailable ReplicaSet \"d-hc\" has successfully progressed."
    );
}

#[test]
fn going_back_to_an_old_template_gives_its_set_a_new_revision() {
    let plan = plan(&view(deployment("a", 4, json!({})), [set("a", 1, 0, 0), set("b", 2, 4, 4)]));
    let annotations = &body(&plan, 0)["metadata"]["annotations"];
    assert_eq!(annotations["deployment.kubernetes.io/revision"], "3");
    assert_eq!(annotations["deployment.kubernetes.io/revision-history"], "1");
    let updated = plan
        .writes
        .iter()
        .position(|write| matches!(&write.action, client::Action::Update { subresource: Some(_), .. }))
        .unwrap();
    assert_eq!(body(&plan, updated)["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
}

#[test]
fn paused_it_scales_but_makes_no_new_version() {
    let paused = json!({"spec": {"paused": true}});
    let fresh = plan(&view(deployment("a", 0, paused.clone()), []));
    assert_eq!(lines(&fresh), ["update deployments/status n/d"]);
    assert_eq!(
        conditions(&body(&fresh, 0)["status"]),
        [
            "Progressing Unknown DeploymentPaused Deployment is paused",
            "Available True MinimumReplicasAvailable Deployment has minimum availability.",
        ]
    );
    let scaled = plan(&view(deployment("b", 6, paused), [set("a", 1, 4, 4)]));
    assert_eq!(sizes(&scaled), ["d-ha 6"]);
}

#[test]
fn scaling_in_the_middle_of_a_rollout_keeps_the_proportion() {
    // 10 wanted where 4 were, surge 25 %: 13 allowed, split 3:2.
    let plan = plan(&view(deployment("b", 10, json!({})), [set("a", 1, 3, 3), set("b", 2, 2, 1)]));
    assert_eq!(sizes(&plan), ["d-hb 5", "d-ha 8"]);
}

#[test]
fn recreate_waits_until_the_old_pods_are_gone() {
    let recreate = || {
        let mut value = deployment("b", 4, json!({}));
        let strategy = value.spec.as_mut().unwrap().strategy.as_mut().unwrap();
        strategy.type_ = Some("Recreate".to_owned());
        strategy.rolling_update = None;
        value
    };
    assert_eq!(sizes(&plan(&view(recreate(), [set("a", 1, 4, 4)]))), ["d-ha 0"]);
    let leaving: Pod = crate::testing::pod(
        json!({"metadata": {"name": "p", "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "name": "d-ha", "uid": "d-ha-uid", "controller": true}]}, "status": {"phase": "Running"}}),
    );
    let waiting = View::new().with([recreate()]).with([set("a", 1, 0, 0)]).with([leaving]);
    assert_eq!(sizes(&plan(&waiting)), Vec::<String>::new());
    assert!(sizes(&plan(&view(recreate(), [set("a", 1, 0, 0)])))[0].ends_with(" 4"));
}

#[test]
fn a_refused_set_is_shown_and_tried_again() {
    let error = ApiError::from_answer(
        403,
        br#"{"message": "replicasets.apps \"d\" is forbidden", "reason": "Forbidden"}"#,
        None,
    );
    let failure = Failure { verb: "create", resource: "replicasets".to_owned(), error };
    let plan = plan(&view(deployment("a", 1, json!({})), []).with_failure(Some(failure)));
    assert!(lines(&plan)[0].starts_with("update deployments/status"), "{:?}", lines(&plan));
    assert!(lines(&plan)[1].starts_with("create replicasets"));
    let condition = &conditions(&body(&plan, 0)["status"])[0];
    assert!(
        condition.starts_with("Progressing False ReplicaSetCreateError Failed to create new replica set \"d-"),
        "{condition}"
    );
}

#[test]
fn without_progress_the_deadline_passes() {
    let stuck = |updated: &str| {
        json!({"status": {"observedGeneration": 1, "replicas": 4, "updatedReplicas": 4, "unavailableReplicas": 4, "terminatingReplicas": 0, "conditions": [
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": updated, "lastTransitionTime": updated},
            {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "lastUpdateTime": updated, "lastTransitionTime": updated}]},
            "metadata": {"annotations": {"deployment.kubernetes.io/revision": "1"}}})
    };
    let waiting = plan(&view(deployment("a", 4, stuck("1970-01-01T00:01:00Z")), [set("a", 1, 4, 0)]));
    assert_eq!((lines(&waiting), waiting.requeue_after.unwrap().as_secs()), (vec![], 561));
    let late = Deployments.reconcile(
        &view(deployment("a", 4, stuck("1970-01-01T00:01:00Z")), [set("a", 1, 4, 0)]),
        &Key::new("n", "d"),
        at(661),
    );
    assert_eq!(
        conditions(&body(&late, 0)["status"])[1],
        "Progressing False ProgressDeadlineExceeded ReplicaSet \"d-ha\" has timed out progressing."
    );
    assert_eq!(late.requeue_after, None);
}

#[test]
fn a_name_that_is_taken_counts_as_a_collision() {
    let first = plan(&view(deployment("a", 1, json!({})), []));
    let mut taken: ReplicaSet = serde_json::from_value(body(&first, 0)).unwrap();
    taken.metadata.owner_references = None;
    taken.metadata.uid = Some("other".to_owned());
    let second = plan(&view(deployment("a", 1, json!({})), [taken]));
    assert_eq!(lines(&second), ["update deployments/status n/d"]);
    assert_eq!(body(&second, 0)["status"]["collisionCount"], 1);
    let third = plan(&view(deployment("a", 1, json!({"status": {"collisionCount": 1}})), []));
    assert_ne!(body(&first, 0)["metadata"]["name"], body(&third, 0)["metadata"]["name"]);
}

#[test]
fn one_that_is_being_deleted_only_reports() {
    let mut going = deployment("b", 4, json!({}));
    going.metadata.deletion_timestamp = Some(Time(at(1)));
    assert_eq!(lines(&plan(&view(going, [set("a", 1, 4, 4)]))), ["update deployments/status n/d"]);
}
