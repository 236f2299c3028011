use store::journal::Retention;

use super::*;
use crate::testing;

const MAPS: &str = "/api/v1/namespaces/ns/configmaps";
const HEADER: &str = "canopus-revision";

/// Everything, in files beside the server's own.
fn keep(config: &mut Config) {
    config.etcd = None;
    config.store_dir = Some(config.tls_cert_file.with_file_name("store"));
    config.history_retention = Retention { revisions: Some(u64::MAX), ..Retention::OFF };
}

/// A server that keeps everything.
async fn keeping() -> Harness {
    Harness::with(keep).await
}

impl Harness {
    /// Lets memory forget everything but the present.
    async fn forget(&self) {
        let store = self.server.registry.store();
        store.compact(store.revision()).await.unwrap();
    }
}

fn version(object: &Value) -> String {
    object["metadata"]["resourceVersion"].as_str().unwrap().to_owned()
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().filter_map(|item| item["metadata"]["name"].as_str()).collect()
}

fn types(history: &Value) -> Vec<&str> {
    history["items"].as_array().unwrap().iter().filter_map(|item| item["type"].as_str()).collect()
}

#[tokio::test]
async fn an_object_and_a_list_are_read_as_they_were() {
    let h = keeping().await;
    let a = h.configmap("a", json!({ "x": "1" })).await;
    let then = version(&h.configmap("b", json!({})).await);
    h.merge(&format!("{MAPS}/a"), json!({ "data": { "k": "new" } })).await.expect(200);
    h.delete(&format!("{MAPS}/b")).await.expect(200);
    let last = version(&h.configmap("c", json!({})).await);
    for forgotten in [false, true] {
        if forgotten {
            h.forget().await;
        }
        let answer = h.get(&format!("{MAPS}/a?at={then}")).await;
        assert_eq!(answer.headers[HEADER], then.as_str());
        assert_eq!(answer.expect(200), a);
        let list = h.get(&format!("{MAPS}?at={then}")).await;
        assert_eq!(list.headers[HEADER], then.as_str());
        let list = list.expect(200);
        assert_eq!((names(&list), version(&list)), (vec!["a", "b"], then.clone()));
        let exact = h.get(&format!("{MAPS}?resourceVersion={then}&resourceVersionMatch=Exact")).await;
        assert_eq!(exact.headers.get(HEADER), None);
        assert_eq!(exact.expect(200), list);
        let selected = h.get(&format!("/api/v1/configmaps?at={then}&labelSelector=x%3D1")).await.expect(200);
        assert_eq!(names(&selected), ["a"]);
        let first = h.get(&format!("{MAPS}?at={then}&limit=1")).await.expect(200);
        let token = first["metadata"]["continue"].as_str().unwrap();
        let rest = h.get(&format!("{MAPS}?at={then}&limit=1&continue={token}")).await;
        assert_eq!(rest.headers[HEADER], then.as_str());
        assert_eq!((names(&first), names(&rest.body)), (vec!["a"], vec!["b"]));
        let table = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
        let table = h.send("GET", &format!("{MAPS}?at={then}"), &table, "").await.expect(200);
        assert_eq!((&table["kind"], &table["rows"][1]["cells"][0]), (&json!("Table"), &json!("b")));
        let missing = h.get(&format!("{MAPS}/c?at={then}")).await;
        assert_eq!((missing.code, missing.message()), (404, "configmaps \"c\" not found"));
        assert_eq!(version(&h.get(&format!("{MAPS}?at={last}")).await.expect(200)), last);
    }
}

#[tokio::test]
async fn a_time_names_the_newest_revision_of_then() {
    let h = keeping().await;
    let a = h.configmap("a", json!({})).await;
    let now = jiff::Timestamp::now();
    let then = version(&h.get(&format!("{MAPS}?at={now}")).await.expect(200));
    // What comes later is written in another millisecond.
    while jiff::Timestamp::now().as_millisecond() == now.as_millisecond() {}
    h.merge(&format!("{MAPS}/a"), json!({ "data": { "k": "new" } })).await.expect(200);
    h.forget().await;
    let answer = h.get(&format!("{MAPS}/a?at={now}")).await;
    assert_eq!(answer.headers[HEADER], then.as_str());
    assert_eq!(answer.expect(200), a);
    let early = h.get(&format!("{MAPS}/a?at=2001-01-01T00:00:00Z")).await;
    assert_eq!((early.code, &early.body["reason"]), (410, &json!("Expired")));
    let late = h.get(&format!("{MAPS}?at=2999-01-01T00:00:00Z")).await;
    assert_eq!((late.code, late.message()), (400, "invalid at: \"2999-01-01T00:00:00Z\" lies in the future"));
}

#[tokio::test]
async fn what_cannot_be_had_is_said_so() {
    let h = Harness::new().await;
    let a = version(&h.configmap("a", json!({})).await);
    h.merge(&format!("{MAPS}/a"), json!({ "data": { "k": "new" } })).await.expect(200);
    let change = h.get(&format!("{MAPS}/a?history=true")).await.expect(200);
    assert_eq!(types(&change), ["ADDED", "MODIFIED"], "without retention memory tells what it has");
    h.forget().await;
    let oldest = h.server.registry.store().revision();
    for (path, what) in [(format!("{MAPS}/a?at={a}"), "get"), (format!("{MAPS}?at={a}"), "list")] {
        let old = h.get(&path).await;
        let message =
            format!("The resourceVersion for the provided {what} is too old: history is kept since revision {oldest}.");
        assert_eq!((old.code, &old.body["reason"], old.message()), (410, &json!("Expired"), message.as_str()));
    }
    let exact = h.get(&format!("{MAPS}?resourceVersion={a}&resourceVersionMatch=Exact")).await;
    assert_eq!(exact.message(), "The resourceVersion for the provided list is too old.");
    for at in ["x", "0", "-5", "", "2001-01-01"] {
        let answer = h.get(&format!("{MAPS}/a?at={at}")).await;
        let message =
            format!("invalid at: {at:?} is neither a resource version nor a time such as 2006-01-02T15:04:05Z");
        assert_eq!((answer.code, answer.message()), (400, message.as_str()));
    }
    assert_eq!(h.get(&format!("{MAPS}/a?at={}", oldest + 1000)).await.code, 504);
    for refused in [
        format!("{MAPS}?at={oldest}&watch=true"),
        format!("{MAPS}?at={oldest}&resourceVersion={oldest}"),
        format!("{MAPS}?history=true"),
        format!("/api/v1/namespaces/ns/status?at={oldest}"),
        format!("/api/v1/componentstatuses?at={oldest}"),
    ] {
        let code = h.get(&refused).await.code;
        assert!(code == 400 || code == 404, "{refused}: {code}");
    }
    // Nothing is changed by what was.
    assert_eq!(h.delete(&format!("{MAPS}?at={oldest}")).await.code, 400);
    assert_eq!(names(&h.get(MAPS).await.expect(200)), ["a"]);
    assert_eq!(h.get(&format!("{MAPS}/none?history=true")).await.code, 404);
}

#[tokio::test]
async fn history_tells_versions_and_writers_also_of_what_is_gone() {
    let h = keeping().await;
    let path = format!("{MAPS}/a");
    let post = [("content-type", "application/json"), ("user-agent", "x")];
    let object = json!({ "metadata": { "name": "a" }, "data": { "k": "1" } }).to_string();
    h.send("POST", &format!("{MAPS}?fieldManager=maker"), &post, object).await.expect(201);
    let patch = [("content-type", "application/merge-patch+json")];
    h.send("PATCH", &format!("{path}?fieldManager=changer"), &patch, r#"{"data":{"k":"2"}}"#).await.expect(200);
    h.delete(&path).await.expect(200);
    h.configmap("a", json!({})).await;
    h.delete(&path).await.expect(200);
    h.forget().await;
    let answer = h.get(&format!("{path}?history=true")).await;
    assert_eq!(answer.headers[HEADER], h.server.registry.store().revision().to_string());
    let history = answer.expect(200);
    assert_eq!((&history["kind"], &history["apiVersion"]), (&json!("ObjectHistory"), &json!("canopus.io/v1")));
    assert_eq!(types(&history), ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"]);
    let items = history["items"].as_array().unwrap();
    let who = |at: usize| (items[at]["manager"].as_str(), items[at]["operation"].as_str());
    assert_eq!((who(0), who(1)), ((Some("maker"), Some("Update")), (Some("changer"), Some("Update"))));
    assert_eq!((who(2), who(3).0), ((None, None), Some("unknown")));
    assert_eq!((&items[0]["object"]["data"]["k"], &items[1]["object"]["data"]["k"]), (&json!("1"), &json!("2")));
    for item in items {
        assert_eq!(item["object"]["metadata"]["resourceVersion"], item["revision"]);
        assert!(item["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    }
    let newest = h.get(&format!("{path}?history=true&limit=2")).await.expect(200);
    assert_eq!(newest["items"].as_array().unwrap()[..], items[3..]);
    // In another version of the kind, and as YAML.
    let deployments = "/apis/apps/v1/namespaces/ns/deployments";
    let spec = json!({ "selector": { "matchLabels": { "a": "b" } }, "template": {
        "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } } });
    h.post(deployments, json!({ "metadata": { "name": "d" }, "spec": spec })).await.expect(201);
    let old = h.get("/apis/apps/v1beta2/namespaces/ns/deployments/d?history=true").await.expect(200);
    assert_eq!(old["items"][0]["object"]["apiVersion"], "apps/v1beta2");
}

#[tokio::test]
async fn objects_of_custom_kinds_are_converted_to_the_version_asked_for() {
    let (server, _pki) = testing::server_with(keep).await;
    let send = async |method: &str, path: &str, object: Value| {
        let (code, _, body) = testing::send(&server, method, path, &object).await;
        assert!(code < 300, "{method} {path}: {body}");
        body
    };
    let schema = json!({ "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } });
    let definition = json!({ "metadata": { "name": "widgets.example.com" }, "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": { "plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList" },
        "versions": [
            { "name": "v1", "served": true, "storage": true, "schema": schema },
            { "name": "v2", "served": true, "storage": false, "schema": schema },
        ] } });
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    send("POST", definitions, definition).await;
    loop {
        let revision = server.registry.store().revision();
        let definition = send("GET", &format!("{definitions}/widgets.example.com"), Value::Null).await;
        if definition["status"]["conditions"].to_string().contains("InitialNamesAccepted") {
            break;
        }
        server.registry.change_since(&[crate::apiextensions::definitions()], revision).await;
    }
    let widgets = "/apis/example.com/v1/namespaces/default/widgets";
    let object = json!({ "kind": "Widget", "apiVersion": "example.com/v1", "metadata": { "name": "w" }, "size": 1 });
    let mut object = send("POST", widgets, object).await;
    let then = version(&object);
    object["size"] = 2.into();
    send("PUT", &format!("{widgets}/w"), object).await;
    server.registry.store().compact(server.registry.store().revision()).await.unwrap();
    let other = "/apis/example.com/v2/namespaces/default/widgets";
    for (list, api_version) in [(widgets, "example.com/v1"), (other, "example.com/v2")] {
        let was = send("GET", &format!("{list}/w?at={then}"), Value::Null).await;
        assert_eq!((&was["apiVersion"], &was["size"]), (&json!(api_version), &json!(1)));
        let was = send("GET", &format!("{list}?at={then}"), Value::Null).await;
        assert_eq!((&was["items"][0]["apiVersion"], &was["items"][0]["size"]), (&json!(api_version), &json!(1)));
        let history = send("GET", &format!("{list}/w?history=true"), Value::Null).await;
        let sizes: Vec<_> = history["items"].as_array().unwrap().iter().map(|item| &item["object"]["size"]).collect();
        assert_eq!(sizes, [&json!(1), &json!(2)]);
        assert_eq!(history["items"][1]["object"]["apiVersion"], api_version);
    }
    server.shutdown.cancel();
}

/// Attacks: the past is no way around what one may not read now.
#[tokio::test]
async fn the_past_is_read_by_those_who_may_read_the_present() {
    let (server, _pki) = testing::server_with(keep).await;
    let admin = |method: &'static str, path: &'static str, body: Value| {
        let server = server.clone();
        async move { testing::call(&server, testing::admin(), method, path, &body.to_string()).await }
    };
    for namespace in ["one", "two"] {
        admin("POST", "/api/v1/namespaces", json!({ "metadata": { "name": namespace } })).await;
    }
    let secret = |name: &str| json!({ "metadata": { "name": name }, "stringData": { "k": "v" } });
    assert_eq!(admin("POST", "/api/v1/namespaces/one/secrets", secret("mine")).await.0, 201);
    assert_eq!(admin("POST", "/api/v1/namespaces/one/secrets", secret("other")).await.0, 201);
    assert_eq!(admin("POST", "/api/v1/namespaces/two/secrets", secret("mine")).await.0, 201);
    let rule = json!({ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["mine"] });
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/one/roles";
    assert_eq!(admin("POST", roles, json!({ "metadata": { "name": "r" }, "rules": [rule] })).await.0, 201);
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/one/rolebindings";
    let binding = json!({ "metadata": { "name": "b" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve" }] });
    assert_eq!(admin("POST", bindings, binding).await.0, 201);
    let revision = server.registry.store().revision();
    let eve = || crate::UserInfo::new("eve", ["system:authenticated"]);
    let code = async |path: String| testing::call(&server, eve(), "GET", &path, "").await.0;
    // The right to get one Secret is the right to its history, and to nothing else.
    let mine = "/api/v1/namespaces/one/secrets/mine";
    for query in ["", "?history=true", &format!("?at={revision}")] {
        assert_eq!(code(format!("{mine}{query}")).await, 200, "{query}");
        for forbidden in [
            "/api/v1/namespaces/one/secrets/other",
            "/api/v1/namespaces/two/secrets/mine",
            "/api/v1/namespaces/one/secrets",
            "/api/v1/secrets",
        ] {
            assert_eq!(code(format!("{forbidden}{query}")).await, 403, "{forbidden}{query}");
        }
    }
    let selector = "fieldSelector=metadata.name%3Dmine";
    for query in [format!("at={revision}&{selector}"), format!("{selector}&at={revision}&history=true")] {
        assert_eq!(code(format!("/api/v1/namespaces/one/secrets?{query}")).await, 403, "{query}: the right is to get");
    }
    // When the right is gone, so is that to the past, though it was there then.
    assert_eq!(
        admin("DELETE", "/apis/rbac.authorization.k8s.io/v1/namespaces/one/rolebindings/b", json!({})).await.0,
        200
    );
    let denied = async || code(format!("{mine}?at={revision}")).await == 403;
    while !denied().await {
        tokio::task::yield_now().await;
    }
    assert_eq!(code(format!("{mine}?history=true")).await, 403);
    server.shutdown.cancel();
}
