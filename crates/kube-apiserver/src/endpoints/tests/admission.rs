use super::*;

const PODS: &str = "/api/v1/namespaces/ns/pods";

/// A quota whose account the controller has opened.
async fn quota(h: &Harness, name: &str, hard: Value, used: Value) {
    let path = "/api/v1/namespaces/ns/resourcequotas";
    h.post(path, json!({ "metadata": { "name": name }, "spec": { "hard": hard } })).await.expect(201);
    let status = json!({ "status": { "hard": hard, "used": used } });
    h.merge(&format!("{path}/{name}/status"), status).await.expect(200);
}

#[tokio::test]
async fn a_quota_of_one_pod_takes_one_pod() {
    let h = Harness::new().await;
    quota(&h, "q", json!({ "pods": "1" }), json!({ "pods": "0" })).await;
    h.post(PODS, pod("a")).await.expect(201);
    let refused = h.post(PODS, pod("b")).await;
    assert_eq!(
        (refused.code, refused.message()),
        (403, "pods \"b\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1")
    );
}

#[tokio::test]
async fn many_at_once_get_no_more_than_there_is() {
    let h = Arc::new(Harness::new().await);
    quota(&h, "q", json!({ "pods": "3" }), json!({ "pods": "0" })).await;
    let creates = (0..10).map(|n| {
        let h = h.clone();
        async move { h.post(PODS, pod(&format!("p{n}"))).await.code }
    });
    let codes = futures::future::join_all(creates).await;
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 3, "{codes:?}");
    assert!(codes.iter().all(|code| matches!(code, 201 | 403)), "{codes:?}");
}

#[tokio::test]
async fn compute_quotas_want_to_be_told_and_count() {
    let h = Harness::new().await;
    let hard = json!({ "cpu": "1", "limits.memory": "1Gi", "requests.memory": "512Mi" });
    let zero = json!({ "cpu": "0", "limits.memory": "0", "requests.memory": "0" });
    quota(&h, "q", hard, zero).await;
    let silent = h.post(PODS, pod("a")).await;
    assert_eq!(
        silent.message(),
        "pods \"a\" is forbidden: failed quota: q: must specify cpu for: c; limits.memory for: c; requests.memory for: c"
    );
    let sized = |name: &str, memory: &str, limit: &str| {
        let mut pod = pod(name);
        pod["spec"]["containers"][0]["resources"] =
            json!({ "requests": { "cpu": "600m", "memory": memory }, "limits": { "memory": limit } });
        pod
    };
    h.post(PODS, sized("b", "128Mi", "256Mi")).await.expect(201);
    let over = h.post(PODS, sized("c", "400Mi", "800Mi")).await;
    assert_eq!(
        over.message(),
        "pods \"c\" is forbidden: exceeded quota: q, requested: cpu=600m,limits.memory=800Mi,requests.memory=400Mi, used: cpu=600m,limits.memory=256Mi,requests.memory=128Mi, limited: cpu=1,limits.memory=1Gi,requests.memory=512Mi"
    );
}

#[tokio::test]
async fn limit_ranges_fill_in_and_refuse() {
    let h = Harness::new().await;
    let range = json!({ "metadata": { "name": "l" }, "spec": { "limits": [{
        "type": "Container",
        "default": { "cpu": "500m", "memory": "512Mi" },
        "defaultRequest": { "cpu": "100m" },
        "max": { "memory": "1Gi" },
    }] } });
    h.post("/api/v1/namespaces/ns/limitranges", range).await.expect(201);
    let made = h.post(PODS, pod("a")).await.expect(201);
    assert_eq!(
        made["metadata"]["annotations"]["kubernetes.io/limit-ranger"],
        "LimitRanger plugin set: cpu, memory request for container c; cpu, memory limit for container c"
    );
    assert_eq!(made["spec"]["containers"][0]["resources"]["limits"], json!({ "cpu": "500m", "memory": "512Mi" }));
    let mut large = pod("c");
    large["spec"]["containers"][0]["resources"] = json!({ "limits": { "memory": "2Gi" } });
    let refused = h.post(PODS, large).await;
    assert_eq!(
        refused.message(),
        "pods \"c\" is forbidden: maximum memory usage per Container is 1Gi, but limit is 2Gi"
    );
}

#[tokio::test]
async fn pods_get_account_token_tolerations_and_priority() {
    let h = Harness::new().await;
    let made = h.post(PODS, pod("p")).await.expect(201);
    let spec = &made["spec"];
    assert_eq!((&spec["serviceAccountName"], &spec["serviceAccount"]), (&json!("default"), &json!("default")));
    let volume = &spec["volumes"][0];
    assert!(volume["name"].as_str().unwrap().starts_with("kube-api-access-"));
    assert_eq!(
        volume["projected"]["sources"][0],
        json!({ "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } })
    );
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(0), &json!("PreemptLowerPriority")));

    let mut critical = pod("critical");
    critical["spec"]["priorityClassName"] = "system-node-critical".into();
    assert_eq!(h.post(PODS, critical).await.expect(201)["spec"]["priority"], 2_000_001_000);
    let mut unknown = pod("x");
    unknown["spec"]["priorityClassName"] = "nope".into();
    let refused = h.post(PODS, unknown).await;
    assert_eq!(refused.message(), "pods \"x\" is forbidden: no PriorityClass with name nope was found");
    let mut stranger = pod("x");
    stranger["spec"]["serviceAccountName"] = "nope".into();
    let refused = h.post(PODS, stranger).await;
    assert_eq!(
        refused.message(),
        "pods \"x\" is forbidden: error looking up service account ns/nope: serviceaccount \"nope\" not found"
    );
}

#[tokio::test]
async fn namespaces_must_exist_and_those_of_the_system_stay() {
    let h = Harness::new().await;
    let missing = h.post("/api/v1/namespaces/nope/configmaps", json!({ "metadata": { "name": "a" } })).await;
    assert_eq!((missing.code, missing.message()), (404, "namespaces \"nope\" not found"));
    let kept = h.delete("/api/v1/namespaces/default").await;
    assert_eq!(kept.message(), "namespaces \"default\" is forbidden: this namespace may not be deleted");
}

#[tokio::test]
async fn the_kubernetes_service_has_the_first_address_and_the_server_as_endpoint() {
    let h = Harness::new().await;
    let service = h.get("/api/v1/namespaces/default/services/kubernetes").await.expect(200);
    assert_eq!(service["spec"]["clusterIP"], "10.96.0.1");
    let endpoints = h.get("/api/v1/namespaces/default/endpoints/kubernetes").await.expect(200);
    assert_eq!(endpoints["subsets"][0]["addresses"][0]["ip"], "192.0.2.1");
}
