//! An API server that aggregates, and a server to be aggregated.

use std::convert::Infallible;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::Service as _;

use crate::testing::{LeafOptions, Pki, admin, call, server_with};
use crate::{Server, UserInfo};

/// A request as the aggregated server got it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub certified: bool,
}

impl Seen {
    pub fn header(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

type Answer = dyn Fn(&Request<Incoming>) -> Response<Bytes> + Send + Sync;

/// The server to be aggregated; it ends with the test.
pub struct Extension {
    pub port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    _end: DropGuard,
}

#[derive(Clone)]
struct Serving {
    acceptor: TlsAcceptor,
    answer: Arc<Answer>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Extension {
    /// It answers discovery; other requests are the test's to answer.
    pub async fn new(
        pki: &Pki,
        answer: impl Fn(&Request<Incoming>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        let leaf = pki.leaf("extension", LeafOptions { serving: true, ..LeafOptions::default() });
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        for authority in crate::serving::read_certificates(&pki.path().join("ca.crt")).unwrap() {
            roots.add(authority).unwrap();
        }
        let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![leaf.certificate.der().clone()], key)
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (end, seen) = (CancellationToken::new(), Arc::default());
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let serving = Serving { acceptor, answer: Arc::new(answer), seen: Arc::clone(&seen) };
        let ended = end.clone();
        tokio::spawn(async move { ended.run_until_cancelled(serving.run(listener)).await });
        Self { port, seen, _end: end.drop_guard() }
    }

    /// The requests other than those by which its availability is checked.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = self.seen.lock().clone();
        seen.into_iter().filter(|seen| seen.header("x-remote-user") != ["system:kube-aggregator"]).collect()
    }

    /// The checks.
    pub fn checks(&self) -> Vec<Seen> {
        let seen = self.seen.lock().clone();
        seen.into_iter().filter(|seen| seen.header("x-remote-user") == ["system:kube-aggregator"]).collect()
    }
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
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades()
                    .await;
            });
        }
    }

    async fn serve(self, mut request: Request<Incoming>, certified: bool) -> Result<Response<Full<Bytes>>, Infallible> {
        self.seen.lock().push(Seen {
            method: request.method().to_string(),
            path: request.uri().to_string(),
            headers: request.headers().clone(),
            certified,
        });
        let answer = match request.uri().path() {
            GROUP_VERSION => json(200, &resources()),
            "/openapi/v3" => {
                let url = format!("/openapi/v3{GROUP_VERSION}?hash=ABC");
                json(
                    200,
                    &json!({ "paths": { "apis/widgets.example.com/v1": { "serverRelativeURL": url }, "version": { "serverRelativeURL": "/x?hash=D" } } }),
                )
            }
            _ => (self.answer)(&request),
        };
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let Ok(upgraded) = upgrade.await else { return };
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
        Ok(answer.map(Full::new))
    }
}

pub const GROUP_VERSION: &str = "/apis/widgets.example.com/v1";
pub const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";

fn resources() -> Value {
    json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": "widgets.example.com/v1",
        "resources": [
            { "name": "widgets", "singularName": "widget", "namespaced": true, "kind": "Widget", "verbs": ["get", "list"], "shortNames": ["wd"] },
            { "name": "widgets/status", "singularName": "", "namespaced": true, "kind": "Widget", "verbs": ["get"] },
        ],
    })
}

pub fn json(code: u16, value: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(value.to_string()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}

/// The API server. The authority of its folder signs the aggregated servers' certificates, too.
pub struct World {
    pub server: Arc<Server>,
    pub pki: Pki,
}

impl World {
    pub async fn new() -> Self {
        let (server, pki) = server_with(|config| {
            config.proxy_client_cert_file = config.kubelet_client_certificate.clone();
            config.proxy_client_key_file = config.kubelet_client_key.clone();
        })
        .await;
        Self { server, pki }
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        call(&self.server, admin(), "GET", path, "").await
    }

    pub async fn post(&self, path: &str, object: Value) -> (u16, Value) {
        call(&self.server, admin(), "POST", path, &object.to_string()).await
    }

    /// The whole answer to a request with headers.
    pub async fn send(&self, user: UserInfo, request: Request<Full<Bytes>>) -> (StatusCode, HeaderMap, Bytes) {
        let response = self.server.in_process(user).call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes())
    }

    /// Leads `widgets.example.com/v1` to the extension. Its certificate is for 127.0.0.1 and not for the Service's name:
    /// who checks that it is believed must not go this way.
    pub async fn register(&self, extension: &Extension) {
        self.register_with(extension.port, json!({ "insecureSkipTLSVerify": true })).await;
    }

    pub async fn register_with(&self, port: u16, more: Value) {
        let service =
            json!({ "metadata": { "name": "ext" }, "spec": { "type": "ExternalName", "externalName": "127.0.0.1" } });
        let (code, body) = self.post("/api/v1/namespaces/default/services", service).await;
        assert_eq!(code, 201, "{body}");
        let mut spec = json!({
            "group": "widgets.example.com",
            "version": "v1",
            "groupPriorityMinimum": 1500,
            "versionPriority": 15,
            "service": { "namespace": "default", "name": "ext", "port": port },
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let (code, body) =
            self.post(SERVICES, json!({ "metadata": { "name": "v1.widgets.example.com" }, "spec": spec })).await;
        assert_eq!(code, 201, "{body}");
    }

    pub fn bundle(&self) -> String {
        STANDARD.encode(std::fs::read(self.pki.path().join("ca.crt")).unwrap())
    }

    /// Waits until the condition of the APIService has this reason, and gives the condition.
    pub async fn until(&self, reason: &str) -> Value {
        let kind = &api::apiregistration::api_service::KIND;
        let store = self.server.registry.store().clone();
        let prefix = crate::registry::keys::prefix(kind);
        loop {
            let mut watch = store.watch(&prefix, store.revision()).unwrap();
            let service = self.server.registry.get(kind, "", "v1.widgets.example.com").unwrap();
            let condition = service["status"]["conditions"][0].clone();
            if condition["reason"] == reason {
                return condition;
            }
            let _ = watch.next().await;
        }
    }
}
