//! One request, one answer: bytes on success, otherwise the API's own Status as an error.

use bytes::Bytes;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde::Deserialize;
use thiserror::Error;

/// Why a call gave no object.
#[derive(Debug, Clone, Error)]
pub enum ApiError {
    /// The server answered with a Status.
    #[error("{message}")]
    Status {
        /// HTTP status code.
        code: u16,
        /// Machine-readable reason ("NotFound", "Conflict", "AlreadyExists", ...).
        reason: String,
        /// What `kubectl` would show.
        message: String,
        /// The reasons of the single causes.
        causes: Vec<String>,
        /// How long the server asks to wait.
        retry_after_seconds: Option<u64>,
    },
    /// No answer came.
    #[error("failed to reach the API server: {0}")]
    Transport(String),
    /// An answer came that is not what the API promises.
    #[error("failed to read the API server's answer: {0}")]
    Malformed(String),
}

impl ApiError {
    /// The Status' reason, empty for errors that are none of the server's.
    pub fn reason(&self) -> &str {
        match self {
            ApiError::Status { reason, .. } => reason,
            _ => "",
        }
    }

    /// The HTTP status code, 0 if there was no answer.
    pub fn code(&self) -> u16 {
        match self {
            ApiError::Status { code, .. } => *code,
            _ => 0,
        }
    }

    /// The object (or the whole path) does not exist.
    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }

    /// The object has changed since it was read.
    pub fn is_conflict(&self) -> bool {
        self.reason() == "Conflict"
    }

    /// The server no longer has the revision asked for: list again.
    pub fn is_expired(&self) -> bool {
        self.code() == 410
    }

    /// The write was refused because its namespace is going away, which no retry changes.
    pub fn is_namespace_terminating(&self) -> bool {
        matches!(self, ApiError::Status { causes, .. } if causes.iter().any(|cause| cause == "NamespaceTerminating"))
    }

    /// Reads a Status body; falls back to the plain text when it is none.
    pub fn from_answer(code: u16, body: &[u8], retry_after_seconds: Option<u64>) -> Self {
        let status: StatusBody = serde_json::from_slice(body).unwrap_or_default();
        let details = status.details.unwrap_or_default();
        let message = match status.message {
            Some(message) => message,
            None => String::from_utf8_lossy(&body[..body.len().min(1024)]).trim().to_owned(),
        };
        ApiError::Status {
            code: status.code.unwrap_or(code),
            reason: status.reason.unwrap_or_default(),
            message,
            causes: details.causes.into_iter().filter_map(|cause| cause.reason).collect(),
            retry_after_seconds: retry_after_seconds.or(details.retry_after_seconds),
        }
    }
}

#[derive(Default, Deserialize)]
struct StatusBody {
    code: Option<u16>,
    reason: Option<String>,
    message: Option<String>,
    details: Option<StatusDetails>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusDetails {
    #[serde(default)]
    causes: Vec<StatusCause>,
    retry_after_seconds: Option<u64>,
}

#[derive(Deserialize)]
struct StatusCause {
    reason: Option<String>,
}

/// A request without or with a JSON body.
pub fn build(
    method: Method,
    path_and_query: &str,
    accept: &'static str,
    body: Option<(&'static str, Vec<u8>)>,
) -> Result<Request<Body>, ApiError> {
    let builder = Request::builder().method(method).uri(path_and_query).header(header::ACCEPT, accept);
    let request = match body {
        Some((kind, bytes)) => builder.header(header::CONTENT_TYPE, kind).body(Body::from(bytes)),
        None => builder.body(Body::empty()),
    };
    request.map_err(|error| ApiError::Malformed(format!("cannot make a request of {path_and_query:?}: {error}")))
}

/// Sends a request and gives the body of a successful answer, still streaming.
pub async fn open(client: &kube::Client, request: Request<Body>) -> Result<Body, ApiError> {
    let answer = client.send(request).await.map_err(|error| ApiError::Transport(error.to_string()))?;
    if answer.status().is_success() {
        return Ok(answer.into_body());
    }
    let code = answer.status().as_u16();
    let retry_after = answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let body = collect(answer.into_body()).await?;
    Err(ApiError::from_answer(code, &body, retry_after))
}

/// Sends a request and gives the whole body of a successful answer.
pub async fn call(client: &kube::Client, request: Request<Body>) -> Result<Bytes, ApiError> {
    collect(open(client, request).await?).await
}

/// GET of a path, decoded.
pub async fn get<T: serde::de::DeserializeOwned>(client: &kube::Client, path_and_query: &str) -> Result<T, ApiError> {
    let bytes = call(client, build(Method::GET, path_and_query, "application/json", None)?).await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::Malformed(error.to_string()))
}

/// POST of an object, and the one that was answered: for reviews, whose answer is what they are made for.
pub async fn post<T: serde::Serialize + serde::de::DeserializeOwned>(
    client: &kube::Client,
    path: &str,
    object: &T,
) -> Result<T, ApiError> {
    let body = serde_json::to_vec(object).map_err(|error| ApiError::Malformed(error.to_string()))?;
    let request = build(Method::POST, path, "application/json", Some(("application/json", body)))?;
    let bytes = call(client, request).await?;
    serde_json::from_slice(&bytes).map_err(|error| ApiError::Malformed(error.to_string()))
}

async fn collect(body: Body) -> Result<Bytes, ApiError> {
    Ok(body.collect().await.map_err(|error| ApiError::Transport(error.to_string()))?.to_bytes())
}

/// Escapes a value for use in a query, or as one step of a path.
pub fn query_escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_body_becomes_reason_message_and_causes() {
        let body = br#"{"kind":"Status","message":"no","reason":"Forbidden","code":403,
            "details":{"causes":[{"reason":"NamespaceTerminating","message":"m"}],"retryAfterSeconds":2}}"#;
        let error = ApiError::from_answer(403, body, None);
        assert_eq!((error.code(), error.reason(), error.to_string().as_str()), (403, "Forbidden", "no"));
        assert!(error.is_namespace_terminating());
        assert!(matches!(error, ApiError::Status { retry_after_seconds: Some(2), .. }));
    }

    #[test]
    fn a_plain_text_answer_is_still_an_error_with_its_text() {
        let error = ApiError::from_answer(404, b"404 page not found\n", None);
        assert_eq!((error.code(), error.to_string().as_str()), (404, "404 page not found"));
    }

    #[test]
    fn query_values_are_escaped() {
        assert_eq!(query_escape("a=b,c"), "a%3Db%2Cc");
    }
}
