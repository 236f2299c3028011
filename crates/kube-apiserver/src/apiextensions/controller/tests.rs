//! Definitions of a server that runs.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::Server;
use crate::apiextensions::definitions;
use crate::testing::{self, server};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

async fn send(server: &Arc<Server>, method: &str, path: &str, object: Value) -> (u16, Value) {
    let (code, _, body) = testing::send(server, method, path, &object).await;
    (code, body)
}

async fn define(server: &Arc<Server>, plural: &str, kind: &str) {
    let schema = json!({ "openAPIV3Schema": { "type": "object" } });
    let definition = json!({
        "metadata": { "name": format!("{plural}.example.com") },
        "spec": {
            "group": "example.com", "scope": "Cluster", "names": { "plural": plural, "kind": kind },
            "versions": [{ "name": "v1", "served": true, "storage": true, "schema": schema }],
        },
    });
    let (code, body) = send(server, "POST", DEFINITIONS, definition).await;
    assert_eq!(code, 201, "{body}");
    until(server, plural, |definition| condition(definition, "Established") == "True").await;
}

/// The definition, once it is as wanted; null once it is gone.
async fn until(server: &Arc<Server>, plural: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let revision = server.registry.store().revision();
        let (code, definition) = send(server, "GET", &format!("{DEFINITIONS}/{plural}.example.com"), Value::Null).await;
        let definition = if code == 404 { Value::Null } else { definition };
        if wanted(&definition) {
            return definition;
        }
        server.registry.change_since(&[definitions()], revision).await;
    }
}

fn condition<'d>(definition: &'d Value, name: &str) -> &'d str {
    let all = definition.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
    let mut own = all.filter(|condition| condition["type"] == name);
    own.next().and_then(|condition| condition["status"].as_str()).unwrap_or_default()
}

#[tokio::test]
async fn a_definition_whose_objects_stay_holds_up_no_other() {
    let (server, _pki) = server().await;
    define(&server, "helds", "Held").await;
    let object = json!({
        "apiVersion": "example.com/v1", "kind": "Held",
        "metadata": { "name": "a", "finalizers": ["hold.example.com"] },
    });
    let held = "/apis/example.com/v1/helds";
    let (code, body) = send(&server, "POST", held, object).await;
    assert_eq!(code, 201, "{body}");
    let change = json!({ "metadata": { "labels": { "a": "b" } } });
    let (code, body) = send(&server, "PATCH", &format!("{held}/a"), change).await;
    assert_eq!(code, 200, "finalizers of custom objects need no domain: {body}");

    let (code, _) = send(&server, "DELETE", &format!("{DEFINITIONS}/helds.example.com"), Value::Null).await;
    assert_eq!(code, 200);
    until(&server, "helds", |definition| condition(definition, "Terminating") == "True").await;
    define(&server, "others", "Other").await;

    let more = json!({ "apiVersion": "example.com/v1", "kind": "Held", "metadata": { "name": "b" } });
    let (code, body) = send(&server, "POST", held, more).await;
    let said = "create not allowed while custom resource definition is terminating";
    assert_eq!((code, body["message"].as_str()), (405, Some(said)));
    let (code, body) =
        send(&server, "PATCH", &format!("{held}/a"), json!({ "metadata": { "finalizers": null } })).await;
    assert_eq!(code, 200, "what is there is changed: {body}");
    until(&server, "helds", Value::is_null).await;
}

#[tokio::test]
async fn a_scale_needs_no_version_but_a_number() {
    let (server, _pki) = server().await;
    let number = json!({ "type": "object", "properties": { "n": { "type": "integer" } } });
    let definition = json!({
        "metadata": { "name": "scaleds.example.com" },
        "spec": {
            "group": "example.com", "scope": "Cluster", "names": { "plural": "scaleds", "kind": "Scaled" },
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": { "openAPIV3Schema": { "type": "object", "properties": { "spec": number, "status": number } } },
                "subresources": { "scale": { "specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n" } },
            }],
        },
    });
    assert_eq!(send(&server, "POST", DEFINITIONS, definition).await.0, 201);
    until(&server, "scaleds", |definition| condition(definition, "Established") == "True").await;
    let object = json!({ "apiVersion": "example.com/v1", "kind": "Scaled", "metadata": { "name": "a" } });
    assert_eq!(send(&server, "POST", "/apis/example.com/v1/scaleds", object).await.0, 201);
    let path = "/apis/example.com/v1/scaleds/a/scale";
    let said = |(code, body): (u16, Value)| (code, body["message"].as_str().unwrap_or_default().to_owned());
    let missing = "Internal error occurred: the spec replicas field \".spec.n\" does not exist".to_owned();
    assert_eq!(said(send(&server, "GET", path, Value::Null).await), (500, missing));
    let empty = "the spec replicas field \".spec.n\" cannot be empty".to_owned();
    assert_eq!(said(send(&server, "PATCH", path, json!({ "metadata": {} })).await), (400, empty));
    let scale = |uid: &str, n: i64| {
        let metadata = json!({ "name": "a", "uid": uid });
        json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": { "replicas": n } })
    };
    let (code, scaled) = send(&server, "PUT", path, scale("", 3)).await;
    assert_eq!((code, &scaled["spec"]["replicas"]), (200, &json!(3)), "{scaled}");
    let (code, reason) = said(send(&server, "PUT", path, scale("x", 4)).await);
    assert!(code == 409 && reason.contains("Precondition failed: UID in precondition: x"), "{code} {reason}");
    assert_eq!(send(&server, "GET", path, Value::Null).await.1["spec"]["replicas"], 3);
}
