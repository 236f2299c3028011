//! etcd behind TLS, which asks its clients for certificates too.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::cluster::Cluster;
use super::{TestStore, open_with, options, text};
use crate::etcd::EtcdOptions;
use crate::{Options, Precondition};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

fn issue(issuer: &Issuer) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    (params.signed_by(&key, issuer).expect("a certificate"), key)
}

fn config(trusted: &Issuer, shown: Option<&Issuer>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(trusted.der().clone()).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions").with_root_certificates(roots);
    Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some(issuer) => {
            let (certificate, key) = issue(issuer);
            let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            builder.with_client_auth_cert(vec![certificate.der().clone()], key).expect("an identity")
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_prove_who_they_are() {
    let folder = tempfile::tempdir().expect("a folder");
    let (own, other) = (authority(), authority());
    let (certificate, key) = issue(&own);
    let write = |name: &str, pem: String| -> String {
        let path: &Path = &folder.path().join(name);
        std::fs::write(path, pem).expect("written");
        path.display().to_string()
    };
    let files = [write("ca", own.pem()), write("crt", certificate.pem()), write("key", key.serialize_pem())];
    let cluster = Cluster::start(
        1,
        &["--client-cert-auth", "--trusted-ca-file", &files[0], "--cert-file", &files[1], "--key-file", &files[2]],
    );
    let with = |tls| EtcdOptions { tls: Some(tls), ..options(&cluster) };
    let store = open_with(with(config(&own, Some(&own)))).await;
    store.put("/registry/pods/default/a", text("a"), Precondition::Absent).await.expect("written");
    let refused = [
        (config(&other, Some(&own)), "invalid peer certificate"),
        // The server may close the connection before its reason arrives.
        (config(&own, Some(&other)), ""),
        (config(&own, None), ""),
    ];
    for (tls, reason) in refused {
        let options = EtcdOptions { open_timeout: std::time::Duration::from_secs(1), ..with(tls) };
        let open = move || TestStore::open_etcd(options, Options::default());
        let Err(error) = tokio::task::spawn_blocking(open).await.expect("no panic") else {
            panic!("it opened: {reason}")
        };
        assert!(error.to_string().contains(reason), "{error}");
    }
}
