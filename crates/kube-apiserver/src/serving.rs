//! Sockets: TLS with an optional client certificate, then HTTP/1.1 or HTTP/2, with a bound on everything that a client
//! could drag out or pile up: connections, handshakes, headers, streams, resets.

mod rest;

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use self::rest::WithRest;
use crate::authentication::Peer;
use crate::authentication::x509::ClientCa;
use crate::chain::{self, Caller};
use crate::{Config, Server};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// For the headers of a request; it also runs while a kept connection waits for its next one.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);
const HEADER_BYTES_MAX: usize = 1024 * 1024;
const HEADERS_MAX: usize = 256;
/// Requests that one HTTP/2 connection may have open, as upstream since the rapid-reset attacks.
const STREAMS_MAX: u32 = 100;
/// Streams that a client may open and reset before they were served; more close the connection.
const PENDING_RESETS_MAX: usize = 20;
const LOCAL_ERROR_RESETS_MAX: usize = 1024;
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(15);
/// A full descriptor table empties by itself: wait instead of spinning.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("failed to read the certificate file {0}")]
    Certificate(PathBuf, #[source] rustls::pki_types::pem::Error),
    #[error("failed to read the key file {0}")]
    Key(PathBuf, #[source] rustls::pki_types::pem::Error),
    #[error("failed to use the serving certificate {0}")]
    Use(PathBuf, #[source] rustls::Error),
}

/// TLS as the server offers it.
pub fn tls_config(
    config: &Config,
    client_ca: Option<&ClientCa>,
    proxy_ca: Option<&ClientCa>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let path = &config.tls_cert_file;
    let certificates = read_certificates(path).map_err(|error| TlsError::Certificate(path.clone(), error))?;
    let key = PrivateKeyDer::from_pem_file(&config.tls_private_key_file)
        .map_err(|error| TlsError::Key(config.tls_private_key_file.clone(), error))?;
    let fail = |error| TlsError::Use(path.clone(), error);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(fail)?;
    let builder = match client_ca.or(proxy_ca) {
        Some(ca) => builder.with_client_cert_verifier(ca.handshake_verifier(proxy_ca)),
        None => builder.with_no_client_auth(),
    };
    let mut tls = builder.with_single_cert(certificates, key).map_err(fail)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(tls))
}

pub(crate) fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, rustls::pki_types::pem::Error> {
    CertificateDer::pem_file_iter(path)?.collect()
}

/// Serves connections until `shutdown`, then lets open requests end for `config.shutdown_timeout`.
pub(crate) async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    shutdown: CancellationToken,
) {
    let acceptor = TlsAcceptor::from(tls);
    let http = Arc::new(http_builder());
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(server.config.max_connections));
    loop {
        let place = tokio::select! {
            () = shutdown.cancelled() => break,
            place = places.clone().acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "failed to accept a connection");
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            }
        };
        let connection = Connection {
            server: server.clone(),
            acceptor: acceptor.clone(),
            http: http.clone(),
            watcher: graceful.watcher(),
            shutdown: shutdown.clone(),
        };
        tokio::spawn(async move {
            connection.serve(stream, address).await;
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(server.config.shutdown_timeout, graceful.shutdown()).await.is_err() {
        tracing::info!("some requests were still open when the time for the shutdown was over");
    }
}

struct Connection {
    server: Arc<Server>,
    acceptor: TlsAcceptor,
    http: Arc<auto::Builder<TokioExecutor>>,
    watcher: Watcher,
    shutdown: CancellationToken,
}

impl Connection {
    async fn serve(self, stream: TcpStream, address: SocketAddr) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%address, %error, "failed to set TCP_NODELAY");
        }
        let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream));
        let stream = tokio::select! {
            () = self.shutdown.cancelled() => return,
            handshake = handshake => match handshake.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(stream) => stream,
                Err(error) => {
                    self.server.metrics.handshake_failed();
                    tracing::debug!(%address, %error, "TLS handshake failed");
                    return;
                }
            },
        };
        let certificate = match &self.server.client_ca {
            Some(ca) => ca.judge(stream.get_ref().1.peer_certificates(), jiff::Timestamp::now()),
            None => Default::default(),
        };
        let proxy = match self.server.authenticator.request_header() {
            Some(header) => header.judge(stream.get_ref().1.peer_certificates(), jiff::Timestamp::now()),
            None => Default::default(),
        };
        let peer = Arc::new(Peer { address: Some(address), certificate, proxy });
        let server = self.server;
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (server, peer) = (server.clone(), peer.clone());
            async move {
                let is_http2 = request.version() == http::Version::HTTP_2;
                let mut request = request.map(|body| match is_http2 {
                    true => WithRest::new(body).map_err(Into::into).boxed_unsync(),
                    false => body.map_err(Into::into).boxed_unsync(),
                });
                if let Some(address) = peer.address {
                    request.extensions_mut().insert(address);
                }
                Ok::<_, std::convert::Infallible>(chain::handle(server, Caller::Remote(peer), request).await)
            }
        });
        let connection = self.http.serve_connection_with_upgrades(TokioIo::new(stream), service);
        if let Err(error) = self.watcher.watch(connection.into_owned()).await {
            tracing::debug!(%address, error, "connection ended");
        }
    }
}

fn http_builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_ERROR_RESETS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX as u32)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    builder
}

#[cfg(test)]
mod tests;
