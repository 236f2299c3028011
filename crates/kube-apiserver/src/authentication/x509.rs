//! Client certificates. The handshake asks for one and proves that the client has its key, but does not judge it: an
//! unknown or expired certificate is answered 401 like any other bad credential, not by a broken connection.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::UserInfo;

/// The attribute of a subject that carries the user's uid.
const UID_OID: &str = "1.3.6.1.4.1.57683.2";

#[derive(Debug, thiserror::Error)]
pub enum ClientCaError {
    #[error("failed to read the client CA file {0}")]
    Read(PathBuf, #[source] rustls::pki_types::pem::Error),
    #[error("failed to use the client CA file {0}")]
    Use(PathBuf, #[source] rustls::Error),
    #[error("failed to verify with the client CA file {0}")]
    Verify(PathBuf, #[source] rustls::server::VerifierBuilderError),
}

/// Judges client certificates by a certificate authority.
#[derive(Clone, Debug)]
pub struct ClientCa(Arc<dyn ClientCertVerifier>);

/// What a connection's certificate says; `Invalid` carries the reason for the log.
#[derive(Clone, Debug, Default)]
pub enum PeerCertificate {
    #[default]
    None,
    Invalid(String),
    Valid(Identity),
}

/// The user of a certificate that was good when the connection began.
#[derive(Clone, Debug)]
pub struct Identity {
    user: UserInfo,
    not_before: i64,
    not_after: i64,
}

impl ClientCa {
    pub fn open(path: &Path) -> Result<Self, ClientCaError> {
        let read = |error| ClientCaError::Read(path.to_owned(), error);
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
            let added = roots.add(certificate.map_err(read)?);
            added.map_err(|error| ClientCaError::Use(path.to_owned(), error))?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .map_err(|error| ClientCaError::Verify(path.to_owned(), error))?;
        Ok(Self(verifier))
    }

    /// Verifies the chain a client sent and reads the user off its certificate.
    pub fn judge(&self, chain: Option<&[CertificateDer<'_>]>, now: Timestamp) -> PeerCertificate {
        let Some((leaf, intermediates)) = chain.and_then(<[_]>::split_first) else { return PeerCertificate::None };
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        if let Err(error) = self.0.verify_client_cert(leaf, intermediates, time) {
            return PeerCertificate::Invalid(format!("x509: {error}"));
        }
        match Identity::of(leaf) {
            Ok(Some(identity)) => PeerCertificate::Valid(identity),
            // A certificate without a name identifies nobody, but is no error either.
            Ok(None) => PeerCertificate::None,
            Err(reason) => PeerCertificate::Invalid(reason),
        }
    }

    /// What the handshake uses: any certificate will do as long as the client has its key. Clients choose theirs by the
    /// names of authorities that they are shown.
    pub fn handshake_verifier(&self, other: Option<&Self>) -> Arc<dyn ClientCertVerifier> {
        let hints = [Some(self), other].into_iter().flatten().flat_map(|ca| ca.0.root_hint_subjects().to_vec());
        Arc::new(AnyCertificate { verifier: self.0.clone(), hints: hints.collect() })
    }
}

impl Identity {
    fn of(leaf: &CertificateDer) -> Result<Option<Self>, String> {
        let (_, certificate) = X509Certificate::from_der(leaf).map_err(|error| format!("x509: {error}"))?;
        let subject = certificate.subject();
        let text = |value: Result<&str, _>| value.unwrap_or_default().to_owned();
        let name = subject.iter_common_name().last().map(|name| text(name.as_str())).unwrap_or_default();
        if name.is_empty() {
            return Ok(None);
        }
        let mut user = UserInfo::new(name, subject.iter_organization().map(|group| text(group.as_str())));
        let uids = subject.iter_attributes().filter(|attribute| attribute.attr_type().to_id_string() == UID_OID);
        match &uids.map(|uid| text(uid.as_str())).collect::<Vec<_>>()[..] {
            [] => {}
            [uid] if !uid.is_empty() => user.uid = Some(uid.clone()),
            _ => return Err("x509: the subject must have at most one uid, and it must not be empty".to_owned()),
        }
        let hash: String = Sha256::digest(leaf).iter().map(|byte| format!("{byte:02x}")).collect();
        user.extra.insert("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("X509SHA256={hash}")]);
        let validity = certificate.validity();
        Ok(Some(Self { user, not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() }))
    }

    /// The user, unless the certificate expired while the connection was open.
    pub fn user_at(&self, now: Timestamp) -> Option<&UserInfo> {
        (self.not_before..=self.not_after).contains(&now.as_second()).then_some(&self.user)
    }
}

/// Leaves the judgement to the request.
#[derive(Debug)]
struct AnyCertificate {
    verifier: Arc<dyn ClientCertVerifier>,
    hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
