//! The kubelet's own server: logs, exec, attach and port forwarding for the API server, and what it knows about pods
//! for everybody who may ask. TLS only; nobody is anonymous but for /healthz of the process itself.

pub mod auth;
pub mod containers;
pub mod stats;
pub mod streaming;
pub mod tls;

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tracing::debug;

use crate::{kubelet::Kubelet, pod::PodExt};

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// A body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;
/// An answer.
pub type Answer = Response<Body>;

/// Why the server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken or not ours.
    #[error("failed to listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Certificates could not be read or made.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
}

/// A server that listens.
pub struct Server {
    kubelet: Arc<Kubelet>,
    listener: TcpListener,
    acceptor: TlsAcceptor,
    auth: Arc<auth::Auth>,
}

impl Server {
    /// Listens; connections wait until [`serve`](Self::serve).
    pub async fn bind(kubelet: Arc<Kubelet>) -> Result<Self, ServerError> {
        let address = kubelet.config.bind_address;
        let config = tls::server_config(&kubelet.config)?;
        let listener = TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })?;
        let auth = Arc::new(auth::Auth::new(kubelet.client.clone(), kubelet.config.node_name.clone()));
        Ok(Self { kubelet, listener, acceptor: TlsAcceptor::from(Arc::new(config)), auth })
    }

    /// Serves for ever.
    pub async fn serve(self) {
        loop {
            let (stream, peer) = match self.listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            let _ = stream.set_nodelay(true);
            let (kubelet, acceptor, auth) = (self.kubelet.clone(), self.acceptor.clone(), self.auth.clone());
            let stopping = kubelet.stopping.clone();
            tokio::spawn(stopping.run_until_cancelled_owned(async move {
                let handshake = tokio::time::timeout(std::time::Duration::from_secs(10), acceptor.accept(stream));
                let Ok(Ok(stream)) = handshake.await else { return debug!(%peer, "TLS handshake failed") };
                let certificate = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let identity = Arc::new(certificate.and_then(|certificate| auth::identity(certificate)));
                let service = service_fn(move |request| {
                    let (kubelet, auth, identity) = (kubelet.clone(), auth.clone(), identity.clone());
                    async move { Ok::<_, std::convert::Infallible>(answer(kubelet, &auth, identity, request).await) }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .with_upgrades();
                if let Err(error) = connection.await {
                    debug!(%peer, %error, "connection ended");
                }
            }));
        }
    }
}

async fn answer(
    kubelet: Arc<Kubelet>,
    auth: &auth::Auth,
    identity: Arc<Option<auth::Identity>>,
    request: Request<Incoming>,
) -> Answer {
    if let Err(refusal) = auth.check(identity.as_ref().as_ref(), &request).await {
        return refusal;
    }
    route(&kubelet, request).await
}

async fn route(kubelet: &Arc<Kubelet>, request: Request<Incoming>) -> Answer {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let reading = request.method() == Method::GET;
    match (reading, parts.as_slice()) {
        (true, ["healthz"] | ["healthz", "ping"]) => text(StatusCode::OK, "ok"),
        (true, ["healthz", "syncloop"]) => text(StatusCode::OK, "ok"),
        (true, ["pods"]) => {
            let items: Vec<_> = kubelet.handles().iter().map(|handle| handle.pod_with_status()).collect();
            pod_list(&items)
        }
        (true, ["runningpods"]) => {
            let running = |handle: &crate::worker::Handle| handle.shared.lock().runtime.running().next().is_some();
            let items: Vec<_> = kubelet.handles().iter().filter(|h| running(h)).map(|h| (*h.pod()).clone()).collect();
            pod_list(&items)
        }
        (true, ["stats"] | ["stats", "summary"]) => stats::summary(kubelet).await,
        (true, ["metrics", "resource"]) => stats::resource_metrics(kubelet).await,
        (true, ["metrics"]) => stats::metrics(kubelet),
        (true, ["configz"]) => stats::configz(kubelet),
        (true, ["containerLogs", namespace, pod, container]) => {
            containers::logs(kubelet, namespace, pod, container, request.uri().query().unwrap_or_default()).await
        }
        (_, ["exec", rest @ ..]) => streaming::exec(kubelet, rest, request).await,
        (_, ["attach", rest @ ..]) => streaming::attach(kubelet, rest, request).await,
        (_, ["portForward", rest @ ..]) => streaming::port_forward(kubelet, rest, request).await,
        (false, ["run", rest @ ..]) if request.method() == Method::POST => streaming::run(kubelet, rest, request).await,
        _ => text(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

fn pod_list(items: &[k8s_openapi::api::core::v1::Pod]) -> Answer {
    let mut items: Vec<_> = items.to_vec();
    items.sort_by(|a, b| (a.namespace(), a.name()).cmp(&(b.namespace(), b.name())));
    json(&serde_json::json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items}))
}

/// A plain answer.
pub fn text(status: StatusCode, text: impl Into<String>) -> Answer {
    let mut answer = Response::new(full(text.into().into()));
    *answer.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}

/// A JSON answer.
pub fn json(value: &serde_json::Value) -> Answer {
    let mut answer = Response::new(full(value.to_string().into()));
    let kind = http::HeaderValue::from_static("application/json");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}

/// A body that is there already.
pub fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// The decoded parameters of a query, in order.
pub fn parameters(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut out = Vec::with_capacity(text.len());
        let bytes = text.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
            match (hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()), bytes[at]) {
                (Some(byte), _) => {
                    out.push(byte);
                    at += 3;
                    continue;
                }
                (None, b'+') => out.push(b' '),
                (None, byte) => out.push(byte),
            }
            at += 1;
        }
        String::from_utf8_lossy(&out).into_owned()
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(key), decode(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn queries_are_decoded() {
        let found = super::parameters("command=sh&command=-c&command=echo+a%20%26b&tty&x=%zz");
        let expected = [("command", "sh"), ("command", "-c"), ("command", "echo a &b"), ("tty", ""), ("x", "%zz")];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}
