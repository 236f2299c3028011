//! The API as the server's own work uses it: through the front door, without a socket.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use machinery::status::Status;
use serde_json::Value;
use tower::Service as _;

use crate::InProcess;
use crate::endpoints::APPLY_MEDIA_TYPE;

/// One request and its answer, as JSON.
pub async fn call(client: &InProcess, method: Method, path: String, body: Option<Value>) -> Result<Value, Status> {
    send(client, method, path, "application/json", body).await
}

/// Applies an object or a part of one in the name of a manager, who takes the fields over.
pub async fn apply(client: &InProcess, path: &str, manager: &str, object: Value) -> Result<Value, Status> {
    let path = format!("{path}?fieldManager={manager}&force=true");
    send(client, Method::PATCH, path, APPLY_MEDIA_TYPE, Some(object)).await
}

async fn send(
    client: &InProcess,
    method: Method,
    path: String,
    media_type: &str,
    body: Option<Value>,
) -> Result<Value, Status> {
    let bytes = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, media_type)
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
