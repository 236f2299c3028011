//! A small HTTP client for probes and hooks: no pool, no certificate checks (the target is a container of ours), bodies
//! cut short, redirects followed on the same host only.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;

const BODY_BYTES_MAX: usize = 10 << 10;
const REDIRECTS_MAX: usize = 10;

/// A request to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The whole URL, as messages show it.
    pub url: String,
    https: bool,
    host: String,
    port: u16,
    path: String,
    headers: Vec<(String, String)>,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The beginning of the body.
    pub body: String,
    /// Whether it is a redirect that leads elsewhere.
    pub redirected_away: bool,
}

/// A port given by number or by the name of one of the container's ports.
pub fn port(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let named = container.ports.iter().flatten().find(|p| p.name.as_deref() == Some(name));
            named.map(|p| p.container_port).or_else(|| name.parse().ok())
        }
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("couldn't find port: {port:?}"))
}

/// An address and port as URLs and dial errors write them.
pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

impl Request {
    /// The request of an `httpGet`, to `default_host` unless it names one.
    pub fn new(action: &HTTPGetAction, container: &Container, default_host: &str, agent: &str) -> Result<Self, String> {
        let port = port(&action.port, container)?;
        let host = action.host.as_deref().filter(|host| !host.is_empty()).unwrap_or(default_host).to_owned();
        let https = action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let path = action.path.as_deref().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let scheme = if https { "https" } else { "http" };
        let mut headers: Vec<(String, String)> =
            action.http_headers.iter().flatten().map(|h| (h.name.clone(), h.value.clone())).collect();
        let has = |headers: &[(String, String)], name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        for (name, value) in [("User-Agent", agent), ("Accept", "*/*")] {
            if !has(&headers, name) {
                headers.push((name.into(), value.into()));
            }
        }
        // An empty value asks for the header to be left out.
        headers.retain(|(name, value)| {
            !(value.is_empty() && ["user-agent", "accept"].contains(&name.to_lowercase().as_str()))
        });
        if !has(&headers, "Host") {
            headers.push(("Host".into(), authority(&host, port)));
        }
        Ok(Self { url: format!("{scheme}://{}{path}", authority(&host, port)), https, host, port, path, headers })
    }

    /// Sends it; the error is what Go's client would say.
    pub async fn send(&self, timeout: Duration) -> Result<Answer, String> {
        match tokio::time::timeout(timeout, self.follow()).await {
            Ok(answer) => answer.map_err(|error| format!("Get {:?}: {error}", self.url)),
            Err(_) => Err(format!(
                "Get {:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                self.url
            )),
        }
    }

    async fn follow(&self) -> Result<Answer, String> {
        let mut request = self.clone();
        for _ in 0..REDIRECTS_MAX {
            let (mut answer, location) = request.once().await?;
            let Some(location) = location.filter(|_| (300..400).contains(&answer.status)) else { return Ok(answer) };
            let prefix =
                format!("{}://{}", if self.https { "https" } else { "http" }, authority(&self.host, self.port));
            match location.strip_prefix(prefix.as_str()).unwrap_or(&location) {
                path if path.starts_with('/') => request.path = path.to_owned(),
                "" => request.path = "/".into(),
                _ => {
                    answer.redirected_away = true;
                    return Ok(answer);
                }
            }
        }
        Err("stopped after 10 redirects".into())
    }

    async fn once(&self) -> Result<(Answer, Option<String>), String> {
        let stream = dial(&self.host, self.port).await?;
        if !self.https {
            return self.exchange(TokioIo::new(stream)).await;
        }
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_safe_default_protocol_versions()
                .map_err(|error| error.to_string())?
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate))
                .with_no_client_auth();
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        self.exchange(TokioIo::new(stream.map_err(|error| error.to_string())?)).await
    }

    async fn exchange<S>(&self, io: TokioIo<S>) -> Result<(Answer, Option<String>), String>
    where
        TokioIo<S>: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(io).await.map_err(|error| error.to_string())?;
        let mut request = http::Request::get(&self.path);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let work = async {
            let response = sender.send_request(request).await.map_err(|error| go_words(&error))?;
            let status = response.status().as_u16();
            let location = response.headers().get(http::header::LOCATION);
            let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
            let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
            Ok((Answer { status, body, redirected_away: false }, location))
        };
        // The connection is driven here and goes away with the request.
        tokio::pin!(work);
        tokio::pin!(connection);
        tokio::select! {
            answer = &mut work => answer,
            ended = &mut connection => match ended {
                Ok(()) => work.await,
                Err(error) => Err(go_words(&error)),
            },
        }
    }
}

fn go_words(error: &hyper::Error) -> String {
    if error.is_incomplete_message() || error.is_closed() { "EOF".into() } else { error.to_string() }
}

/// Connects, with Go's words for failures.
pub async fn dial(host: &str, port: u16) -> Result<TcpStream, String> {
    TcpStream::connect((host, port)).await.map_err(|error| {
        let cause = match error.kind() {
            std::io::ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            std::io::ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
            std::io::ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
            _ => error.to_string(),
        };
        format!("dial tcp {}: {cause}", authority(host, port))
    })
}

#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
