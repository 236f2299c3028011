use super::*;

const MAPS: &str = "/api/v1/namespaces/ns/configmaps";
const PODS: &str = "/api/v1/namespaces/ns/pods";

#[tokio::test]
async fn a_delete_answers_with_what_was_deleted() {
    let h = Harness::new().await;
    let object = h.configmap("a", json!({})).await;
    let status = h.delete(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(
        status,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": { "name": "a", "kind": "configmaps", "uid": object["metadata"]["uid"] },
        })
    );
    assert_eq!(h.delete(&format!("{MAPS}/a")).await.code, 404);
}

#[tokio::test]
async fn finalizers_hold_an_object_until_they_are_gone() {
    let h = Harness::new().await;
    let object = json!({ "metadata": { "name": "a", "finalizers": ["e.com/f"] } });
    h.post(MAPS, object).await.expect(201);
    let path = format!("{MAPS}/a");
    let marked = h.delete(&path).await.expect(200);
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    let again = h.post(MAPS, json!({ "metadata": { "name": "a" } })).await;
    assert_eq!(again.message(), "object is being deleted: configmaps \"a\" already exists");
    let last = h.merge(&path, json!({ "metadata": { "finalizers": null } })).await.expect(200);
    assert!(last["metadata"].get("finalizers").is_none());
    assert_eq!(h.get(&path).await.code, 404);
}

#[tokio::test]
async fn propagation_policies_become_finalizers() {
    let h = Harness::new().await;
    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let name = policy.to_lowercase();
        h.configmap(&name, json!({})).await;
        let marked = h.delete(&format!("{MAPS}/{name}?propagationPolicy={policy}")).await.expect(200);
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
    }
    h.configmap("b", json!({})).await;
    let gone = h.delete(&format!("{MAPS}/b?propagationPolicy=Background")).await.expect(200);
    assert_eq!(gone["kind"], "Status");
    let bad = h.delete(&format!("{MAPS}/b?propagationPolicy=Bogus")).await;
    assert_eq!(
        bad.message(),
        "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Bogus\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""
    );
}

#[tokio::test]
async fn preconditions_must_hold() {
    let h = Harness::new().await;
    let object = h.configmap("a", json!({})).await;
    let path = format!("{MAPS}/a");
    let json = [("content-type", "application/json")];
    let wrong = h.send("DELETE", &path, &json, r#"{"preconditions":{"uid":"nope"}}"#).await;
    assert_eq!(wrong.code, 409);
    assert!(wrong.message().contains("the UID in the precondition (nope) does not match the UID in record"));
    let right = json!({ "preconditions": { "uid": object["metadata"]["uid"], "resourceVersion": object["metadata"]["resourceVersion"] } });
    h.send("DELETE", &path, &json, right.to_string()).await.expect(200);
}

#[tokio::test]
async fn pods_go_gracefully() {
    let h = Harness::new().await;
    h.post(PODS, pod("free")).await.expect(201);
    let gone = h.delete(&format!("{PODS}/free")).await.expect(200);
    assert_eq!((&gone["kind"], &gone["metadata"]["deletionGracePeriodSeconds"]), (&json!("Pod"), &json!(0)));
    assert_eq!(h.get(&format!("{PODS}/free")).await.code, 404);

    let mut bound = pod("bound");
    bound["spec"]["nodeName"] = "n".into();
    h.post(PODS, bound).await.expect(201);
    let path = format!("{PODS}/bound");
    let grace = |answer: &Value| answer["metadata"]["deletionGracePeriodSeconds"].clone();
    assert_eq!(grace(&h.delete(&path).await.expect(200)), 30);
    assert_eq!(grace(&h.delete(&format!("{path}?gracePeriodSeconds=5")).await.expect(200)), 5);
    assert_eq!(grace(&h.delete(&format!("{path}?gracePeriodSeconds=50")).await.expect(200)), 5);
    h.get(&path).await.expect(200);
    assert_eq!(grace(&h.delete(&format!("{path}?gracePeriodSeconds=0")).await.expect(200)), 0);
    assert_eq!(h.get(&path).await.code, 404);
}

#[tokio::test]
async fn an_eviction_is_a_delete() {
    let h = Harness::new().await;
    h.post(PODS, pod("p")).await.expect(201);
    let path = format!("{PODS}/p/eviction");
    let eviction = |name: &str| json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": name } });
    assert_eq!(h.post(&path, eviction("q")).await.message(), "name in URL does not match name in Eviction object");
    h.post(&format!("{path}?dryRun=All"), eviction("p")).await.expect(201);
    h.post(&path, eviction("p")).await.expect(201);
    assert_eq!(h.post(&path, eviction("p")).await.message(), "pods \"p\" not found");
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let h = Harness::new().await;
    for (name, x) in [("a", "1"), ("b", "2"), ("c", "1")] {
        h.configmap(name, json!({ "x": x })).await;
    }
    let list = h.delete(&format!("{MAPS}?labelSelector=x%3D1")).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    let left = h.get(MAPS).await.expect(200);
    assert_eq!(left["items"].as_array().unwrap().len(), 1);
    assert_eq!(left["items"][0]["metadata"]["name"], "b");
}

#[tokio::test]
async fn a_namespace_goes_when_its_finalizers_are_gone() {
    let h = Harness::new().await;
    let marked = h.delete("/api/v1/namespaces/ns").await.expect(200);
    assert_eq!(marked["status"]["phase"], "Terminating");
    assert!(marked["metadata"].get("deletionGracePeriodSeconds").is_none());
    let refused = h.post(MAPS, json!({ "metadata": { "name": "new" } })).await;
    assert_eq!(
        (refused.code, refused.message()),
        (
            403,
            "configmaps \"new\" is forbidden: unable to create new content in namespace ns because it is being terminated"
        )
    );
    assert_eq!(refused.body["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let path = "/api/v1/namespaces/ns/finalize";
    let bad = json!({ "metadata": { "name": "ns" }, "spec": { "finalizers": ["bad"] } });
    assert_eq!(h.put(path, bad).await.code, 422);
    h.put(path, json!({ "metadata": { "name": "ns" }, "spec": { "finalizers": [] } })).await.expect(200);
    assert_eq!(h.get("/api/v1/namespaces/ns").await.code, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delete_has_done_its_part_when_another_takes_what_it_marked() {
    let h = Harness::new().await;
    let registry = h.server.registry.clone();
    // As the controller does that removes pods without a node as soon as they are marked.
    let taker = tokio::spawn(async move {
        let (pods, _) = api::find("", "v1", "pods").unwrap();
        let mut watch =
            registry.store().watch(&crate::registry::keys::prefix(pods), registry.store().revision()).unwrap();
        while let Some(Ok(event)) = watch.next().await {
            let pod: Value = serde_json::from_slice(&event.entry.value).unwrap();
            if event.kind == store::EventKind::Put && pod["metadata"]["deletionTimestamp"].is_string() {
                let _ = registry.store().delete(&event.entry.key, last(&pod), store::Precondition::Any).await;
            }
        }
    });
    for turn in 0..200 {
        let name = format!("p{turn}");
        h.post(PODS, pod(&name)).await.expect(201);
        h.delete(&format!("{PODS}/{name}")).await.expect(200);
        assert_eq!(h.get(&format!("{PODS}/{name}")).await.code, 404);
    }
    taker.abort();
}

fn last(object: &Value) -> store::NewValue {
    store::NewValue::new(object.to_string(), None)
}
