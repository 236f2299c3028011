//! What tests stand on: a certificate authority of their own, and a server with its store in memory.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType};
use serde_json::Value;
use tower::Service as _;

use crate::etcd::Etcd;
use crate::{Config, Server, UserInfo};

/// A folder with an authority and what it signed.
pub(crate) struct Pki {
    pub folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

pub(crate) struct Leaf {
    pub certificate: rcgen::Certificate,
    pub key: KeyPair,
}

/// How a leaf differs from a good client certificate.
#[derive(Clone, Copy, Default)]
pub(crate) struct LeafOptions<'a> {
    pub groups: &'a [&'a str],
    pub serving: bool,
    pub expired: bool,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "ca");
        let certificate = params.self_signed(&key).unwrap();
        let pki = Self { issuer: Issuer::new(params, key), folder };
        pki.write("ca.crt", &certificate.pem());
        let serving = pki.leaf("apiserver", LeafOptions { serving: true, ..LeafOptions::default() });
        pki.write_leaf("apiserver", &serving);
        let groups = &["kubeadm:cluster-admins"];
        pki.write_leaf(
            "apiserver-kubelet-client",
            &pki.leaf("apiserver", LeafOptions { groups, ..LeafOptions::default() }),
        );
        pki.write("sa.key", &KeyPair::generate().unwrap().serialize_pem());
        pki
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn leaf(&self, name: &str, options: LeafOptions) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        for group in options.groups {
            params.distinguished_name.push(DnType::OrganizationName, *group);
        }
        let usage =
            if options.serving { ExtendedKeyUsagePurpose::ServerAuth } else { ExtendedKeyUsagePurpose::ClientAuth };
        params.extended_key_usages = vec![usage];
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        if options.expired {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        }
        Leaf { certificate: params.signed_by(&key, &self.issuer).unwrap(), key }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    fn write_leaf(&self, name: &str, leaf: &Leaf) {
        self.write(&format!("{name}.crt"), &leaf.certificate.pem());
        self.write(&format!("{name}.key"), &leaf.key.serialize_pem());
    }

    /// Of a server with a store of its own: in memory, or in the etcd that `TEST_ETCD_SERVERS` names, below a prefix of its own.
    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(self.path(), None);
        if let Ok(servers) = std::env::var("TEST_ETCD_SERVERS") {
            let mut etcd = Etcd::new(vec![servers]);
            etcd.prefix = format!("/{}", uuid::Uuid::new_v4());
            if let Ok(media_type) = std::env::var("TEST_STORAGE_MEDIA_TYPE") {
                etcd.storage_media_type = media_type.parse().unwrap();
            }
            config.etcd = Some(etcd);
        }
        config
    }
}

/// A started server, and the folder it lives on.
pub(crate) async fn server() -> (Arc<Server>, Pki) {
    server_with(|_| {}).await
}

pub(crate) async fn server_with(change: impl FnOnce(&mut Config)) -> (Arc<Server>, Pki) {
    let pki = Pki::new();
    let mut config = pki.config();
    change(&mut config);
    let server = Server::open(config).unwrap();
    server.start().await.unwrap();
    (server, pki)
}

/// A request as `user`, without a socket: the code and the body.
pub(crate) async fn call(server: &Arc<Server>, user: UserInfo, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (code, _, body) = call_with(server, user, method, path, "application/json", body).await;
    (code, body)
}

/// The same with a content type of one's choice: the code, the texts of the warnings and the body.
pub(crate) async fn call_with(
    server: &Arc<Server>,
    user: UserInfo,
    method: &str,
    path: &str,
    content_type: &str,
    body: &str,
) -> (u16, Vec<String>, Value) {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type)
        .body(Full::new(Bytes::from(body.to_owned())))
        .unwrap();
    let response = server.in_process(user).call(request).await.unwrap();
    let code = response.status().as_u16();
    let warnings = response.headers().get_all(http::header::WARNING).iter();
    let text = |value: &http::HeaderValue| {
        let quoted = value.to_str().unwrap().strip_prefix("299 - \"").unwrap().strip_suffix('"').unwrap();
        quoted.replace("\\\"", "\"")
    };
    let warnings = warnings.map(text).collect();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes);
    (code, warnings, body.unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into()))
}

/// Sends JSON as the administrator; a PATCH is a merge patch, null no body.
pub(crate) async fn send(server: &Arc<Server>, method: &str, path: &str, object: &Value) -> (u16, Vec<String>, Value) {
    let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
    let text = if object.is_null() { String::new() } else { object.to_string() };
    call_with(server, admin(), method, path, kind, &text).await
}

pub(crate) fn admin() -> UserInfo {
    UserInfo::new("admin", [crate::user::MASTERS_GROUP])
}
