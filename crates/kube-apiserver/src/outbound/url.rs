//! An https URL as a place to send requests to.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, USER_AGENT};
use http::{Request, StatusCode};

use super::{CallError, Destination, Tls, exchange};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub destination: Destination,
    /// Path and query.
    pub path: String,
    pub text: String,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("Get {0:?}: {1}")]
    Call(String, CallError),
    #[error("Get {0:?}: context deadline exceeded")]
    Timeout(String),
    #[error("{0}: {1}")]
    Code(StatusCode, String),
}

impl Url {
    /// None for what is no https URL. `server_name` is what the certificate must be for, where that is not the host.
    pub fn parse(text: &str, server_name: Option<&str>) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https"))?;
        let host = authority.host().to_owned();
        let destination = Destination {
            server_name: server_name.unwrap_or_else(|| host.trim_matches(['[', ']'])).to_owned(),
            port: authority.port_u16().unwrap_or(443),
            authority: authority.to_string(),
            host,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Some(Self { destination, path, text: text.to_owned() })
    }

    /// Fetches what is there.
    pub async fn get(&self, tls: &Tls, timeout: Duration, bytes_max: usize) -> Result<Bytes, FetchError> {
        let fail = |error| FetchError::Call(self.text.clone(), error);
        let request = Request::get(self.path.as_str())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "kube-apiserver")
            .body(Bytes::new())
            .map_err(|error| fail(error.into()))?;
        let fetched = tokio::time::timeout(timeout, exchange(tls, &self.destination, request, bytes_max)).await;
        let answer = fetched.map_err(|_| FetchError::Timeout(self.text.clone()))?.map_err(fail)?;
        if !answer.status().is_success() {
            return Err(FetchError::Code(answer.status(), self.text.clone()));
        }
        Ok(answer.into_body())
    }
}
