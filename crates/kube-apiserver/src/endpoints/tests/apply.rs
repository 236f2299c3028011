use super::*;

const MAPS: &str = "/api/v1/namespaces/ns/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/ns/deployments";
const APPLY: &[(&str, &str)] = &[("content-type", "application/apply-patch+yaml")];

fn config(data: Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "a" }, "data": data })
}

fn deployment(spec: Value) -> Value {
    let mut object = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" }, "spec": {
        "selector": { "matchLabels": { "a": "b" } },
        "template": { "metadata": { "labels": { "a": "b" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } } } });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

impl Harness {
    async fn apply(&self, path: &str, body: &Value) -> Answer {
        self.send("PATCH", path, APPLY, body.to_string()).await
    }
}

#[tokio::test]
async fn what_is_not_there_is_made_and_what_is_the_same_is_left() {
    let h = Harness::new().await;
    let path = format!("{MAPS}/a?fieldManager=one");
    let made = h.apply(&path, &config(json!({"k": "v"}))).await.expect(201);
    let again = h.apply(&path, &config(json!({"k": "v"}))).await.expect(200);
    assert_eq!(again, made);
    let two = h.apply(&format!("{MAPS}/a?fieldManager=two"), &config(json!({"k": "v"}))).await.expect(200);
    assert_ne!(two["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    // Joining changes nothing of the object, so it has no time.
    assert_eq!(two["metadata"]["managedFields"][0]["manager"], "two");
    assert_eq!(two["metadata"]["managedFields"][0].get("time"), None);
    let refused = h.apply(&format!("{MAPS}/a?fieldManager=three"), &config(json!({"k": "w"}))).await;
    assert_eq!(
        (refused.code, refused.message()),
        (409, "Apply failed with 2 conflicts: conflicts with \"one\":\n- .data.k\nconflicts with \"two\":\n- .data.k")
    );
    let forced =
        h.apply(&format!("{MAPS}/a?fieldManager=three&force=true"), &config(json!({"k": "w"}))).await.expect(200);
    assert_eq!(forced["metadata"]["managedFields"].as_array().unwrap().len(), 1);
    let gone = h.apply(&format!("{MAPS}/a?fieldManager=three"), &config(json!({}))).await.expect(200);
    assert_eq!(gone.get("data"), None);
    h.apply("/api/v1/namespaces/none/configmaps/a?fieldManager=one", &config(json!({}))).await.expect(404);
}

#[tokio::test]
async fn dropped_fields_take_their_defaults_again() {
    let h = Harness::new().await;
    let path = format!("{DEPLOYMENTS}/d?fieldManager=one");
    let made = h
        .apply(&path, &deployment(json!({"replicas": 0, "revisionHistoryLimit": 3, "strategy": {"type": "Recreate"}})))
        .await;
    assert_eq!(made.expect(201)["spec"]["strategy"], json!({"type": "Recreate"}));
    let reset = h.apply(&path, &deployment(json!({"replicas": 0}))).await.expect(200);
    assert_eq!(reset["spec"]["revisionHistoryLimit"], 10);
    assert_eq!(reset["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
    assert_eq!(reset["metadata"]["generation"], 2);
}

#[tokio::test]
async fn subresources_are_applied_but_never_make_an_object() {
    let h = Harness::new().await;
    let scale = |replicas: i64| json!({ "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": { "name": "d" }, "spec": { "replicas": replicas } });
    h.apply(&format!("{DEPLOYMENTS}/d/scale?fieldManager=hpa"), &scale(1)).await.expect(404);
    let status = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "d" }, "spec": { "paused": true }, "status": { "replicas": 4 } });
    h.apply(&format!("{DEPLOYMENTS}/d/status?fieldManager=st"), &status).await.expect(404);
    h.apply(&format!("{DEPLOYMENTS}/d?fieldManager=one"), &deployment(json!({"replicas": 0}))).await.expect(201);
    let refused = h.apply(&format!("{DEPLOYMENTS}/d/scale?fieldManager=hpa"), &scale(1)).await;
    assert_eq!(
        (refused.code, refused.message()),
        (409, "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas")
    );
    let scaled = h.apply(&format!("{DEPLOYMENTS}/d/scale?fieldManager=hpa&force=true"), &scale(2)).await.expect(200);
    assert_eq!((scaled["kind"].as_str(), &scaled["spec"]["replicas"]), (Some("Scale"), &json!(2)));
    let applied = h.apply(&format!("{DEPLOYMENTS}/d/status?fieldManager=st"), &status).await.expect(200);
    assert_eq!((&applied["status"]["replicas"], applied["spec"].get("paused")), (&json!(4), None));
    let entries = applied["metadata"]["managedFields"].as_array().unwrap();
    let of = |manager: &str| entries.iter().find(|entry| entry["manager"] == manager).unwrap();
    assert_eq!(
        (&of("hpa")["subresource"], &of("hpa")["fieldsV1"]),
        (&json!("scale"), &json!({"f:spec": {"f:replicas": {}}}))
    );
    assert_eq!(
        (&of("st")["subresource"], &of("st")["fieldsV1"]),
        (&json!("status"), &json!({"f:status": {"f:replicas": {}}}))
    );
    let wrong = h.apply(&format!("{DEPLOYMENTS}/d/scale?fieldManager=hpa"), &deployment(json!({}))).await;
    assert_eq!((wrong.code, wrong.message()), (400, "invalid object type: apps/v1, Kind=Deployment"));
}

#[tokio::test]
async fn bad_bodies_are_worded_as_upstream() {
    let h = Harness::new().await;
    let path = format!("{MAPS}/a?fieldManager=x");
    for (body, code, message) in [
        ("", 400, "invalid object type: /, Kind="),
        (
            "{",
            400,
            "error decoding YAML: error converting YAML to JSON: yaml: line 1: did not find expected node content",
        ),
        (
            "[]",
            400,
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}",
        ),
        ("apiVersion: v1\nkind: Secret", 400, "invalid object type: /v1, Kind=Secret"),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}",
            400,
            "the name of the object (b) does not match the name on the URL (a)",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, managedFields: []}",
            400,
            "metadata.managedFields must be nil",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nbogus: 1",
            500,
            "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .bogus: field not declared in schema",
        ),
        (
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, uid: u}",
            409,
            "Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object specified uid u, and no existing object was found",
        ),
    ] {
        let answer = h.send("PATCH", &path, APPLY, body).await;
        assert_eq!((answer.code, answer.message()), (code, message), "{body}");
    }
    let twice = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  k: \"1\"\n  k: \"2\"\n";
    let strict = h.send("PATCH", &format!("{path}&fieldValidation=Strict"), APPLY, twice).await;
    assert_eq!(
        (strict.code, strict.message()),
        (
            400,
            "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key \"k\" already set in map"
        )
    );
    let unnamed = h.send("PATCH", &format!("{MAPS}/a"), APPLY, twice).await;
    assert_eq!(
        unnamed.message(),
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    let made = h.send("PATCH", &path, APPLY, twice).await;
    assert_eq!(made.expect(201)["data"], json!({"k": "2"}));
}

#[tokio::test]
async fn who_may_only_change_makes_nothing() {
    use crate::testing::{admin, call, server};
    let (server, _pki) = server().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({ "metadata": { "name": "r" }, "rules": [{ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["update"] }] });
    let binding = json!({ "metadata": { "name": "r" }, "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob" }] });
    for (kind, object) in [("roles", role), ("rolebindings", binding)] {
        let (code, answer) = call(&server, admin(), "POST", &format!("{rbac}/{kind}"), &object.to_string()).await;
        assert_eq!(code, 201, "{answer}");
    }
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let lease = json!({ "metadata": { "name": "l" }, "spec": { "holderIdentity": "h" } }).to_string();
    let bob = || UserInfo::new("bob", ["system:authenticated"]);
    let (code, answer) = call(&server, bob(), "PUT", path, &lease).await;
    assert_eq!(code, 403, "{answer}");
    assert!(answer["message"].as_str().unwrap().contains("cannot create resource \"leases\""), "{answer}");
    let (code, made) = call(&server, admin(), "PUT", path, &lease).await;
    assert_eq!(code, 201);
    assert_eq!(call(&server, bob(), "PUT", path, &made.to_string()).await.0, 200);
}
