//! One kept connection: HTTP/1.1 over TLS.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::server::TOKEN;

pub struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    pub async fn open(port: u16, tls: Arc<ClientConfig>) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let name = rustls::pki_types::ServerName::try_from("127.0.0.1")?;
        let stream = TlsConnector::from(tls).connect(name, stream).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self(sender))
    }

    pub async fn get(&mut self, path: &str) -> Result<Bytes> {
        self.send(Method::GET, path, "application/json", Bytes::new()).await
    }

    /// Sends a request and reads the whole answer, which must be a good one.
    pub async fn send(&mut self, method: Method, path: &str, accept: &str, body: Bytes) -> Result<Bytes> {
        let what = format!("{method} {path}");
        let answer = self.begin(method, path, accept, body).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await.with_context(|| what.clone())?.to_bytes();
        if !status.is_success() {
            bail!("{what}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(body)
    }

    /// The beginning of an answer: for watches.
    pub async fn begin(
        &mut self,
        method: Method,
        path: &str,
        accept: &str,
        body: Bytes,
    ) -> Result<http::Response<Incoming>> {
        self.0.ready().await?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1")
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("accept", accept)
            .header("content-type", "application/json")
            .body(Full::new(body))?;
        Ok(self.0.send_request(request).await?)
    }
}
