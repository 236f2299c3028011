//! A `kube::Client` over any tower service: in one process the service is the API server itself, elsewhere it is an
//! HTTP connection. The component's name goes along as its User-Agent, from which a server derives the field manager.

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::USER_AGENT};
use kube::client::Body;
use tower::{BoxError, Service};

/// Makes a client that sends every request through `service`, naming itself `user_agent`
/// ("kube-controller-manager/v1.36.2 ..."; what stands before the slash becomes the field manager).
///
/// Needs a running tokio runtime: the client queues its requests through a task.
pub fn for_service<S, B>(service: S, user_agent: &str) -> kube::Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    kube::Client::new(WithUserAgent { inner: service, user_agent: HeaderValue::from_str(user_agent).ok() }, "default")
}

/// Adds the User-Agent where the caller set none.
struct WithUserAgent<S> {
    inner: S,
    user_agent: Option<HeaderValue>,
}

impl<S: Service<Request<Body>>> Service<Request<Body>> for WithUserAgent<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(agent) = &self.user_agent {
            request.headers_mut().entry(USER_AGENT).or_insert_with(|| agent.clone());
        }
        self.inner.call(request)
    }
}
