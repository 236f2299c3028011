//! `/healthz`, `/livez` and `/readyz` of controller manager and scheduler, by HTTPS with a certificate made at the start,
//! as upstream does where none is given. They say that the process lives, nothing else is served.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Connections at once; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 32;
/// A connection lasts no longer than this, so that idle ones cannot keep others out.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(30);

/// Listens at once and serves in the background; not at all at port 0.
pub async fn serve(
    address: IpAddr,
    port: u16,
    tasks: &mut JoinSet<Result<()>>,
    shutdown: &CancellationToken,
) -> Result<()> {
    if port == 0 {
        return Ok(());
    }
    let address = SocketAddr::new(address, port);
    let listener = TcpListener::bind(address).await.with_context(|| format!("failed to listen at {address}"))?;
    let (acceptor, shutdown) = (acceptor()?, shutdown.clone());
    tasks.spawn(async move {
        shutdown.run_until_cancelled(accept(listener, acceptor)).await;
        Ok(())
    });
    Ok(())
}

fn acceptor() -> Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()])
        .context("failed to make a certificate")?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .context("failed to set up TLS")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let _ = tokio::time::timeout(CONNECTION_PATIENCE, connection(stream, acceptor)).await;
                    drop(place);
                });
            }
            // Out of file descriptors: looping at once would only burn time.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor) {
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let service = service_fn(async |request| Ok::<_, Infallible>(answer(&request)));
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn answer(request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        "/healthz" | "/livez" | "/readyz" => (StatusCode::OK, "ok"),
        _ => (StatusCode::NOT_FOUND, "404 page not found\n"),
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response
}
