use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::*;
use crate::authorization::tests::{authorizer, now};
use crate::testing::{self, admin};

async fn send(
    server: &Arc<Server>,
    user: UserInfo,
    path: &str,
    headers: &[(&str, &str)],
) -> (http::response::Parts, Value) {
    let mut request = http::Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body::empty()).unwrap();
    let response = handle(server.clone(), Caller::Known(Arc::new(user)), request).await;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let value = serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into());
    (parts, value)
}

async fn message(server: &Arc<Server>, user: UserInfo, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
    let (parts, value) = send(server, user, path, headers).await;
    (parts.status.as_u16(), value["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn the_way_from_refusal_to_answer() {
    let (server, _pki) = testing::server().await;
    let nobody = || UserInfo::new("nobody-x", ["system:authenticated"]);
    assert_eq!(
        message(&server, nobody(), "/api/v1/namespaces/default/pods", &[]).await,
        (403, "pods is forbidden: User \"nobody-x\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"".to_owned())
    );
    let (parts, value) = send(&server, admin(), "/api/v1/namespaces/default", &[("audit-id", "my-id")]).await;
    assert_eq!((parts.status, &value["metadata"]["name"]), (StatusCode::OK, &json!("default")));
    assert_eq!(parts.headers["audit-id"], "my-id");
    assert_eq!(parts.headers[header::CACHE_CONTROL], "no-cache, private");
    let (parts, value) = send(&server, UserInfo::anonymous(), "/version", &[]).await;
    assert_eq!((parts.status, &value["minor"]), (StatusCode::OK, &json!("36")));
    assert_eq!(send(&server, UserInfo::anonymous(), "/readyz", &[]).await.1, json!("ok"));
    assert_eq!(send(&server, nobody(), "/metrics", &[]).await.0.status, StatusCode::FORBIDDEN);
    let (_, text) = send(&server, admin(), "/metrics", &[]).await;
    let text = text.as_str().unwrap();
    assert!(
        text.contains("# TYPE apiserver_request_total counter")
            && text.contains(
                "apiserver_request_total{dry_run=\"\",verb=\"LIST\",group=\"\",version=\"v1\",resource=\"pods\""
            ),
        "{text}"
    );
    assert!(text.contains("apiserver_storage_objects{resource=\"namespaces\"} 4"), "{text}");
    for name in
        ["process_cpu_seconds_total ", "process_start_time_seconds ", "process_open_fds ", "kubernetes_build_info{"]
    {
        assert!(text.contains(&format!("\n{name}")), "{name}: {text}");
    }
    upstream_has_these_metrics(text);
    assert_eq!(send(&server, admin(), "/nope", &[]).await.1, json!("404 page not found\n"));
    let (parts, _) = send(&server, admin(), "/openid/v1/jwks", &[]).await;
    assert_eq!(parts.headers[header::CONTENT_TYPE], "application/jwk-set+json");
    assert_eq!(message(&server, admin(), "/api/v1/watch", &[]).await.0, 500);
    assert_eq!(message(&server, admin(), "/api/v1/pods?timeout=x", &[]).await.0, 400);
}

/// Every name and type is one of upstream's, as far as those are at hand, or says that it is ours alone.
fn upstream_has_these_metrics(text: &str) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/oracle/documents/apiserver-metrics.txt");
    let Ok(recorded) = std::fs::read_to_string(path) else {
        return println!("skipped: no recorded metrics");
    };
    let known: std::collections::HashSet<&str> =
        recorded.lines().filter_map(|line| line.trim_start_matches("# ").strip_prefix("TYPE ")).collect();
    let lazily = |line: &&str| ["rejected", "pod_security_errors"].iter().any(|part| line.contains(part));
    let told = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter(|line| !lazily(line));
    let unknown: Vec<_> = told.filter(|line| !known.contains(line) && !line.starts_with("canopus_")).collect();
    assert_eq!(unknown, Vec::<&str>::new(), "of {} known", known.len());
}

#[tokio::test]
async fn acting_as_others_needs_the_right_to() {
    let (server, _pki) = testing::server().await;
    let path = "/api/v1/namespaces/default";
    assert_eq!(
        message(&server, admin(), path, &[("impersonate-group", "g")]).await,
        (400, "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string{\"g\"}, Extra:map[string][]string(nil)} without impersonating a user name".to_owned())
    );
    assert_eq!(
        message(&server, admin(), path, &[("impersonate-extra-x", "u")]).await.1,
        "requested &user.DefaultInfo{Name:\"\", UID:\"\", Groups:[]string(nil), Extra:map[string][]string{\"x\":[]string{\"u\"}}} without impersonating a user name"
    );
    assert_eq!(message(&server, admin(), path, &[("impersonate-user", "")]).await.0, 200);
    assert_eq!(
        message(&server, admin(), path, &[("impersonate-user", "system:anonymous"), ("impersonate-group", "x")])
            .await
            .1,
        "namespaces \"default\" is forbidden: User \"system:anonymous\" cannot get resource \"namespaces\" in API group \"\" in the namespace \"default\""
    );
    let nobody = || UserInfo::new("nobody-x", ["system:authenticated"]);
    assert_eq!(
        message(&server, nobody(), path, &[("impersonate-user", "admin")]).await.1,
        "users \"admin\" is forbidden: User \"nobody-x\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope"
    );
    assert_eq!(
        message(&server, nobody(), path, &[("impersonate-user", "system:serviceaccount:ns:sa")]).await.1,
        "serviceaccounts \"sa\" is forbidden: User \"nobody-x\" cannot impersonate resource \"serviceaccounts\" in API group \"\" in the namespace \"ns\""
    );
}

#[test]
fn impersonated_users_get_the_groups_they_would_have() {
    let wanted = |headers: &[(&'static str, &'static str)]| {
        let mut map = http::HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let wanted = impersonation::requested(&mut map).unwrap().unwrap();
        assert!(map.is_empty());
        now(wanted.authorize(&authorizer(Nothing).0, &admin())).unwrap()
    };
    let account = wanted(&[("impersonate-user", "system:serviceaccount:ns:sa")]);
    assert_eq!(account.groups, ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]);
    let jane = wanted(&[
        ("impersonate-user", "jane"),
        ("impersonate-uid", "u-1"),
        ("impersonate-group", "g1"),
        ("impersonate-group", "g2"),
        ("impersonate-extra-example.com%2fkey", "v"),
        ("impersonate-extra-scopes", "a"),
    ]);
    assert_eq!(jane.groups, ["g1", "g2", "system:authenticated"]);
    assert_eq!((jane.uid.as_deref(), &jane.extra["example.com/key"]), (Some("u-1"), &vec!["v".to_owned()]));
    let anonymous = wanted(&[("impersonate-user", "system:anonymous"), ("impersonate-group", "x")]);
    assert_eq!(anonymous.groups, ["x", "system:unauthenticated"]);
}

struct Nothing;

impl crate::authorization::PolicySource for Nothing {
    fn revision(&self) -> [u64; 4] {
        [0; 4]
    }

    fn load(&self) -> crate::authorization::Policy {
        crate::authorization::Policy::default()
    }
}

#[tokio::test]
async fn too_many_at_once_are_turned_away_but_not_masters() {
    let (server, _pki) = testing::server_with(|config| {
        config.enable_priority_and_fairness = false;
        config.max_requests_inflight = 0;
    })
    .await;
    let reader = UserInfo::new("bob", ["system:authenticated"]);
    let (parts, value) = send(&server, reader.clone(), "/api", &[]).await;
    assert_eq!((parts.status.as_u16(), value), (429, json!("Too many requests, please try again later.\n")));
    assert_eq!(parts.headers[header::RETRY_AFTER], "1");
    assert_eq!(send(&server, admin(), "/api", &[]).await.0.status, StatusCode::OK);
    assert_eq!(send(&server, reader, "/healthz", &[]).await.0.status, StatusCode::OK);
}

#[test]
fn a_panic_is_an_answer() {
    let panic: Box<dyn std::any::Any + Send> = Box::new("out of cheese");
    let response = answer_to_panic("id", &*panic);
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

#[test]
fn warnings_are_one_quoted_line() {
    assert_eq!(warning_header("a \"b\"\nc").unwrap(), "299 - \"a \\\"b\\\" c\"");
}
