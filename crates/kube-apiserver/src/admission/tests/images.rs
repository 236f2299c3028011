use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::{Cluster, PODS, pod, with_plugins};
use crate::admission::webhook::tests::Hook;
use crate::testing::Pki;

/// A policy that refuses images with `bad` in their name and fails for those with `broken`.
async fn policy(pki: &Pki) -> Hook {
    Hook::new(pki, |question| {
        let has = |word: &str| question["spec"]["containers"].to_string().contains(word);
        if has("broken") {
            return Response::builder().status(404).body(Bytes::new()).unwrap();
        }
        let mut answer = question.clone();
        answer["status"] =
            if has("bad") { json!({ "allowed": false, "reason": "bad image" }) } else { json!({ "allowed": true }) };
        Response::new(Bytes::from(answer.to_string()))
    })
    .await
}

fn configure(config: &mut crate::Config, pki: &Pki, hook: &Hook, default_allow: bool) {
    let kubeconfig = json!({
        "clusters": [{ "name": "c", "cluster": { "server": hook.url(), "certificate-authority": "ca.crt" } }],
        "users": [{ "name": "u", "user": { "token": "secret" } }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "current-context": "x",
    });
    pki.write("images.conf", &kubeconfig.to_string());
    let plugin = format!(
        "- name: ImagePolicyWebhook\n  configuration:\n    imagePolicy: {{kubeConfigFile: images.conf, retryBackoff: 1, defaultAllow: {default_allow}}}\n"
    );
    with_plugins(config, pki, &["ImagePolicyWebhook", "AlwaysPullImages"], &plugin);
}

fn running(name: &str, image: &str) -> Value {
    let mut pod = pod(name, json!({}));
    pod["metadata"]["annotations"] = json!({ "mine.image-policy.k8s.io/ticket": "1", "other": "2" });
    pod["spec"]["containers"][0]["image"] = image.into();
    pod
}

#[tokio::test]
async fn images_are_reviewed_and_always_pulled() {
    let pki = Pki::new();
    let hook = policy(&pki).await;
    let cluster = Cluster::on(pki, |config, pki| configure(config, pki, &hook, false)).await;
    let made = cluster.post(PODS, running("a", "good:1")).await.expect(201);
    assert_eq!(made["spec"]["containers"][0]["imagePullPolicy"], "Always");
    let asked = hook.asked.lock()[0].clone();
    assert_eq!(
        asked["spec"],
        json!({ "containers": [{ "image": "good:1" }], "annotations": { "mine.image-policy.k8s.io/ticket": "1" }, "namespace": "ns" })
    );
    assert_eq!(hook.callers.lock()[0], "Bearer secret");
    assert_eq!(
        cluster.post(PODS, running("b", "bad:1")).await.refused(403),
        "pods \"b\" is forbidden: image policy webhook backend denied one or more images: bad image"
    );
    // The same question is not asked again for a while.
    let before = hook.asked.lock().len();
    cluster.post(PODS, running("c", "good:1")).await.expect(201);
    assert_eq!(hook.asked.lock().len(), before);
    let refused = cluster.post(PODS, running("d", "broken:1")).await.refused(403);
    assert!(refused.ends_with("the server answered with the status code 404 Not Found"), "{refused}");
    assert!(!refused.contains("secret"));
}

#[tokio::test]
async fn a_policy_that_fails_can_be_passed_over() {
    let pki = Pki::new();
    let hook = policy(&pki).await;
    let cluster = Cluster::on(pki, |config, pki| configure(config, pki, &hook, true)).await;
    cluster.post(PODS, running("d", "broken:1")).await.expect(201);
    cluster.post(PODS, running("b", "bad:1")).await.refused(403);
}
