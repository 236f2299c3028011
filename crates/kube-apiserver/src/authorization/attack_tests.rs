//! Attempts to get rights that one was not given, carried through the whole server up to the guard.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tower::Service as _;

use crate::testing::{Pki, admin, call, server};
use crate::{Server, UserInfo};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
const NAMESPACE: &str = "/api/v1/namespaces/default";

struct Cluster {
    server: Arc<Server>,
    _pki: Pki,
}

impl Cluster {
    /// `mallory` has these rules in the namespace `default`, and these in the whole cluster.
    async fn new(rules: Value, cluster_rules: Value) -> Self {
        let (server, _pki) = server().await;
        let cluster = Self { server, _pki };
        let subjects = json!([{ "kind": "User", "name": "mallory", "apiGroup": "rbac.authorization.k8s.io" }]);
        let reference = |kind: &str| json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": "m" });
        let own = format!("{RBAC}/namespaces/default");
        let objects = [
            (format!("{own}/roles"), json!({ "metadata": { "name": "m" }, "rules": rules })),
            (
                format!("{own}/rolebindings"),
                json!({ "metadata": { "name": "m" }, "subjects": subjects, "roleRef": reference("Role") }),
            ),
            (format!("{RBAC}/clusterroles"), json!({ "metadata": { "name": "m" }, "rules": cluster_rules })),
            (
                format!("{RBAC}/clusterrolebindings"),
                json!({ "metadata": { "name": "m" }, "subjects": subjects, "roleRef": reference("ClusterRole") }),
            ),
        ];
        for (path, object) in objects {
            assert_eq!(call(&cluster.server, admin(), "POST", &path, &object.to_string()).await.0, 201);
        }
        cluster
    }

    async fn make(&self, path: &str, object: Value) {
        let (code, answer) = call(&self.server, admin(), "POST", path, &object.to_string()).await;
        assert_eq!(code, 201, "{answer}");
    }

    /// What mallory gets.
    async fn try_to(&self, method: &str, path: &str, body: Value) -> (u16, String) {
        self.try_with(method, path, body, &[]).await
    }

    async fn try_with(&self, method: &str, path: &str, body: Value, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = http::Request::builder().method(method).uri(path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let request = request.body(Full::new(Bytes::from(text))).unwrap();
        let response = self.server.in_process(UserInfo::new("mallory", [""; 0])).call(request).await.unwrap();
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        (code, answer["message"].as_str().unwrap_or_default().to_owned())
    }
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}

#[tokio::test]
async fn who_may_write_roles_grants_no_more_than_they_have() {
    let group = "rbac.authorization.k8s.io";
    let all = ["roles", "rolebindings", "clusterroles", "clusterrolebindings"];
    let rights = json!([rule(group, &all, &["create", "get", "update", "patch"]), rule("", &["pods"], &["get"])]);
    let cluster = Cluster::new(json!([]), rights).await;
    let roles = format!("{RBAC}/namespaces/default/roles");
    let role = |rule: Value| json!({ "metadata": { "name": "r" }, "rules": [rule] });
    for grabbed in [
        rule("", &["pods"], &["*"]),
        rule("", &["*"], &["get"]),
        rule("*", &["pods"], &["get"]),
        rule("", &["pods/*"], &["get"]),
        rule("", &["secrets"], &["get"]),
        rule(group, &["roles"], &["escalate"]),
    ] {
        let (code, message) = cluster.try_to("POST", &roles, role(grabbed.clone())).await;
        assert!(
            code == 403 && message.contains("attempting to grant RBAC permissions not currently held"),
            "{grabbed}: {message}"
        );
    }
    assert_eq!(cluster.try_to("POST", &roles, role(rule("", &["pods"], &["get"]))).await.0, 201);
    let paths =
        json!({ "metadata": { "name": "p" }, "rules": [{ "nonResourceURLs": ["/metrics"], "verbs": ["get"] }] });
    assert_eq!(cluster.try_to("POST", &format!("{RBAC}/clusterroles"), paths).await.0, 403);
    // An aggregate can gather anything.
    let aggregate = json!({ "metadata": { "name": "a" }, "rules": [],
        "aggregationRule": { "clusterRoleSelectors": [{ "matchLabels": { "x": "y" } }] } });
    let (code, message) = cluster.try_to("POST", &format!("{RBAC}/clusterroles"), aggregate).await;
    assert!(
        code == 403 && message.contains("must have cluster-admin privileges to use the aggregationRule"),
        "{message}"
    );
    // Nor is a role that is there already bound without its rights, in a namespace or everywhere.
    let binding = json!({ "metadata": { "name": "b" }, "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": "cluster-admin" },
        "subjects": [{ "kind": "User", "name": "mallory", "apiGroup": group }] });
    for path in [format!("{RBAC}/namespaces/default/rolebindings"), format!("{RBAC}/clusterrolebindings")] {
        assert_eq!(cluster.try_to("POST", &path, binding.clone()).await.0, 403, "{path}");
    }
    // Not even onto a binding that somebody else made.
    cluster
        .make(
            &format!("{RBAC}/clusterrolebindings"),
            json!({ "metadata": { "name": "theirs" }, "roleRef": binding["roleRef"] }),
        )
        .await;
    let mut theirs = binding.clone();
    theirs["metadata"]["name"] = "theirs".into();
    assert_eq!(cluster.try_to("PUT", &format!("{RBAC}/clusterrolebindings/theirs"), theirs).await.0, 403);
}

#[tokio::test]
async fn rules_reach_as_far_as_they_say() {
    let mut named = rule("", &["configmaps"], &["list", "watch", "get"]);
    named["resourceNames"] = json!(["a"]);
    let rules = json!([
        named,
        rule("*", &["*/scale"], &["update", "get"]),
        rule("", &["secrets"], &["deletecollection"]),
        rule("", &["endpoints"], &["delete"])
    ]);
    let cluster = Cluster::new(rules, json!([])).await;
    let get = async |path: &str| cluster.try_to("GET", path, Value::Null).await.0;
    // Names in a rule: a list or watch of more than that name is refused, by whatever selector it is asked for.
    assert_eq!(get(&format!("{NAMESPACE}/configmaps?fieldSelector=metadata.name%3Da")).await, 200);
    for query in [
        "",
        "?fieldSelector=metadata.name%3Db",
        "?fieldSelector=metadata.name%21%3Db",
        "?labelSelector=a",
        "?watch=true",
    ] {
        assert_eq!(get(&format!("{NAMESPACE}/configmaps{query}")).await, 403, "{query}");
    }
    assert_eq!(get("/api/v1/configmaps?fieldSelector=metadata.name%3Da").await, 403, "of all namespaces");
    // A subresource is not the resource, and a verb not its sibling.
    let scale = "/apis/apps/v1/namespaces/default/deployments/d";
    assert_eq!(
        (get(&format!("{scale}/scale")).await, get(scale).await, get(&format!("{scale}/status")).await),
        (404, 403, 403)
    );
    for (method, path, code) in [
        ("DELETE", format!("{NAMESPACE}/secrets"), 200),
        ("DELETE", format!("{NAMESPACE}/secrets/s"), 403),
        ("DELETE", format!("{NAMESPACE}/endpoints"), 403),
        ("DELETE", format!("{NAMESPACE}/endpoints/e"), 404),
    ] {
        assert_eq!(cluster.try_to(method, &path, Value::Null).await.0, code, "{method} {path}");
    }
}

#[tokio::test]
async fn impersonation_is_judged_header_by_header() {
    let mut jane = rule("", &["users"], &["impersonate"]);
    jane["resourceNames"] = json!(["jane"]);
    let cluster = Cluster::new(json!([]), json!([jane])).await;
    let ask = async |headers: &[(&str, &str)]| {
        cluster.try_with("GET", &format!("{NAMESPACE}/pods"), Value::Null, headers).await
    };
    let as_jane =
        "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"";
    assert_eq!(ask(&[("Impersonate-User", "jane")]).await, (403, as_jane.to_owned()));
    // Said twice, in whatever letters: the one that was judged is the one that counts.
    assert_eq!(ask(&[("Impersonate-User", "jane"), ("IMPERSONATE-USER", "root")]).await.1, as_jane);
    let refused = "User \"mallory\" cannot impersonate resource";
    for headers in [
        [("Impersonate-User", "root"), ("Impersonate-User", "jane")],
        [("Impersonate-User", "jane"), ("iMPERSONATE-gROUP", "system:masters")],
        [("Impersonate-User", "jane"), ("Impersonate-Uid", "0")],
        [("Impersonate-User", "jane"), ("Impersonate-Extra-Scopes", "all")],
    ] {
        let (code, message) = ask(&headers).await;
        assert!(code == 403 && message.contains(refused), "{headers:?}: {message}");
    }
    let smuggled = [("Impersonate-User", "jane"), ("Impersonate-Group", "g"), ("impersonate-group", "system:masters")];
    assert!(ask(&smuggled).await.1.contains(refused));
}

#[tokio::test]
async fn an_upgrade_through_a_node_needs_the_right_to_create() {
    let cluster = Cluster::new(json!([]), json!([rule("", &["nodes/proxy"], &["get"])])).await;
    let path = "/api/v1/nodes/n/proxy/exec/default/p/c?command=sh";
    // The guard comes before the node is looked for; a plain GET goes past it.
    for protocol in ["websocket", "SPDY/3.1", "WebSocket"] {
        assert_eq!(
            cluster.try_with("GET", path, Value::Null, &[("connection", "Upgrade"), ("upgrade", protocol)]).await,
            (403, "nodes \"n\" is forbidden: User \"mallory\" cannot create resource \"nodes/proxy\" in API group \"\" at the cluster scope".to_owned()),
            "{protocol}"
        );
    }
    assert_eq!(cluster.try_to("GET", path, Value::Null).await, (404, "nodes \"n\" not found".to_owned()));
}
