//! The server's certificate, given or self-made, and whose client certificates it believes.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::config::Config;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file could not be read.
    #[error("failed to read {path}: {message}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A self-made certificate could not be made or kept.
    #[error("failed to make a serving certificate: {0}")]
    Make(String),
    /// rustls does not like it.
    #[error("failed to set up TLS")]
    Rustls(#[from] rustls::Error),
}

/// The configuration for the server's connections.
pub fn server_config(config: &Config) -> Result<ServerConfig, TlsError> {
    let (certificate, key) = match (&config.tls_cert_file, &config.tls_key_file) {
        (Some(certificate), Some(key)) => (certificate.clone(), key.clone()),
        _ => self_made(config)?,
    };
    let chain = certificates(&certificate)?;
    let key = PrivateKeyDer::from_pem_file(&key).map_err(|error| unreadable(&key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match &config.client_ca_file {
        Some(path) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(certificates(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| unreadable(path, &error))?;
            builder.with_client_cert_verifier(verifier)
        }
        None => builder.with_no_client_auth(),
    };
    let mut tls = builder.with_single_cert(chain, key)?;
    // Upgrades (exec, attach, port forwarding) are a matter of HTTP/1.1.
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> TlsError {
    TlsError::Read { path: path.into(), message: error.to_string() }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let list = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(path, &error))?;
    list.collect::<Result<_, _>>().map_err(|error| unreadable(path, &error))
}

/// Made once and kept, so that those who pinned it need not pin again.
fn self_made(config: &Config) -> Result<(PathBuf, PathBuf), TlsError> {
    let dir = config.root_dir.join("pki");
    let (certificate, key) = (dir.join("kubelet.crt"), dir.join("kubelet.key"));
    if certificate.exists() && key.exists() {
        return Ok((certificate, key));
    }
    let failed = |error: &dyn std::fmt::Display| TlsError::Make(error.to_string());
    let mut names: Vec<String> = vec![config.node_name.clone(), "localhost".into(), "127.0.0.1".into()];
    names.extend(config.node_ips.iter().map(ToString::to_string));
    let made = rcgen::generate_simple_self_signed(names).map_err(|error| failed(&error))?;
    fs::create_dir_all(&dir).map_err(|error| failed(&error))?;
    fs::write(&certificate, made.cert.pem()).map_err(|error| failed(&error))?;
    let file = fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&key);
    let text = made.signing_key.serialize_pem();
    file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes())).map_err(|error| failed(&error))?;
    Ok((certificate, key))
}
