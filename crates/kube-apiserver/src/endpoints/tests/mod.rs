//! Requests through `dispatch`, as a member of system:masters, against a server whose journal is memory.

mod admission;
mod apply;
mod certificates;
mod deletes;
mod evictions;
mod parts;
mod past;
mod protobuf;
mod reads;
mod restarts;
mod versions;
mod watches;
mod writes;

use std::sync::Arc;

use futures::StreamExt;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::{Config, Context, RequestInfo, Response, Server, UserInfo, body};

struct Harness {
    server: Arc<Server>,
    _folder: tempfile::TempDir,
}

/// One answer, its body parsed.
struct Answer {
    code: u16,
    headers: HeaderMap,
    body: Value,
    warnings: Vec<String>,
}

impl Answer {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }
}

impl Harness {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    /// With another configuration.
    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
        std::fs::write(folder.path().join("sa.key"), key).unwrap();
        let mut config = Config {
            service_account_signing_key_file: folder.path().join("sa.key"),
            service_account_key_files: Vec::new(),
            client_ca_file: None,
            advertise_address: [192, 0, 2, 1].into(),
            kubelet_client_certificate: None,
            kubelet_client_key: None,
            kubelet_certificate_authority: None,
            ..Config::new(folder.path(), None)
        };
        change(&mut config);
        let server = Server::open(config).unwrap();
        crate::registry::initial::create(&server).await.unwrap();
        let harness = Self { server, _folder: folder };
        harness.post("/api/v1/namespaces", json!({ "metadata": { "name": "ns" } })).await.expect(201);
        let account = json!({ "metadata": { "name": "default" } });
        harness.post("/api/v1/namespaces/ns/serviceaccounts", account).await.expect(201);
        harness
    }

    async fn respond(&self, request: http::Request<body::Body>) -> (Response, Vec<String>) {
        let info = RequestInfo::new(request.method(), request.uri()).unwrap();
        let user = Arc::new(UserInfo::new("admin", ["system:masters", "system:authenticated"]));
        let ctx = Arc::new(Context::new(user, info, jiff::Timestamp::now()));
        let response = super::dispatch(&self.server, ctx.clone(), request).await;
        let warnings = ctx.warnings.lock().clone();
        (response, warnings)
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], text: impl Into<bytes::Bytes>) -> Answer {
        let mut request = http::Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, warnings) = self.respond(request.body(body::full(text)).unwrap()).await;
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Answer { code: parts.status.as_u16(), headers: parts.headers, body, warnings }
    }

    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, object: Value) -> Answer {
        self.send("POST", path, &[("content-type", "application/json")], object.to_string()).await
    }

    async fn put(&self, path: &str, object: Value) -> Answer {
        self.send("PUT", path, &[("content-type", "application/json")], object.to_string()).await
    }

    async fn merge(&self, path: &str, patch: Value) -> Answer {
        self.send("PATCH", path, &[("content-type", "application/merge-patch+json")], patch.to_string()).await
    }

    async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE.as_str(), path, &[], "").await
    }

    async fn configmap(&self, name: &str, labels: Value) -> Value {
        let object = json!({ "metadata": { "name": name, "labels": labels }, "data": { "k": "v" } });
        self.post("/api/v1/namespaces/ns/configmaps", object).await.expect(201)
    }

    /// Opens a watch; events are read one by one.
    async fn watch(&self, path: &str, accept: &str) -> Events {
        let request = http::Request::get(path).header("accept", accept).body(body::empty()).unwrap();
        let (response, _) = self.respond(request).await;
        assert_eq!(response.status(), 200);
        Events { body: Box::pin(response.into_body().into_data_stream()), rest: Vec::new() }
    }
}

type Data = std::pin::Pin<Box<dyn futures::Stream<Item = Result<bytes::Bytes, crate::BoxError>> + Send>>;

struct Events {
    body: Data,
    rest: Vec<u8>,
}

impl Events {
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.rest.drain(..=end).collect();
                return serde_json::from_slice(&line).ok();
            }
            self.rest.extend_from_slice(&self.body.next().await?.unwrap());
        }
    }

    /// The type of the next event and the name of its object.
    async fn brief(&mut self) -> Option<(String, String)> {
        let event = self.next().await?;
        let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
        Some((text("/type"), text("/object/metadata/name")))
    }
}

fn pod(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "spec": { "containers": [{ "name": "c", "image": "img:1" }] } })
}
