use std::sync::Arc;

use futures::FutureExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::UserInfo;
use crate::user::{AUTHENTICATED_GROUP, MASTERS_GROUP, NODES_GROUP, UNAUTHENTICATED_GROUP};

/// A policy that tests write.
#[derive(Clone, Default)]
pub(crate) struct Fixed(Arc<Mutex<(u64, Policy)>>);

impl Fixed {
    pub(crate) fn default_policy() -> Self {
        let fixed = Self::default();
        for object in [bootstrap::cluster_roles(), bootstrap::cluster_role_bindings(), bootstrap::roles()].concat() {
            fixed.add(object);
        }
        bootstrap::role_bindings().into_iter().for_each(|object| fixed.add(object));
        fixed
    }

    pub(crate) fn add(&self, object: Value) {
        let (revision, policy) = &mut *self.0.lock();
        *revision += 1;
        let kind = object["kind"].as_str().unwrap().to_owned();
        match kind.as_str() {
            "ClusterRole" => policy.cluster_roles.push(serde_json::from_value(object).unwrap()),
            "ClusterRoleBinding" => policy.cluster_role_bindings.push(serde_json::from_value(object).unwrap()),
            "Role" => policy.roles.push(serde_json::from_value(object).unwrap()),
            _ => policy.role_bindings.push(serde_json::from_value(object).unwrap()),
        }
    }

    fn clear_bindings(&self) {
        let (revision, policy) = &mut *self.0.lock();
        *revision += 1;
        policy.role_bindings.clear();
        policy.cluster_role_bindings.clear();
    }
}

impl PolicySource for Fixed {
    fn revision(&self) -> [u64; 4] {
        [self.0.lock().0, 0, 0, 0]
    }

    fn load(&self) -> Policy {
        self.0.lock().1.clone()
    }
}

/// Node and RBAC over a policy, with nodes to which nothing is related.
pub(crate) fn authorizer(policy: impl PolicySource + 'static) -> Prompt {
    let config = crate::Config::new("", None);
    Prompt(Authorizer::open(&config, policy, Arc::new(Unrelated), metrics::AuthorizationMetrics::default()).unwrap())
}

/// Asks authorizers that answer without waiting.
pub(crate) struct Prompt(pub Authorizer);

impl Prompt {
    fn authorize(&self, attributes: &Attributes) -> (Decision, String) {
        let answer = now(self.0.authorize(attributes));
        assert_eq!(answer.error, None);
        (answer.decision, answer.reason)
    }

    fn allows(&self, attributes: &Attributes) -> bool {
        now(self.0.allows(attributes))
    }

    fn check(&self, attributes: &Attributes) -> Result<(), machinery::status::Status> {
        now(self.0.check(attributes))
    }
}

/// What is there at once.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().unwrap()
}

struct Unrelated;

impl node_relations::NodeRelations for Unrelated {
    fn related(&self, _: &str, _: node_relations::Related, _: &str, _: &str) -> bool {
        false
    }
}

fn role(namespace: Option<&str>, name: &str, rules: Value) -> Value {
    let kind = if namespace.is_some() { "Role" } else { "ClusterRole" };
    json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}, "rules": rules})
}

fn bind(namespace: Option<&str>, name: &str, role: (&str, &str), subjects: Value) -> Value {
    let kind = if namespace.is_some() { "RoleBinding" } else { "ClusterRoleBinding" };
    json!({"kind": kind, "metadata": {"name": name, "namespace": namespace}, "subjects": subjects,
        "roleRef": {"apiGroup": GROUP, "kind": role.0, "name": role.1}})
}

fn user(name: &str) -> UserInfo {
    UserInfo::new(name, [AUTHENTICATED_GROUP])
}

fn ask<'a>(user: &'a UserInfo, verb: &'a str, group: &'a str, resource: &'a str, namespace: &'a str) -> Attributes<'a> {
    Attributes { namespace, ..Attributes::resource(user, verb, group, resource) }
}

fn path<'a>(user: &'a UserInfo, verb: &'a str, path: &'a str) -> Attributes<'a> {
    Attributes { path, resource_request: false, api_version: "", ..Attributes::resource(user, verb, "", "") }
}

#[test]
fn masters_may_do_everything_and_others_nothing_by_default() {
    let authorizer = authorizer(Fixed::default_policy());
    let admin = UserInfo::new("root", [MASTERS_GROUP]);
    assert_eq!(authorizer.authorize(&ask(&admin, "x", "y", "z", "")), (Decision::Allow, String::new()));
    let bob = user("bob");
    assert_eq!(authorizer.authorize(&ask(&bob, "get", "", "pods", "ns")), (Decision::NoOpinion, String::new()));
    assert!(authorizer.allows(&path(&bob, "get", "/api/v1")));
    assert!(authorizer.allows(&ask(&bob, "create", "authorization.k8s.io", "selfsubjectaccessreviews", "")));
    let anonymous = UserInfo::anonymous();
    for open in ["/healthz", "/livez", "/readyz", "/version", "/version/"] {
        assert!(authorizer.allows(&path(&anonymous, "get", open)), "{open}");
    }
    for closed in ["/api", "/apis", "/openapi/v2", "/metrics", "/healthz/etcd", "/"] {
        assert!(!authorizer.allows(&path(&anonymous, "get", closed)), "{closed}");
    }
    assert!(!authorizer.allows(&path(&anonymous, "post", "/healthz")));
}

#[test]
fn rules_match_resources_subresources_names_and_wildcards() {
    let policy = Fixed::default();
    policy.add(role(
        Some("ns"),
        "r",
        json!([
            {"apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"], "verbs": ["get"]},
            {"apiGroups": ["apps"], "resources": ["*/scale"], "verbs": ["update"]},
            {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["*"]},
        ]),
    ));
    policy.add(bind(Some("ns"), "b", ("Role", "r"), json!([{"kind": "User", "name": "bob"}])));
    let authorizer = authorizer(policy);
    let bob = user("bob");
    let named = |name| Attributes { name, ..ask(&bob, "get", "", "pods", "ns") };
    assert!(authorizer.allows(&named("a")));
    assert!(!authorizer.allows(&named("b")));
    assert!(!authorizer.allows(&ask(&bob, "list", "", "pods", "ns")));
    assert!(!authorizer.allows(&Attributes { namespace: "other", ..named("a") }));
    assert!(!authorizer.allows(&Attributes { namespace: "", ..named("a") }));
    assert!(!authorizer.allows(&Attributes { api_group: "apps", ..named("a") }));
    let sub = |subresource, resource, group, verb| {
        authorizer.allows(&Attributes { subresource, ..ask(&bob, verb, group, resource, "ns") })
    };
    assert!(sub("scale", "deployments", "apps", "update"));
    assert!(!sub("status", "deployments", "apps", "update"));
    assert!(!sub("", "scale", "apps", "update"));
    assert!(sub("log", "pods", "", "delete"));
    assert!(!sub("exec", "pods", "", "create"));
}

#[test]
fn reasons_name_binding_role_and_subject() {
    let policy = Fixed::default();
    policy.add(role(None, "reader", json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}])));
    policy.add(role(Some("ns"), "r", json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}])));
    let account = json!([{"kind": "ServiceAccount", "name": "sa", "namespace": "ns"}]);
    policy.add(bind(None, "all", ("ClusterRole", "reader"), json!([{"kind": "Group", "name": "g"}])));
    policy.add(bind(Some("ns"), "adm", ("Role", "r"), account));
    let authorizer = authorizer(policy);
    let grouped = UserInfo::new("x", ["g"]);
    let (decision, reason) = authorizer.authorize(&ask(&grouped, "get", "", "pods", "other"));
    assert_eq!(decision, Decision::Allow);
    assert_eq!(reason, r#"RBAC: allowed by ClusterRoleBinding "all" of ClusterRole "reader" to Group "g""#);
    let account = UserInfo::service_account("ns", "sa", None);
    let (_, reason) = authorizer.authorize(&ask(&account, "list", "", "pods", "ns"));
    assert_eq!(reason, r#"RBAC: allowed by RoleBinding "adm/ns" of Role "r" to ServiceAccount "sa/ns""#);
}

#[test]
fn a_missing_role_is_the_reason_for_a_no() {
    let policy = Fixed::default();
    policy.add(bind(None, "b", ("ClusterRole", "nope"), json!([{"kind": "User", "name": "bob"}])));
    let authorizer = authorizer(policy);
    let bob = user("bob");
    let attributes = Attributes { name: "p", subresource: "log", ..ask(&bob, "get", "", "pods", "ns") };
    let status = authorizer.check(&attributes).unwrap_err();
    assert_eq!(
        status.message(),
        "pods \"p\" is forbidden: User \"bob\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"ns\": \
         RBAC: clusterrole.rbac.authorization.k8s.io \"nope\" not found"
    );
    assert_eq!((status.code(), status.reason()), (403, "Forbidden"));
}

#[test]
fn refusals_are_worded_as_upstream_words_them() {
    let authorizer = authorizer(Fixed::default());
    let nobody = user("nobody-x");
    let message = |attributes: Attributes| authorizer.check(&attributes).unwrap_err().message().to_owned();
    assert_eq!(
        message(ask(&nobody, "list", "apps", "deployments", "")),
        "deployments.apps is forbidden: User \"nobody-x\" cannot list resource \"deployments\" in API group \"apps\" at the cluster scope"
    );
    let anonymous = UserInfo::anonymous();
    let status = authorizer.check(&path(&anonymous, "get", "/api")).unwrap_err();
    assert_eq!(status.message(), "forbidden: User \"system:anonymous\" cannot get path \"/api\"");
    assert_eq!(status.to_value()["details"], json!({}));
}

#[test]
fn what_is_taken_away_is_refused_at_once() {
    let policy = Fixed::default_policy();
    let authorizer = authorizer(policy.clone());
    let bob = user("bob");
    let list = ask(&bob, "list", "", "pods", "ns");
    assert!(!authorizer.allows(&list));
    policy.add(bind(Some("ns"), "v", ("ClusterRole", "cluster-admin"), json!([{"kind": "User", "name": "bob"}])));
    assert!(authorizer.allows(&list));
    assert!(!authorizer.allows(&ask(&bob, "list", "", "pods", "other")));
    policy.clear_bindings();
    assert!(!authorizer.allows(&list));
}

#[test]
fn nodes_do_what_their_rules_list_and_only_to_themselves() {
    let authorizer = authorizer(Fixed::default_policy());
    let node = UserInfo::new("system:node:n1", [NODES_GROUP, AUTHENTICATED_GROUP]);
    let named = |verb, group, resource, subresource, namespace, name| {
        authorizer.allows(&Attributes { name, subresource, ..ask(&node, verb, group, resource, namespace) })
    };
    assert!(named("update", "", "pods", "status", "ns", "p"));
    assert!(!named("update", "", "pods", "", "ns", "p"));
    assert!(named("get", "", "nodes", "", "", "n1"));
    assert!(!named("get", "", "nodes", "", "", "n2"));
    assert!(!named("list", "", "nodes", "", "", ""));
    assert!(named("patch", "", "nodes", "status", "", "n1"));
    assert!(!named("delete", "", "nodes", "", "", "n1"));
    assert!(named("update", "coordination.k8s.io", "leases", "", "kube-node-lease", "n1"));
    assert!(!named("update", "coordination.k8s.io", "leases", "", "kube-node-lease", "n2"));
    assert!(!named("update", "coordination.k8s.io", "leases", "", "kube-system", "n1"));
    assert!(named("create", "coordination.k8s.io", "leases", "", "kube-node-lease", ""));
    let pretender = UserInfo::new("system:node:n1", [AUTHENTICATED_GROUP]);
    assert!(!authorizer.allows(&Attributes { name: "n1", ..ask(&pretender, "get", "", "nodes", "") }));
}

#[test]
fn nobody_grants_what_they_do_not_have() {
    let policy = Fixed::default_policy();
    policy.add(role(
        Some("ns"),
        "adm",
        json!([
            {"apiGroups": [GROUP], "resources": ["roles", "rolebindings"], "verbs": ["create"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]},
        ]),
    ));
    policy.add(bind(Some("ns"), "adm", ("Role", "adm"), json!([{"kind": "User", "name": "u"}])));
    let authorizer = authorizer(policy.clone());
    let u = user("u");
    let check = |resource, namespace, object: &Value| {
        now(escalation::check(&authorizer.0, &u, resource, namespace, object, None))
            .map_err(|status| status.message().to_owned())
    };
    let binding = |name, role| bind(Some("ns"), name, role, json!([{"kind": "User", "name": "x"}]));
    assert_eq!(check("rolebindings", "ns", &binding("ok", ("Role", "adm"))), Ok(()));
    assert_eq!(
        check("rolebindings", "ns", &binding("no", ("ClusterRole", "cluster-admin"))).unwrap_err(),
        "rolebindings.rbac.authorization.k8s.io \"no\" is forbidden: user \"u\" (groups=[\"system:authenticated\"]) is \
         attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"*\"], Resources:[\"*\"], \
         Verbs:[\"*\"]}\n{NonResourceURLs:[\"*\"], Verbs:[\"*\"]}"
    );
    assert_eq!(
        check("rolebindings", "ns", &binding("no", ("ClusterRole", "nope"))).unwrap_err(),
        "rolebindings.rbac.authorization.k8s.io \"nope\" not found"
    );
    let grants = |rules| role(Some("ns"), "x", rules);
    let own = json!([{"apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"], "verbs": ["get"]}]);
    assert_eq!(check("roles", "ns", &grants(own.clone())), Ok(()));
    assert!(check("roles", "other", &grants(own)).is_err());
    let more = json!([{"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get", "list"]}]);
    assert!(check("roles", "ns", &grants(more)).unwrap_err().ends_with(
        "held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}"
    ));
    let mut aggregate = role(None, "x", json!([]));
    aggregate["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
    assert_eq!(
        check("clusterroles", "", &aggregate).unwrap_err(),
        "clusterroles.rbac.authorization.k8s.io \"x\" is forbidden: must have cluster-admin privileges to use the aggregationRule"
    );
    // With the verb `bind` on that very role it is allowed.
    policy.add(role(
        Some("ns"),
        "binder",
        json!([
            {"apiGroups": [GROUP], "resources": ["clusterroles"], "resourceNames": ["view"], "verbs": ["bind"]}
        ]),
    ));
    policy.add(bind(Some("ns"), "binder", ("Role", "binder"), json!([{"kind": "User", "name": "u"}])));
    assert_eq!(check("rolebindings", "ns", &binding("v", ("ClusterRole", "view"))), Ok(()));
    assert!(
        check("rolebindings", "ns", &binding("v", ("ClusterRole", "edit"))).is_ok(),
        "edit is empty until aggregated"
    );
}

#[test]
fn the_garbage_collector_may_touch_what_it_could_not_grant() {
    let authorizer = authorizer(Fixed::default());
    let old = role(Some("ns"), "r", json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]));
    let mut new = old.clone();
    new["metadata"]["finalizers"] = json!([]);
    let check = |new: &Value| now(escalation::check(&authorizer.0, &user("gc"), "roles", "ns", new, Some(&old)));
    assert!(check(&new).is_ok());
    new["metadata"]["labels"] = json!({"a": "b"});
    assert!(check(&new).is_err());
}

#[test]
fn reviews_answer_for_others_and_for_oneself() {
    let authorizer = authorizer(Fixed::default_policy());
    let admin = UserInfo::new("root", [MASTERS_GROUP]);
    let ask = |kind, namespace, spec: Value| {
        now(review::review(&authorizer.0, kind, &admin, namespace, json!({"spec": spec})))
    };
    let answer = ask(
        "SubjectAccessReview",
        "",
        json!({"user": "system:kube-scheduler", "resourceAttributes":
        {"namespace": "x", "resource": "pods", "subresource": "binding", "verb": "create"}}),
    );
    let reason = r#"RBAC: allowed by ClusterRoleBinding "system:kube-scheduler" of ClusterRole "system:kube-scheduler" to User "system:kube-scheduler""#;
    assert_eq!(answer.unwrap()["status"], json!({"allowed": true, "reason": reason}));
    let answer =
        ask("SubjectAccessReview", "", json!({"user": "u", "resourceAttributes": {"resource": "pods", "verb": "get"}}));
    assert_eq!(answer.unwrap()["status"], json!({"allowed": false}));
    let answer =
        ask("SelfSubjectAccessReview", "", json!({"resourceAttributes": {"resource": "nodes", "verb": "delete"}}));
    assert_eq!(answer.unwrap()["status"], json!({"allowed": true}));
}

#[test]
fn reviews_are_validated() {
    let authorizer = authorizer(Fixed::default());
    let message = |kind, object: Value| {
        let status = now(review::review(&authorizer.0, kind, &user("u"), "ns", object)).unwrap_err();
        assert_eq!(status.code(), if kind == "SelfSubjectRulesReview" { 400 } else { 422 });
        status.message().to_owned()
    };
    assert_eq!(
        message("SubjectAccessReview", json!({})),
        ".authorization.k8s.io \"\" is invalid: [spec.resourceAttributes: Invalid value: null: exactly one of \
         nonResourceAttributes or resourceAttributes must be specified, spec.user: Invalid value: \"\": at least one of \
         user or group must be specified]"
    );
    assert_eq!(
        message(
            "SelfSubjectAccessReview",
            json!({"spec": {"resourceAttributes": {}, "nonResourceAttributes": {"path": "/"}}})
        ),
        ".authorization.k8s.io \"\" is invalid: spec.nonResourceAttributes: Invalid value: {\"Path\":\"/\",\"Verb\":\"\"}: \
         cannot be specified in combination with resourceAttributes"
    );
    assert_eq!(
        message(
            "LocalSubjectAccessReview",
            json!({"spec": {"user": "u", "resourceAttributes": {"namespace": "other"}}})
        ),
        ".authorization.k8s.io \"\" is invalid: spec.resourceAttributes.namespace: Invalid value: \"other\": must match \
         metadata.namespace"
    );
    assert_eq!(message("SelfSubjectRulesReview", json!({"spec": {}})), "no namespace on request");
}

#[test]
fn rules_reviews_list_cluster_and_namespace_rules() {
    let policy = Fixed::default_policy();
    policy.add(role(
        Some("ns"),
        "r",
        json!([{"apiGroups": [""], "resources": ["pods"], "resourceNames": ["z"], "verbs": ["get"]}]),
    ));
    policy.add(bind(Some("ns"), "r", ("Role", "r"), json!([{"kind": "User", "name": "u"}])));
    let authorizer = authorizer(policy);
    let u = user("u");
    let answer =
        now(review::review(&authorizer.0, "SelfSubjectRulesReview", &u, "", json!({"spec": {"namespace": "ns"}})))
            .unwrap();
    assert_eq!(answer["spec"], json!({}));
    let status = &answer["status"];
    assert_eq!(status["incomplete"], false);
    assert_eq!(status["resourceRules"].as_array().unwrap().len(), 3);
    assert_eq!(
        status["resourceRules"][2],
        json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["z"]})
    );
    assert_eq!(status["nonResourceRules"].as_array().unwrap().len(), 2);
    let node = UserInfo::new("system:node:n", [NODES_GROUP]);
    let answer =
        now(review::review(&authorizer.0, "SelfSubjectRulesReview", &node, "", json!({"spec": {"namespace": "ns"}})))
            .unwrap();
    assert_eq!(answer["status"]["incomplete"], true);
}

#[test]
fn public_paths_are_open_to_those_who_did_not_say_who_they_are() {
    let authorizer = authorizer(Fixed::default_policy());
    let user = UserInfo::new("x", [UNAUTHENTICATED_GROUP]);
    assert!(authorizer.allows(&path(&user, "get", "/version")));
    assert!(!authorizer.allows(&path(&user, "get", "/openid/v1/jwks")));
    let account = UserInfo::service_account("ns", "sa", None);
    assert!(authorizer.allows(&path(&account, "get", "/openid/v1/jwks")));
}

#[tokio::test]
async fn roles_that_are_labelled_become_part_of_aggregates() {
    use crate::testing::{admin, call, server};
    let (server, _pki) = server().await;
    let bob = || UserInfo::new("bob", ["dev"]);
    let api = "/apis/rbac.authorization.k8s.io/v1";
    let binding =
        bind(None, "dev-view", ("ClusterRole", "view"), json!([{"kind": "Group", "name": "dev", "apiGroup": GROUP}]));
    let (code, answer) =
        call(&server, admin(), "POST", &format!("{api}/clusterrolebindings"), &binding.to_string()).await;
    assert_eq!(code, 201, "{answer}");
    let allowed = |resource| now(server.authorizer.allows(&ask(&bob(), "get", "example.com", resource, "ns")));
    assert!(now(server.authorizer.allows(&ask(&bob(), "get", "", "pods", "ns"))));
    assert!(!allowed("widgets"));
    let mut part =
        role(None, "widgets", json!([{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]));
    part["metadata"]["labels"] = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
    let (code, answer) = call(&server, admin(), "POST", &format!("{api}/clusterroles"), &part.to_string()).await;
    assert_eq!(code, 201, "{answer}");
    while !allowed("widgets") {
        tokio::task::yield_now().await;
    }
    let (_, admin_role) = call(&server, admin(), "GET", &format!("{api}/clusterroles/view"), "").await;
    let rules = admin_role["rules"].as_array().unwrap();
    assert!(rules.iter().any(|rule| rule["resources"] == json!(["widgets"])));
    assert!(!allowed("gadgets"));
}

#[tokio::test]
async fn the_server_starts_with_the_default_policy_and_keeps_it() {
    use crate::testing::{admin, call, server};
    let (server, _pki) = server().await;
    let api = "/apis/rbac.authorization.k8s.io/v1";
    for (resource, count) in [("clusterroles", 69), ("clusterrolebindings", 50), ("roles", 7), ("rolebindings", 7)] {
        let (code, list) = call(&server, admin(), "GET", &format!("{api}/{resource}"), "").await;
        assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(count)), "{resource}");
    }
    let (_, role) = call(&server, admin(), "GET", &format!("{api}/clusterroles/admin"), "").await;
    assert_eq!(role["rules"].as_array().unwrap().len(), 29);
    // Not even an administrator of one namespace hands out more than they have.
    let binding = bind(
        Some("default"),
        "x",
        ("ClusterRole", "admin"),
        json!([{"kind": "User", "name": "bob", "apiGroup": GROUP}]),
    );
    let path = format!("{api}/namespaces/default/rolebindings");
    assert_eq!(call(&server, admin(), "POST", &path, &binding.to_string()).await.0, 201);
    let more = bind(
        Some("default"),
        "y",
        ("ClusterRole", "cluster-admin"),
        json!([{"kind": "User", "name": "bob", "apiGroup": GROUP}]),
    );
    let (code, status) = call(&server, user("bob"), "POST", &path, &more.to_string()).await;
    assert_eq!(code, 403);
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"*\"]"),
        "{message}"
    );
    let less = bind(
        Some("default"),
        "y",
        ("ClusterRole", "edit"),
        json!([{"kind": "User", "name": "bob", "apiGroup": GROUP}]),
    );
    assert_eq!(call(&server, user("bob"), "POST", &path, &less.to_string()).await.0, 201);
}
