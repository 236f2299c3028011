//! The server without a socket: a `tower::Service` for clients that live in this process, each with its own identity.
//! Everything after authentication is the same chain, so RBAC holds for them too.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;

use crate::chain::{self, Caller};
use crate::{BoxError, Response, Server, UserInfo};

/// A client's transport that acts as one user. Cheap to clone.
#[derive(Clone)]
pub struct InProcess {
    server: Arc<Server>,
    user: Arc<UserInfo>,
}

impl InProcess {
    pub(crate) fn new(server: Arc<Server>, user: UserInfo) -> Self {
        Self { server, user: Arc::new(user.with_authenticated_group()) }
    }
}

impl<B> tower::Service<http::Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        let (server, user) = (self.server.clone(), self.user.clone());
        Box::pin(chain::handle(server, Caller::Known(user), request).map(Ok))
    }
}
