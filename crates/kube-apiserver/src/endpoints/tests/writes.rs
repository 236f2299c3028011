use super::*;

const MAPS: &str = "/api/v1/namespaces/ns/configmaps";

#[tokio::test]
async fn create_fills_in_what_the_server_sets_and_keeps_canonical_order() {
    let h = Harness::new().await;
    let text = r#"{"data":{"k":"v"},"metadata":{"uid":"mine","name":"a","deletionTimestamp":"2001-01-01T00:00:00Z"}}"#;
    let answer = h.send("POST", MAPS, &[("content-type", "application/json")], text).await.expect(201);
    let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["kind", "apiVersion", "metadata", "data"]);
    let metadata: Vec<&String> = answer["metadata"].as_object().unwrap().keys().collect();
    assert_eq!(metadata, ["name", "namespace", "uid", "resourceVersion", "creationTimestamp", "managedFields"]);
    assert_ne!(answer["metadata"]["uid"], "mine");
    assert_eq!(h.get(&format!("{MAPS}/a")).await.expect(200), answer);
    let again = h.post(MAPS, json!({ "metadata": { "name": "a" } })).await;
    assert_eq!((again.code, again.message()), (409, "configmaps \"a\" already exists"));
}

#[tokio::test]
async fn generated_names_end_in_five_characters() {
    let h = Harness::new().await;
    let answer = h.post(MAPS, json!({ "metadata": { "generateName": "gen-" } })).await.expect(201);
    let name = answer["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("gen-") && name.len() == 9, "{name}");
}

#[tokio::test]
async fn bad_bodies_are_refused_as_upstream_words_it() {
    let h = Harness::new().await;
    let json = [("content-type", "application/json")];
    for (text, message) in [
        (
            "{",
            "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input ({)",
        ),
        (
            "{\"metadata\":{\"name\":5}}",
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string",
        ),
        (
            "{\"apiVersion\":\"apps/v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\"}}",
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: no kind \"ConfigMap\" is registered for version \"apps/v1\" in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
        ),
    ] {
        let answer = h.send("POST", MAPS, &json, text).await;
        assert_eq!((answer.code, answer.message()), (400, message));
    }
    let answer = h.send("POST", MAPS, &[("content-type", "text/plain")], "x").await;
    assert_eq!(answer.code, 415);
    let large = vec![b' '; 4 << 20];
    assert_eq!(h.send("POST", MAPS, &json, large).await.code, 413);
    let other = h.post(MAPS, json!({ "metadata": { "name": "c", "namespace": "other" } })).await;
    assert_eq!(
        other.message(),
        "the namespace of the provided object does not match the namespace sent on the request"
    );
}

#[tokio::test]
async fn unknown_fields_warn_or_fail_as_asked() {
    let h = Harness::new().await;
    let object = json!({ "metadata": { "name": "a" }, "bogus": 1 });
    let warned = h.post(MAPS, object.clone()).await;
    assert_eq!((warned.code, warned.warnings), (201, vec!["unknown field \"bogus\"".to_owned()]));
    let strict = h.post(&format!("{MAPS}?fieldValidation=Strict"), object.clone()).await;
    assert_eq!(
        strict.message(),
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"bogus\""
    );
    let odd = h.post(&format!("{MAPS}?fieldValidation=Odd"), object).await;
    assert_eq!(odd.code, 422);
}

#[tokio::test]
async fn updates_are_compared_with_the_version_they_name() {
    let h = Harness::new().await;
    let first = h.configmap("a", json!({})).await;
    let path = format!("{MAPS}/a");
    let object = json!({ "metadata": { "name": "a" }, "data": { "k": "2" } });
    let second = h.put(&path, object.clone()).await.expect(200);
    assert_eq!(second["metadata"]["uid"], first["metadata"]["uid"]);
    assert_ne!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let same = h.put(&path, object).await.expect(200);
    assert_eq!(same, second, "an update that changes nothing is no write");
    let stale = h.put(&path, first).await;
    assert_eq!((stale.code, stale.body["reason"].as_str()), (409, Some("Conflict")));
    let renamed = h.put(&path, json!({ "metadata": { "name": "b" } })).await;
    assert_eq!(renamed.message(), "the name of the object (b) does not match the name on the URL (a)");
    let missing = h.put(&format!("{MAPS}/none"), json!({ "metadata": { "name": "none" } })).await;
    assert_eq!(missing.code, 404);
}

#[tokio::test]
async fn a_lease_needs_a_version_to_be_updated_and_is_created_by_put() {
    let h = Harness::new().await;
    let path = "/apis/coordination.k8s.io/v1/namespaces/ns/leases/l";
    let object = json!({ "metadata": { "name": "l" }, "spec": { "holderIdentity": "a" } });
    h.put(path, object.clone()).await.expect(201);
    let answer = h.put(path, object).await;
    assert_eq!(
        answer.message(),
        "leases.coordination.k8s.io \"l\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
    );
}

#[tokio::test]
async fn all_three_patches_apply() {
    let h = Harness::new().await;
    h.configmap("a", json!({ "x": "1" })).await;
    let path = format!("{MAPS}/a");
    let merged = h.merge(&path, json!({ "data": { "k": null, "j": "w" } })).await.expect(200);
    assert_eq!(merged["data"], json!({ "j": "w" }));
    let json_patch = r#"[{"op":"add","path":"/data/z","value":"1"}]"#;
    let patched =
        h.send("PATCH", &path, &[("content-type", "application/json-patch+json")], json_patch).await.expect(200);
    assert_eq!(patched["data"], json!({ "j": "w", "z": "1" }));
    let strategic = r#"{"metadata":{"labels":{"x":null,"y":"2"}}}"#;
    let content = [("content-type", "application/strategic-merge-patch+json")];
    let patched = h.send("PATCH", &path, &content, strategic).await.expect(200);
    assert_eq!(patched["metadata"]["labels"], json!({ "y": "2" }));
    let apply = h.send("PATCH", &path, &[("content-type", "application/apply-patch+cbor")], "{}").await;
    assert_eq!((apply.code, apply.message()), (415, "415: Unsupported Media Type"));
    let missing = h.merge(&format!("{MAPS}/none"), json!({})).await;
    assert_eq!(missing.code, 404);
    let strict = h.merge(&format!("{path}?fieldValidation=Strict"), json!({ "bogus": 1 })).await;
    assert!(
        strict
            .message()
            .starts_with(" \"\" is invalid: patch: Invalid value: \"{\\\"apiVersion\\\":\\\"v1\\\",\\\"bogus\\\":1,"),
        "{}",
        strict.message()
    );
}

#[tokio::test]
async fn concurrent_patches_all_arrive() {
    let h = Arc::new(Harness::new().await);
    h.configmap("a", json!({})).await;
    let patches = (0..20).map(|n| {
        let h = h.clone();
        async move { h.merge(&format!("{MAPS}/a"), json!({ "data": { format!("k{n}"): "v" } })).await.expect(200) }
    });
    futures::future::join_all(patches).await;
    let object = h.get(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(object["data"].as_object().unwrap().len(), 21);
}

#[tokio::test]
async fn dry_runs_leave_nothing() {
    let h = Harness::new().await;
    let answer = h.post(&format!("{MAPS}?dryRun=All"), json!({ "metadata": { "name": "a" } })).await.expect(201);
    assert!(answer["metadata"].get("resourceVersion").is_none() && answer["metadata"].get("uid").is_some());
    assert_eq!(h.get(&format!("{MAPS}/a")).await.code, 404);
    let first = h.configmap("b", json!({})).await;
    h.merge(&format!("{MAPS}/b?dryRun=All"), json!({ "data": { "k": "2" } })).await.expect(200);
    h.delete(&format!("{MAPS}/b?dryRun=All")).await.expect(200);
    assert_eq!(h.get(&format!("{MAPS}/b")).await.expect(200), first);
    let bad = h.post(&format!("{MAPS}?dryRun=Some"), json!({ "metadata": { "name": "a" } })).await;
    assert_eq!(
        bad.message(),
        "CreateOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: [\"Some\"]: supported values: \"All\""
    );
}

#[tokio::test]
async fn yaml_bodies_are_read() {
    let h = Harness::new().await;
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n";
    let answer = h.send("POST", MAPS, &[("content-type", "application/yaml")], text).await.expect(201);
    assert_eq!(answer["data"]["k"], "v");
}

#[tokio::test]
async fn services_get_addresses_and_ports_that_nobody_else_has() {
    let h = Harness::new().await;
    let path = "/api/v1/namespaces/ns/services";
    let service = |name: &str, spec: Value| json!({ "metadata": { "name": name }, "spec": spec });
    let ports = json!([{ "port": 80 }]);
    let first = h.post(path, service("a", json!({ "type": "NodePort", "ports": ports }))).await.expect(201);
    let (address, node_port) = (&first["spec"]["clusterIP"], &first["spec"]["ports"][0]["nodePort"]);
    assert!(address.as_str().unwrap().starts_with("10.96."));
    assert!((30000..=32767).contains(&node_port.as_i64().unwrap()));
    let taken = h.post(path, service("b", json!({ "clusterIP": address, "ports": ports }))).await;
    let text = address.as_str().unwrap();
    assert_eq!(
        taken.message(),
        format!(
            "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"{text}\"]: failed to allocate IP {text}: provided IP is already allocated"
        )
    );
    let taken = service("b", json!({ "type": "NodePort", "ports": [{ "port": 80, "nodePort": node_port }] }));
    let taken = h.post(path, taken).await;
    assert_eq!(
        taken.message(),
        format!(
            "Service \"b\" is invalid: spec.ports[0].nodePort: Invalid value: {node_port}: provided port is already allocated"
        )
    );
    let deleted = h.delete(&format!("{path}/a")).await.expect(200);
    assert_eq!(deleted["kind"], "Service");
    h.post(path, service("b", json!({ "clusterIP": address, "ports": ports }))).await.expect(201);
}

#[tokio::test]
async fn old_versions_are_served_with_a_warning() {
    let h = Harness::new().await;
    let manifest = json!({
        "apiVersion": "extensions/v1beta1",
        "kind": "ReplicaSet",
        "metadata": { "name": "nginx" },
        "spec": {
            "replicas": 2,
            "template": {
                "metadata": { "labels": { "app": "nginx" } },
                "spec": { "containers": [{ "name": "nginx", "image": "nginx" }] },
            },
        },
    });
    let old = h.post("/apis/extensions/v1beta1/namespaces/ns/replicasets", manifest).await;
    assert!(
        old.warnings.iter().any(|warning| warning.starts_with("extensions/v1beta1 ReplicaSet is deprecated")),
        "{:?}",
        old.warnings
    );
    let old = old.expect(201);
    assert_eq!(old["apiVersion"], "extensions/v1beta1");
    let new = h.get("/apis/apps/v1/namespaces/ns/replicasets/nginx").await.expect(200);
    assert_eq!(new["apiVersion"], "apps/v1");
    assert_eq!(new["metadata"]["uid"], old["metadata"]["uid"]);
    let list = h.get("/apis/extensions/v1beta1/namespaces/ns/replicasets").await.expect(200);
    assert_eq!(
        (list["apiVersion"].as_str(), list["items"].as_array().map(Vec::len)),
        (Some("extensions/v1beta1"), Some(1))
    );
}

#[tokio::test]
async fn scale_shows_and_sets_the_number() {
    let h = Harness::new().await;
    let template =
        json!({ "metadata": { "labels": { "app": "x" } }, "spec": { "containers": [{ "name": "c", "image": "i" }] } });
    let set = json!({
        "metadata": { "name": "x" },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "x" } }, "template": template },
    });
    h.post("/apis/apps/v1/namespaces/ns/replicasets", set).await.expect(201);
    let path = "/apis/apps/v1/namespaces/ns/replicasets/x/scale";
    let scale = h.get(path).await.expect(200);
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(1), &json!("app=x")));
    let scaled = h.merge(path, json!({ "spec": { "replicas": 5 } })).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 5);
    let object = h.get("/apis/apps/v1/namespaces/ns/replicasets/x").await.expect(200);
    assert_eq!((&object["spec"]["replicas"], &object["metadata"]["generation"]), (&json!(5), &json!(2)));
    let negative = h.merge(path, json!({ "spec": { "replicas": -1 } })).await;
    assert_eq!(
        negative.message(),
        "Scale.autoscaling \"x\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"
    );
    let stale =
        h.put(path, json!({ "metadata": { "name": "x", "resourceVersion": "1" }, "spec": { "replicas": 1 } })).await;
    assert_eq!(stale.code, 409);
}

#[tokio::test]
async fn a_binding_sets_the_node_once() {
    let h = Harness::new().await;
    h.post("/api/v1/namespaces/ns/pods", pod("p")).await.expect(201);
    let path = "/api/v1/namespaces/ns/pods/p/binding";
    let binding = json!({ "metadata": { "name": "p" }, "target": { "kind": "Node", "name": "n" } });
    let bound = h.post(path, binding.clone()).await.expect(201);
    assert_eq!(bound["status"], "Success");
    let pod = h.get("/api/v1/namespaces/ns/pods/p").await.expect(200);
    assert_eq!(pod["spec"]["nodeName"], "n");
    assert_eq!(pod["status"]["conditions"][0]["type"], "PodScheduled");
    let again = h.post(path, binding).await;
    assert_eq!(
        again.message(),
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n\""
    );
    assert_eq!(h.get(path).await.code, 405);
}

#[tokio::test]
async fn some_kinds_are_replaced_only_as_they_were_read() {
    let h = Harness::new().await;
    for (path, spec) in [
        ("/apis/policy/v1/namespaces/ns/poddisruptionbudgets", json!({ "spec": { "minAvailable": 1 } })),
        ("/apis/storage.k8s.io/v1/csidrivers", json!({ "spec": {} })),
        ("/apis/storage.k8s.io/v1/csinodes", json!({ "spec": { "drivers": [] } })),
        ("/apis/storage.k8s.io/v1/namespaces/ns/csistoragecapacities", json!({ "storageClassName": "s" })),
        ("/apis/node.k8s.io/v1/runtimeclasses", json!({ "handler": "h" })),
    ] {
        let mut object = spec.clone();
        object["metadata"] = json!({ "name": "a" });
        let one = format!("{path}/a");
        // A RuntimeClass is made by a PUT too.
        let creates = path.ends_with("runtimeclasses");
        assert_eq!(h.put(&one, object.clone()).await.code, if creates { 201 } else { 404 }, "{path}");
        if !creates {
            h.post(path, object.clone()).await.expect(201);
        }
        let refused = h.put(&one, object.clone()).await;
        assert_eq!(refused.code, 422, "{path}: {}", refused.body);
        let message = refused.body["message"].as_str().unwrap_or_default();
        assert!(
            message.ends_with("metadata.resourceVersion: Invalid value: 0: must be specified for an update"),
            "{message}"
        );
        let read = h.get(&one).await.expect(200);
        h.put(&one, read).await.expect(200);
    }
}
