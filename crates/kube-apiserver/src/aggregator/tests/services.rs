//! APIServices of what is served here, and whether other servers are available.

use serde_json::{Value, json};

use super::world::*;

#[tokio::test]
async fn what_is_served_here_is_registered() {
    let world = World::new().await;
    let (code, core) = world.get(&format!("{SERVICES}/v1.")).await;
    assert_eq!(code, 200);
    assert_eq!(core["spec"], json!({ "version": "v1", "groupPriorityMinimum": 18000, "versionPriority": 1 }));
    assert_eq!(core["metadata"]["labels"], json!({ "kube-aggregator.kubernetes.io/automanaged": "onstart" }));
    let condition = &core["status"]["conditions"][0];
    assert_eq!((&condition["reason"], &condition["status"]), (&json!("Local"), &json!("True")));
    let (_, list) = world.get(SERVICES).await;
    let names: Vec<&str> =
        list["items"].as_array().unwrap().iter().map(|s| s["metadata"]["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"v1.apps") && !names.contains(&"v1.apiregistration.k8s.io"), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("extensions.v1beta1") || name.starts_with("v1beta1.")), "{names:?}");
}

#[tokio::test]
async fn a_server_that_answers_is_available_and_one_that_went_is_not() {
    let world = World::new().await;
    let extension = Extension::new(&world.pki, |_| json(404, &Value::Null)).await;
    let port = extension.port;
    world.register(&extension).await;
    let condition = world.until("Passed").await;
    assert_eq!((&condition["status"], &condition["message"]), (&json!("True"), &json!("all checks passed")));
    let check = &extension.checks()[0];
    assert_eq!((check.path.as_str(), check.header("x-remote-group")), (GROUP_VERSION, vec!["system:masters"]));
    assert!(check.certified, "this server identifies itself");
    drop(extension);
    // Something changes, so that it is looked at now rather than in half a minute.
    let (_, mut service) = world.get(&format!("{SERVICES}/v1.widgets.example.com")).await;
    service["metadata"]["labels"] = json!({ "a": "b" });
    let path = format!("{SERVICES}/v1.widgets.example.com");
    let put = crate::testing::call(&world.server, crate::testing::admin(), "PUT", &path, &service.to_string()).await;
    assert_eq!(put.0, 200, "{}", put.1);
    let condition = world.until("FailedDiscoveryCheck").await;
    let url = format!("https://127.0.0.1:{port}{GROUP_VERSION}");
    let message = format!(
        "failing or missing response from {url}: Get \"{url}\": dial tcp 127.0.0.1:{port}: connect: connection refused"
    );
    assert_eq!((&condition["status"], &condition["message"]), (&json!("False"), &json!(message)));
    let (_, table) = world.get(&path).await;
    assert_eq!(table["status"]["conditions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_lacks_for_a_server_to_be_there_is_said() {
    let world = World::new().await;
    let spec = |port: u16| {
        json!({
            "group": "widgets.example.com", "version": "v1", "groupPriorityMinimum": 1500, "versionPriority": 15,
            "service": { "namespace": "default", "name": "ext", "port": port },
        })
    };
    let object = json!({ "metadata": { "name": "v1.widgets.example.com" }, "spec": spec(443) });
    assert_eq!(world.post(SERVICES, object).await.0, 201);
    let condition = world.until("ServiceNotFound").await;
    assert_eq!(condition["message"], "service/ext in \"default\" is not present");
    let (code, body) = world.get(&format!("{GROUP_VERSION}/widgets")).await;
    assert_eq!((code, body), (503, json!("service unavailable\n")));
    let service = json!({ "metadata": { "name": "ext" }, "spec": { "ports": [{ "name": "https", "port": 8443 }] } });
    assert_eq!(world.post("/api/v1/namespaces/default/services", service).await.0, 201);
    let condition = world.until("ServicePortError").await;
    assert_eq!(condition["message"], "service/ext in \"default\" is not listening on port 443");
    let (_, mut current) = world.get("/api/v1/namespaces/default/services/ext").await;
    current["spec"]["ports"][0]["port"] = 443.into();
    let path = "/api/v1/namespaces/default/services/ext";
    let (code, body) =
        crate::testing::call(&world.server, crate::testing::admin(), "PUT", path, &current.to_string()).await;
    assert_eq!(code, 200, "{body}");
    let condition = world.until("EndpointsNotFound").await;
    assert_eq!(condition["message"], "cannot find endpointslices for service/ext in \"default\"");
    let slice = json!({
        "metadata": { "name": "ext", "labels": { "kubernetes.io/service-name": "ext" } },
        "addressType": "IPv4",
        "endpoints": [],
        "ports": [{ "name": "https", "port": 443 }],
    });
    let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    let (code, body) = world.post(path, slice).await;
    assert_eq!(code, 201, "{body}");
    let condition = world.until("MissingEndpoints").await;
    assert_eq!(
        condition["message"],
        "endpoints for service/ext in \"default\" have no addresses with port name \"https\""
    );
}

#[tokio::test]
async fn a_server_must_prove_its_name() {
    let world = World::new().await;
    let extension = Extension::new(&world.pki, |_| json(200, &Value::Null)).await;
    // The authority is the right one, and the certificate is for another name.
    world.register_with(extension.port, json!({ "caBundle": world.bundle() })).await;
    let condition = world.until("FailedDiscoveryCheck").await;
    let message = condition["message"].as_str().unwrap();
    assert!(
        message.contains("tls: failed to verify certificate: x509: certificate is ")
            && message.contains("ext.default.svc"),
        "{message}"
    );
    assert_eq!(extension.checks().len(), 0);
}
