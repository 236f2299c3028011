//! Definitions whose versions a webhook converts: a TLS server of the test's own.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Response;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::parts;
use crate::Server;
use crate::admission::webhook::tests::Hook;
use crate::testing::{self, Pki, server};

const THINGS: &str = "/apis/example.com/v1/namespaces/default/things";
const THINGS_V2: &str = "/apis/example.com/v2/namespaces/default/things";

/// Makes a bad answer of a good one.
type Spoil = fn(&mut Value);

struct World {
    server: Arc<Server>,
    _server_pki: Pki,
    hook: Hook,
}

impl World {
    /// Things have one field: `spec.host` in v1, the stored version, and `spec.hostname` in v2. `change` may spoil answers.
    async fn new(change: impl Fn(&mut Value) + Send + Sync + 'static) -> Self {
        let pki = Pki::new();
        let hook = Hook::new(&pki, move |question| {
            let mut answer = convert(question);
            change(&mut answer);
            Response::new(Bytes::from(answer.to_string()))
        })
        .await;
        let (server, server_pki) = server().await;
        let world = Self { server, _server_pki: server_pki, hook };
        let bundle = STANDARD.encode(std::fs::read(pki.path().join("ca.crt")).unwrap());
        let version = |name: &str, field: &str, storage: bool| {
            let fields = json!({ field: { "type": "string" } });
            let schema =
                json!({ "type": "object", "properties": { "spec": { "type": "object", "properties": fields } } });
            json!({ "name": name, "served": true, "storage": storage, "schema": { "openAPIV3Schema": schema } })
        };
        let definition = json!({
            "metadata": { "name": "things.example.com" },
            "spec": {
                "group": "example.com", "scope": "Namespaced", "names": { "plural": "things", "kind": "Thing" },
                "versions": [version("v1", "host", true), version("v2", "hostname", false)],
                "conversion": { "strategy": "Webhook", "webhook": {
                    "conversionReviewVersions": ["v7", "v1"],
                    "clientConfig": { "url": world.hook.url(), "caBundle": bundle },
                }},
            },
        });
        let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let (code, body) = world.send("POST", path, definition).await;
        assert_eq!(code, 201, "{body}");
        let (mut code, mut revision) = (0, world.server.registry.store().revision());
        while code != 200 {
            (code, _) = world.send("GET", THINGS, Value::Null).await;
            if code != 200 {
                world.server.registry.change_since(&[super::super::definitions()], revision).await;
                revision = world.server.registry.store().revision();
            }
        }
        world
    }

    async fn send(&self, method: &str, path: &str, object: Value) -> (u16, Value) {
        let (code, _, body) = testing::send(&self.server, method, path, &object).await;
        (code, body)
    }

    async fn create(&self, version: &str, name: &str, spec: Value) -> (u16, Value) {
        let path = format!("/apis/example.com/{version}/namespaces/default/things");
        let api_version = format!("example.com/{version}");
        let object = json!({ "apiVersion": api_version, "kind": "Thing", "metadata": { "name": name }, "spec": spec });
        self.send("POST", &path, object).await
    }

    async fn metrics(&self) -> String {
        let body = self.server.serve_metrics().into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }
}

fn convert(question: &Value) -> Value {
    let wanted = &question["request"]["desiredAPIVersion"];
    let (from, to) = if wanted == "example.com/v2" { ("host", "hostname") } else { ("hostname", "host") };
    let objects = question["request"]["objects"].as_array().unwrap().iter().map(|object| {
        let mut object = object.clone();
        object["apiVersion"] = wanted.clone();
        if let Some(host) = object["spec"].as_object_mut().and_then(|spec| spec.remove(from)) {
            object["spec"][to] = host;
        }
        object["metadata"]["annotations"] = json!({ "converted": wanted });
        object["metadata"]["finalizers"] = json!(["evil.example.com/stay"]);
        object
    });
    json!({
        "apiVersion": question["apiVersion"], "kind": "ConversionReview",
        "response": {
            "uid": question["request"]["uid"], "convertedObjects": objects.collect::<Vec<_>>(),
            "result": { "status": "Success" },
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_converted_on_every_way() {
    let world = World::new(|_| {}).await;
    let (code, made) = world.create("v2", "a", json!({ "hostname": "x" })).await;
    assert_eq!((code, &made["spec"]), (201, &json!({ "hostname": "x" })), "{made}");
    let question = world.hook.asked.lock()[0].clone();
    assert_eq!(
        (&question["apiVersion"], &question["kind"]),
        (&json!("apiextensions.k8s.io/v1"), &json!("ConversionReview"))
    );
    assert_eq!(question["request"]["desiredAPIVersion"], "example.com/v1");

    let (code, stored) = world.send("GET", &format!("{THINGS}/a"), Value::Null).await;
    assert_eq!((code, &stored["spec"]), (200, &json!({ "host": "x" })), "{stored}");
    assert_eq!(stored["metadata"]["annotations"], json!({ "converted": "example.com/v1" }));
    assert_eq!(stored["metadata"]["finalizers"], Value::Null, "only labels and annotations are the webhook's");

    let change = json!({ "spec": { "hostname": "y" } });
    let (code, changed) = world.send("PATCH", &format!("{THINGS_V2}/a"), change).await;
    assert_eq!((code, &changed["spec"]), (200, &json!({ "hostname": "y" })), "{changed}");
    assert_eq!(
        (&changed["metadata"]["uid"], &changed["metadata"]["generation"]),
        (&made["metadata"]["uid"], &json!(2))
    );

    let (code, _) = world.create("v1", "b", json!({ "host": "z" })).await;
    assert_eq!(code, 201);
    let before = world.hook.asked.lock().len();
    let (code, list) = world.send("GET", THINGS_V2, Value::Null).await;
    assert_eq!(code, 200, "{list}");
    let names: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|item| &item["spec"]["hostname"]).collect();
    assert_eq!(names, ["y", "z"]);
    assert_eq!(world.hook.asked.lock().len(), before + 1, "a list is one question");

    let (code, _) = world.send("DELETE", &format!("{THINGS_V2}/a"), Value::Null).await;
    assert_eq!(code, 200);
    let counted = r#"apiserver_crd_conversion_webhook_request_total{failure_type="",result="success"}"#;
    assert!(world.metrics().await.contains(counted));
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_answers_are_errors_that_say_so() {
    let cases: [(Spoil, &str); 8] = [
        (|answer| answer["response"]["uid"] = json!("other"), "failed: expected response.uid="),
        (|answer| answer["response"] = Value::Null, "failed: no response provided"),
        (|answer| answer["apiVersion"] = json!("v2"), "failed: expected webhook response of apiextensions.k8s.io/v1"),
        (|answer| answer["response"]["result"] = json!({ "status": "Failure", "message": "never" }), "failed: never"),
        (|answer| answer["response"]["convertedObjects"] = json!([]), "returned 0 objects, expected 1"),
        (
            |answer| answer["response"]["convertedObjects"][0]["apiVersion"] = json!("example.com/v3"),
            "returned invalid object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v3)",
        ),
        (
            |answer| answer["response"]["convertedObjects"][0]["metadata"]["name"] = json!("other"),
            "returned invalid object: must have the same name: a != other",
        ),
        (
            |answer| answer["response"]["convertedObjects"][0]["metadata"]["labels"] = json!({ "a b": "c" }),
            "returned invalid metadata: metadata.labels: Invalid value: \"a b\": name part must consist of",
        ),
    ];
    for (spoil, said) in cases {
        let world = World::new(spoil).await;
        let (code, body) = world.create("v1", "a", json!({ "host": "x" })).await;
        assert_eq!(code, 201, "{body}");
        let (code, body) = world.send("GET", &format!("{THINGS_V2}/a"), Value::Null).await;
        let message = body["message"].as_str().unwrap();
        assert_eq!(code, 500, "{body}");
        assert!(message.contains(&format!("conversion webhook for example.com/v1, Kind=Thing {said}")), "{message}");
        assert!(world.metrics().await.contains(r#"result="failure""#));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_gone_keeps_nothing_but_its_versions_away() {
    let mut world = World::new(|_| {}).await;
    assert_eq!(world.create("v1", "a", json!({ "host": "x" })).await.0, 201);
    world.hook = Hook::new(&Pki::new(), |_| Response::new(Bytes::new())).await;
    let (code, body) = world.send("GET", &format!("{THINGS_V2}/a"), Value::Null).await;
    assert_eq!(code, 500, "{body}");
    assert!(
        body["message"].as_str().unwrap().contains("conversion webhook for example.com/v1, Kind=Thing failed: Post")
    );
    assert_eq!(world.send("GET", &format!("{THINGS}/a"), Value::Null).await.0, 200);
    assert_eq!(world.send("DELETE", &format!("{THINGS}/a"), Value::Null).await.0, 200);
}

#[test]
fn many_objects_are_asked_about_in_parts() {
    let objects: Vec<Value> = (0..5).map(|_| json!("x".repeat(2 << 20))).collect();
    assert_eq!(parts(&objects).iter().map(|(part, _)| part.len()).collect::<Vec<_>>(), [1, 1, 1, 1, 1]);
    let objects: Vec<Value> = (0..5).map(|_| json!("x".repeat(1 << 20))).collect();
    assert_eq!(parts(&objects).iter().map(|(part, _)| part.len()).collect::<Vec<_>>(), [3, 2]);
    assert!(parts(&[]).is_empty());
}
