//! Reaching a webhook that an object names (of admission, of conversion): where it is, who it must be, and one POST to it.

use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode};
use machinery::go_text::quote;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::kubeconfig::User;
use super::tls::{Identity, Roots};
use super::{Destination, Kubeconfig, Tls};
use crate::registry::{Registry, object};

/// `WebhookClientConfig` of the groups admissionregistration.k8s.io and apiextensions.k8s.io.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientConfig {
    pub url: Option<String>,
    pub service: Option<Service>,
    #[serde(default, deserialize_with = "bytes")]
    pub ca_bundle: Vec<u8>,
    /// Made at the first call.
    #[serde(skip)]
    tls: OnceLock<Result<Tls, String>>,
}

#[derive(Deserialize)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    pub path: Option<String>,
    pub port: Option<u16>,
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

/// Why a webhook gave no answer.
#[derive(Debug)]
pub enum Failure {
    /// It could not be tried.
    Client(String),
    /// It was tried; the code is the one that metrics count.
    Call { reason: String, code: u16 },
}

/// A webhook, ready to be asked.
pub struct Client<'a> {
    config: &'a ClientConfig,
    /// As it stands in messages and in the certificate.
    host: String,
    port: u16,
    authority: String,
    path: String,
    tls: Tls,
    authorization: Option<HeaderValue>,
}

impl<'a> Client<'a> {
    /// `user` is who the server says it is, by host and port.
    pub fn new<'u>(
        config: &'a ClientConfig,
        user: impl FnOnce(&str, u16) -> Option<(&'u Kubeconfig, &'u User)>,
    ) -> Result<Self, Failure> {
        let (host, port, authority, path) = match (&config.url, &config.service) {
            (Some(url), _) => parts_of(url).ok_or_else(|| Failure::Client(format!("invalid URL {}", quote(url))))?,
            (None, Some(service)) => {
                let host = format!("{}.{}.svc", service.name, service.namespace);
                let port = service.port.unwrap_or(443);
                let authority = format!("{host}:{port}");
                (host, port, authority, clean(service.path.as_deref().unwrap_or_default()))
            }
            (None, None) => {
                return Err(Failure::Client("webhook configuration must have either service or URL".into()));
            }
        };
        let user = user(&host, port);
        let tls = config.tls.get_or_init(|| {
            let identity = match user {
                Some((kubeconfig, user)) => kubeconfig.identity(user).map_err(|error| error.to_string())?,
                None => None,
            };
            let identity = identity.as_ref().map(|(certificate, key)| Identity { certificate, key });
            let bundle = config.ca_bundle.as_slice();
            let roots = if bundle.is_empty() { Roots::System } else { Roots::Pem(bundle) };
            Tls::new(roots, identity).map_err(|error| error.to_string())
        });
        let tls = tls.clone().map_err(Failure::Client)?;
        let authorization = match user {
            Some((kubeconfig, user)) => {
                kubeconfig.authorization(user).map_err(|error| Failure::Client(error.to_string()))?
            }
            None => None,
        };
        let authorization = authorization.map(|value| {
            let mut value = HeaderValue::from_str(&value).map_err(|error| Failure::Client(error.to_string()))?;
            value.set_sensitive(true);
            Ok(value)
        });
        Ok(Self { config, host, port, authority, path, tls, authorization: authorization.transpose()? })
    }

    /// Sends a question and brings the answer, which may have `bytes_max` bytes, within `timeout`.
    pub async fn post(
        &self,
        registry: &Registry,
        question: Vec<u8>,
        timeout: Duration,
        bytes_max: usize,
    ) -> Result<Bytes, Failure> {
        // Told in whole seconds, rounded up.
        let seconds = timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0);
        let path = format!("{}?timeout={}", self.path, go_seconds(seconds));
        let url = format!("https://{}{path}", self.authority);
        let fail = |reason: String| Failure::Call { reason: format!("Post {}: {reason}", quote(&url)), code: 503 };
        let to = self.destination(registry).map_err(&fail)?;
        let mut request = Request::new(Bytes::from(question));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.parse().map_err(|error: http::uri::InvalidUri| fail(error.to_string()))?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*"));
        headers.insert(USER_AGENT, HeaderValue::from_static("kube-apiserver-admission"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        let exchange = super::exchange(&self.tls, &to, request, bytes_max);
        let answer = match tokio::time::timeout(timeout, exchange).await {
            Err(_) => return Err(fail("context deadline exceeded".to_owned())),
            Ok(answer) => answer.map_err(|error| fail(error.to_string()))?,
        };
        match answer.status() {
            status if status.is_success() => Ok(answer.into_body()),
            status if status.is_redirection() => {
                Err(fail(format!("the webhook answered with a redirect ({status}), which is not followed")))
            }
            status => {
                let reason = refused(status, answer.headers(), answer.body());
                Err(Failure::Call { reason, code: status.as_u16() })
            }
        }
    }

    fn destination(&self, registry: &Registry) -> Result<Destination, String> {
        let (host, port) = match &self.config.service {
            Some(service) if self.config.url.is_none() => {
                super::service::resolve(registry, &service.namespace, &service.name, service.port.unwrap_or(443))?
            }
            _ => (self.host.clone(), self.port),
        };
        let server_name = self.host.trim_matches(['[', ']']).to_owned();
        Ok(Destination { host, port, server_name, authority: self.authority.clone() })
    }
}

/// Host, port, authority and path of a URL that validation has taken.
fn parts_of(url: &str) -> Option<(String, u16, String, String)> {
    let uri: http::Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let port = authority.port_u16().unwrap_or(443);
    Some((authority.host().to_owned(), port, authority.as_str().to_owned(), clean(uri.path())))
}

/// A path with one slash between its segments, and none at its end.
fn clean(path: &str) -> String {
    let segments = path.split('/').filter(|segment| !segment.is_empty());
    format!("/{}", segments.collect::<Vec<_>>().join("/"))
}

/// `10s`, `1m30s`.
fn go_seconds(seconds: u64) -> String {
    if seconds < 60 { format!("{seconds}s") } else { format!("{}m{}s", seconds / 60, seconds % 60) }
}

/// What an answer that is an error says, as Go's client puts it.
fn refused(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> String {
    if let Ok(value) = serde_json::from_slice::<Value>(body)
        && value["kind"] == "Status"
        && value["status"] == "Failure"
    {
        return object::text(&value, "/message").to_owned();
    }
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let text = if kind.is_empty() || kind.starts_with("text/") {
        let shown: String = String::from_utf8_lossy(body).chars().take(512).collect();
        shown.trim().to_owned()
    } else {
        "unknown".to_owned()
    };
    match status.as_u16() {
        400 => "the server rejected our request for an unknown reason".to_owned(),
        401 => "the server has asked for the client to provide credentials".to_owned(),
        403 | 415 => text,
        404 => "the server could not find the requested resource".to_owned(),
        405 => "the server does not allow this method on the requested resource".to_owned(),
        409 => "the server reported a conflict".to_owned(),
        422 => "the server rejected our request due to an error in our request".to_owned(),
        429 => "the server has received too many requests and has asked us to try again later".to_owned(),
        503 => "the server is currently unable to handle the request".to_owned(),
        504 => {
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .to_owned()
        }
        500.. => format!("an error on the server ({}) has prevented the request from succeeding", quote(&text)),
        code => format!("the server responded with the status code {code} but did not return more information"),
    }
}

impl Failure {
    pub fn reason(&self) -> &str {
        match self {
            Failure::Client(reason) | Failure::Call { reason, .. } => reason,
        }
    }

    pub fn code(&self) -> u16 {
        match self {
            Failure::Client(_) => 400,
            Failure::Call { code, .. } => *code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart_as_they_are_called() {
        let parts = |url| parts_of(url).unwrap();
        let own = |host: &str, port, authority: &str, path: &str| {
            (host.to_owned(), port, authority.to_owned(), path.to_owned())
        };
        assert_eq!(parts("https://a.b"), own("a.b", 443, "a.b", "/"));
        assert_eq!(parts("https://a.b:8443/x//y/"), own("a.b", 8443, "a.b:8443", "/x/y"));
        assert_eq!(parts("https://[::1]:1/"), own("[::1]", 1, "[::1]:1", "/"));
    }

    #[test]
    fn errors_read_as_those_of_gos_client() {
        let plain = HeaderMap::new();
        let said = |code: u16, body: &str| refused(StatusCode::from_u16(code).unwrap(), &plain, body.as_bytes());
        assert_eq!(said(500, "boom\n"), "an error on the server (\"boom\") has prevented the request from succeeding");
        assert_eq!(said(404, ""), "the server could not find the requested resource");
        let status = r#"{"kind":"Status","apiVersion":"v1","status":"Failure","message":"no","code":403}"#;
        assert_eq!(said(403, status), "no");
    }
}
