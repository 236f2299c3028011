//! Parameters of policies.

use super::*;

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn limited() -> Value {
    json!({ "paramKind": { "apiVersion": "v1", "kind": "ConfigMap" },
        "matchConditions": [{ "name": "c", "expression": "!object.metadata.name.startsWith('limit')" }],
        "validations": [{ "expression": "params == null || object.data.size() <= int(params.data.max)",
            "messageExpression": "'at most ' + params.data.max" }] })
}

fn limit(name: &str, max: &str) -> Value {
    json!({ "metadata": { "name": name, "labels": { "limit": "yes" } }, "data": { "max": max } })
}

#[tokio::test]
async fn parameters_come_by_name_or_by_selector() {
    let world = World::new().await;
    world.create(CONFIGMAPS, limit("limit-1", "1")).await;
    // Without a namespace, parameters are in the one of the request.
    world
        .policy("named", limited(), json!({ "paramRef": { "name": "limit-1", "parameterNotFoundAction": "Deny" } }))
        .await;
    assert_eq!(world.configmap("a", json!({ "x": "" })).await.0, 201);
    assert_eq!(world.configmap("a", json!({ "x": "", "y": "" })).await, (422, denied("a", "named", "at most 1")));
    let selected = json!({ "paramRef": { "namespace": "default", "selector": { "matchLabels": { "limit": "yes" } },
        "parameterNotFoundAction": "Allow" } });
    world.policy("all", limited(), selected).await;
    world.create(CONFIGMAPS, limit("limit-0", "0")).await;
    assert_eq!(world.configmap("a", json!({ "x": "" })).await, (422, denied("a", "all", "at most 0")));
}

#[tokio::test]
async fn what_has_no_parameters_is_refused_or_let_through() {
    let world = World::new().await;
    world
        .policy("allow", limited(), json!({ "paramRef": { "name": "none", "parameterNotFoundAction": "Allow" } }))
        .await;
    assert_eq!(world.configmap("a", json!({ "x": "" })).await.0, 201);
    world.policy("deny", limited(), json!({ "paramRef": { "name": "none", "parameterNotFoundAction": "Deny" } })).await;
    let why = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction";
    assert_eq!(world.configmap("a", json!({ "x": "" })).await, (422, denied("a", "deny", why)));
}

#[tokio::test]
async fn custom_objects_can_be_parameters() {
    let world = World::new().await;
    let spec = json!({ "paramKind": { "apiVersion": "example.com/v1", "kind": "Limit" },
        "validations": [{ "expression": "object.data.size() <= params.spec.max" }] });
    world.policy("p", spec, json!({ "paramRef": { "name": "l", "parameterNotFoundAction": "Deny" } })).await;
    let (code, message) = world.configmap("a", json!({ "x": "" })).await;
    let why =
        "failed to configure policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=Limit'";
    let wanted = format!("configmaps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' denied request: {why}");
    assert_eq!((code, message), (422, wanted));

    let schema = json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": { "max": { "type": "integer" } } } } });
    let definition = json!({ "metadata": { "name": "limits.example.com" }, "spec": { "group": "example.com", "scope": "Cluster",
        "names": { "plural": "limits", "kind": "Limit" },
        "versions": [{ "name": "v1", "served": true, "storage": true, "schema": { "openAPIV3Schema": schema } }] } });
    world.create(DEFINITIONS, definition).await;
    let limit =
        json!({ "apiVersion": "example.com/v1", "kind": "Limit", "metadata": { "name": "l" }, "spec": { "max": 1 } });
    let made = async {
        // A definition is served when its controller has accepted it.
        while world.send("POST", "/apis/example.com/v1/limits", limit.clone()).await.0 != 201 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), made).await.unwrap();
    assert_eq!(world.configmap("a", json!({ "x": "" })).await.0, 201);
    assert_eq!(world.configmap("a", json!({ "x": "", "y": "" })).await.0, 422);
}
