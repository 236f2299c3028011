//! The API of RBAC as the server's own work uses it: through the front door, without a socket.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use machinery::status::Status;
use serde_json::Value;
use tower::Service as _;

use crate::InProcess;

pub(super) const API: &str = "/apis/rbac.authorization.k8s.io/v1";

/// All objects of a resource, each with its kind.
pub(super) async fn list(client: &InProcess, resource: &str) -> Result<Vec<Value>, Status> {
    let mut list = call(client, Method::GET, format!("{API}/{resource}"), None).await?;
    let Some(Value::Array(mut items)) = list.get_mut("items").map(Value::take) else { return Ok(Vec::new()) };
    let kind = list["kind"].as_str().and_then(|kind| kind.strip_suffix("List")).unwrap_or_default().to_owned();
    for item in &mut items {
        // Items of a list do not say what they are; what is written back must.
        item["apiVersion"] = "rbac.authorization.k8s.io/v1".into();
        item["kind"] = kind.clone().into();
    }
    Ok(items)
}

/// One request and its answer, as JSON.
pub(super) async fn call(
    client: &InProcess,
    method: Method,
    path: String,
    body: Option<Value>,
) -> Result<Value, Status> {
    let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .header(http::header::USER_AGENT, "kube-apiserver")
        .body(Full::new(bytes))
        .map_err(Status::internal)?;
    let response = match client.clone().call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    let code = response.status();
    let bytes = response.into_body().collect().await.map_err(Status::internal)?.to_bytes();
    let value: Value = serde_json::from_slice(&bytes).map_err(Status::internal)?;
    if code.is_success() {
        return Ok(value);
    }
    Err(serde_json::from_value(value).unwrap_or_else(|error| Status::internal(format!("{code}: {error}"))))
}
