use serde_json::{Value, json};

use super::{Cluster, PODS, pod};

const CLAIMS: &str = "/api/v1/namespaces/ns/persistentvolumeclaims";
const CLASSES: &str = "/apis/storage.k8s.io/v1/storageclasses";

fn claim(name: &str, size: &str) -> Value {
    json!({ "metadata": { "name": name },
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": size } } } })
}

async fn class(cluster: &Cluster, name: &str, default: bool) {
    let annotations = json!({ "storageclass.kubernetes.io/is-default-class": default.to_string() });
    let class = json!({ "metadata": { "name": name, "annotations": annotations }, "provisioner": "x.example.com" });
    cluster.post(CLASSES, class).await.expect(201);
}

#[tokio::test]
async fn claims_get_the_default_class_and_storage_its_finalizers() {
    let cluster = Cluster::new(|_, _| {}).await;
    let without = cluster.post(CLAIMS, claim("a", "1Gi")).await.expect(201);
    assert!(without["spec"].get("storageClassName").is_none());
    assert_eq!(without["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    class(&cluster, "slow", false).await;
    class(&cluster, "fast", true).await;
    assert_eq!(cluster.post(CLAIMS, claim("b", "1Gi")).await.expect(201)["spec"]["storageClassName"], "fast");
    let mut none = claim("c", "1Gi");
    none["spec"]["storageClassName"] = "".into();
    assert_eq!(cluster.post(CLAIMS, none).await.expect(201)["spec"]["storageClassName"], "");
    let mut annotated = claim("d", "1Gi");
    annotated["metadata"]["annotations"] = json!({ "volume.beta.kubernetes.io/storage-class": "slow" });
    assert!(cluster.post(CLAIMS, annotated).await.expect(201)["spec"].get("storageClassName").is_none());
    let attributes = json!({ "metadata": { "name": "g" }, "driverName": "d", "parameters": { "a": "b" } });
    let made = cluster.post("/apis/storage.k8s.io/v1/volumeattributesclasses", attributes).await.expect(201);
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/vac-protection"]));
}

#[tokio::test]
async fn claims_grow_when_bound_and_their_class_allows_it() {
    let cluster = Cluster::new(|_, _| {}).await;
    class(&cluster, "fast", true).await;
    cluster.post(CLAIMS, claim("a", "1Gi")).await.expect(201);
    let path = format!("{CLAIMS}/a");
    let bound = json!({ "status": { "phase": "Bound", "capacity": { "storage": "1Gi" } } });
    cluster.merge(&format!("{path}/status"), bound).await.expect(200);
    let size = |size: &str| json!({ "spec": { "resources": { "requests": { "storage": size } } } });
    assert_eq!(
        cluster.merge(&path, size("2Gi")).await.refused(403),
        "persistentvolumeclaims \"a\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
    );
    cluster.merge(&format!("{CLASSES}/fast"), json!({ "allowVolumeExpansion": true })).await.expect(200);
    cluster.merge(&path, size("2Gi")).await.expect(200);
}

#[tokio::test]
async fn limit_ranges_and_quotas_count_storage() {
    let cluster = Cluster::new(|_, _| {}).await;
    let range = json!({ "metadata": { "name": "l" }, "spec": { "limits": [
        { "type": "PersistentVolumeClaim", "min": { "storage": "1Gi" }, "max": { "storage": "5Gi" } }] } });
    cluster.post("/api/v1/namespaces/ns/limitranges", range).await.expect(201);
    assert_eq!(
        cluster.post(CLAIMS, claim("a", "10Gi")).await.refused(403),
        "persistentvolumeclaims \"a\" is forbidden: maximum storage usage per PersistentVolumeClaim is 5Gi, but request is 10Gi"
    );
    assert_eq!(
        cluster.post(CLAIMS, claim("a", "1Mi")).await.refused(403),
        "persistentvolumeclaims \"a\" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi"
    );
    let quotas = "/api/v1/namespaces/ns/resourcequotas";
    let hard = json!({ "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1", "requests.storage": "4Gi" });
    cluster.post(quotas, json!({ "metadata": { "name": "q" }, "spec": { "hard": hard } })).await.expect(201);
    let used = json!({ "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "0", "requests.storage": "0" });
    cluster.merge(&format!("{quotas}/q/status"), json!({ "status": { "hard": hard, "used": used } })).await.expect(200);
    let gold = |name: &str| {
        let mut claim = claim(name, "1Gi");
        claim["spec"]["storageClassName"] = "gold".into();
        claim
    };
    cluster.post(CLAIMS, gold("a")).await.expect(201);
    assert_eq!(
        cluster.post(CLAIMS, gold("b")).await.refused(403),
        "persistentvolumeclaims \"b\" is forbidden: exceeded quota: q, requested: gold.storageclass.storage.k8s.io/persistentvolumeclaims=1, used: gold.storageclass.storage.k8s.io/persistentvolumeclaims=1, limited: gold.storageclass.storage.k8s.io/persistentvolumeclaims=1"
    );
    assert_eq!(
        cluster.post(CLAIMS, claim("b", "4Gi")).await.refused(403),
        "persistentvolumeclaims \"b\" is forbidden: exceeded quota: q, requested: requests.storage=4Gi, used: requests.storage=1Gi, limited: requests.storage=4Gi"
    );
}

#[tokio::test]
async fn a_runtime_class_gives_overhead_and_nodes() {
    let cluster = Cluster::new(|_, _| {}).await;
    let class = json!({ "metadata": { "name": "rc" }, "handler": "h", "overhead": { "podFixed": { "cpu": "100m" } },
        "scheduling": { "nodeSelector": { "x": "y" }, "tolerations": [{ "key": "t", "operator": "Exists" }] } });
    cluster.post("/apis/node.k8s.io/v1/runtimeclasses", class).await.expect(201);
    let made = pod("a", json!({ "runtimeClassName": "rc", "nodeSelector": { "own": "1" } }));
    let spec = &cluster.post(PODS, made).await.expect(201)["spec"];
    assert_eq!(
        (&spec["overhead"], &spec["nodeSelector"]),
        (&json!({ "cpu": "100m" }), &json!({ "own": "1", "x": "y" }))
    );
    let keys: Vec<&str> = spec["tolerations"].as_array().unwrap().iter().map(|t| t["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "t"]);
    let refusals = [
        (
            json!({ "runtimeClassName": "rc", "overhead": { "cpu": "1" } }),
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ),
        (
            json!({ "runtimeClassName": "rc", "nodeSelector": { "x": "z" } }),
            "conflict: runtimeClass.scheduling.nodeSelector[x] = y; pod.spec.nodeSelector[x] = z",
        ),
        (json!({ "runtimeClassName": "no" }), "pod rejected: RuntimeClass \"no\" not found"),
        (
            json!({ "overhead": { "cpu": "1" } }),
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ),
    ];
    for (with, message) in refusals {
        assert_eq!(
            cluster.post(PODS, pod("b", with)).await.refused(403),
            format!("pods \"b\" is forbidden: {message}")
        );
    }
}

#[tokio::test]
async fn pods_mount_only_what_their_account_names_where_it_says_so() {
    let cluster = Cluster::new(|_, _| {}).await;
    let account = json!({ "metadata": { "name": "sa", "annotations": { "kubernetes.io/enforce-mountable-secrets": "true" } },
        "secrets": [{ "name": "ok" }] });
    cluster.post("/api/v1/namespaces/ns/serviceaccounts", account).await.expect(201);
    let with = |secret: &str| {
        let mut pod = pod("p", json!({ "serviceAccountName": "sa" }));
        pod["spec"]["containers"][0]["envFrom"] = json!([{ "secretRef": { "name": secret } }]);
        pod
    };
    // CVE-2024-3177: variables taken from whole Secrets are looked at.
    assert_eq!(
        cluster.post(PODS, with("other")).await.refused(403),
        "pods \"p\" is forbidden: container c with envFrom referencing secret.secretName=\"other\" is not allowed because service account sa does not reference that secret"
    );
    cluster.post(PODS, with("ok")).await.expect(201);
}
