//! `/healthz` and `/livez` of the proxy (upstream's port 10256): well once the rules have been written.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio_util::sync::CancellationToken;

use crate::Error;

/// Whether the rules in the kernel are those that were wanted last.
#[derive(Debug, Default)]
pub struct Health {
    synchronized: AtomicBool,
}

impl Health {
    pub(crate) fn synchronized(&self) {
        self.synchronized.store(true, Ordering::Relaxed);
    }
}

/// Listens in the background until `shutdown`.
pub async fn serve(address: SocketAddr, health: Arc<Health>, shutdown: CancellationToken) -> Result<(), Error> {
    let listener = tokio::net::TcpListener::bind(address).await.map_err(|source| Error::Health { address, source })?;
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! {
                _ = shutdown.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else { continue };
            let health = health.clone();
            let service = service_fn(move |request| {
                let answer = answer(&request, &health);
                async move { Ok::<_, Infallible>(answer) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(())
}

fn answer(request: &http::Request<Incoming>, health: &Health) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        "/healthz" | "/livez" if health.synchronized.load(Ordering::Relaxed) => (StatusCode::OK, "ok"),
        "/healthz" | "/livez" => (StatusCode::SERVICE_UNAVAILABLE, "the service rules have not been written yet"),
        _ => (StatusCode::NOT_FOUND, "404 page not found"),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response
}
