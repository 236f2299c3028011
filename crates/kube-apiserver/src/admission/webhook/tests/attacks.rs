//! Attacks on the server by way of webhooks.

use super::*;

/// CVE-2020-8561: a webhook sends the server on to an address that only the server can reach.
#[tokio::test]
async fn redirects_are_not_followed() {
    let world = World::new().await;
    let inner = Hook::allowing(&world.pki).await;
    for code in [301, 302, 303, 307, 308] {
        let location = inner.url();
        let hook = Hook::new(&world.pki, move |_| {
            let mut response = plain(code, "see there");
            response.headers_mut().insert(http::header::LOCATION, location.parse().unwrap());
            response
        });
        let hook = hook.await;
        world.register("validating", "v", vec![world.webhook(&hook.url(), json!({}))]).await;
        let (status, body) = world.configmap("x").await;
        assert_eq!(hook.requests().len(), 1, "the webhook itself was asked");
        assert_eq!(status, 500);
        let message = body["message"].as_str().unwrap();
        assert!(message.contains("redirect") && message.contains("not followed"), "{message}");
        assert!(!message.contains("see there"), "what is behind a redirect is not shown: {message}");
        let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/v";
        assert_eq!(world.send("DELETE", path, Value::Null).await.0, 200);
    }
    assert_eq!(inner.requests(), Vec::<Value>::new());
}

/// CVE-2021-25735: the webhook is shown an old Node that holds what the new one is to hold, and so sees no change.
#[tokio::test]
async fn the_old_object_is_the_one_that_is_stored() {
    let world = World::new().await;
    // It keeps a label from being changed, going by the old object.
    let hook = Hook::new(&world.pki, |question| {
        let request = &question["request"];
        let zone = |object: &str| request[object]["metadata"]["labels"]["zone"].clone();
        let allowed = zone("object") == zone("oldObject");
        answer(question, json!({ "uid": request["uid"], "allowed": allowed }))
    });
    let hook = hook.await;
    let node = |zone: &str| json!({ "metadata": { "name": "n", "labels": { "zone": zone } } });
    assert_eq!(world.post("/api/v1/nodes", node("a")).await.0, 201);
    let rules = json!({ "rules": [rule(&["UPDATE"], "", "v1", &["nodes", "nodes/status"])] });
    world.register("validating", "v", vec![world.webhook(&hook.url(), rules)]).await;
    let change = json!({ "metadata": { "labels": { "zone": "b" } } });
    for path in ["/api/v1/nodes/n", "/api/v1/nodes/n/status"] {
        assert_eq!(world.send("PUT", path, node("b")).await.0, 400, "PUT {path}");
        assert_eq!(world.send("PATCH", path, change.clone()).await.0, 400, "PATCH {path}");
    }
    assert!(hook.requests().iter().all(|request| request["oldObject"]["metadata"]["labels"]["zone"] == "a"));
    let (_, _, stored) = world.send("GET", "/api/v1/nodes/n", Value::Null).await;
    assert_eq!(stored["metadata"]["labels"]["zone"], "a");
}

/// A webhook that would move an object into a namespace where the client may not write.
#[tokio::test]
async fn a_patch_moves_nothing_to_another_namespace() {
    let world = World::new().await;
    let hook = Hook::new(&world.pki, |question| {
        allow(question, patch(json!([{ "op": "replace", "path": "/metadata/namespace", "value": "kube-system" }])))
    });
    let hook = hook.await;
    world.register("mutating", "m", vec![world.webhook(&hook.url(), json!({}))]).await;
    let (code, body) = world.configmap("x").await;
    let message = "the namespace of the provided object does not match the namespace sent on the request";
    assert_eq!((code, body["message"].as_str().unwrap()), (400, message));
}

/// A webhook that answers without end.
#[tokio::test]
async fn answers_are_read_up_to_a_bound() {
    let world = World::new().await;
    let hook = Hook::new(&world.pki, |_| plain(200, vec![b' '; (16 << 20) + 1])).await;
    world.register("validating", "v", vec![world.webhook(&hook.url(), json!({}))]).await;
    let (code, body) = world.configmap("x").await;
    assert_eq!(code, 500);
    assert!(body["message"].as_str().unwrap().ends_with("the answer is larger than 16777216 bytes"), "{body}");
}
