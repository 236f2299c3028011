//! A namespace that something is created in is made when it is not there.

use async_trait::async_trait;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use machinery::status::Status;
use serde_json::{Value, json};
use tower::Service as _;

use crate::admission::{Operation, Plugin, Review};

pub struct NamespaceAutoProvision;

#[async_trait]
impl Plugin for NamespaceAutoProvision {
    fn name(&self) -> &'static str {
        "NamespaceAutoProvision"
    }

    async fn mutate(&self, review: &Review<'_>, _: &mut Value) -> Result<(), Status> {
        let creates = review.operation == Operation::Create && !review.namespace.is_empty() && review.kind.namespaced;
        if !creates || review.dry_run {
            return Ok(());
        }
        let Some((kind, _)) = api::find("", "v1", "namespaces") else { return Ok(()) };
        if review.server.registry.entry(kind, "", review.namespace).is_ok() {
            return Ok(());
        }
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": review.namespace } });
        let request = http::Request::post("/api/v1/namespaces")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(namespace.to_string())))
            .map_err(Status::internal)?;
        // By the front door: a namespace is admitted like any other.
        let response = match review.server.own_client().call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let code = response.status();
        let body = response.into_body().collect().await.map_err(Status::internal)?.to_bytes();
        // Somebody else may have been faster.
        if code.is_success() || code == http::StatusCode::CONFLICT {
            return Ok(());
        }
        Err(serde_json::from_slice(&body).unwrap_or_else(|_| Status::internal(format!("namespaces: {code}"))))
    }
}
