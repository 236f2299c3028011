//! Requests of the server's own to servers that an administrator named: admission webhooks and the like.
//!
//! One connection a request, HTTP/1.1 over TLS. Redirects are never followed: whoever answers with one gets no second
//! request out of this server, neither to another address nor with its credentials. Answers are read up to a bound.
//! Errors read as those of Go's client, since they end up in messages that clients see.

pub mod endpoint;
pub mod kubeconfig;
pub mod service;
pub mod tls;
pub mod url;
pub mod webhook;

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::traces::{self, KeyValue};

pub use endpoint::{Endpoint, EndpointError, PostError};
pub use kubeconfig::Kubeconfig;
pub use tls::{Tls, TlsError};
pub use url::{FetchError, Url};

/// Where a request goes: what is dialed, and the name that the certificate there must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub host: String,
    pub port: u16,
    pub server_name: String,
    /// As it stands in the Host header.
    pub authority: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("dial tcp: lookup {0}: no such host")]
    Lookup(String),
    #[error("dial tcp {address}: connect: {reason}")]
    Connect { address: String, reason: String },
    #[error("tls: {0}")]
    Tls(String),
    #[error("invalid server name {0:?}")]
    Name(String),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

/// Sends a request whose URI is the path, and reads the whole answer, which may have `bytes_max` bytes. Waits as long as
/// the other end does; the caller limits the time.
pub async fn exchange(
    tls: &Tls,
    to: &Destination,
    request: Request<Bytes>,
    bytes_max: usize,
) -> Result<Response<Bytes>, CallError> {
    let (name, method) = (format!("HTTP {}", request.method()), request.method().clone());
    // The query may hold what is nobody else's business.
    let url = format!("https://{}{}", to.authority, request.uri().path());
    let attributes = || {
        vec![
            KeyValue::text("http.request.method", method.as_str()),
            KeyValue::text("url.full", url),
            KeyValue::text("server.address", to.host.as_str()),
            KeyValue::int("server.port", i64::from(to.port)),
        ]
    };
    traces::request(&name, attributes, exchange_untraced(tls, to, request, bytes_max)).await
}

async fn exchange_untraced(
    tls: &Tls,
    to: &Destination,
    mut request: Request<Bytes>,
    bytes_max: usize,
) -> Result<Response<Bytes>, CallError> {
    let host = HeaderValue::from_str(&to.authority).map_err(http::Error::from)?;
    request.headers_mut().insert(HOST, host);
    traces::context::inject(request.headers_mut());
    let stream = connect(tls, to).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The connection lives as long as the exchange: it ends with the last handle of its sender.
    let running = tokio::spawn(connection);
    let answer = sender.send_request(request.map(Full::new)).await;
    let read = async {
        let (parts, body) = answer?.into_parts();
        let body =
            Limited::new(body, bytes_max).collect().await.map_err(|error| match error.downcast::<hyper::Error>() {
                Ok(error) => CallError::Http(*error),
                Err(_) => CallError::TooLarge(bytes_max),
            })?;
        Ok(Response::from_parts(parts, body.to_bytes()))
    };
    let read = read.await;
    running.abort();
    read
}

/// A connection whose other end has proved its name.
pub async fn connect(tls: &Tls, to: &Destination) -> Result<TlsStream<TcpStream>, CallError> {
    let stream = dial(to).await?;
    let name = ServerName::try_from(to.server_name.clone()).map_err(|_| CallError::Name(to.server_name.clone()))?;
    let connector = TlsConnector::from(tls.config());
    connector.connect(name, stream).await.map_err(|error| CallError::Tls(tls::explain(&error)))
}

async fn dial(to: &Destination) -> Result<TcpStream, CallError> {
    let host = to.host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, to.port)).await.map_err(|error| match words(&error) {
        // A failed look-up has no kind of its own, and no error number.
        None if error.raw_os_error().is_none() => CallError::Lookup(host.to_owned()),
        _ => CallError::Connect { address: authority(host, to.port), reason: reason(&error) },
    })?;
    set_nodelay(&stream);
    Ok(stream)
}

/// `host:port`, as it stands in URLs and in the Host header.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Why a connection was not made, in Go's words where they are known.
pub fn reason(error: &std::io::Error) -> String {
    words(error).map_or_else(|| error.to_string(), str::to_owned)
}

fn words(error: &std::io::Error) -> Option<&'static str> {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => Some("connection refused"),
        std::io::ErrorKind::HostUnreachable => Some("no route to host"),
        std::io::ErrorKind::NetworkUnreachable => Some("network is unreachable"),
        _ => None,
    }
}

/// A request is one small write that should not wait for more.
pub fn set_nodelay(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "failed to set TCP_NODELAY");
    }
}
