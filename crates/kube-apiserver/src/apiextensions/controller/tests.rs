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
