//! A server that a kubeconfig names, asked by POSTs of JSON: the webhooks of authentication, authorization and images.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{Request, StatusCode};
use serde_json::Value;

use super::kubeconfig::KubeconfigError;
use super::tls::{Identity, Roots};
use super::{CallError, Kubeconfig, Tls, TlsError, Url, exchange};

/// Reviews are answered in a few words.
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// A server that fails or is overrun is asked this often, with growing pauses.
const TRIES: u32 = 5;
const PAUSE_GROWTH: f64 = 1.5;

#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    #[error("failed to read the credentials")]
    Kubeconfig(#[from] KubeconfigError),
    #[error("{0} has no current context with a cluster")]
    NoCluster(PathBuf),
    #[error("the server {0:?} must be an https URL")]
    Url(String),
    #[error("failed to prepare TLS")]
    Tls(#[from] TlsError),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    #[error("Post {0:?}: {1}")]
    Call(String, CallError),
    #[error("Post {0:?}: context deadline exceeded")]
    Timeout(String),
    #[error("failed to read the credentials: {0}")]
    Credentials(#[from] KubeconfigError),
    #[error("the server answered with the status code {0}")]
    Code(StatusCode),
    #[error("the server's answer is no JSON: {0}")]
    Decode(serde_json::Error),
    #[error("the server's answer cannot be used: {0}")]
    Unusable(String),
}

impl PostError {
    /// Whether the same request may well succeed when it is sent again: the server is overrun or failed within, or the
    /// connection broke under way. A server that is not there at all is not waited for.
    fn is_transient(&self) -> bool {
        match self {
            Self::Code(code) => matches!(
                *code,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::INTERNAL_SERVER_ERROR | StatusCode::GATEWAY_TIMEOUT
            ),
            Self::Call(_, CallError::Http(_)) => true,
            _ => false,
        }
    }
}

pub struct Endpoint {
    url: Url,
    tls: Tls,
    config: Kubeconfig,
    /// Before the first repetition.
    pause: Duration,
}

impl Endpoint {
    pub fn open(kubeconfig: &Path, pause: Duration) -> Result<Self, EndpointError> {
        let config = Kubeconfig::open(kubeconfig)?;
        let no_cluster = || EndpointError::NoCluster(kubeconfig.to_owned());
        let (cluster, user) = config.current().ok_or_else(no_cluster)?;
        let named = Some(cluster.tls_server_name.as_str()).filter(|name| !name.is_empty());
        let url = Url::parse(&cluster.server, named).ok_or_else(|| EndpointError::Url(cluster.server.clone()))?;
        let identity = user.map(|user| config.identity(user)).transpose()?.flatten();
        let identity = identity.as_ref().map(|(certificate, key)| Identity { certificate, key });
        let pem = config.authority(cluster)?;
        let roots = match &pem {
            _ if cluster.insecure_skip_tls_verify => Roots::Unverified,
            Some(pem) => Roots::Pem(pem),
            None => Roots::System,
        };
        Ok(Self { url, tls: Tls::new(roots, identity)?, config, pause })
    }

    /// Sends the object and reads the one that comes back. What may pass by itself is tried again.
    pub async fn post(&self, object: &Value, timeout: Duration) -> Result<Value, PostError> {
        let deadline = tokio::time::Instant::now() + timeout;
        let body = Bytes::from(object.to_string());
        let (mut pause, mut attempt) = (self.pause, 1);
        loop {
            let once = tokio::time::timeout_at(deadline, self.send(body.clone())).await;
            let result = once.unwrap_or_else(|_| Err(PostError::Timeout(self.url.text.clone())));
            let result = result.and_then(|bytes| serde_json::from_slice(&bytes).map_err(PostError::Decode));
            let passes = match &result {
                Err(PostError::Code(code)) => *code == StatusCode::TOO_MANY_REQUESTS || code.is_server_error(),
                Err(PostError::Call(..)) => true,
                _ => false,
            };
            if !passes || attempt >= TRIES || tokio::time::Instant::now() + pause >= deadline {
                return result;
            }
            tokio::time::sleep(pause).await;
            pause = pause.mul_f64(PAUSE_GROWTH);
            attempt += 1;
        }
    }

    /// The same with so much time for each try, and with word of each: how it ended, and how long it took. `check` says
    /// what is wrong with an answer.
    pub async fn post_each(
        &self,
        object: &Value,
        timeout: Duration,
        check: impl Fn(&Value) -> Result<(), String>,
        observe: impl FnMut(&Result<Value, PostError>, Duration),
    ) -> Result<Value, PostError> {
        let read = |bytes: Bytes| {
            let value = serde_json::from_slice(&bytes).map_err(PostError::Decode)?;
            check(&value).map_err(PostError::Unusable)?;
            Ok(value)
        };
        self.each(object.to_string().into(), timeout, PostError::is_transient, read, observe).await
    }

    /// Sends a text of which the answer does not matter but for its code, with so much time for each try.
    pub async fn send_each(
        &self,
        body: Bytes,
        timeout: Duration,
        is_transient: impl Fn(&PostError) -> bool,
    ) -> Result<(), PostError> {
        self.each(body, timeout, is_transient, |_| Ok(()), |_, _| {}).await
    }

    async fn each<T>(
        &self,
        body: Bytes,
        timeout: Duration,
        is_transient: impl Fn(&PostError) -> bool,
        read: impl Fn(Bytes) -> Result<T, PostError>,
        mut observe: impl FnMut(&Result<T, PostError>, Duration),
    ) -> Result<T, PostError> {
        let (mut pause, mut attempt) = (self.pause, 1);
        loop {
            let begun = tokio::time::Instant::now();
            let once = tokio::time::timeout(timeout, self.send(body.clone())).await;
            let once = once.unwrap_or_else(|_| Err(PostError::Timeout(self.url.text.clone())));
            let result = once.and_then(&read);
            observe(&result, begun.elapsed());
            let passes = result.as_ref().is_err_and(&is_transient);
            if !passes || attempt >= TRIES {
                return result;
            }
            tokio::time::sleep(pause).await;
            pause = pause.mul_f64(PAUSE_GROWTH);
            attempt += 1;
        }
    }

    async fn send(&self, body: Bytes) -> Result<Bytes, PostError> {
        let fail = |error| PostError::Call(self.url.text.clone(), error);
        let mut request = Request::post(self.url.path.as_str())
            .header(CONTENT_TYPE, "application/json")
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, "kube-apiserver-admission");
        let user = self.config.current().and_then(|(_, user)| user);
        if let Some(authorization) = user.map(|user| self.config.authorization(user)).transpose()?.flatten() {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(body).map_err(|error| fail(error.into()))?;
        let answer = exchange(&self.tls, &self.url.destination, request, ANSWER_BYTES_MAX).await.map_err(fail)?;
        if !answer.status().is_success() {
            return Err(PostError::Code(answer.status()));
        }
        Ok(answer.into_body())
    }
}
