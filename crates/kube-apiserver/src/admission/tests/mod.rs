//! Plugins at work in a server, a file for each family.

mod devices;
mod images;
mod optional;
mod storage;

use std::sync::Arc;

use serde_json::{Value, json};

use crate::testing::{Pki, admin, call_with};
use crate::{Config, Server, UserInfo};

pub const PODS: &str = "/api/v1/namespaces/ns/pods";

pub struct Cluster {
    pub server: Arc<Server>,
    // The folder that the server reads its files from.
    _pki: Pki,
}

pub struct Answer {
    pub code: u16,
    pub body: Value,
}

impl Answer {
    pub fn expect(self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.body);
        self.body
    }

    /// The message of a refusal with this code.
    pub fn refused(self, code: u16) -> String {
        self.expect(code)["message"].as_str().unwrap_or_default().to_owned()
    }
}

impl Cluster {
    /// A server with a namespace `ns` and its account `default`.
    pub async fn new(change: impl FnOnce(&mut Config, &Pki)) -> Self {
        Self::on(Pki::new(), change).await
    }

    /// The same with certificates that are there already.
    pub async fn on(pki: Pki, change: impl FnOnce(&mut Config, &Pki)) -> Self {
        let mut config = pki.config();
        change(&mut config, &pki);
        let server = Server::open(config).unwrap();
        server.start().await.unwrap();
        let cluster = Self { server, _pki: pki };
        cluster.post("/api/v1/namespaces", json!({ "metadata": { "name": "ns" } })).await.expect(201);
        let account = json!({ "metadata": { "name": "default" } });
        cluster.post("/api/v1/namespaces/ns/serviceaccounts", account).await.expect(201);
        cluster
    }

    pub async fn send(&self, user: UserInfo, method: &str, path: &str, body: Value) -> Answer {
        let content_type = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let (code, _, body) = call_with(&self.server, user, method, path, content_type, &text).await;
        Answer { code, body }
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(admin(), "POST", path, body).await
    }

    pub async fn merge(&self, path: &str, body: Value) -> Answer {
        self.send(admin(), "PATCH", path, body).await
    }
}

/// Switches plugins on and tells them what the YAML says.
pub fn with_plugins(config: &mut Config, pki: &Pki, names: &[&str], plugins: &str) {
    config.enable_admission_plugins = names.iter().map(|name| (*name).to_owned()).collect();
    let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n";
    pki.write("admission.yaml", &format!("{head}{plugins}"));
    config.admission_control_config_file = Some(pki.path().join("admission.yaml"));
}

/// A pod with something added to its spec.
pub fn pod(name: &str, with: Value) -> Value {
    let mut pod = json!({ "metadata": { "name": name },
        "spec": { "automountServiceAccountToken": false, "containers": [{ "name": "c", "image": "i" }] } });
    pod["spec"].as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
    pod
}
