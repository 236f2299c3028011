//! Requests to the API server: paths, bodies, answers and what went wrong.
//!
//! Objects stay JSON values. The client library carries the requests (TLS, credentials); this module knows HTTP only.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use http::{Method, Request, Response, header};
use http_body_util::BodyExt;
use kube::client::Body;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio_util::io::StreamReader;

use crate::console::{Console, harmless};
use crate::context::Globals;
use crate::error::{Error, Result, Status};
use crate::kubeconfig::{self, Target};
use crate::past;

pub const JSON: &str = "application/json";
pub const MERGE_PATCH: &str = "application/merge-patch+json";
pub const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const APPLY_PATCH: &str = "application/apply-patch+yaml";
/// Ask for a table; an old server or an unusual resource may answer with the object.
pub const TABLE: &str =
    "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";

/// An answer's bytes as they come.
pub type ByteStream = std::pin::Pin<Box<dyn tokio::io::AsyncRead + Send>>;

pub struct Api {
    client: kube::Client,
    host: String,
    timeout: Option<Duration>,
    console: Arc<Console>,
    verbosity: u8,
    warned: Mutex<HashSet<String>>,
}

impl Api {
    pub async fn connect(
        target: &Target,
        globals: &Globals,
        timeout: Option<Duration>,
        console: Arc<Console>,
    ) -> Result<Self> {
        let mut config = target.client_config().await?;
        config.read_timeout = None;
        config.write_timeout = None;
        if let Some(uid) = &globals.impersonate_uid {
            let value = uid.parse().map_err(|_| Error::message("invalid value of --as-uid"))?;
            config.headers.push((http::HeaderName::from_static("impersonate-uid"), value));
        }
        let client = kube::Client::try_from(config).map_err(|error| Error::message(kubeconfig::chain(&error)))?;
        let warned = Mutex::default();
        Ok(Api { client, host: target.host(), timeout, console, verbosity: globals.verbosity, warned })
    }

    pub fn warning_count(&self) -> usize {
        self.warned.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Sends a request as it is and gives the answer as it is.
    pub async fn send(&self, mut request: Request<Body>) -> Result<Response<Body>> {
        let agent = header::HeaderValue::from_static("kubectl/v1.36.2+canopus (linux/amd64)");
        request.headers_mut().entry(header::USER_AGENT).or_insert(agent);
        let shown = (self.verbosity >= 6).then(|| format!("{} {}", request.method(), request.uri()));
        let answer = self.client.send(request).await.map_err(|error| self.unreachable(&error))?;
        if let Some(shown) = shown {
            self.console.error_line(&format!("\"Response\" verb_url=\"{shown}\" status=\"{}\"", answer.status()));
        }
        for warning in answer.headers().get_all(header::WARNING) {
            self.warn(&String::from_utf8_lossy(warning.as_bytes()));
        }
        Ok(answer)
    }

    fn warn(&self, header: &str) {
        let Some(quoted) = header.find('"').map(|at| &header[at..]) else { return };
        let text: String = serde_json::Deserializer::from_str(quoted)
            .into_iter::<String>()
            .next()
            .and_then(std::result::Result::ok)
            .unwrap_or_else(|| quoted.trim_matches('"').to_owned());
        if self.warned.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone()) {
            self.console.error_line(&format!("Warning: {}", harmless(&text)));
        }
    }

    fn unreachable(&self, error: &kube::Error) -> Error {
        let mut next: Option<&dyn std::error::Error> = Some(error);
        let mut innermost = error.to_string();
        while let Some(cause) = next {
            if let Some(io) = cause.downcast_ref::<std::io::Error>()
                && io.kind() == std::io::ErrorKind::ConnectionRefused
            {
                return Error::Refused(self.host.clone());
            }
            innermost = cause.to_string();
            next = cause.source();
        }
        Error::Connection(innermost)
    }

    /// Sends, and turns every answer that is no success into an error.
    async fn accepted(&self, request: Request<Body>) -> Result<Response<Body>> {
        let is_past = past::is_asked(request.uri().query());
        let answer = self.send(request).await?;
        if answer.status().is_success() {
            // A server that does not know the question answers with the present.
            if is_past && !answer.headers().contains_key(past::HEADER) {
                return Err(Error::message(past::UNKNOWN));
            }
            return Ok(answer);
        }
        let code = answer.status().as_u16();
        let body = self.body(answer).await.unwrap_or_default();
        Err(Error::Status(Box::new(Status::from_body(code, &body))))
    }

    async fn body(&self, answer: Response<Body>) -> Result<Bytes> {
        let collected = answer.into_body().collect().await;
        collected.map(http_body_util::Collected::to_bytes).map_err(|error| Error::Connection(error.to_string()))
    }

    /// One request with its whole answer.
    pub async fn bytes(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Bytes> {
        let request = build(method, path, accept, body)?;
        let work = async { self.body(self.accepted(request).await?).await };
        match self.timeout {
            None => work.await,
            Some(timeout) => tokio::time::timeout(timeout, work).await.map_err(|_| {
                Error::Connection("net/http: request canceled (Client.Timeout exceeded while awaiting headers)".into())
            })?,
        }
    }

    async fn json(&self, method: Method, path: &str, accept: &str, body: Option<(&str, Vec<u8>)>) -> Result<Value> {
        let bytes = self.bytes(method, path, accept, body).await?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::message(format!("couldn't read the server's answer: {error}")))
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        self.json(Method::GET, path, JSON, None).await
    }

    pub async fn get_as(&self, path: &str, accept: &str) -> Result<Value> {
        self.json(Method::GET, path, accept, None).await
    }

    pub async fn post(&self, path: &str, object: &Value) -> Result<Value> {
        self.json(Method::POST, path, JSON, Some((JSON, object.to_string().into_bytes()))).await
    }

    pub async fn put(&self, path: &str, object: &Value) -> Result<Value> {
        self.json(Method::PUT, path, JSON, Some((JSON, object.to_string().into_bytes()))).await
    }

    pub async fn patch(&self, path: &str, kind: &str, patch: Vec<u8>) -> Result<Value> {
        self.json(Method::PATCH, path, JSON, Some((kind, patch))).await
    }

    pub async fn delete(&self, path: &str, options: &Value) -> Result<Value> {
        self.json(Method::DELETE, path, JSON, Some((JSON, options.to_string().into_bytes()))).await
    }

    /// An answer that is read while it comes: logs.
    pub async fn stream(&self, path: &str) -> Result<ByteStream> {
        let answer = self.accepted(build(Method::GET, path, "*/*", None)?).await?;
        Ok(Box::pin(StreamReader::new(answer.into_body().into_data_stream().map_err(std::io::Error::other))))
    }

    /// A watch: one JSON event a line.
    pub async fn watch(&self, path: &str, accept: &str) -> Result<Watch> {
        let answer = self.accepted(build(Method::GET, path, accept, None)?).await?;
        let body: ByteStream =
            Box::pin(StreamReader::new(answer.into_body().into_data_stream().map_err(std::io::Error::other)));
        Ok(Watch { lines: BufReader::new(body).lines() })
    }
}

pub struct Watch {
    lines: Lines<BufReader<ByteStream>>,
}

impl Watch {
    /// The next event's type and object; None when the server closed the watch. An ERROR event is an error.
    pub async fn next(&mut self) -> Result<Option<(String, Value)>> {
        let line = loop {
            match self.lines.next_line().await {
                Ok(Some(line)) if line.trim().is_empty() => {}
                Ok(Some(line)) => break line,
                // A connection that breaks is an end like any other: whoever watches lists again.
                Ok(None) | Err(_) => return Ok(None),
            }
        };
        let mut event: Value = serde_json::from_str(&line)
            .map_err(|error| Error::message(format!("unable to decode an event from the watch stream: {error}")))?;
        let object = event["object"].take();
        match event["type"].as_str() {
            Some("ERROR") => {
                let code = object["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
                Err(Error::Status(Box::new(Status::from_body(code, object.to_string().as_bytes()))))
            }
            Some(kind) => Ok(Some((kind.to_owned(), object))),
            None => Err(Error::message("unable to decode an event from the watch stream")),
        }
    }
}

fn build(method: Method, path: &str, accept: &str, body: Option<(&str, Vec<u8>)>) -> Result<Request<Body>> {
    let mut request = Request::builder().method(method).uri(path).header(header::ACCEPT, accept);
    let body = match body {
        None => Body::empty(),
        Some((kind, body)) => {
            request = request.header(header::CONTENT_TYPE, kind);
            Body::from(body)
        }
    };
    request.body(body).map_err(|error| Error::message(format!("invalid request path {path:?}: {error}")))
}

/// A path with its query, percent-encoded.
pub struct Query {
    text: String,
    separator: char,
}

impl Query {
    pub fn new(path: impl Into<String>) -> Self {
        let text = path.into();
        let separator = if text.contains('?') { '&' } else { '?' };
        Query { text, separator }
    }

    pub fn add(mut self, key: &str, value: impl AsRef<str>) -> Self {
        self.text.push(self.separator);
        self.separator = '&';
        self.text.push_str(key);
        self.text.push('=');
        self.text.push_str(&encode(value.as_ref()));
        self
    }

    /// Adds the pair when there is a value.
    pub fn maybe(self, key: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) if !value.as_ref().is_empty() => self.add(key, value),
            _ => self,
        }
    }

    pub fn done(self) -> String {
        self.text
    }
}

/// Percent-encodes what may not stand in a path segment or a query value.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        let path =
            Query::new("/api/v1/pods").add("labelSelector", "app in (a,b)").maybe("x", None::<&str>).add("limit", "5");
        assert_eq!(path.done(), "/api/v1/pods?labelSelector=app%20in%20%28a%2Cb%29&limit=5");
    }
}
