//! Connections to kubelets, pods and services: one a request, closed with it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::Uri;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::outbound::{self, tls::Unverified};
use crate::serving::read_certificates;
use crate::{Body, Config};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub trust: Trust,
    pub host: String,
    pub port: u16,
    /// With the query.
    pub path: String,
}

/// How the other end is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// TLS with our client certificate; the other's certificate must be of the kubelets' authority, if one is set.
    Kubelet,
    /// TLS with whoever answers: pods have certificates of their own making.
    Anyone,
    /// No TLS.
    Plain,
}

#[derive(Debug, thiserror::Error)]
pub enum BackendsError {
    #[error("failed to read {0}")]
    Read(PathBuf, #[source] rustls::pki_types::pem::Error),
    #[error("failed to use the certificates for kubelets")]
    Use(#[source] rustls::Error),
    #[error("kubelet-client-certificate and kubelet-client-key go together")]
    Pair,
}

/// Why the other end was not reached; the words are those of upstream's errors.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("dial tcp {address}: connect: {reason}")]
    Connect { address: String, reason: String },
    #[error("dial tcp {0}: i/o timeout")]
    Timeout(String),
    #[error("tls: {0}")]
    Tls(std::io::Error),
    #[error("invalid address {0}")]
    Address(String),
    #[error("{0}")]
    Other(String),
    #[error("{0}")]
    Http(#[from] hyper::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
}

/// Makes the connection to a target.
#[async_trait]
pub trait Dial: Send + Sync {
    /// One on which one request can be sent.
    async fn dial(&self, target: &Target) -> Result<SendRequest<Body>, DialError>;
}

/// What connections are made with.
pub struct Backends {
    kubelet: TlsConnector,
    anyone: TlsConnector,
}

#[async_trait]
impl Dial for Backends {
    async fn dial(&self, target: &Target) -> Result<SendRequest<Body>, DialError> {
        self.connect(target).await
    }
}

impl Backends {
    pub fn open(config: &Config) -> Result<Self, BackendsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = || {
            ClientConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .map_err(BackendsError::Use)
        };
        let unverified = || Arc::new(Unverified::new(provider.clone()));
        let trusting = match &config.kubelet_certificate_authority {
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in read_certificates(path).map_err(|error| BackendsError::Read(path.clone(), error))? {
                    roots.add(certificate).map_err(BackendsError::Use)?;
                }
                builder()?.with_root_certificates(roots)
            }
            None => builder()?.dangerous().with_custom_certificate_verifier(unverified()),
        };
        let kubelet = match (&config.kubelet_client_certificate, &config.kubelet_client_key) {
            (Some(certificate), Some(key)) => {
                let chain =
                    read_certificates(certificate).map_err(|error| BackendsError::Read(certificate.clone(), error))?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| BackendsError::Read(key.clone(), error))?;
                trusting.with_client_auth_cert(chain, key).map_err(BackendsError::Use)?
            }
            (None, None) => trusting.with_no_client_auth(),
            _ => return Err(BackendsError::Pair),
        };
        let anyone = builder()?.dangerous().with_custom_certificate_verifier(unverified()).with_no_client_auth();
        Ok(Self { kubelet: TlsConnector::from(Arc::new(kubelet)), anyone: TlsConnector::from(Arc::new(anyone)) })
    }

    /// A connection on which one request can be sent.
    pub(super) async fn connect(&self, target: &Target) -> Result<SendRequest<Body>, DialError> {
        let address = target.authority();
        let connecting = TcpStream::connect((target.host.trim_matches(['[', ']']), target.port));
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| DialError::Timeout(address.clone()))?
            .map_err(|error| DialError::Connect { address: address.clone(), reason: outbound::reason(&error) })?;
        outbound::set_nodelay(&stream);
        let connector = match target.trust {
            Trust::Plain => return speak(stream).await,
            Trust::Kubelet => &self.kubelet,
            Trust::Anyone => &self.anyone,
        };
        let name = ServerName::try_from(target.host.trim_matches(['[', ']']).to_owned())
            .map_err(|_| DialError::Address(target.host.clone()))?;
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, connector.connect(name, stream))
            .await
            .map_err(|_| DialError::Timeout(address))?
            .map_err(DialError::Tls)?;
        speak(stream).await
    }
}

impl Target {
    /// `host:port`, as it stands in the Host header.
    pub fn authority(&self) -> String {
        outbound::authority(&self.host, self.port)
    }

    pub(super) fn uri(&self) -> Result<Uri, http::Error> {
        Uri::builder().path_and_query(self.path.as_str()).build()
    }
}

pub async fn speak(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<SendRequest<Body>, DialError> {
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a connection to a backend ended");
        }
    });
    Ok(sender)
}
