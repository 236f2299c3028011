//! Bodies and answers in protobuf, as kubectl's own commands and Go clients send and read them.

use machinery::codec::protobuf;
use machinery::schema;

use super::*;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const ACCEPT: &str = "application/vnd.kubernetes.protobuf,application/json";
const MAPS: &str = "/api/v1/namespaces/ns/configmaps";
const PODS: &str = "/api/v1/namespaces/ns/pods";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/ns/deployments";

/// `kubectl create deployment x --image=nginx --image=busybox:1 --replicas=2 --port=80`, as kubectl 1.36 sends it.
const DEPLOYMENT: &str = include_str!("deployment.hex");

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// The body of an object whose type is published.
fn body(object: &Value) -> Vec<u8> {
    let (api_version, kind) = (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap());
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let id = schema::builtin().by_kind(group, version, kind).unwrap();
    protobuf::wrap_envelope(api_version, kind, &protobuf::encode(schema::builtin(), id, object).unwrap())
}

/// An answer in protobuf as the JSON that it stands for.
fn read(bytes: &[u8], schema_name: Option<&str>) -> Value {
    let envelope = protobuf::unwrap_envelope(bytes).unwrap();
    let (group, version) = envelope.api_version.split_once('/').unwrap_or(("", &envelope.api_version));
    let types = schema::builtin();
    let id = match schema_name {
        Some(name) => types.id(name),
        None => types.by_kind(group, version, &envelope.kind),
    };
    let mut value = json!({ "kind": envelope.kind, "apiVersion": envelope.api_version });
    let decoded = protobuf::decode(types, id.unwrap(), envelope.raw).unwrap();
    value.as_object_mut().unwrap().extend(decoded.as_object().unwrap().clone());
    value
}

impl Harness {
    /// Sends and reads protobuf.
    async fn exchange(&self, method: &str, path: &str, content: Vec<u8>) -> Answer {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("content-type", PROTOBUF).header("accept", ACCEPT);
        let (response, warnings) = self.respond(request.body(crate::body::full(content)).unwrap()).await;
        let (parts, body) = response.into_parts();
        assert_eq!(parts.headers["content-type"], PROTOBUF, "{method} {path}");
        let body = read(&body.collect().await.unwrap().to_bytes(), None);
        Answer { code: parts.status.as_u16(), headers: parts.headers, body, warnings }
    }
}

#[tokio::test]
async fn kubectls_deployment_is_created_and_answered() {
    let h = Harness::new().await;
    let answer = h.exchange("POST", DEPLOYMENTS, bytes(DEPLOYMENT)).await.expect(201);
    assert_eq!(answer["spec"]["replicas"], 2);
    assert_eq!(answer["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
    assert_eq!(answer["spec"]["template"]["spec"]["containers"][1]["image"], "busybox:1");
    assert_eq!(h.get(&format!("{DEPLOYMENTS}/x")).await.expect(200).to_string(), answer.to_string());
    let list = h.exchange("GET", DEPLOYMENTS, Vec::new()).await.expect(200);
    assert_eq!(list, h.get(DEPLOYMENTS).await.expect(200));
    let again = h.exchange("POST", DEPLOYMENTS, bytes(DEPLOYMENT)).await;
    assert_eq!((again.code, again.message()), (409, "deployments.apps \"x\" already exists"));
}

/// What is created from protobuf is what the same JSON creates.
#[tokio::test]
async fn objects_are_the_same_from_either_form() {
    let h = Harness::new().await;
    let pod = json!({
        "kind": "Pod", "apiVersion": "v1", "metadata": { "name": "a", "labels": { "app": "x" } },
        "spec": { "containers": [{
            "name": "c", "image": "img:1", "ports": [{ "containerPort": 80 }],
            "resources": { "limits": { "cpu": "0.5", "memory": "64Mi" } },
            "livenessProbe": { "httpGet": { "port": "http", "path": "/" } },
            "env": [{ "name": "E", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }],
        }], "volumes": [{ "name": "v", "configMap": { "name": "m" } }], "nodeSelector": { "a": "b" } },
    });
    let service = json!({
        "kind": "Service", "apiVersion": "v1", "metadata": { "name": "a" },
        "spec": { "type": "NodePort", "selector": { "a": "b" }, "ports": [{ "port": 80, "targetPort": "http", "nodePort": 30080 }] },
    });
    let secret =
        json!({ "kind": "Secret", "apiVersion": "v1", "metadata": { "name": "a" }, "data": { "k": "AP8=", "e": "" } });
    let quota = json!({ "kind": "ResourceQuota", "apiVersion": "v1", "metadata": { "name": "a" }, "spec": { "hard": { "pods": "1k" } } });
    for (plural, object) in [("services", service), ("secrets", secret), ("resourcequotas", quota), ("pods", pod)] {
        let path = format!("/api/v1/namespaces/ns/{plural}?dryRun=All");
        let mut from_json = h.post(&path, object.clone()).await.expect(201);
        let mut from_protobuf = h.exchange("POST", &path, body(&object)).await.expect(201);
        for answer in [&mut from_json, &mut from_protobuf] {
            answer["metadata"]["uid"].take();
            answer["metadata"]["creationTimestamp"].take();
            answer["spec"]["clusterIP"].take();
            answer["spec"]["clusterIPs"].take();
            // The projected token's volume has a random name.
            let text = answer.to_string();
            if let Some(at) = text.find("kube-api-access-") {
                *answer = serde_json::from_str(&text.replace(&text[at..at + 21], "kube-api-access")).unwrap();
            }
        }
        assert_eq!(from_protobuf, from_json);
    }
}

/// Parameters of drivers are JSON within protobuf, attributes and capacities are maps of messages.
#[tokio::test]
async fn devices_are_the_same_from_either_form() {
    let h = Harness::new().await;
    let opaque = json!({ "driver": "d.io", "parameters": { "mode": "fast", "n": [1, 2.5, null] } });
    let selectors = json!([{ "cel": { "expression": "device.driver == 'd.io'" } }]);
    let class = json!({ "kind": "DeviceClass", "apiVersion": "resource.k8s.io/v1", "metadata": { "name": "a" },
        "spec": { "selectors": selectors, "config": [{ "opaque": opaque }], "extendedResourceName": "d.io/gpu" } });
    let claim = json!({ "kind": "ResourceClaim", "apiVersion": "resource.k8s.io/v1", "metadata": { "name": "a" },
        "spec": { "devices": {
            "requests": [
                { "name": "r", "exactly": { "deviceClassName": "a", "count": 2, "selectors": selectors,
                    "tolerations": [{ "key": "k", "operator": "Exists", "tolerationSeconds": 5 }],
                    "capacity": { "requests": { "memory": "1Gi" } } } },
                { "name": "s", "firstAvailable": [{ "name": "x", "deviceClassName": "a", "allocationMode": "All" }] },
            ],
            "constraints": [{ "requests": ["r"], "matchAttribute": "d.io/numa" }],
            "config": [{ "requests": ["s/x"], "opaque": opaque }],
        } } });
    let slice = json!({ "kind": "ResourceSlice", "apiVersion": "resource.k8s.io/v1", "metadata": { "name": "a" },
        "spec": { "driver": "d.io", "nodeName": "n", "pool": { "name": "p", "generation": 1, "resourceSliceCount": 1 },
            "devices": [{ "name": "d", "allowMultipleAllocations": true,
                "attributes": { "d.io/numa": { "int": 0 }, "fast": { "bool": false }, "model": { "string": "" } },
                "capacity": { "memory": { "value": "4Gi", "requestPolicy": {
                    "default": "1Gi", "validRange": { "min": "1Gi", "step": "1Gi" } } } },
                "consumesCounters": [{ "counterSet": "c", "counters": { "slots": { "value": "1" } } }],
                "taints": [{ "key": "k", "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z" }],
            }] } });
    for (path, object) in [("deviceclasses", class), ("namespaces/ns/resourceclaims", claim), ("resourceslices", slice)]
    {
        let path = format!("/apis/resource.k8s.io/v1/{path}?dryRun=All");
        let mut from_json = h.post(&path, object.clone()).await.expect(201);
        let mut from_protobuf = h.exchange("POST", &path, body(&object)).await.expect(201);
        for answer in [&mut from_json, &mut from_protobuf] {
            answer["metadata"]["uid"].take();
            answer["metadata"]["creationTimestamp"].take();
        }
        assert_eq!(from_protobuf, from_json);
    }
}

#[tokio::test]
async fn every_verb_and_subresource_takes_it() {
    let h = Harness::new().await;
    let map = json!({ "kind": "ConfigMap", "apiVersion": "v1", "metadata": { "name": "a" }, "data": { "k": "v" } });
    let mut created = h.exchange("POST", MAPS, body(&map)).await.expect(201);
    created["data"]["k"] = "w".into();
    let updated = h.exchange("PUT", &format!("{MAPS}/a"), body(&created)).await.expect(200);
    assert_eq!(updated["data"]["k"], "w");
    let wrong = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": { "uid": "other" } });
    assert_eq!(h.exchange("DELETE", &format!("{MAPS}/a"), body(&wrong)).await.code, 409);
    let options =
        json!({ "kind": "DeleteOptions", "apiVersion": "v1", "preconditions": { "uid": created["metadata"]["uid"] } });
    assert_eq!(h.exchange("DELETE", &format!("{MAPS}/a"), body(&options)).await.expect(200)["status"], "Success");

    h.exchange("POST", DEPLOYMENTS, bytes(DEPLOYMENT)).await.expect(201);
    let mut scale = h.exchange("GET", &format!("{DEPLOYMENTS}/x/scale"), Vec::new()).await.expect(200);
    scale["spec"]["replicas"] = 5.into();
    let scaled = h.exchange("PUT", &format!("{DEPLOYMENTS}/x/scale"), body(&scale)).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 5);

    let token = json!({ "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": { "audiences": ["me"], "expirationSeconds": 1200 } });
    let path = "/api/v1/namespaces/ns/serviceaccounts/default/token";
    let issued = h.exchange("POST", path, body(&token)).await.expect(201);
    assert_eq!(issued["spec"], json!({ "audiences": ["me"], "expirationSeconds": 1200, "boundObjectRef": null }));

    let review = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
        "spec": { "resourceAttributes": { "namespace": "ns", "verb": "list", "resource": "pods" } },
    });
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    assert_eq!(h.exchange("POST", path, body(&review)).await.expect(201)["status"]["allowed"], true);

    h.post(PODS, pod("p")).await.expect(201);
    let binding = json!({ "kind": "Binding", "apiVersion": "v1", "metadata": { "name": "p" }, "target": { "kind": "Node", "name": "n" } });
    h.exchange("POST", &format!("{PODS}/p/binding"), body(&binding)).await.expect(201);
    assert_eq!(h.get(&format!("{PODS}/p")).await.body["spec"]["nodeName"], "n");
    let eviction = json!({ "kind": "Eviction", "apiVersion": "policy/v1", "metadata": { "name": "p" }, "deleteOptions": { "gracePeriodSeconds": 0 } });
    h.exchange("POST", &format!("{PODS}/p/eviction"), body(&eviction)).await.expect(201);
    assert_eq!(h.get(&format!("{PODS}/p")).await.code, 404);
}

#[tokio::test]
async fn old_versions_are_written_by_the_types_they_share() {
    let h = Harness::new().await;
    h.exchange("POST", DEPLOYMENTS, bytes(DEPLOYMENT)).await.expect(201);
    let request = http::Request::get("/apis/extensions/v1beta1/namespaces/ns/deployments").header("accept", PROTOBUF);
    let (response, _) = h.respond(request.body(crate::body::empty()).unwrap()).await;
    assert_eq!(response.headers()["content-type"], PROTOBUF);
    let answer = response.into_body().collect().await.unwrap().to_bytes();
    let list = read(&answer, Some("io.k8s.api.apps.v1.DeploymentList"));
    assert_eq!((&list["apiVersion"], &list["kind"]), (&json!("extensions/v1beta1"), &json!("DeploymentList")));
    assert_eq!(list["items"][0]["metadata"]["name"], "x");
}

#[tokio::test]
async fn what_is_no_such_body_is_refused() {
    let h = Harness::new().await;
    let send = async |content: &[u8]| h.send("POST", MAPS, &[("content-type", PROTOBUF)], content.to_vec()).await;
    for (content, message) in [
        (&b""[..], "the object provided is unrecognized (must be of type ConfigMap): empty data (<empty>)".to_owned()),
        (
            b"{}",
            "the object provided is unrecognized (must be of type ConfigMap): provided data does not appear to be a \
             protobuf message, expected prefix [107 56 115 0] ({})"
                .to_owned(),
        ),
        (
            &protobuf::wrap_envelope("v1", "ConfigMap", b"\x0a\x05"),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: unexpected EOF".to_owned(),
        ),
        (
            &protobuf::wrap_envelope("v1", "Secret", b""),
            "Secret in version \"v1\" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion"
                .to_owned(),
        ),
    ] {
        let answer = send(content).await;
        assert_eq!((answer.code, answer.message()), (400, message.as_str()));
    }
    h.configmap("a", json!({})).await;
    assert_eq!(h.send("PATCH", &format!("{MAPS}/a"), &[("content-type", PROTOBUF)], "").await.code, 415);
    let table = format!("{PROTOBUF};as=Table;v=v1;g=meta.k8s.io");
    let request = http::Request::get(format!("{MAPS}?watch=true")).header("accept", table);
    let (response, _) = h.respond(request.body(crate::body::empty()).unwrap()).await;
    assert_eq!(response.status(), 406);
}

/// Reads the frames of a watch until there are as many; each is the event's type and its object.
async fn events(h: &Harness, path: &str, accept: &str, count: usize) -> Vec<(String, Value)> {
    let request = http::Request::get(path).header("accept", accept);
    let (response, _) = h.respond(request.body(crate::body::empty()).unwrap()).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], format!("{PROTOBUF};stream=watch"));
    let mut data = response.into_body().into_data_stream();
    let (mut rest, mut events) = (Vec::new(), Vec::new());
    let event_type = schema::builtin().id("io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent").unwrap();
    while events.len() < count {
        rest.extend_from_slice(&data.next().await.unwrap().unwrap());
        while rest.len() >= 4 {
            let length = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
            if rest.len() < 4 + length {
                break;
            }
            let frame: Vec<u8> = rest.drain(..4 + length).skip(4).collect();
            // The object is kept as bytes: it is no JSON.
            let at = frame.windows(4).position(|window| window == b"k8s\0").unwrap();
            let object = &frame[at..];
            let mut bare = frame[..2 + usize::from(frame[1])].to_vec();
            bare.extend_from_slice(&[0x12, 0x00]);
            let event = protobuf::decode(schema::builtin(), event_type, &bare).unwrap();
            let object_meta = schema::builtin().id("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta").unwrap();
            let envelope = protobuf::unwrap_envelope(object).unwrap();
            let value = if envelope.kind == "PartialObjectMetadata" {
                // Its one field is the metadata, a message with its length.
                let metadata =
                    &envelope.raw[envelope.raw.iter().skip(1).position(|byte| byte & 0x80 == 0).unwrap() + 2..];
                json!({ "kind": envelope.kind, "metadata": protobuf::decode(schema::builtin(), object_meta, metadata).unwrap() })
            } else {
                read(object, None)
            };
            events.push((event["type"].as_str().unwrap().to_owned(), value));
        }
    }
    events
}

#[tokio::test]
async fn events_are_streamed_in_frames() {
    let h = Harness::new().await;
    let a = h.configmap("a", json!({ "k": "v" })).await;
    let query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let path = format!("{MAPS}?{query}");
    let read = events(&h, &path, ACCEPT, 2).await;
    assert_eq!(read[0], ("ADDED".to_owned(), a.clone()));
    assert_eq!((read[1].0.as_str(), &read[1].1["kind"]), ("BOOKMARK", &json!("ConfigMap")));
    assert_eq!(read[1].1["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    let partial = format!("{PROTOBUF};as=PartialObjectMetadata;g=meta.k8s.io;v=v1");
    let read = events(&h, &path, &partial, 2).await;
    assert_eq!((read[0].0.as_str(), &read[0].1["kind"]), ("ADDED", &json!("PartialObjectMetadata")));
    assert_eq!(read[0].1["metadata"], a["metadata"]);
}

#[tokio::test]
async fn a_watch_that_comes_too_late_is_told_so_in_protobuf() {
    let h = Harness::new().await;
    let first = h.configmap("a", json!({})).await;
    let version: u64 = first["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    h.configmap("b", json!({})).await;
    h.server.registry.store().compact(version + 1).await.unwrap();
    let read = events(&h, &format!("{MAPS}?watch=1&resourceVersion={}", version - 1), ACCEPT, 1).await;
    assert_eq!((read[0].0.as_str(), &read[0].1["code"]), ("ERROR", &json!(410)));
}

#[tokio::test]
async fn metadata_alone_is_listed() {
    let h = Harness::new().await;
    h.configmap("a", json!({})).await;
    let accept = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
    let request = http::Request::get(MAPS).header("accept", accept).body(crate::body::empty()).unwrap();
    let (response, _) = h.respond(request).await;
    assert_eq!(response.headers()["content-type"], PROTOBUF);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    // A list of ConfigMaps without data is the same message.
    let list = read(&bytes, Some("io.k8s.api.core.v1.ConfigMapList"));
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
}
