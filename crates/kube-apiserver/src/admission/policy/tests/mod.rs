//! The policy plugins at work in a server.

mod matching;
mod mutating;
mod params;
mod validating;

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::testing::{Pki, admin, call_with, server_with};
use crate::{Config, Server};

const GROUP: &str = "/apis/admissionregistration.k8s.io/v1";
const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";

struct World {
    server: Arc<Server>,
    // The folders that the server reads its files from.
    folders: Vec<Pki>,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (server, pki) = server_with(change).await;
        Self { server, folders: vec![pki] }
    }

    /// With an audit log of everything, and where it is.
    async fn audited() -> (Self, PathBuf) {
        let folder = Pki::new();
        folder.write(
            "audit.yaml",
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Request, omitStages: [RequestReceived]}]\n",
        );
        let log = folder.path().join("audit.log");
        let mut world = Self::with(|config| {
            config.audit_policy_file = Some(folder.path().join("audit.yaml"));
            config.audit_log_path = Some(log.clone());
        })
        .await;
        world.folders.push(folder);
        (world, log)
    }

    async fn send(&self, method: &str, path: &str, object: Value) -> (u16, Vec<String>, Value) {
        let kind = if method == "PATCH" { "application/merge-patch+json" } else { "application/json" };
        let text = if object.is_null() { String::new() } else { object.to_string() };
        call_with(&self.server, admin(), method, path, kind, &text).await
    }

    async fn create(&self, path: &str, object: Value) -> Value {
        let (code, _, body) = self.send("POST", path, object).await;
        assert_eq!(code, 201, "{body}");
        body
    }

    /// A validating policy of that name with a binding of the same name, which denies unless it says otherwise.
    async fn policy(&self, name: &str, spec: Value, binding: Value) {
        let mut whole = json!({ "matchConstraints": about_configmaps() });
        merge(&mut whole, spec);
        self.create(&format!("{GROUP}/validatingadmissionpolicies"), named(name, whole)).await;
        let mut whole = json!({ "policyName": name, "validationActions": ["Deny"] });
        merge(&mut whole, binding);
        self.create(&format!("{GROUP}/validatingadmissionpolicybindings"), named(name, whole)).await;
    }

    /// The code and the message of the answer to a new ConfigMap.
    async fn configmap(&self, name: &str, data: Value) -> (u16, String) {
        let object = json!({ "metadata": { "name": name }, "data": data });
        let (code, _, body) = self.send("POST", &format!("{CONFIGMAPS}?dryRun=All"), object).await;
        (code, body["message"].as_str().unwrap_or_default().to_owned())
    }
}

fn named(name: &str, spec: Value) -> Value {
    json!({ "metadata": { "name": name }, "spec": spec })
}

fn merge(into: &mut Value, from: Value) {
    into.as_object_mut().unwrap().extend(from.as_object().unwrap().clone());
}

fn rule(group: &str, version: &str, resource: &str) -> Value {
    json!({ "operations": ["*"], "apiGroups": [group], "apiVersions": [version], "resources": [resource] })
}

fn about_configmaps() -> Value {
    json!({ "resourceRules": [rule("", "v1", "configmaps")] })
}

/// What a refused ConfigMap is told.
fn denied(name: &str, policy: &str, message: &str) -> String {
    format!(
        "configmaps \"{name}\" is forbidden: ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: {message}"
    )
}
