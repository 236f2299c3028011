//! Authorization by webhooks that really listen: TLS servers of the test's own, on loopback.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::*;
use crate::admission::webhook::tests::Hook;
use crate::testing::{Pki, admin, call, server_with};
use crate::{Config, Server, UserInfo};

const PODS: &str = "/api/v1/namespaces/default/pods";
const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

/// `amy` may, `dan` may not, `ann` may and may not, `joe` gets a failure; nothing is known of others.
async fn hook(pki: &Pki) -> Hook {
    Hook::new(pki, |question| {
        let mut answer = question.clone();
        answer["status"] = match question["spec"]["user"].as_str().unwrap_or_default() {
            "amy" => json!({ "allowed": true, "reason": "amy may" }),
            "dan" => json!({ "denied": true, "reason": "not dan" }),
            "ann" => json!({ "allowed": true, "denied": true }),
            "joe" => return Response::builder().status(403).body(Bytes::new()).unwrap(),
            _ => json!({ "allowed": false, "reason": "unknown" }),
        };
        Response::new(Bytes::from(answer.to_string()))
    })
    .await
}

fn kubeconfig(pki: &Pki, name: &str, url: &str) -> std::path::PathBuf {
    let kubeconfig = json!({
        "clusters": [{ "name": "c", "cluster": { "server": url, "certificate-authority": "ca.crt" } }],
        "users": [{ "name": "u", "user": { "token": "secret" } }],
        "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
        "current-context": "x",
    });
    pki.write(name, &kubeconfig.to_string());
    pki.path().join(name)
}

/// A file with RBAC, Node and one webhook, with fields of one's choice.
fn configuration(pki: &Pki, url: &str, fields: Value) -> Value {
    let file = kubeconfig(pki, "w.conf", url);
    let mut webhook = json!({
        "timeout": "20s", "subjectAccessReviewVersion": "v1", "failurePolicy": "NoOpinion",
        "connectionInfo": { "type": "KubeConfigFile", "kubeConfigFile": file },
    });
    for (key, value) in fields.as_object().unwrap() {
        webhook[key] = value.clone();
    }
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthorizationConfiguration",
        "authorizers": [
            { "type": "Node", "name": "node" },
            { "type": "RBAC", "name": "rbac" },
            { "type": "Webhook", "name": "w.example.com", "webhook": webhook },
        ],
    })
}

struct World {
    server: Arc<Server>,
    hook: Hook,
    pki: Pki,
    _server_pki: Pki,
}

impl World {
    async fn new(fields: Value) -> Self {
        Self::with(fields, |_, _, _| {}).await
    }

    async fn with(fields: Value, change: impl FnOnce(&Pki, &Hook, &mut Config)) -> Self {
        let pki = Pki::new();
        let hook = hook(&pki).await;
        pki.write("authz.yaml", &configuration(&pki, &hook.url(), fields).to_string());
        let (server, _server_pki) = server_with(|config| {
            config.authorization_config = Some(pki.path().join("authz.yaml"));
            change(&pki, &hook, config);
        })
        .await;
        Self { server, hook, pki, _server_pki }
    }

    async fn get(&self, user: &str, path: &str) -> (u16, String) {
        let (code, answer) = call(&self.server, UserInfo::new(user, ["system:authenticated"]), "GET", path, "").await;
        let text = answer["message"].as_str().or(answer.as_str()).unwrap_or_default();
        (code, text.to_owned())
    }

    async fn metrics(&self) -> String {
        let body = self.server.serve_metrics().into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    async fn counts(&self, line: &str) {
        let metrics = self.metrics().await;
        assert!(metrics.lines().any(|own| own == line), "{line} is not in\n{metrics}");
    }

    fn asked(&self) -> usize {
        self.hook.asked.lock().len()
    }
}

#[tokio::test]
async fn a_webhook_decides_after_rbac_and_its_answers_are_remembered() {
    let world = World::new(json!({})).await;
    assert_eq!(world.get("amy", "/version").await.0, 200, "RBAC knows that everybody may");
    assert_eq!(world.asked(), 0);
    let selecting = format!("{PODS}?fieldSelector=spec.nodeName%3Dn&labelSelector=a%3Db");
    assert_eq!(world.get("amy", &selecting).await.0, 200);
    let field = json!({ "requirements": [{ "key": "spec.nodeName", "operator": "In", "values": ["n"] }] });
    let label = json!({ "requirements": [{ "key": "a", "operator": "In", "values": ["b"] }] });
    let wanted = json!({
        "kind": "SubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
        "spec": { "user": "amy", "groups": ["system:authenticated"], "resourceAttributes": { "namespace": "default", "verb": "list",
            "version": "v1", "resource": "pods", "fieldSelector": field, "labelSelector": label } },
        "status": { "allowed": false },
    });
    assert_eq!((world.hook.asked.lock()[0].clone(), world.hook.callers.lock()[0].as_str()), (wanted, "Bearer secret"));
    let (code, message) = world.get("dan", PODS).await;
    assert_eq!((code, message.ends_with("in the namespace \"default\": not dan")), (403, true), "{message}");
    let (code, message) = world.get("bob", PODS).await;
    assert_eq!((code, message.ends_with("in the namespace \"default\": unknown")), (403, true), "{message}");
    let before = world.asked();
    for user in ["dan", "bob"] {
        assert_eq!(world.get(user, PODS).await.0, 403);
    }
    assert_eq!(world.asked(), before);
    world
        .counts("apiserver_authorization_webhook_evaluations_total{name=\"w.example.com\",result=\"success\"} 3")
        .await;
    let decided =
        "apiserver_authorization_decisions_total{decision=\"denied\",name=\"w.example.com\",type=\"Webhook\"} 2";
    world.counts(decided).await;
    world.counts("authorization_attempts_total{result=\"denied\"} 4").await;
}

#[tokio::test]
async fn what_is_not_to_be_remembered_is_asked_each_time() {
    let world = World::new(json!({ "cacheAuthorizedRequests": false, "cacheUnauthorizedRequests": false })).await;
    for (user, code) in [("amy", 200), ("amy", 200), ("bob", 403), ("bob", 403)] {
        assert_eq!(world.get(user, PODS).await.0, code);
    }
    assert_eq!(world.asked(), 4);
}

#[tokio::test]
async fn failures_are_no_opinion_or_a_no_and_are_told() {
    for (policy, open) in [("NoOpinion", true), ("Deny", false)] {
        let world = World::new(json!({ "failurePolicy": policy })).await;
        let (code, message) = world.get("joe", PODS).await;
        let wanted =
            format!("Internal Server Error: \"{PODS}\": the server answered with the status code 403 Forbidden\n");
        assert_eq!((code, message), (500, wanted));
        assert_eq!(world.get("joe", "/version").await.0, 200);
        let review = json!({ "spec": { "user": "joe", "resourceAttributes": { "verb": "get", "resource": "pods" } } });
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let (_, answer) = call(&world.server, admin(), "POST", path, &review.to_string()).await;
        let mut status =
            json!({ "allowed": false, "evaluationError": "the server answered with the status code 403 Forbidden" });
        if !open {
            status["denied"] = true.into();
        }
        assert_eq!(answer["status"], status);
        world
            .counts("apiserver_authorization_webhook_evaluations_total{name=\"w.example.com\",result=\"error\"} 2")
            .await;
        let failed =
            "apiserver_authorization_webhook_evaluations_fail_open_total{name=\"w.example.com\",result=\"error\"} 2";
        assert_eq!(world.metrics().await.contains(failed), open);
        let (code, message) = world.get("ann", PODS).await;
        assert_eq!(code, 500);
        assert!(message.contains("webhook subject access review returned both allow and deny response"), "{message}");
    }
}

#[tokio::test]
async fn a_webhook_that_answers_something_else_or_too_late_has_failed() {
    let pki = Pki::new();
    let hook = Hook::new(&pki, |question| {
        if question["spec"]["user"] == "slow" {
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        Response::new(Bytes::from(
            json!({ "kind": "Status", "apiVersion": "v1", "status": { "allowed": true } }).to_string(),
        ))
    })
    .await;
    pki.write("authz.yaml", &configuration(&pki, &hook.url(), json!({ "timeout": "20s" })).to_string());
    let (server, _server_pki) =
        server_with(|config| config.authorization_config = Some(pki.path().join("authz.yaml"))).await;
    let (code, answer) = call(&server, UserInfo::new("u", [""; 0]), "GET", PODS, "").await;
    let reason =
        "the server's answer cannot be used: it is no SubjectAccessReview, but kind \"Status\" of version \"v1\"";
    assert_eq!((code, answer.as_str().unwrap()), (500, &*format!("Internal Server Error: \"{PODS}\": {reason}\n")));
    // Nobody listens any more.
    let url = hook.url();
    drop(hook);
    let settings = configuration(&pki, &url, json!({ "timeout": "1ms", "failurePolicy": "Deny" })).to_string();
    assert!(server.authorizer.reload(settings.as_bytes()).unwrap());
    let (code, answer) = call(&server, UserInfo::new("u", [""; 0]), "GET", PODS, "").await;
    assert_eq!(code, 500, "{answer}");
}

#[tokio::test]
async fn match_conditions_keep_questions_from_the_webhook() {
    let conditions = json!({
        "matchConditionSubjectAccessReviewVersion": "v1",
        "matchConditions": [
            { "expression": "has(request.resourceAttributes)" },
            { "expression": "request.resourceAttributes.namespace == 'default'" },
            { "expression": "request.user != 'joe' || request.groups[5] == 'x'" },
        ],
    });
    let world = World::new(conditions).await;
    assert_eq!(world.get("amy", PODS).await.0, 200);
    assert_eq!(world.get("amy", "/api/v1/namespaces/other/pods").await.0, 403);
    assert_eq!(world.get("amy", "/logs").await.0, 403);
    assert_eq!(world.asked(), 1);
    let (code, message) = world.get("joe", PODS).await;
    let reason = "cel evaluation error: expression 'request.user != 'joe' || request.groups[5] == 'x'' resulted in error: index out of bounds: 5";
    assert_eq!((code, message), (500, format!("Internal Server Error: \"{PODS}\": {reason}\n")));
    let labels = "{name=\"w.example.com\",type=\"Webhook\"}";
    world.counts(&format!("apiserver_authorization_match_condition_exclusions_total{labels} 2")).await;
    world.counts(&format!("apiserver_authorization_match_condition_evaluation_errors_total{labels} 1")).await;
    world.counts(&format!("apiserver_authorization_match_condition_evaluation_seconds_count{labels} 4")).await;
}

#[tokio::test]
async fn flags_configure_one_webhook_that_is_asked_in_the_old_version() {
    let world = World::with(json!({}), |pki, hook, config| {
        config.authorization_config = None;
        config.authorization_mode = vec!["RBAC".to_owned(), "Webhook".to_owned()];
        config.authorization_webhook.config_file = Some(kubeconfig(pki, "flags.conf", &hook.url()));
    })
    .await;
    assert_eq!(world.get("amy", PODS).await.0, 200);
    let asked = world.hook.asked.lock()[0].clone();
    assert_eq!(asked["apiVersion"], "authorization.k8s.io/v1beta1");
    assert_eq!(asked["spec"]["group"], json!(["system:authenticated"]));
    assert_eq!(asked["spec"]["groups"], Value::Null);
    let (_, rules) = call(
        &world.server,
        admin(),
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
        &json!({ "spec": { "namespace": "default" } }).to_string(),
    )
    .await;
    assert_eq!(rules["status"]["incomplete"], true);
    assert_eq!(rules["status"]["evaluationError"], "webhook authorizer does not support user rule resolution");
}

#[tokio::test]
async fn a_changed_file_is_taken_over_and_a_wrong_one_is_not() {
    let world = World::new(json!({})).await;
    assert_eq!(world.get("dan", PODS).await.0, 403);
    let reload = |settings: &Value| world.server.authorizer.reload(settings.to_string().as_bytes());
    let same = configuration(&world.pki, &world.hook.url(), json!({}));
    assert!(!reload(&same).unwrap(), "nothing is different");
    let mut open = same.clone();
    open["authorizers"][2] = json!({ "type": "AlwaysAllow", "name": "alwaysallow" });
    assert!(reload(&open).unwrap());
    assert_eq!(world.get("dan", PODS).await.0, 200);
    for (authorizers, wanted) in [
        (json!([{ "type": "RBAC", "name": "rbac" }]), "missing required types: [Node]"),
        (json!([]), "authorizers: Required value: at least one authorization mode must be defined"),
        (
            json!([{ "type": "RBAC", "name": "rbac" }, { "type": "Node", "name": "node" }, { "type": "ABAC", "name": "abac" }]),
            "authorizer type ABAC is not allowed if it was not enabled at initial server startup",
        ),
    ] {
        let mut wrong = same.clone();
        wrong["authorizers"] = authorizers;
        assert_eq!(reload(&wrong).unwrap_err().to_string(), wanted);
        assert_eq!(world.get("dan", PODS).await.0, 200, "the last good one stays");
    }
    let metrics = world.metrics().await;
    assert!(metrics.contains("apiserver_authorization_config_controller_last_config_info{apiserver_id_hash=\"sha256:"));
}

#[tokio::test]
async fn the_file_is_followed() {
    let world = World::new(json!({})).await;
    // The time until the next look passes at once.
    tokio::time::pause();
    let mut open = configuration(&world.pki, &world.hook.url(), json!({}));
    open["authorizers"][2] = json!({ "type": "AlwaysAllow", "name": "alwaysallow" });
    world.pki.write("authz.yaml", &open.to_string());
    let dan = UserInfo::new("dan", ["system:authenticated"]);
    let attributes = Attributes::resource(&dan, "get", "", "pods");
    let begun = std::time::Instant::now();
    while world.server.authorizer.at_once(&attributes).is_none() {
        assert!(begun.elapsed().as_secs() < 60, "the change was never seen");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let counted = "apiserver_authorization_config_controller_automatic_reloads_total{apiserver_id_hash=\"sha256:";
    assert!(
        world.metrics().await.lines().any(|line| line.starts_with(counted) && line.ends_with("status=\"success\"} 1"))
    );
}

#[tokio::test]
async fn expressions_wait_for_webhooks_and_ask_nothing_more_than_they_need() {
    let world = World::new(json!({ "cacheAuthorizedRequests": false, "cacheUnauthorizedRequests": false })).await;
    let asks = |user: &str, verb: &str| {
        let asked = world.hook.asked.lock();
        let of = |question: &&Value| {
            question["spec"]["user"] == user && question["spec"]["resourceAttributes"]["verb"] == verb
        };
        asked.iter().filter(of).count()
    };
    // `amy` may do everything: of the second part of each alternative nobody asks.
    let checks = "authorizer.group('').resource('pods').check('frob').allowed() ? authorizer.group('').resource('pods').check('twist').reason() == 'amy may' : authorizer.group('').resource('pods').check('other').allowed()";
    let policy = json!({
        "metadata": { "name": "p" },
        "spec": {
            "matchConstraints": { "resourceRules": [{ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"] }] },
            "matchConditions": [{ "name": "c", "expression": "authorizer.group('').resource('pods').check('frob').allowed()" }],
            "validations": [{ "expression": checks }],
        },
    });
    let binding = json!({ "metadata": { "name": "b" }, "spec": { "policyName": "p", "validationActions": ["Deny"] } });
    let group = "/apis/admissionregistration.k8s.io/v1";
    for (kind, object) in [("validatingadmissionpolicies", policy), ("validatingadmissionpolicybindings", binding)] {
        let (code, answer) =
            call(&world.server, admin(), "POST", &format!("{group}/{kind}"), &object.to_string()).await;
        assert_eq!(code, 201, "{answer}");
    }
    let configmap = json!({ "metadata": { "name": "x" } }).to_string();
    let amy = UserInfo::new("amy", ["system:authenticated"]);
    let (code, answer) = call(&world.server, amy, "POST", CONFIGMAPS, &configmap).await;
    assert_eq!(code, 201, "{answer}");
    assert_eq!([asks("amy", "frob"), asks("amy", "twist"), asks("amy", "other")], [1, 1, 0]);
}

#[tokio::test]
async fn impersonation_and_escalation_are_asked_of_webhooks_too() {
    let world = World::new(json!({})).await;
    let role = json!({ "metadata": { "name": "r" }, "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }] });
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    let amy = UserInfo::new("amy", ["system:authenticated"]);
    let (code, answer) = call(&world.server, amy, "POST", path, &role.to_string()).await;
    assert_eq!(code, 201, "{answer}");
    let asked = world.hook.asked.lock().clone();
    assert!(asked.iter().any(|question| question["spec"]["resourceAttributes"]["verb"] == "escalate"));
    let request =
        http::Request::builder().uri(PODS).header("impersonate-user", "bob").body(crate::body::empty()).unwrap();
    let user = Arc::new(UserInfo::new("amy", ["system:authenticated"]));
    let caller = crate::chain::Caller::Known(user);
    let response = crate::chain::handle(world.server.clone(), caller, request).await;
    assert_eq!(response.status(), 403, "amy may act as bob, but bob may not list pods");
    let asked = world.hook.asked.lock().clone();
    let of = |user: &str, verb: &str| {
        asked
            .iter()
            .any(|question| question["spec"]["user"] == user && question["spec"]["resourceAttributes"]["verb"] == verb)
    };
    assert!(of("amy", "impersonate") && of("bob", "list"));
}
