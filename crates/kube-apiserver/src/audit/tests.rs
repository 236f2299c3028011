use std::path::Path;

use serde_json::{Value, json};

use crate::UserInfo;
use crate::testing::{admin, call, server_with};

const POLICY: &str = r#"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [quiet]
- level: Metadata
  resources: [{group: "", resources: [secrets, serviceaccounts/token]}]
- level: RequestResponse
  omitManagedFields: true
  verbs: [create, delete]
  resources: [{group: "", resources: [configmaps], resourceNames: []}]
- level: Metadata
  omitStages: [ResponseStarted]
  nonResourceURLs: ["/healthz*"]
- level: Request
  namespaces: [default]
"#;

/// The events in a log, without those of the server's own doing.
fn events(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["user"]["username"] != "system:apiserver").collect()
}

#[tokio::test]
async fn each_request_is_recorded_at_its_rules_level() {
    let folder = tempfile::tempdir().unwrap();
    let (policy, log) = (folder.path().join("policy.yaml"), folder.path().join("audit.log"));
    std::fs::write(&policy, POLICY).unwrap();
    let (server, _pki) = server_with(|config| {
        config.audit_policy_file = Some(policy);
        config.audit_log_path = Some(log.clone());
    })
    .await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({ "metadata": { "name": "a" }, "data": { "k": "v" } }).to_string();
    assert_eq!(call(&server, admin(), "POST", maps, &map).await.0, 201);
    let secret = json!({ "metadata": { "name": "s" }, "stringData": { "password": "hunter2" } }).to_string();
    assert_eq!(call(&server, admin(), "POST", "/api/v1/namespaces/default/secrets", &secret).await.0, 201);
    assert_eq!(call(&server, UserInfo::new("nobody", [""; 0]), "GET", &format!("{maps}/a"), "").await.0, 403);
    assert_eq!(call(&server, UserInfo::new("quiet", [""; 0]), "GET", &format!("{maps}/a"), "").await.0, 403);
    assert_eq!(call(&server, admin(), "GET", "/api/v1/namespaces", "").await.0, 200);
    assert_eq!(call(&server, admin(), "GET", "/healthz/ping", "").await.0, 200);
    assert_eq!(call(&server, admin(), "DELETE", &format!("{maps}/a"), "").await.0, 200);

    let events = events(&log);
    let brief: Vec<_> =
        events.iter().map(|e| [&e["verb"], &e["level"], &e["stage"]].map(|v| v.as_str().unwrap())).collect();
    assert_eq!(
        brief,
        [
            ["create", "RequestResponse", "ResponseComplete"],
            ["create", "Metadata", "ResponseComplete"],
            ["get", "Request", "ResponseComplete"],
            ["get", "Metadata", "ResponseComplete"],
            ["delete", "RequestResponse", "ResponseComplete"],
        ]
    );
    let [created, secret, refused, health, deleted] = &events[..] else { unreachable!() };
    assert_eq!(created["requestObject"]["data"], json!({ "k": "v" }));
    assert_eq!(created["responseObject"]["metadata"]["namespace"], "default");
    assert_eq!(
        created["objectRef"],
        json!({ "resource": "configmaps", "namespace": "default", "apiVersion": "v1", "name": "a" })
    );
    assert_eq!(created["responseStatus"], json!({ "metadata": {}, "code": 201 }));
    assert_eq!(created["annotations"]["authorization.k8s.io/decision"], "allow");
    assert_eq!(created["user"], json!({ "username": "admin", "groups": ["system:masters", "system:authenticated"] }));
    assert!(!secret.to_string().contains("hunter2") && secret.get("requestObject").is_none());
    assert_eq!(secret["objectRef"]["name"], "s");
    assert_eq!(refused["responseStatus"]["reason"], "Forbidden");
    assert_eq!(refused["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(health["requestURI"], "/healthz/ping");
    assert_eq!(deleted["responseStatus"]["status"], "Success");
}

#[tokio::test]
async fn tokens_are_never_written() {
    let folder = tempfile::tempdir().unwrap();
    let (policy, log) = (folder.path().join("policy.yaml"), folder.path().join("audit.log"));
    std::fs::write(&policy, "{apiVersion: audit.k8s.io/v1, kind: Policy, rules: [{level: RequestResponse}]}").unwrap();
    let (server, _pki) = server_with(|config| {
        config.audit_policy_file = Some(policy);
        config.audit_log_path = Some(log.clone());
    })
    .await;
    let accounts = "/api/v1/namespaces/default/serviceaccounts";
    call(&server, admin(), "POST", accounts, r#"{"metadata":{"name":"a"}}"#).await;
    let (code, answer) = call(&server, admin(), "POST", &format!("{accounts}/a/token"), r#"{"spec":{}}"#).await;
    assert_eq!(code, 201);
    let token = answer["status"]["token"].as_str().unwrap();
    let review = json!({ "spec": { "token": token } }).to_string();
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = review.replacen('{', "{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/v1\",", 1);
    assert_eq!(call(&server, admin(), "POST", path, &review).await.0, 201);
    let events = events(&log);
    let last = events.last().unwrap();
    assert_eq!(
        (&last["objectRef"]["resource"], &last["requestObject"]["spec"]["token"]),
        (&json!("tokenreviews"), &json!("REDACTED"))
    );
    assert!(!std::fs::read_to_string(&log).unwrap().contains(token));
}

#[test]
fn bad_policies_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.yaml");
    let fault = |rules: &str| {
        std::fs::write(&path, format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}\n")).unwrap();
        super::policy::Policy::load(&path).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(fault("[{level: Metadata}]"), Ok(()));
    for (rules, text) in [
        ("[]", "0 rules"),
        ("[{level: All}]", "unknown variant"),
        ("[{level: None, user: [x]}]", "unknown field"),
        ("[{level: None, nonResourceURLs: [healthz]}]", "must begin with a '/'"),
        ("[{level: None, nonResourceURLs: [\"/a*b\"]}]", "must be the final character"),
        ("[{level: None, nonResourceURLs: [/x], namespaces: [ns]}]", "both regular resources and non-resource URLs"),
        ("[{level: None, resources: [{group: apps/v1}]}]", "must not include a version"),
        ("[{level: None, resources: [{resourceNames: [x]}]}]", "requires at least one resource"),
    ] {
        let fault = fault(rules).unwrap_err();
        assert!(fault.contains(text), "{fault}");
    }
}
