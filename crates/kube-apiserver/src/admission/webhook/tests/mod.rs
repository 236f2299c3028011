//! The plugins against webhooks that really listen: TLS servers of the test's own, on loopback.

mod answers;
mod attacks;
mod failures;
mod questions;
mod rounds;

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::testing::{self, LeafOptions, Pki, server_with};
use crate::{Config, Server};

/// What a test's webhook does with a question.
type Answer = dyn Fn(&Value) -> Response<Bytes> + Send + Sync;

/// A server that is asked; it ends with the test.
pub(crate) struct Hook {
    port: u16,
    /// The bodies of all requests, as they came.
    pub(crate) asked: Arc<Mutex<Vec<Value>>>,
    /// Their Authorization headers, or the names in their client certificates.
    pub(crate) callers: Arc<Mutex<Vec<String>>>,
    /// To which traces they belong.
    pub(crate) traceparents: Arc<Mutex<Vec<String>>>,
    _end: DropGuard,
}

impl Hook {
    pub(crate) async fn new(pki: &Pki, answer: impl Fn(&Value) -> Response<Bytes> + Send + Sync + 'static) -> Self {
        let leaf = pki.leaf("hook", LeafOptions { serving: true, ..LeafOptions::default() });
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        crate::serving::read_certificates(&pki.path().join("ca.crt")).unwrap().into_iter().for_each(|ca| {
            roots.add(ca).unwrap();
        });
        let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![leaf.certificate.der().clone()],
                rustls::pki_types::PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (end, asked, callers) = (CancellationToken::new(), Arc::default(), Arc::default());
        let traceparents = Arc::default();
        let serving = Serving {
            acceptor: TlsAcceptor::from(Arc::new(tls)),
            answer: Arc::new(answer),
            asked: Arc::clone(&asked),
            callers: Arc::clone(&callers),
            traceparents: Arc::clone(&traceparents),
        };
        let ended = end.clone();
        tokio::spawn(async move { ended.run_until_cancelled(serving.run(listener)).await });
        Self { port, asked, callers, traceparents, _end: end.drop_guard() }
    }

    /// Every request passes.
    async fn allowing(pki: &Pki) -> Self {
        Self::new(pki, |question| allow(question, json!({}))).await
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}/hook", self.port)
    }

    /// The `request`s of all questions so far.
    fn requests(&self) -> Vec<Value> {
        self.asked.lock().iter().map(|question| question["request"].clone()).collect()
    }
}

#[derive(Clone)]
struct Serving {
    acceptor: TlsAcceptor,
    answer: Arc<Answer>,
    asked: Arc<Mutex<Vec<Value>>>,
    callers: Arc<Mutex<Vec<String>>>,
    traceparents: Arc<Mutex<Vec<String>>>,
}

impl Serving {
    async fn run(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let serving = self.clone();
            tokio::spawn(async move {
                let Ok(stream) = serving.acceptor.accept(stream).await else { return };
                let certified = stream.get_ref().1.peer_certificates().is_some();
                let service = hyper::service::service_fn(|request| serving.clone().serve(request, certified));
                // A client that goes away is no failure of the test.
                let _ =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
            });
        }
    }

    async fn serve(self, request: Request<Incoming>, certified: bool) -> Result<Response<Full<Bytes>>, Infallible> {
        let authorization = request.headers().get(http::header::AUTHORIZATION);
        let mut caller = authorization.map_or(String::new(), |value| value.to_str().unwrap().to_owned());
        if certified {
            caller.push_str("certificate");
        }
        self.callers.lock().push(caller);
        let traceparent = request.headers().get("traceparent");
        let traceparent = traceparent.map_or(String::new(), |value| value.to_str().unwrap().to_owned());
        self.traceparents.lock().push(traceparent);
        let path = request.uri().path().to_owned();
        let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        // What is asked without a body is asked by its path.
        let question: Value = serde_json::from_slice(&body).unwrap_or_else(|_| json!({ "path": path }));
        self.asked.lock().push(question.clone());
        let answer = (self.answer)(&question);
        Ok(answer.map(Full::new))
    }
}

/// A good answer: allowed, with more fields if wanted.
fn allow(question: &Value, more: Value) -> Response<Bytes> {
    let mut response = json!({ "uid": question["request"]["uid"], "allowed": true });
    for (key, value) in more.as_object().unwrap() {
        response[key] = value.clone();
    }
    answer(question, response)
}

fn answer(question: &Value, response: Value) -> Response<Bytes> {
    let review = json!({
        "apiVersion": question["apiVersion"],
        "kind": "AdmissionReview",
        "response": response,
    });
    plain(200, review.to_string())
}

fn plain(code: u16, text: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(text.into());
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response
}

/// The fields of an answer that patches.
fn patch(operations: Value) -> Value {
    json!({ "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string()) })
}

/// A server, and a folder with the authority that signed the webhooks' certificates.
struct World {
    server: Arc<Server>,
    pki: Pki,
}

impl World {
    async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    async fn with(change: impl FnOnce(&Pki, &mut Config)) -> Self {
        let hooks = Pki::new();
        let (server, _server_pki) = server_with(|config| change(&hooks, config)).await;
        Self { server, pki: hooks }
    }

    async fn send(&self, method: &str, path: &str, object: Value) -> (u16, Vec<String>, Value) {
        testing::send(&self.server, method, path, &object).await
    }

    async fn post(&self, path: &str, object: Value) -> (u16, Value) {
        let (code, _, body) = self.send("POST", path, object).await;
        (code, body)
    }

    /// A webhook about ConfigMaps, with fields of one's choice.
    fn webhook(&self, url: &str, more: Value) -> Value {
        let bundle = std::fs::read(self.pki.path().join("ca.crt")).unwrap();
        let mut webhook = json!({
            "name": "w.example.com",
            "clientConfig": { "url": url, "caBundle": STANDARD.encode(bundle) },
            "rules": [rule(&["*"], "", "v1", &["configmaps"])],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        });
        for (key, value) in more.as_object().unwrap() {
            webhook[key] = value.clone();
        }
        webhook
    }

    /// Registers webhooks under a configuration of that name; `mutating` or `validating`.
    async fn register(&self, phase: &str, name: &str, webhooks: Vec<Value>) {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{phase}webhookconfigurations");
        let (code, body) = self.post(&path, json!({ "metadata": { "name": name }, "webhooks": webhooks })).await;
        assert_eq!(code, 201, "{body}");
    }

    async fn configmap(&self, name: &str) -> (u16, Value) {
        self.post(CONFIGMAPS, configmap(name)).await
    }

    async fn metrics(&self) -> String {
        let body = self.server.serve_metrics().into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }
}

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

fn configmap(name: &str) -> Value {
    json!({ "metadata": { "name": name }, "data": { "k": "v" } })
}

fn rule(operations: &[&str], group: &str, version: &str, resources: &[&str]) -> Value {
    json!({ "operations": operations, "apiGroups": [group], "apiVersions": [version], "resources": resources })
}
