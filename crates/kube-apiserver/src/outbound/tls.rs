//! How the other end of an outgoing connection is verified, and how this server identifies itself there.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("unable to load root certificates: unable to parse bytes as PEM block")]
    Roots,
    #[error("tls: failed to find any PEM data in certificate input")]
    ClientCertificate,
    #[error("tls: failed to find any PEM data in key input")]
    ClientKey,
    #[error("{0}")]
    Use(#[from] rustls::Error),
}

/// What connections to one kind of destination are made with. Cheap to clone.
#[derive(Clone)]
pub struct Tls(Arc<ClientConfig>);

/// Whose word counts for the other end's identity.
#[derive(Clone, Copy, Debug)]
pub enum Roots<'a> {
    /// The authorities that this machine trusts.
    System,
    /// The certificates in this PEM text.
    Pem(&'a [u8]),
    /// Nobody's: any certificate will do.
    Unverified,
}

/// A client certificate and its key, in PEM.
#[derive(Clone, Copy)]
pub struct Identity<'a> {
    pub certificate: &'a [u8],
    pub key: &'a [u8],
}

impl Tls {
    pub fn new(roots: Roots<'_>, identity: Option<Identity<'_>>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
        let trusting = match roots {
            Roots::Unverified => {
                builder.dangerous().with_custom_certificate_verifier(Arc::new(Unverified::new(provider)))
            }
            Roots::System => builder.with_root_certificates(system_roots()),
            Roots::Pem(pem) => builder.with_root_certificates(roots_of(pem)?),
        };
        let config = match identity {
            None => trusting.with_no_client_auth(),
            Some(identity) => {
                let chain: Vec<CertificateDer<'static>> =
                    CertificateDer::pem_slice_iter(identity.certificate).filter_map(Result::ok).collect();
                if chain.is_empty() {
                    return Err(TlsError::ClientCertificate);
                }
                let key = PrivateKeyDer::from_pem_slice(identity.key).map_err(|_| TlsError::ClientKey)?;
                trusting.with_client_auth_cert(chain, key)?
            }
        };
        Ok(Self(Arc::new(config)))
    }

    pub fn config(&self) -> Arc<ClientConfig> {
        self.0.clone()
    }
}

fn roots_of(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // What cannot be read or used counts for nothing, as long as something can.
    for certificate in CertificateDer::pem_slice_iter(pem).flatten() {
        if let Err(error) = roots.add(certificate) {
            tracing::debug!(%error, "failed to use a certificate of a bundle");
        }
    }
    if roots.is_empty() { Err(TlsError::Roots) } else { Ok(roots) }
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(%error, "failed to read an authority that this machine trusts");
    }
    roots.add_parsable_certificates(found.certs);
    roots
}

/// Why a handshake failed, in Go's words where they are known.
pub fn explain(error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(fault)) = inner else { return error.to_string() };
    let reason = match fault {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "certificate signed by unknown authority".to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "certificate has expired or is not yet valid".to_owned()
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let names: Vec<&str> = presented.iter().filter_map(|name| name.split('"').nth(1)).collect();
            if names.is_empty() {
                format!("certificate is not valid for any names, but wanted to match {expected}")
            } else {
                format!("certificate is valid for {}, not {expected}", names.join(", "))
            }
        }
        other => other.to_string(),
    };
    format!("failed to verify certificate: x509: {reason}")
}

/// Takes any certificate, but still has the other end prove that it holds its key.
#[derive(Debug)]
pub struct Unverified(Arc<CryptoProvider>);

impl Unverified {
    pub fn new(provider: Arc<CryptoProvider>) -> Self {
        Self(provider)
    }
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
