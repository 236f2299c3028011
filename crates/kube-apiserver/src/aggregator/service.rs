//! An APIService as the aggregator reads it.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use machinery::status::Status;
use serde::Deserialize;

use super::Identity;
use crate::Server;
use crate::outbound::tls::{self, Roots};
use crate::outbound::{self, Destination, Tls, service};

#[derive(Deserialize)]
pub struct ApiService {
    metadata: Metadata,
    #[serde(default)]
    pub spec: Spec,
    #[serde(default)]
    status: ServiceStatus,
    /// Made at the first connection.
    #[serde(skip)]
    tls: OnceLock<Result<Tls, String>>,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Spec {
    pub group: String,
    pub version: String,
    pub service: Option<Reference>,
    ca_bundle: Option<String>,
    #[serde(rename = "insecureSkipTLSVerify")]
    insecure_skip_tls_verify: bool,
    pub group_priority_minimum: i32,
    pub version_priority: i32,
}

#[derive(Deserialize)]
pub struct Reference {
    #[serde(default)]
    pub namespace: String,
    #[serde(default)]
    pub name: String,
    pub port: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ServiceStatus {
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

impl ApiService {
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    pub fn is_local(&self) -> bool {
        self.spec.service.is_none()
    }

    pub fn is_available(&self) -> bool {
        self.status.conditions.iter().any(|condition| condition.r#type == "Available" && condition.status == "True")
    }

    /// `/apis/GROUP/VERSION`.
    pub fn path(&self) -> String {
        format!("/apis/{}/{}", self.spec.group, self.spec.version)
    }

    /// How connections to it are made: its certificate is for `NAME.NAMESPACE.svc`.
    pub fn tls(&self, identity: Option<&Identity>) -> Result<Tls, String> {
        let make = || {
            let bundle = self.spec.ca_bundle.as_deref().unwrap_or_default();
            let bundle = STANDARD.decode(bundle).map_err(|error| error.to_string())?;
            let roots = match (self.spec.insecure_skip_tls_verify, bundle.as_slice()) {
                (true, _) => Roots::Unverified,
                (false, []) => Roots::System,
                (false, pem) => Roots::Pem(pem),
            };
            let identity = identity.map(|(certificate, key)| tls::Identity { certificate, key });
            Tls::new(roots, identity).map_err(|error| error.to_string())
        };
        self.tls.get_or_init(make).clone()
    }

    /// Where it is at this moment.
    pub fn destination(&self, server: &Server) -> Result<Destination, Status> {
        let Some(reference) = &self.spec.service else { return Err(Status::internal("the APIService is local")) };
        let port = reference.port.unwrap_or(443);
        let resolved = service::resolve(&server.registry, &reference.namespace, &reference.name, port);
        let (host, port) = resolved.map_err(Status::service_unavailable)?;
        let authority = outbound::authority(&host, port);
        let server_name = format!("{}.{}.svc", reference.name, reference.namespace);
        Ok(Destination { host, port, server_name, authority })
    }
}
