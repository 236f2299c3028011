//! Old versions: each is taken and answered in its own shape, with a warning, and is the same object under today's.

use super::*;

/// What is made at an old path, its spec as it must read back, and today's path and spec.
struct Case {
    old: &'static str,
    new: &'static str,
    object: Value,
    pointer: &'static str,
    stored: Value,
}

fn cases() -> Vec<Case> {
    let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" });
    vec![
        Case {
            old: "/apis/extensions/v1beta1/namespaces/ns/ingresses",
            new: "/apis/networking.k8s.io/v1/namespaces/ns/ingresses",
            object: json!({ "spec": { "backend": { "serviceName": "s", "servicePort": 80 } } }),
            pointer: "/spec/defaultBackend",
            stored: json!({ "service": { "name": "s", "port": { "number": 80 } } }),
        },
        Case {
            old: "/apis/autoscaling/v2beta1/namespaces/ns/horizontalpodautoscalers",
            new: "/apis/autoscaling/v2/namespaces/ns/horizontalpodautoscalers",
            object: json!({ "spec": { "scaleTargetRef": target, "maxReplicas": 3,
                "metrics": [{ "type": "Resource", "resource": { "name": "cpu", "targetAverageUtilization": 50 } }] } }),
            pointer: "/spec/metrics/0/resource/target",
            stored: json!({ "type": "Utilization", "averageUtilization": 50 }),
        },
        Case {
            old: "/apis/policy/v1beta1/namespaces/ns/poddisruptionbudgets",
            new: "/apis/policy/v1/namespaces/ns/poddisruptionbudgets",
            object: json!({ "spec": { "minAvailable": 1, "selector": {} } }),
            pointer: "/spec/selector/matchExpressions/0/operator",
            stored: json!("Exists"),
        },
        Case {
            old: "/apis/discovery.k8s.io/v1beta1/namespaces/ns/endpointslices",
            new: "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices",
            object: json!({ "addressType": "IPv4", "endpoints": [{ "addresses": ["10.0.0.1"],
                "topology": { "kubernetes.io/hostname": "n", "topology.kubernetes.io/zone": "z" }, "nodeName": "n" }] }),
            pointer: "/endpoints/0/zone",
            stored: json!("z"),
        },
        Case {
            old: "/apis/rbac.authorization.k8s.io/v1beta1/namespaces/ns/roles",
            new: "/apis/rbac.authorization.k8s.io/v1/namespaces/ns/roles",
            object: json!({ "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }] }),
            pointer: "/rules/0/resources/0",
            stored: json!("pods"),
        },
        Case {
            old: "/apis/flowcontrol.apiserver.k8s.io/v1beta1/prioritylevelconfigurations",
            new: "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
            object: json!({ "spec": { "type": "Limited", "limited": {
                "assuredConcurrencyShares": 7, "limitResponse": { "type": "Reject" } } } }),
            pointer: "/spec/limited/nominalConcurrencyShares",
            stored: json!(7),
        },
        Case {
            old: "/apis/apiextensions.k8s.io/v1beta1/customresourcedefinitions",
            new: "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            object: json!({ "spec": { "group": "x.io", "version": "v1", "scope": "Cluster",
                "names": { "plural": "as", "kind": "A" },
                "validation": { "openAPIV3Schema": { "type": "object", "x-kubernetes-preserve-unknown-fields": true } } } }),
            pointer: "/spec/versions/0/schema/openAPIV3Schema/type",
            stored: json!("object"),
        },
    ]
}

/// Whether everything in `wanted` is in `value`.
fn holds(value: &Value, wanted: &Value) -> bool {
    match (value, wanted) {
        (Value::Object(value), Value::Object(wanted)) => {
            wanted.iter().all(|(key, wanted)| value.get(key).is_some_and(|value| holds(value, wanted)))
        }
        (Value::Array(value), Value::Array(wanted)) => {
            value.len() == wanted.len() && value.iter().zip(wanted).all(|(value, wanted)| holds(value, wanted))
        }
        _ => value == wanted,
    }
}

#[tokio::test]
async fn old_versions_are_taken_and_answered_in_their_own_shape() {
    let h = Harness::new().await;
    for case in cases() {
        let name = if case.old.contains("customresource") { "as.x.io" } else { "a" };
        let mut object = case.object.clone();
        object["metadata"] = json!({ "name": name });
        let made = h.post(case.old, object).await;
        assert_eq!(made.code, 201, "{}: {}", case.old, made.body);
        assert!(made.warnings.iter().any(|warning| warning.contains("is deprecated in")), "{}", case.old);
        let (old, new) = (format!("{}/{name}", case.old), format!("{}/{name}", case.new));
        for read in [made.body, h.get(&old).await.expect(200), h.get(case.old).await.expect(200)["items"][0].clone()] {
            assert!(holds(&read, &case.object), "{}: {read}", case.old);
        }
        let stored = h.get(&new).await;
        assert!(stored.warnings.is_empty(), "{:?}", stored.warnings);
        assert_eq!(stored.body.pointer(case.pointer), Some(&case.stored), "{}", stored.body);
        // What is read can be written, and nothing changes by it.
        let again = h.get(&old).await.expect(200);
        let written = h.put(&old, again.clone()).await.expect(200);
        assert_eq!(written["metadata"]["resourceVersion"], again["metadata"]["resourceVersion"], "{}", case.old);
    }
}

#[tokio::test]
async fn a_row_shows_the_same_in_every_version() {
    let h = Harness::new().await;
    let spec = json!({ "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": "d" },
        "maxReplicas": 5, "targetCPUUtilizationPercentage": 70 });
    let path = "/apis/autoscaling/v1/namespaces/ns/horizontalpodautoscalers";
    let headers = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"), ("content-type", "application/json")];
    let object = json!({ "metadata": { "name": "a" }, "spec": spec });
    let made = h.send("POST", path, &headers, object.to_string()).await.expect(201);
    assert_eq!(made["rows"][0]["cells"][2], "cpu: <unknown>/70%");
    for path in [path.to_owned(), format!("{path}/a"), format!("{}/a", path.replace("v1", "v2"))] {
        let read = h.send("GET", &path, &headers[..1], "").await.expect(200);
        assert_eq!(read["rows"][0]["cells"], made["rows"][0]["cells"], "{path}");
    }
}

#[tokio::test]
async fn old_questions_are_answered_in_their_own_shape() {
    let h = Harness::new().await;
    let access = json!({ "resourceAttributes": { "verb": "get", "resource": "pods", "namespace": "ns" } });
    let subject = json!({ "user": "u", "group": ["g"], "resourceAttributes": access["resourceAttributes"] });
    for (group, path, spec) in [
        ("authorization.k8s.io", "subjectaccessreviews", subject.clone()),
        ("authorization.k8s.io", "namespaces/ns/localsubjectaccessreviews", subject),
        ("authorization.k8s.io", "selfsubjectaccessreviews", access),
        ("authorization.k8s.io", "selfsubjectrulesreviews", json!({ "namespace": "ns" })),
        ("authentication.k8s.io", "tokenreviews", json!({ "token": "t" })),
        ("authentication.k8s.io", "selfsubjectreviews", Value::Null),
    ] {
        let mut review = json!({ "spec": spec });
        if spec.is_null() {
            review = json!({});
        }
        let path = format!("/apis/{group}/v1beta1/{path}");
        let answer = h.post(&path, review).await;
        assert_eq!(answer.code, 201, "{path}: {}", answer.body);
        assert_eq!(answer.body["apiVersion"], format!("{group}/v1beta1"));
        assert!(answer.body["status"].is_object(), "{path}: {}", answer.body);
        assert!(answer.warnings.iter().any(|warning| warning.contains("v1beta1") && warning.contains("; use ")));
        if !spec["group"].is_null() {
            assert_eq!(answer.body["spec"], spec, "{path}");
        }
    }
    assert_eq!(h.post("/apis/authentication.k8s.io/v1/tokenreviews/x", json!({})).await.code, 404);
}

#[tokio::test]
async fn a_request_of_an_old_version_need_not_name_its_signer() {
    let h = Harness::new().await;
    const OF_JANE: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIWk1JR0FBZ0VBTUI0eERUQUxCZ05WQkFvTUJHUmxkbk14RFRBTEJnTlZCQU1NQkdwaGJtVXdXVEFUQmdjcQpoa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVJKRDBQS2pVckFJZTc0N2xTMkErVzZ4WmZCenl2c2VLY2hTd0RSCnAzSDVoR1NmZG9JVE82Vi9jL3JjUUhqSWRxS1JSSTd4dFcxbmVKa2pic2c2bEk4dW9BQXdDZ1lJS29aSXpqMEUKQXdJRFNBQXdSUUloQUl2OGlrcy9sbWVvVG1XVDI0RXNaTWRQTHdTVVQ1c09IMHZjME1HWTBTM2xBaUExNitzbwoxVTZZcEI2WmlScURLZVBYejFnWWVnRFhmQllKaXdtZjNIQmU0Zz09Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";
    let object = json!({ "metadata": { "name": "a" }, "spec": { "request": OF_JANE } });
    let path = |version: &str| format!("/apis/certificates.k8s.io/{version}/certificatesigningrequests");
    let refused = h.post(&path("v1"), object.clone()).await;
    assert_eq!(refused.code, 422, "{}", refused.body);
    let made = h.post(&path("v1beta1"), object).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let read = h.get(&format!("{}/a", path("v1"))).await.expect(200);
    assert_eq!(read["spec"]["signerName"], "kubernetes.io/legacy-unknown");
    assert_eq!(read["spec"]["usages"], json!(["digital signature", "key encipherment"]));
}
