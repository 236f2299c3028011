//! pods/exec, pods/attach and pods/portforward: an upgraded connection (SPDY or WebSocket) to the pod's kubelet.
//!
//! The kubelet chooses the subprotocol. One that it does not speak it refuses, and the refusal goes back to the client
//! as it is: kubectl then tries again with SPDY.

use std::sync::Arc;

use http::{HeaderMap, Method, header};
use machinery::status::Status;
use serde_json::Value;

use super::forward::Forward;
use super::query::{Query, QueryBuilder};
use super::{forward, node, pod};
use crate::authorization::Attributes;
use crate::{Body, Context, RequestInfo, Response, Server};

pub async fn serve(server: &Arc<Server>, context: &Context, request: http::Request<Body>) -> Result<Response, Status> {
    let info = &context.info;
    if *request.method() == Method::GET && is_websocket(request.headers()) {
        // A WebSocket can only be opened by GET, but the stream does as much as one opened by POST.
        server.authorizer.check(&Attributes { verb: "create", ..Attributes::of_request(&context.user, info) }).await?;
    }
    let query = Query::new(request.uri());
    let pod = pod::get(&server.registry, &info.namespace, &info.name)?;
    let path = match info.subresource.as_str() {
        "portforward" => ports(info, &query)?,
        _ => streams(info, &query, &pod)?,
    };
    let node_name = pod::node(&pod);
    if node_name.is_empty() {
        return Err(Status::bad_request(format!("pod {} does not have a host assigned", info.name)));
    }
    let target = node::kubelet(server, node_name, path)?;
    forward(server, &target, request, Forward { upgrade_required: true, ..Forward::default() }).await
}

fn is_websocket(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

fn streams(info: &RequestInfo, query: &Query, pod: &Value) -> Result<String, Status> {
    let container = pod::container(pod, query.text("container"))?;
    let mut builder = QueryBuilder::default();
    for (option, parameter) in [("stdin", "input"), ("stdout", "output"), ("stderr", "error"), ("tty", "tty")] {
        if query.flag(option) {
            builder.add(parameter, "1");
        }
    }
    if info.subresource == "exec" {
        for word in query.all("command") {
            builder.add("command", word);
        }
    }
    Ok(builder.onto(format!("/{}/{}/{}/{container}", info.subresource, info.namespace, info.name)))
}

fn ports(info: &RequestInfo, query: &Query) -> Result<String, Status> {
    let mut ports = Vec::new();
    for port in query.all("ports").flat_map(|ports| ports.split(',')).filter(|port| !port.is_empty()) {
        let port: u16 = port
            .parse()
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| Status::bad_request(format!("invalid port {}", machinery::go_text::quote(port))))?;
        ports.push(port.to_string());
    }
    let mut builder = QueryBuilder::default();
    if !ports.is_empty() {
        builder.add("port", &ports.join(","));
    }
    Ok(builder.onto(format!("/portForward/{}/{}", info.namespace, info.name)))
}
