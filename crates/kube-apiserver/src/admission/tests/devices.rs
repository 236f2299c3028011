//! Claims of devices: administrators' access, who may say what of a claim, and quotas on devices.

use serde_json::{Value, json};

use super::Cluster;
use crate::UserInfo;
use crate::testing::admin;

const CLAIMS: &str = "/apis/resource.k8s.io/v1/namespaces/ns/resourceclaims";
const CLASSES: &str = "/apis/resource.k8s.io/v1/deviceclasses";
const SLICES: &str = "/apis/resource.k8s.io/v1/resourceslices";

fn claim(name: &str, requests: Value) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "devices": { "requests": requests } } })
}

fn one(class: &str) -> Value {
    json!([{ "name": "r", "exactly": { "deviceClassName": class } }])
}

#[tokio::test]
async fn a_namespace_allows_access_as_an_administrator_by_its_label() {
    let cluster = Cluster::new(|_, _| {}).await;
    let requests = json!([{ "name": "r", "exactly": { "deviceClassName": "c", "adminAccess": true } }]);
    let of_template = json!({ "metadata": { "name": "t" }, "spec": claim("", requests.clone())["spec"].take() });
    let of_template = json!({ "metadata": { "name": "t" }, "spec": { "spec": of_template["spec"] } });
    let templates = "/apis/resource.k8s.io/v1/namespaces/ns/resourceclaimtemplates";
    let fault = "spec.devices.requests[0].adminAccess: Forbidden: admin access to devices requires the `resource.kubernetes.io/admin-access: true` label on the containing namespace";
    assert_eq!(
        cluster.post(CLAIMS, claim("a", requests.clone())).await.refused(422),
        format!("ResourceClaim.resource.k8s.io \"a\" is invalid: {fault}")
    );
    assert_eq!(
        cluster.post(templates, of_template.clone()).await.refused(422),
        format!("ResourceClaimTemplate.resource.k8s.io \"t\" is invalid: {fault}")
    );
    cluster.post(CLAIMS, claim("b", one("c"))).await.expect(201);
    let granted = json!({ "request": "r", "driver": "d.io", "pool": "p", "device": "d", "adminAccess": true });
    let granted = json!({ "status": { "allocation": { "devices": { "results": [granted] } } } });
    assert!(
        cluster
            .merge(&format!("{CLAIMS}/b/status"), granted.clone())
            .await
            .refused(422)
            .contains("status.allocation.devices.results[0].adminAccess: Forbidden: admin access to devices requires")
    );
    let label = json!({ "metadata": { "labels": { "resource.kubernetes.io/admin-access": "true" } } });
    cluster.merge("/api/v1/namespaces/ns", label).await.expect(200);
    cluster.post(CLAIMS, claim("a", requests)).await.expect(201);
    cluster.post(templates, of_template).await.expect(201);
    cluster.merge(&format!("{CLAIMS}/b/status"), granted).await.expect(200);
}

#[tokio::test]
async fn the_status_of_a_claim_has_several_writers() {
    let cluster = Cluster::new(|_, _| {}).await;
    cluster.post(CLAIMS, claim("a", one("c"))).await.expect(201);
    let rule = |resource: &str, verbs: &[&str]| json!({ "apiGroups": ["resource.k8s.io"], "resources": [resource], "verbs": verbs });
    let rules = json!([rule("resourceclaims/status", &["patch"])]);
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    cluster.post(roles, json!({ "metadata": { "name": "r" }, "rules": rules })).await.expect(201);
    let binding = json!({ "metadata": { "name": "b" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r" },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob" }] });
    cluster.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding).await.expect(201);
    let bob = || UserInfo::new("bob", ["system:authenticated"]);
    let status = format!("{CLAIMS}/a/status");
    let result = json!({ "request": "r", "driver": "d.io", "pool": "p", "device": "d" });
    let allocation = json!({ "status": { "allocation": { "devices": { "results": [result] } } } });
    assert_eq!(
        cluster.send(bob(), "PATCH", &status, allocation.clone()).await.refused(422),
        "ResourceClaim.resource.k8s.io \"a\" is invalid: status: Forbidden: changing status.allocation or status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"patch\" permission: resourceclaims.resource.k8s.io is forbidden: User \"bob\" cannot patch resource \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope"
    );
    cluster.send(admin(), "PATCH", &status, allocation).await.expect(200);
    let devices = json!({ "status": { "devices": [{ "driver": "d.io", "pool": "p", "device": "d" }] } });
    assert_eq!(
        cluster.send(bob(), "PATCH", &status, devices.clone()).await.refused(422),
        "ResourceClaim.resource.k8s.io \"a\" is invalid: status.devices: Forbidden: changing status.devices requires resource=\"resourceclaims/driver\", verb=\"[arbitrary-node:patch]\" permission: resourceclaims.resource.k8s.io \"d.io\" is forbidden: User \"bob\" cannot arbitrary-node:patch resource \"resourceclaims/driver\" in API group \"resource.k8s.io\" in the namespace \"ns\""
    );
    let mut own = rule("resourceclaims/driver", &["arbitrary-node:patch"]);
    own["resourceNames"] = json!(["d.io"]);
    cluster.merge(&format!("{roles}/r"), json!({ "rules": [rules[0], own] })).await.expect(200);
    let written = cluster.send(bob(), "PATCH", &status, devices).await.expect(200);
    assert_eq!(written["status"]["devices"][0]["device"], "d");
    // What was said of a device goes with its allocation.
    let freed = cluster.merge(&status, json!({ "status": { "allocation": null } })).await.expect(200);
    assert_eq!(freed["status"], json!({}));
}

#[tokio::test]
async fn quotas_count_devices_under_all_names_of_their_class() {
    let cluster = Cluster::new(|_, _| {}).await;
    let class = json!({ "metadata": { "name": "gpu" }, "spec": { "extendedResourceName": "example.com/gpu" } });
    cluster.post(CLASSES, class).await.expect(201);
    let quotas = "/api/v1/namespaces/ns/resourcequotas";
    let names = [
        "gpu.deviceclass.resource.k8s.io/devices",
        "requests.deviceclass.resource.kubernetes.io/gpu",
        "requests.example.com/gpu",
    ];
    let amounts = |amount: &str| names.iter().map(|name| ((*name).to_owned(), Value::from(amount))).collect::<Value>();
    cluster.post(quotas, json!({ "metadata": { "name": "q" }, "spec": { "hard": amounts("4") } })).await.expect(201);
    let status = json!({ "status": { "hard": amounts("4"), "used": amounts("0") } });
    cluster.merge(&format!("{quotas}/q/status"), status).await.expect(200);
    let alternatives = json!([{ "name": "r", "firstAvailable": [
        { "name": "a", "deviceClassName": "gpu", "count": 3 }, { "name": "b", "deviceClassName": "gpu", "count": 2 }] }]);
    cluster.post(CLAIMS, claim("a", alternatives)).await.expect(201);
    let used = cluster.send(admin(), "GET", &format!("{quotas}/q"), Value::Null).await.expect(200);
    assert_eq!(used["status"]["used"], amounts("3"));
    let all = json!([{ "name": "r", "exactly": { "deviceClassName": "gpu", "allocationMode": "All" } }]);
    let list = |amount: &str| names.map(|name| format!("{name}={amount}")).join(",");
    assert_eq!(
        cluster.post(CLAIMS, claim("b", all)).await.refused(403),
        format!(
            "resourceclaims.resource.k8s.io \"b\" is forbidden: exceeded quota: q, requested: {}, used: {}, limited: {}",
            list("32"),
            list("3"),
            list("4")
        )
    );
    cluster.post(CLAIMS, claim("c", one("other"))).await.expect(201);
}

#[tokio::test]
async fn taints_are_as_old_as_the_write_that_made_them() {
    let cluster = Cluster::new(|_, _| {}).await;
    let slice = |taints: Value| {
        json!({ "metadata": { "name": "s" }, "spec": { "driver": "d.io", "nodeName": "n",
            "pool": { "name": "p", "generation": 1, "resourceSliceCount": 1 },
            "devices": [{ "name": "d", "taints": taints }] } })
    };
    let taint = |effect: &str| json!([{ "key": "a", "effect": effect }]);
    let time = |slice: &Value| slice.pointer("/spec/devices/0/taints/0/timeAdded").cloned();
    let made = cluster.post(SLICES, slice(taint("NoSchedule"))).await.expect(201);
    assert!(time(&made).is_some_and(|time| time.is_string()));
    assert_eq!(made["metadata"]["generation"], 1);
    let path = format!("{SLICES}/s");
    let labelled = cluster.merge(&path, json!({ "metadata": { "labels": { "a": "b" } } })).await.expect(200);
    assert_eq!((time(&labelled), &labelled["metadata"]["generation"]), (time(&made), &json!(1)));
    let replaced = cluster.send(admin(), "PUT", &path, slice(taint("NoExecute"))).await.expect(200);
    assert!(time(&replaced).is_some_and(|time| time.is_string()));
    assert_eq!(replaced["metadata"]["generation"], 2);
    let deleted = cluster.send(admin(), "DELETE", &path, Value::Null).await.expect(200);
    assert_eq!(deleted["kind"], "ResourceSlice");
}
