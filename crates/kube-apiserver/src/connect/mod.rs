//! Requests whose answer comes from elsewhere: logs and streams from the kubelet of a pod, and proxies to nodes, pods
//! and services.
//!
//! Each resource's file finds out where a request has to go (a [`Target`]); `forward` takes it there and brings the
//! answer back, carrying an upgraded connection through as bytes. Nothing here knows what is inside a stream.

mod admit;
mod backends;
mod forward;
mod log;
mod node;
mod pod;
mod proxy;
mod query;
pub(crate) mod service;
mod stream;

use std::sync::Arc;

use http::Method;
use machinery::status::Status;

use crate::{Body, Context, Response, Server};

pub use backends::{Backends, BackendsError, Target, Trust};
pub(crate) use backends::{Dial, DialError, speak};
pub use forward::forward;
pub(crate) use forward::{Forward, carry};

/// Serves the subresources log, exec, attach, portforward and proxy; the chain has authorized the request.
pub async fn dispatch(
    server: &Arc<Server>,
    context: Arc<Context>,
    request: http::Request<Body>,
) -> Result<Response, Status> {
    let info = &context.info;
    if info.name.is_empty() {
        return Err(Status::not_found_path());
    }
    let exact = info.parts.len() == 3;
    match (info.resource.as_str(), info.subresource.as_str()) {
        ("pods", "log") if exact => {
            allow(request.method(), &[Method::GET])?;
            log::serve(server, info, request).await
        }
        ("pods", "exec" | "attach" | "portforward") if exact => {
            allow(request.method(), &[Method::GET, Method::POST])?;
            admit::admit(server, &context, request.uri()).await?;
            stream::serve(server, &context, request).await
        }
        ("pods" | "services" | "nodes", "proxy") => {
            admit::admit(server, &context, request.uri()).await?;
            proxy::serve(server, &context, request).await
        }
        _ => Err(Status::not_found_path()),
    }
}

fn allow(method: &Method, allowed: &[Method]) -> Result<(), Status> {
    if allowed.contains(method) { Ok(()) } else { Err(Status::method_not_allowed()) }
}

#[cfg(test)]
mod tests;
