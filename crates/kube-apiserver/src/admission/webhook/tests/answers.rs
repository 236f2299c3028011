//! What becomes of answers.

use super::*;

#[tokio::test]
async fn a_patch_changes_the_object_and_is_defaulted() {
    let world = World::new().await;
    let hook = Hook::new(&world.pki, |question| {
        let port = json!({ "port": 80 });
        allow(question, patch(json!([{ "op": "add", "path": "/spec/ports/-", "value": port }])))
    });
    let hook = hook.await;
    let rules = json!({ "rules": [rule(&["CREATE"], "", "v1", &["services"])] });
    world.register("mutating", "m", vec![world.webhook(&hook.url(), rules)]).await;
    let service = json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "name": "a", "port": 1 }] } });
    let (code, made) = world.post("/api/v1/namespaces/default/services", service).await;
    assert_eq!(code, 422, "the second port has no name, which is found after the patch: {made}");
    assert_eq!(made["details"]["causes"][0]["field"], "spec.ports[1].name");

    let named = Hook::new(&world.pki, |question| {
        let port = json!({ "name": "b", "port": 80 });
        allow(question, patch(json!([{ "op": "replace", "path": "/spec/ports/1", "value": port }])))
    });
    let named = named.await;
    let rules = json!({ "name": "x.example.com", "rules": [rule(&["CREATE"], "", "v1", &["services"])] });
    world.register("mutating", "n", vec![world.webhook(&named.url(), rules)]).await;
    let service = json!({ "metadata": { "name": "s" }, "spec": { "ports": [{ "name": "a", "port": 1 }] } });
    let (code, made) = world.post("/api/v1/namespaces/default/services", service).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"]["ports"][1]["protocol"], "TCP");
    assert_eq!(made["spec"]["ports"][1]["targetPort"], 80);
    // The second webhook saw what the first had made of it, with its defaults.
    assert_eq!(named.requests()[0]["object"]["spec"]["ports"][1]["protocol"], "TCP");
}

#[tokio::test]
async fn a_refusal_is_the_webhooks_own_with_its_name() {
    let world = World::new().await;
    let refuse = |status: Value| {
        move |question: &Value| {
            let uid = &question["request"]["uid"];
            let more = json!({ "uid": uid, "allowed": false, "status": status, "warnings": ["beware"] });
            answer(question, more)
        }
    };
    let cases = [
        (json!({ "code": 403, "message": "no", "reason": "Forbidden" }), 403, ": no"),
        (json!({ "reason": "Busy" }), 400, ": Busy"),
        (json!({ "code": 200, "status": "Success", "message": "odd" }), 400, ": odd"),
        (Value::Null, 400, " without explanation"),
    ];
    for (status, code, words) in cases {
        for phase in ["mutating", "validating"] {
            let hook = Hook::new(&world.pki, refuse(status.clone())).await;
            world.register(phase, "c", vec![world.webhook(&hook.url(), json!({}))]).await;
            let (got, warnings, body) = world.send("POST", CONFIGMAPS, configmap("a")).await;
            let message = format!("admission webhook \"w.example.com\" denied the request{words}");
            assert_eq!((got, body["message"].as_str().unwrap()), (code, message.as_str()), "{phase}");
            assert_eq!((&body["status"], &body["code"]), (&json!("Failure"), &json!(code)));
            assert_eq!(warnings, ["beware"]);
            let path = format!("/apis/admissionregistration.k8s.io/v1/{phase}webhookconfigurations/c");
            assert_eq!(world.send("DELETE", &path, Value::Null).await.0, 200);
        }
    }
}

#[tokio::test]
async fn answers_that_are_none_fail_the_call() {
    let world = World::new().await;
    type Make = fn(&Value) -> Response<Bytes>;
    let invalid = "received invalid webhook response: ";
    let cases: Vec<(&str, Make, String)> = vec![
        (
            "validating",
            |q| answer(q, json!({ "uid": "x", "allowed": true })),
            format!("{invalid}expected response.uid=\"UID\", got \"x\""),
        ),
        (
            "validating",
            |q| allow(q, patch(json!([]))),
            format!("{invalid}validating webhook may not return response.patch"),
        ),
        (
            "mutating",
            |q| allow(q, json!({ "patch": STANDARD.encode("[]") })),
            format!("{invalid}webhook returned response.patch but not response.patchType"),
        ),
        (
            "mutating",
            |q| allow(q, json!({ "patchType": "JSONPatch" })),
            format!("{invalid}webhook returned response.patchType but not response.patch"),
        ),
        (
            "validating",
            |q| plain(200, json!({ "response": { "uid": q["request"]["uid"], "allowed": true } }).to_string()),
            format!("{invalid}expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind="),
        ),
        ("mutating", |_| plain(200, "{}"), format!("{invalid}webhook response was absent")),
        (
            "mutating",
            |_| plain(500, "boom"),
            "failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding"
                .to_owned(),
        ),
        (
            "validating",
            |_| plain(404, "x"),
            "failed to call webhook: the server could not find the requested resource".to_owned(),
        ),
    ];
    for (phase, make, words) in cases {
        let hook = Hook::new(&world.pki, make).await;
        world.register(phase, "c", vec![world.webhook(&hook.url(), json!({}))]).await;
        let (code, body) = world.configmap("a").await;
        let uid = hook.requests()[0]["uid"].as_str().unwrap().to_owned();
        let wanted =
            format!("Internal error occurred: failed calling webhook \"w.example.com\": {words}").replace("UID", &uid);
        assert_eq!((code, body["message"].as_str().unwrap()), (500, wanted.as_str()));
        let path = format!("/apis/admissionregistration.k8s.io/v1/{phase}webhookconfigurations/c");
        assert_eq!(world.send("DELETE", &path, Value::Null).await.0, 200);
    }
}

#[tokio::test]
async fn what_is_deleted_cannot_be_changed() {
    let world = World::new().await;
    let hook = Hook::new(&world.pki, |question| {
        allow(question, patch(json!([{ "op": "add", "path": "/data", "value": {} }])))
    });
    let hook = hook.await;
    assert_eq!(world.configmap("a").await.0, 201);
    let rules = json!({ "rules": [rule(&["DELETE"], "", "v1", &["configmaps"])] });
    world.register("mutating", "m", vec![world.webhook(&hook.url(), rules)]).await;
    let (code, _, body) = world.send("DELETE", &format!("{CONFIGMAPS}/a"), Value::Null).await;
    let message = "Internal error occurred: admission webhook \"w.example.com\" attempted to modify the object, which is not supported for this operation";
    assert_eq!((code, body["message"].as_str().unwrap()), (500, message));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn all_validating_webhooks_are_asked_at_once() {
    let world = World::new().await;
    // Each answers only when the other is asked, too.
    let both = Arc::new(std::sync::Barrier::new(2));
    let waiting = |both: Arc<std::sync::Barrier>| {
        move |question: &Value| {
            tokio::task::block_in_place(|| both.wait());
            allow(question, json!({}))
        }
    };
    let (one, two) = (Hook::new(&world.pki, waiting(both.clone())).await, Hook::new(&world.pki, waiting(both)).await);
    let webhooks = vec![
        world.webhook(&one.url(), json!({ "name": "one.example.com" })),
        world.webhook(&two.url(), json!({ "name": "two.example.com" })),
    ];
    world.register("validating", "v", webhooks).await;
    assert_eq!(world.configmap("a").await.0, 201);
}

#[tokio::test]
async fn webhooks_are_told_who_asks() {
    let pki_of_clients = Pki::new();
    let leaf = pki_of_clients.leaf("apiserver", LeafOptions::default());
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("client.crt", &leaf.certificate.pem());
    write("client.key", &leaf.key.serialize_pem());
    let users = "kind: Config\napiVersion: v1\nusers:\n- {name: '127.0.0.1:PORT', user: {client-certificate: client.crt, client-key: client.key}}\n- {name: '*', user: {token: s3cret}}\n";
    let hook = Hook::allowing(&pki_of_clients).await;
    write("hooks.conf", &users.replace("PORT", &hook.port.to_string()));
    let plugin = json!({ "apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration", "kubeConfigFile": folder.path().join("hooks.conf") });
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{ "name": "ValidatingAdmissionWebhook", "configuration": plugin }],
    });
    write("admission.yaml", &config.to_string());
    let file = folder.path().join("admission.yaml");
    let world = World::with(|_, config| config.admission_control_config_file = Some(file)).await;
    let other = Hook::allowing(&world.pki).await;
    let mut first = world.webhook(&hook.url(), json!({ "name": "first.example.com" }));
    let bundle = std::fs::read(pki_of_clients.path().join("ca.crt")).unwrap();
    first["clientConfig"]["caBundle"] = STANDARD.encode(bundle).into();
    let second = world.webhook(&other.url(), json!({ "name": "second.example.com" }));
    world.register("validating", "v", vec![first, second]).await;
    assert_eq!(world.configmap("a").await.0, 201);
    assert_eq!(hook.callers.lock().clone(), ["certificate"]);
    assert_eq!(other.callers.lock().clone(), ["Bearer s3cret"]);
}
