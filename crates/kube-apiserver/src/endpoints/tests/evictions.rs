use super::*;

const PODS: &str = "/api/v1/namespaces/ns/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/ns/poddisruptionbudgets";

/// A running pod with the label a=b, on a node: a delete leaves it there for its grace period.
async fn running(h: &Harness, name: &str, ready: bool) {
    let mut object = pod(name);
    object["metadata"]["labels"] = json!({ "a": "b" });
    object["spec"]["nodeName"] = "n".into();
    h.post(PODS, object).await.expect(201);
    let ready = if ready { "True" } else { "False" };
    let status = json!({ "phase": "Running", "conditions": [{ "type": "Ready", "status": ready }] });
    h.merge(&format!("{PODS}/{name}/status"), json!({ "status": status })).await.expect(200);
}

async fn budget(h: &Harness, name: &str, spec: Value, status: Value) {
    let mut spec = spec;
    spec["selector"] = json!({ "matchLabels": { "a": "b" } });
    h.post(BUDGETS, json!({ "metadata": { "name": name }, "spec": spec })).await.expect(201);
    h.merge(&format!("{BUDGETS}/{name}/status"), json!({ "status": status })).await.expect(200);
}

async fn evict(h: &Harness, name: &str, query: &str, options: Value) -> Answer {
    let mut eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
    if !options.is_null() {
        eviction["deleteOptions"] = options;
    }
    h.post(&format!("{PODS}/{name}/eviction{query}"), eviction).await
}

fn counts(allowed: i64, healthy: i64, desired: i64) -> Value {
    json!({ "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy,
        "desiredHealthy": desired, "expectedPods": healthy })
}

async fn status(h: &Harness, name: &str) -> Value {
    h.get(&format!("{BUDGETS}/{name}")).await.expect(200)["status"].take()
}

#[tokio::test]
async fn an_eviction_takes_a_disruption_from_the_budget() {
    let h = Harness::new().await;
    running(&h, "p", true).await;
    budget(&h, "b", json!({ "minAvailable": 1 }), counts(1, 2, 1)).await;
    evict(&h, "p", "?dryRun=All", Value::Null).await.expect(201);
    assert_eq!(status(&h, "b").await["disruptionsAllowed"], 1);
    evict(&h, "p", "", Value::Null).await.expect(201);
    let pod = h.get(&format!("{PODS}/p")).await.expect(200);
    assert!(pod["metadata"]["deletionTimestamp"].is_string());
    let target = pod["status"]["conditions"].as_array().unwrap().iter().find(|one| one["type"] == "DisruptionTarget");
    let target = target.unwrap();
    assert_eq!(
        (&target["status"], &target["reason"], &target["message"], &target["observedGeneration"]),
        (&json!("True"), &json!("EvictionByEvictionAPI"), &json!("Eviction API: evicting"), &json!(1))
    );
    let left = status(&h, "b").await;
    assert_eq!(left["disruptionsAllowed"], 0);
    assert!(left["disruptedPods"]["p"].is_string());
    assert_eq!(left["conditions"][0]["reason"], "InsufficientPods");
    // It is going already: nobody is asked again.
    evict(&h, "p", "", Value::Null).await.expect(201);
}

#[tokio::test]
async fn a_budget_without_disruptions_refuses() {
    let h = Harness::new().await;
    running(&h, "p", true).await;
    budget(&h, "b", json!({ "minAvailable": 1 }), counts(0, 1, 1)).await;
    let refused = evict(&h, "p", "", Value::Null).await;
    assert!(!refused.headers.contains_key("retry-after"));
    let refused = refused.expect(429);
    assert_eq!(refused["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(
        refused["details"],
        json!({ "causes": [{ "reason": "DisruptionBudget",
            "message": "The disruption budget b needs 1 healthy pods and has 1 currently" }] })
    );
    let failed = json!({ "conditions": [{ "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed",
        "message": "found no controllers for pod \"p\"", "lastTransitionTime": "2026-01-01T00:00:00Z" }] });
    h.merge(&format!("{BUDGETS}/b/status"), json!({ "status": failed })).await.expect(200);
    assert_eq!(
        evict(&h, "p", "", Value::Null).await.expect(429)["details"]["causes"][0]["message"],
        "The disruption budget b does not allow evicting pods currently because it failed sync: found no controllers \
         for pod \"p\""
    );
    h.merge(&format!("{BUDGETS}/b"), json!({ "spec": { "minAvailable": 2 } })).await.expect(200);
    let refused = evict(&h, "p", "", Value::Null).await;
    assert_eq!(refused.headers["retry-after"], "10");
    assert_eq!(
        refused.expect(429)["details"],
        json!({ "causes": [{ "reason": "DisruptionBudget",
            "message": "The disruption budget b is still being processed by the server." }], "retryAfterSeconds": 10 })
    );
    let pod = h.get(&format!("{PODS}/p")).await.expect(200);
    assert!(pod["metadata"].get("deletionTimestamp").is_none());
}

#[tokio::test]
async fn two_budgets_are_one_too_many_and_other_pods_need_none() {
    let h = Harness::new().await;
    running(&h, "p", true).await;
    budget(&h, "b", json!({ "minAvailable": 0 }), counts(5, 5, 0)).await;
    budget(&h, "c", json!({ "minAvailable": 0 }), counts(5, 5, 0)).await;
    let refused = evict(&h, "p", "", json!({ "preconditions": { "uid": "zz" } })).await;
    assert_eq!(
        refused.message(),
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
    );
    assert_eq!(refused.expect(500).get("reason"), None);
    h.merge(&format!("{PODS}/p"), json!({ "metadata": { "labels": { "a": "c" } } })).await.expect(200);
    evict(&h, "p", "", json!({ "gracePeriodSeconds": 0 })).await.expect(201);
    assert_eq!(h.get(&format!("{PODS}/p")).await.code, 404);
}

#[tokio::test]
async fn pods_that_nobody_counts_on_go_unasked() {
    let h = Harness::new().await;
    budget(&h, "b", json!({ "minAvailable": 1 }), counts(0, 0, 1)).await;
    for phase in ["Pending", "Succeeded", "Failed"] {
        running(&h, "p", true).await;
        h.merge(&format!("{PODS}/p/status"), json!({ "status": { "phase": phase } })).await.expect(200);
        evict(&h, "p", "", json!({ "gracePeriodSeconds": 0 })).await.expect(201);
        assert_eq!(h.get(&format!("{PODS}/p")).await.code, 404, "{phase}");
    }
    assert_eq!(status(&h, "b").await.get("disruptedPods"), None);
}

#[tokio::test]
async fn unhealthy_pods_go_when_the_budget_is_healthy_or_always() {
    let h = Harness::new().await;
    running(&h, "p", false).await;
    running(&h, "q", false).await;
    budget(&h, "b", json!({ "minAvailable": 2 }), counts(0, 1, 2)).await;
    evict(&h, "p", "", Value::Null).await.expect(429);
    h.merge(&format!("{BUDGETS}/b/status"), json!({ "status": counts(0, 2, 2) })).await.expect(200);
    evict(&h, "p", "", Value::Null).await.expect(201);
    let always = json!({ "spec": { "unhealthyPodEvictionPolicy": "AlwaysAllow" } });
    h.merge(&format!("{BUDGETS}/b"), always).await.expect(200);
    h.merge(&format!("{BUDGETS}/b/status"), json!({ "status": counts(0, 0, 2) })).await.expect(200);
    evict(&h, "q", "", Value::Null).await.expect(201);
    assert_eq!(status(&h, "b").await.get("disruptedPods"), None);
}

#[tokio::test]
async fn preconditions_hold_for_evictions() {
    let h = Harness::new().await;
    running(&h, "p", true).await;
    let uid = evict(&h, "p", "", json!({ "preconditions": { "uid": "zz" } })).await;
    assert!(uid.message().contains("the UID in the precondition (zz)"), "{}", uid.message());
    assert_eq!(uid.expect(409)["details"], json!({ "name": "p", "kind": "Pod" }));
    evict(&h, "p", "", json!({ "preconditions": { "resourceVersion": "1" } })).await.expect(409);
    let now = h.get(&format!("{PODS}/p")).await.expect(200);
    assert!(now["status"]["conditions"].as_array().unwrap().iter().all(|one| one["type"] != "DisruptionTarget"));
    let version = &now["metadata"]["resourceVersion"];
    let exact = json!({ "gracePeriodSeconds": 0, "preconditions": { "resourceVersion": version } });
    evict(&h, "p", "", exact).await.expect(201);
    assert_eq!(h.get(&format!("{PODS}/p")).await.code, 404);
}

#[tokio::test]
async fn a_disruption_is_given_away_once() {
    let h = Harness::new().await;
    for name in ["p", "q", "r", "s"] {
        running(&h, name, true).await;
    }
    budget(&h, "b", json!({ "minAvailable": 2 }), counts(2, 4, 2)).await;
    let answers = futures::future::join_all(["p", "q", "r", "s"].map(|name| evict(&h, name, "", Value::Null))).await;
    let mut codes: Vec<u16> = answers.iter().map(|answer| answer.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [201, 201, 429, 429]);
    let left = status(&h, "b").await;
    assert_eq!((&left["disruptionsAllowed"], left["disruptedPods"].as_object().unwrap().len()), (&json!(0), 2));
}
