//! Certificate requests: who asks, who approves, and what each way of an update may change.

use super::*;

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
/// Of jane in devs, in PEM and base64.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIWk1JR0FBZ0VBTUI0eERUQUxCZ05WQkFvTUJHUmxkbk14RFRBTEJnTlZCQU1NQkdwaGJtVXdXVEFUQmdjcQpoa2pPUFFJQkJnZ3Foa2pPUFFNQkJ3TkNBQVJKRDBQS2pVckFJZTc0N2xTMkErVzZ4WmZCenl2c2VLY2hTd0RSCnAzSDVoR1NmZG9JVE82Vi9jL3JjUUhqSWRxS1JSSTd4dFcxbmVKa2pic2c2bEk4dW9BQXdDZ1lJS29aSXpqMEUKQXdJRFNBQXdSUUloQUl2OGlrcy9sbWVvVG1XVDI0RXNaTWRQTHdTVVQ1c09IMHZjME1HWTBTM2xBaUExNitzbwoxVTZZcEI2WmlScURLZVBYejFnWWVnRFhmQllKaXdtZjNIQmU0Zz09Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

fn request() -> Value {
    let spec =
        json!({ "request": REQUEST, "signerName": "example.com/s", "usages": ["client auth"], "username": "root" });
    json!({ "metadata": { "name": "c" }, "spec": spec })
}

#[tokio::test]
async fn who_asks_is_written_by_the_server() {
    let h = Harness::new().await;
    let made = h.post(REQUESTS, request()).await.expect(201);
    assert_eq!((&made["spec"]["username"], made["metadata"].get("managedFields")), (&json!("admin"), None));
    assert_eq!(made["spec"]["groups"], json!(["system:masters", "system:authenticated"]));
    let selected = h.get(&format!("{REQUESTS}?fieldSelector=spec.signerName%3Dexample.com/s")).await.expect(200);
    assert_eq!(selected["items"].as_array().map(Vec::len), Some(1));
    let selected = h.get(&format!("{REQUESTS}?fieldSelector=spec.username%3Dadmin")).await;
    assert_eq!((selected.code, selected.message()), (400, "field label not supported: spec.username"));
}

#[tokio::test]
async fn a_name_that_fits_into_no_url_is_refused_though_any_other_is_taken() {
    let h = Harness::new().await;
    let named = |name: &str| {
        let mut request = request();
        request["metadata"]["name"] = name.into();
        request
    };
    let answer = h.post(REQUESTS, named("c/o")).await;
    let wanted = "CertificateSigningRequest.certificates.k8s.io \"c/o\" is invalid: metadata.name: Invalid value: \"c/o\": may not contain '/'";
    assert_eq!((answer.code, answer.message()), (422, wanted));
    h.post(REQUESTS, named("C_o:1")).await.expect(201);
}

#[tokio::test]
async fn approval_is_a_subresource_with_times_of_its_own() {
    let h = Harness::new().await;
    h.post(REQUESTS, request()).await.expect(201);
    let approved = json!({ "status": { "conditions": [{ "type": "Approved", "status": "True", "reason": "r" }] } });
    let by_status = h.merge(&format!("{REQUESTS}/c/status"), approved.clone()).await;
    assert_eq!(by_status.code, 422);
    assert!(by_status.message().contains("updates may not add a condition of type \"Approved\""));
    let answer = h.merge(&format!("{REQUESTS}/c/approval"), approved.clone()).await.expect(200);
    let condition = &answer["status"]["conditions"][0];
    assert!(condition["lastUpdateTime"].is_string() && condition["lastTransitionTime"].is_string());
    assert_eq!(h.get(&format!("{REQUESTS}/c/approval")).await.expect(200), answer);
    // The main resource changes metadata alone.
    let changed = json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "usages": ["server auth"] },
        "status": { "conditions": [] } });
    let answer = h.merge(&format!("{REQUESTS}/c"), changed).await.expect(200);
    assert_eq!(
        (&answer["metadata"]["labels"]["a"], &answer["spec"]["usages"][0]),
        (&json!("b"), &json!("client auth"))
    );
    assert_eq!(answer["status"]["conditions"][0]["type"], "Approved");
    assert_eq!(answer["metadata"].get("managedFields"), None, "as upstream");
    assert_eq!(h.post(&format!("{REQUESTS}/c/approval"), request()).await.code, 405);
}
