//! What policies and bindings are about.

use super::*;

#[tokio::test]
async fn bindings_narrow_what_policies_are_about() {
    let world = World::new().await;
    let mut excluded = rule("", "v1", "configmaps");
    excluded["resourceNames"] = json!(["free"]);
    let mut constraints = about_configmaps();
    constraints["excludeResourceRules"] = json!([excluded]);
    let spec = json!({ "matchConstraints": constraints, "validations": [{ "expression": "false" }] });
    let picked = json!({ "matchResources": { "objectSelector": { "matchLabels": { "pick": "me" } } } });
    world.policy("p", spec, picked).await;
    for (name, labels, wanted) in
        [("a", json!({ "pick": "me" }), 422), ("b", json!({}), 201), ("free", json!({ "pick": "me" }), 201)]
    {
        let object = json!({ "metadata": { "name": name, "labels": labels } });
        let (code, _, body) = world.send("POST", CONFIGMAPS, object).await;
        assert_eq!(code, wanted, "{name}: {body}");
    }
}

#[tokio::test]
async fn versions_that_mean_the_same_count_unless_exactness_is_wanted() {
    let world = World::new().await;
    let spec = |policy: &str| {
        let constraints = json!({ "matchPolicy": policy, "resourceRules": [rule("events.k8s.io", "v1", "events")] });
        let told = "request.kind.group + ' for ' + request.requestKind.kind + ' of ' + object.apiVersion";
        json!({ "matchConstraints": constraints, "validations": [{ "expression": "false", "messageExpression": told }] })
    };
    world.policy("exact", spec("Exact"), json!({})).await;
    let event = json!({ "metadata": { "name": "e" }, "involvedObject": { "namespace": "default" }, "reason": "r",
        "type": "Normal" });
    let path = "/api/v1/namespaces/default/events?dryRun=All";
    let (code, _, body) = world.send("POST", path, event.clone()).await;
    assert_eq!(code, 201, "{body}");
    world.policy("equivalent", spec("Equivalent"), json!({})).await;
    let (code, _, body) = world.send("POST", path, event).await;
    assert_eq!(code, 422, "{body}");
    assert!(
        body["message"].as_str().unwrap().ends_with("denied request: events.k8s.io for Event of events.k8s.io/v1"),
        "{body}"
    );
}

#[tokio::test]
async fn what_is_deleted_is_judged_by_what_it_was() {
    let world = World::new().await;
    let spec = json!({ "validations": [{ "expression": "request.operation != 'DELETE' || (object == null && !('keep' in oldObject.data))" }] });
    world.create(CONFIGMAPS, json!({ "metadata": { "name": "kept" }, "data": { "keep": "" } })).await;
    world.create(CONFIGMAPS, json!({ "metadata": { "name": "gone" }, "data": { "k": "" } })).await;
    world.policy("p", spec, json!({})).await;
    assert_eq!(world.send("DELETE", &format!("{CONFIGMAPS}/kept"), Value::Null).await.0, 422);
    assert_eq!(world.send("DELETE", &format!("{CONFIGMAPS}/gone"), Value::Null).await.0, 200);
}
