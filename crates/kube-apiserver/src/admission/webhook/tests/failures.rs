//! Webhooks that cannot be asked, and the time they may take.

use super::*;

const INTERNAL: &str = "Internal error occurred: failed calling webhook \"w.example.com\": failed to call webhook: ";

/// A port that nobody listens on.
async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn a_webhook_that_is_away_fails_open_or_closed() {
    let world = World::new().await;
    let url = format!("https://127.0.0.1:{}/a", closed_port().await);
    for phase in ["mutating", "validating"] {
        let open = world.webhook(&url, json!({ "failurePolicy": "Ignore" }));
        world.register(phase, "open", vec![open]).await;
        assert_eq!(world.configmap(phase).await.0, 201);
        let closed = world.webhook(&url, json!({ "failurePolicy": "Fail" }));
        world.register(phase, "closed", vec![closed]).await;
        let (code, body) = world.configmap("x").await;
        let port = url.trim_end_matches("/a");
        let address = port.trim_start_matches("https://");
        let wanted = format!("{INTERNAL}Post \"{url}?timeout=10s\": dial tcp {address}: connect: connection refused");
        assert_eq!((code, body["message"].as_str().unwrap()), (500, wanted.as_str()));
        assert_eq!(body["reason"], "InternalError");
        let path = format!("/apis/admissionregistration.k8s.io/v1/{phase}webhookconfigurations");
        assert_eq!(world.send("DELETE", &path, Value::Null).await.0, 200);
    }
    let metrics = world.metrics().await;
    let named = |line: &str| assert!(metrics.contains(line), "{line} in\n{metrics}");
    named("apiserver_admission_webhook_fail_open_count_total{name=\"w.example.com\",type=\"admit\"} 1");
    named(
        "apiserver_admission_webhook_rejection_count_total{error_type=\"calling_webhook_error\",name=\"w.example.com\",operation=\"CREATE\",rejection_code=\"503\",type=\"validating\"} 1",
    );
    named(
        "apiserver_admission_webhook_request_total{code=\"503\",name=\"w.example.com\",operation=\"CREATE\",rejected=\"true\",type=\"admit\"} 1",
    );
}

#[tokio::test]
async fn services_are_found_or_named_as_missing() {
    let world = World::new().await;
    let mut webhook = world.webhook("", json!({ "timeoutSeconds": 2 }));
    webhook["clientConfig"] = json!({ "service": { "name": "svc", "namespace": "default", "path": "/a/b" } });
    world.register("mutating", "m", vec![webhook]).await;
    let refused = || async { world.configmap("x").await.1["message"].as_str().unwrap_or_default().to_owned() };
    let post = "Post \"https://svc.default.svc:443/a/b?timeout=2s\": ";
    assert_eq!(refused().await, format!("{INTERNAL}{post}service \"svc\" not found"));
    let service = json!({ "metadata": { "name": "svc" }, "spec": { "clusterIP": "None", "ports": [{ "port": 443 }] } });
    let path = "/api/v1/namespaces/default/services";
    assert_eq!(world.post(path, service).await.0, 201);
    assert_eq!(refused().await, format!("{INTERNAL}{post}cannot route to service with ClusterIP \"None\""));
    assert_eq!(world.send("DELETE", &format!("{path}/svc"), Value::Null).await.0, 200);
    let service = json!({ "metadata": { "name": "svc" }, "spec": { "ports": [{ "port": 8443 }] } });
    assert_eq!(world.post(path, service).await.0, 201);
    assert_eq!(refused().await, format!("{INTERNAL}{post}no service port 443 found for service \"svc\""));
}

#[tokio::test]
async fn a_service_of_another_name_is_asked_under_its_own() {
    let world = World::new().await;
    let hook = Hook::allowing(&world.pki).await;
    let service =
        json!({ "metadata": { "name": "svc" }, "spec": { "type": "ExternalName", "externalName": "localhost" } });
    assert_eq!(world.post("/api/v1/namespaces/default/services", service).await.0, 201);
    let mut webhook = world.webhook("", json!({}));
    webhook["clientConfig"]["service"] = json!({ "name": "svc", "namespace": "default", "port": hook.port });
    webhook["clientConfig"].as_object_mut().unwrap().remove("url");
    world.register("validating", "v", vec![webhook]).await;
    let (code, body) = world.configmap("x").await;
    // Its certificate is for 127.0.0.1 and not for svc.default.svc.
    let port = hook.port;
    let wanted = format!(
        "{INTERNAL}Post \"https://svc.default.svc:{port}/?timeout=10s\": tls: failed to verify certificate: x509: certificate is "
    );
    assert_eq!(code, 500);
    assert!(body["message"].as_str().unwrap().starts_with(&wanted), "{body}");
    assert!(body["message"].as_str().unwrap().contains("svc.default.svc"), "{body}");
}

#[tokio::test]
async fn strangers_are_not_believed() {
    let world = World::new().await;
    let stranger = Pki::new();
    let hook = Hook::allowing(&stranger).await;
    world.register("validating", "v", vec![world.webhook(&hook.url(), json!({}))]).await;
    let (code, body) = world.configmap("x").await;
    let wanted = format!(
        "{INTERNAL}Post \"{}?timeout=10s\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
        hook.url()
    );
    assert_eq!((code, body["message"].as_str().unwrap()), (500, wanted.as_str()));
    assert_eq!(hook.requests().len(), 0);
    let mut broken = world.webhook(&hook.url(), json!({}));
    broken["clientConfig"]["caBundle"] = STANDARD.encode("no certificate").into();
    world.register("validating", "a", vec![broken]).await;
    let message = world.configmap("x").await.1["message"].as_str().unwrap().to_owned();
    let reason = "could not get REST client: unable to load root certificates: unable to parse bytes as PEM block";
    assert_eq!(message, format!("Internal error occurred: failed calling webhook \"w.example.com\": {reason}"));
}

#[tokio::test]
async fn a_webhook_that_does_not_answer_has_its_time() {
    let world = World::new().await;
    // It accepts connections and never says a word.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    let webhook = world.webhook(&url, json!({ "timeoutSeconds": 1 }));
    world.register("validating", "v", vec![webhook]).await;
    let (code, body) = world.configmap("x").await;
    let wanted = format!("{INTERNAL}Post \"{url}?timeout=1s\": context deadline exceeded");
    assert_eq!((code, body["message"].as_str().unwrap()), (500, wanted.as_str()));
    drop(listener);
}

#[tokio::test]
async fn dry_runs_ask_only_webhooks_without_side_effects() {
    let world = World::new().await;
    let hook = Hook::allowing(&world.pki).await;
    let path = "/apis/admissionregistration.k8s.io/v1beta1/validatingwebhookconfigurations";
    let some = world.webhook(&hook.url(), json!({ "sideEffects": "Some" }));
    let (code, body) = world.post(path, json!({ "metadata": { "name": "v" }, "webhooks": [some] })).await;
    assert_eq!(code, 201, "{body}");
    let (code, body) = world.post(&format!("{CONFIGMAPS}?dryRun=All"), configmap("a")).await;
    let message = "admission webhook \"w.example.com\" does not support dry run";
    assert_eq!((code, body["message"].as_str().unwrap()), (400, message));
    assert_eq!(hook.requests().len(), 0);
    assert_eq!(world.configmap("a").await.0, 201);
    assert_eq!(hook.requests().len(), 1);
}
