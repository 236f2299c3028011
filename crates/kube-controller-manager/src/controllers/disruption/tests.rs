use client::fake::FakeServer;
use serde_json::{Value, json};

use super::*;
use crate::testing::{at, body, lines, object, pod};

fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"a": "b"}});
    object(json!({"metadata": {"name": "b", "generation": 1}, "spec": spec, "status": status}))
}

fn ready(name: &str, owner: Option<Value>) -> Pod {
    let owners: Vec<Value> = owner.into_iter().collect();
    pod(json!({"metadata": {"name": name, "labels": {"a": "b"}, "ownerReferences": owners},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}))
}

fn owner(api_version: &str, kind: &str, name: &str) -> Option<Value> {
    Some(
        json!({"apiVersion": api_version, "kind": kind, "name": name, "uid": format!("{name}-uid"), "controller": true}),
    )
}

fn set(name: &str, replicas: i32, owner: Option<Value>) -> ReplicaSet {
    let owners: Vec<Value> = owner.into_iter().collect();
    object(
        json!({"metadata": {"name": name, "ownerReferences": owners}, "spec": {"replicas": replicas, "selector": {}}}),
    )
}

fn view(budget: PodDisruptionBudget, pods: Vec<Pod>, sets: Vec<ReplicaSet>, deployments: Vec<Deployment>) -> View {
    let stateful: StatefulSet = object(
        json!({"metadata": {"name": "s"}, "spec": {"replicas": 5, "serviceName": "s", "selector": {}, "template": {}}}),
    );
    View::new()
        .with([budget])
        .with(pods)
        .with(sets)
        .with(deployments)
        .with([stateful])
        .with::<ReplicationController>([])
}

fn controller() -> Disruptions {
    Disruptions { monitors: Monitors::new() }
}

fn plan(view: &View) -> Plan {
    controller().reconcile(view, &Key::new("n", "b"), at(1000))
}

/// Healthy, desired, expected, allowed and the reason of the condition, as written by the plan's last write.
fn counts(plan: &Plan) -> (Vec<i64>, String) {
    let status = body(plan, plan.writes.len() - 1)["status"].take();
    let number = |field: &str| status[field].as_i64().unwrap_or(-1);
    let fields = ["currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed"];
    (fields.map(number).to_vec(), status["conditions"][0]["reason"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_number_speaks_of_the_pods_that_are_there() {
    let mut sick = ready("r", None);
    sick.status = None;
    let pods = vec![ready("p", None), ready("q", None), sick];
    let plan = plan(&view(budget(json!({"minAvailable": 1}), json!({})), pods, vec![], vec![]));
    assert_eq!(lines(&plan), ["update poddisruptionbudgets/status n/b"]);
    assert_eq!(counts(&plan), (vec![2, 1, 3, 1], "SufficientPods".to_owned()));
    let status = body(&plan, 0)["status"].take();
    assert_eq!((&status["observedGeneration"], &status["conditions"][0]["observedGeneration"]), (&json!(1), &json!(1)));
    let settled = budget(json!({"minAvailable": 1}), status);
    let mut away = ready("r", None);
    away.status = None;
    let again = view(settled, vec![ready("p", None), ready("q", None), away], vec![], vec![]);
    assert_eq!(self::plan(&again), Plan::nothing());
}

#[test]
fn no_pods_allow_nothing() {
    let plan = plan(&view(budget(json!({"minAvailable": 0}), json!({})), vec![], vec![], vec![]));
    assert_eq!(lines(&plan), ["event NoPods No matching pods found", "update poddisruptionbudgets/status n/b"]);
    assert_eq!(counts(&plan), (vec![0, 0, 0, 0], "InsufficientPods".to_owned()));
}

#[test]
fn shares_speak_of_what_the_controllers_want_each_counted_once() {
    let deployment: Deployment =
        object(json!({"metadata": {"name": "d"}, "spec": {"replicas": 4, "selector": {}, "template": {}}}));
    let sets =
        vec![set("old", 1, owner("apps/v1", "Deployment", "d")), set("new", 3, owner("apps/v1", "Deployment", "d"))];
    let pods = vec![
        ready("p", owner("apps/v1", "ReplicaSet", "old")),
        ready("q", owner("apps/v1", "ReplicaSet", "new")),
        ready("r", owner("apps/v1", "ReplicaSet", "new")),
        ready("s-0", owner("apps/v1", "StatefulSet", "s")),
    ];
    let half = budget(json!({"minAvailable": "50%"}), json!({}));
    let plan = plan(&view(half, pods.clone(), sets.clone(), vec![deployment.clone()]));
    assert_eq!(counts(&plan), (vec![4, 5, 9, 0], "InsufficientPods".to_owned()));
    let most = budget(json!({"maxUnavailable": "70%"}), json!({}));
    let plan = self::plan(&view(most, pods, sets, vec![deployment]));
    assert_eq!(counts(&plan), (vec![4, 2, 9, 2], "SufficientPods".to_owned()));
}

#[test]
fn pods_that_nobody_controls_are_told_of() {
    let pods = vec![ready("p", None), ready("q", owner("apps/v1", "ReplicaSet", "r"))];
    let plan = plan(&view(budget(json!({"maxUnavailable": 1}), json!({})), pods, vec![set("r", 1, None)], vec![]));
    assert_eq!(counts(&plan), (vec![2, 0, 1, 2], "SufficientPods".to_owned()));
    assert!(
        lines(&plan)[0].starts_with(
            "event UnmanagedPods Pods selected by this PodDisruptionBudget (selector: &LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},}) were found to be unmanaged."
        ),
        "{:?}",
        lines(&plan)
    );
}

#[test]
fn without_the_controller_nothing_may_go() {
    let known = json!({"currentHealthy": 3, "desiredHealthy": 1, "expectedPods": 3, "disruptionsAllowed": 2, "observedGeneration": 1});
    let budget = budget(json!({"maxUnavailable": 1}), known);
    let gone = vec![ready("p", owner("apps/v1", "ReplicaSet", "gone"))];
    let plan = plan(&view(budget.clone(), gone, vec![], vec![]));
    let reason = "found no controllers for pod \"p\"";
    let event =
        format!("event CalculateExpectedPodCountFailed Failed to calculate the number of expected pods: {reason}");
    assert_eq!(lines(&plan), [&event, "update poddisruptionbudgets/status n/b"]);
    assert_eq!(counts(&plan), (vec![3, 1, 3, 0], "SyncFailed".to_owned()));
    assert_eq!(body(&plan, 1)["status"]["conditions"][0]["message"], reason);
    let custom = vec![ready("p", owner("e.com/v1", "Fleet", "f"))];
    let known = |scale| {
        view(budget.clone(), custom.clone(), vec![], vec![]).with_extra(Scales([("f-uid".to_owned(), scale)].into()))
    };
    let plan = self::plan(&known(Ok(Some(Scale { uid: "f-uid".to_owned(), replicas: 3 }))));
    assert_eq!(counts(&plan), (vec![1, 2, 3, 0], "InsufficientPods".to_owned()));
    let plan = self::plan(&known(Err("fleets.e.com does not implement the scale subresource".to_owned())));
    assert_eq!(counts(&plan).1, "SyncFailed");
}

#[test]
fn evicted_pods_do_not_count_for_two_minutes() {
    let status = json!({"disruptedPods": {"p": "1970-01-01T00:16:00Z", "q": "1970-01-01T00:10:00Z", "gone": "1970-01-01T00:16:00Z"}});
    let pods = vec![ready("p", None), ready("q", None), ready("r", None)];
    let plan = plan(&view(budget(json!({"minAvailable": 1}), status), pods, vec![], vec![]));
    assert_eq!(
        lines(&plan),
        [
            "event NotDeleted Pod was expected by PDB n/n to be deleted but it wasn't",
            "update poddisruptionbudgets/status n/b"
        ]
    );
    assert_eq!(counts(&plan), (vec![2, 1, 3, 1], "SufficientPods".to_owned()));
    assert_eq!(body(&plan, 1)["status"]["disruptedPods"], json!({"p": "1970-01-01T00:16:00Z"}));
    assert_eq!(plan.requeue_after, Some(Duration::from_millis(80_001)));
}

#[test]
fn a_disruption_that_did_not_come_is_taken_back() {
    let announced = |reason: &str| {
        pod(json!({"metadata": {"name": "p", "generation": 3}, "status": {"phase": "Running", "conditions": [
            {"type": "Ready", "status": "True"},
            {"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": "1970-01-01T00:15:00Z"}]}}))
    };
    let plan =
        |reason, now| StaleDisruptions.reconcile(&View::new().with([announced(reason)]), &Key::new("n", "p"), at(now));
    assert_eq!(
        plan("EvictionByEvictionAPI", 1000),
        Plan { requeue_after: Some(Duration::from_secs(20)), ..Plan::nothing() }
    );
    let late = plan("EvictionByEvictionAPI", 1020);
    assert_eq!(lines(&late), ["patch pods/status n/p"]);
    assert_eq!(
        body(&late, 0)["status"]["conditions"][1],
        json!({"type": "DisruptionTarget", "status": "False", "observedGeneration": 3, "lastTransitionTime": "1970-01-01T00:17:00Z"})
    );
    assert_eq!(plan("TerminationByKubelet", 1020), Plan::nothing());
}

#[tokio::test]
async fn the_scale_of_others_is_asked_of_the_server() {
    let server = FakeServer::new();
    server.put("/apis/e.com", json!({"metadata": {"name": "v1"}, "resources": [
        {"name": "fleets", "kind": "Fleet", "namespaced": true, "verbs": ["get"]}, {"name": "fleets/scale", "kind": "Scale", "namespaced": true, "verbs": ["get"]},
        {"name": "rocks", "kind": "Rock", "namespaced": true, "verbs": ["get"]}]}));
    let scale = json!({"metadata": {"name": "scale", "namespace": "n", "uid": "f-uid"}, "spec": {"replicas": 3}});
    server.put("/apis/e.com/v1/namespaces/n/fleets/f", scale);
    let served = |plural: &'static str, kind: &'static str| crate::monitors::discovery::Served {
        resource: client::Resource {
            group: "e.com".into(),
            version: "v1".into(),
            plural: plural.into(),
            kind: kind.into(),
        },
        namespaced: true,
        verbs: Vec::new(),
    };
    let discovered = crate::monitors::discovery::Discovered {
        resources: vec![served("fleets", "Fleet"), served("rocks", "Rock")],
        complete: true,
    };
    let pods: Vec<Arc<Pod>> = [("Fleet", "f"), ("Fleet", "away"), ("Rock", "r"), ("Odd", "o")]
        .into_iter()
        .map(|(kind, name)| Arc::new(ready(name, owner("e.com/v1", kind, name))))
        .collect();
    let outside = Outside { client: server.client(), now: at(0) };
    let scales = scales::observe(&outside, &discovered, &pods.iter().collect::<Vec<_>>()).await;
    let of = |name: &str| scales.0[&format!("{name}-uid")].clone();
    assert_eq!(of("f"), Ok(Some(Scale { uid: "f-uid".to_owned(), replicas: 3 })));
    assert_eq!(of("away"), Ok(None));
    assert_eq!(of("r"), Err("rocks.e.com does not implement the scale subresource".to_owned()));
    assert_eq!(of("o"), Err("no matches for kind \"Odd\" in version \"e.com/v1\"".to_owned()));
}
