//! Subresources that are parts of an object with rules of their own.

use super::*;

const PODS: &str = "/api/v1/namespaces/ns/pods";

fn sized(cpu: &str) -> Value {
    json!({ "limits": { "cpu": cpu, "memory": "64Mi" }, "requests": { "cpu": cpu, "memory": "64Mi" } })
}

async fn strategic(h: &Harness, path: &str, patch: Value) -> Answer {
    h.send("PATCH", path, &[("content-type", "application/strategic-merge-patch+json")], patch.to_string()).await
}

#[tokio::test]
async fn a_debug_container_joins_a_pod_and_stays() {
    let h = Harness::new().await;
    h.post(PODS, pod("p")).await.expect(201);
    let path = format!("{PODS}/p/ephemeralcontainers");
    let debugger = json!({ "name": "d", "image": "i", "targetContainerName": "c" });
    let patch = json!({ "metadata": { "labels": { "x": "y" } }, "spec": { "ephemeralContainers": [debugger] } });
    let patched = strategic(&h, &path, patch).await.expect(200);
    assert_eq!(patched.pointer("/spec/ephemeralContainers/0/targetContainerName").unwrap(), "c");
    assert_eq!(patched.pointer("/metadata/generation").unwrap(), 2);
    assert_eq!(patched.pointer("/metadata/labels"), None);
    let mut without = h.get(&path).await.expect(200);
    without["spec"]["ephemeralContainers"] = json!([]);
    let refused = h.put(&path, without).await;
    assert_eq!(
        (refused.code, refused.message()),
        (
            422,
            "Pod \"p\" is invalid: spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed\n"
        )
    );
    let second = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "p" },
        "spec": { "ephemeralContainers": [{ "name": "e", "image": "i" }] } });
    let headers = [("content-type", "application/apply-patch+yaml")];
    let applied = h.send("PATCH", &format!("{path}?fieldManager=m"), &headers, second.to_string()).await.expect(200);
    assert_eq!(applied.pointer("/spec/ephemeralContainers").and_then(Value::as_array).map(Vec::len), Some(2));
    assert_eq!(h.delete(&path).await.code, 405);
    assert_eq!(strategic(&h, &format!("{PODS}/none/ephemeralcontainers"), json!({})).await.code, 404);
}

#[tokio::test]
async fn a_resize_is_limited_and_counted() {
    let h = Harness::new().await;
    let quota = json!({ "metadata": { "name": "q" }, "spec": { "hard": { "limits.cpu": "2" } } });
    h.post("/api/v1/namespaces/ns/resourcequotas", quota).await.expect(201);
    let status = json!({ "status": { "hard": { "limits.cpu": "2" }, "used": { "limits.cpu": "0" } } });
    h.merge("/api/v1/namespaces/ns/resourcequotas/q/status", status).await.expect(200);
    let mut pod = pod("p");
    pod["spec"]["containers"][0]["resources"] = sized("1");
    h.post(PODS, pod).await.expect(201);
    let path = format!("{PODS}/p/resize");
    let to = |cpu: &str| json!({ "spec": { "containers": [{ "name": "c", "resources": sized(cpu) }] } });
    let resized = strategic(&h, &path, to("1500m")).await.expect(200);
    assert_eq!(resized.pointer("/spec/containers/0/resources"), Some(&sized("1500m")));
    let used = h.get("/api/v1/namespaces/ns/resourcequotas/q").await.expect(200);
    assert_eq!(used.pointer("/status/used/limits.cpu").unwrap(), "1500m");
    let refused = strategic(&h, &path, to("3")).await;
    assert_eq!(
        (refused.code, refused.message()),
        (
            403,
            "pods \"p\" is forbidden: exceeded quota: q, requested: limits.cpu=1500m, used: limits.cpu=1500m, limited: limits.cpu=2"
        )
    );
    let range = json!({ "metadata": { "name": "r" },
        "spec": { "limits": [{ "type": "Container", "max": { "cpu": "1700m" } }] } });
    h.post("/api/v1/namespaces/ns/limitranges", range).await.expect(201);
    let refused = strategic(&h, &path, to("1800m")).await;
    assert_eq!(
        (refused.code, refused.message()),
        (403, "pods \"p\" is forbidden: maximum cpu usage per Container is 1700m, but limit is 1800m")
    );
    let whole = h.get(&path).await.expect(200);
    assert_eq!(h.put(&path, whole).await.expect(200).pointer("/metadata/generation").unwrap(), 2);
}
