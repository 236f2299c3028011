//! Admission of streams and proxied requests: what is asked for is an object too, made of the query.

use std::sync::Arc;

use http::Uri;
use machinery::status::Status;
use serde_json::{Map, Value, json};

use super::query::Query;
use crate::admission::{Operation, Request};
use crate::registry::Admit as _;
use crate::{Context, RequestInfo, Server};

/// Asks the admission plugins. Nothing that they change changes where the request goes.
pub async fn admit(server: &Arc<Server>, ctx: &Arc<Context>, uri: &Uri) -> Result<(), Status> {
    let info = &ctx.info;
    let (kind, _) = api::find(&info.api_group, &info.api_version, &info.resource).ok_or_else(Status::not_found_path)?;
    let request = Request {
        chain: server.admission.clone(),
        server: server.clone(),
        user: ctx.user.clone(),
        subresource: info.subresource.clone(),
        namespace: info.namespace.clone(),
        name: info.name.clone(),
        dry_run: false,
        ctx: ctx.clone(),
        options: Value::Null,
    };
    let mut options = options(info, &Query::new(uri));
    request.mutate(kind, Operation::Connect, &mut options, None).await?;
    request.validate(kind, Operation::Connect, Some(&options), None).await
}

/// PodExecOptions and its kin.
fn options(info: &RequestInfo, query: &Query) -> Value {
    let mut options = Map::new();
    let streams = ["stdin", "stdout", "stderr", "tty"];
    let kind = match (info.resource.as_str(), info.subresource.as_str()) {
        (_, "exec" | "attach") => {
            streams
                .iter()
                .filter(|name| query.flag(name))
                .for_each(|name| drop(options.insert((*name).to_owned(), true.into())));
            if !query.text("container").is_empty() {
                options.insert("container".to_owned(), query.text("container").into());
            }
            let command: Vec<&str> = query.all("command").collect();
            if info.subresource == "exec" && !command.is_empty() {
                options.insert("command".to_owned(), command.into());
            }
            if info.subresource == "exec" { "PodExecOptions" } else { "PodAttachOptions" }
        }
        (_, "portforward") => {
            let ports = query.all("ports").flat_map(|ports| ports.split(',')).filter_map(|port| port.parse().ok());
            let ports: Vec<u16> = ports.collect();
            if !ports.is_empty() {
                options.insert("ports".to_owned(), json!(ports));
            }
            "PodPortForwardOptions"
        }
        (resource, _) => {
            let path = info.parts.get(3..).unwrap_or_default().join("/");
            if !path.is_empty() {
                options.insert("path".to_owned(), path.into());
            }
            match resource {
                "nodes" => "NodeProxyOptions",
                "services" => "ServiceProxyOptions",
                _ => "PodProxyOptions",
            }
        }
    };
    options.insert("kind".to_owned(), kind.into());
    options.insert("apiVersion".to_owned(), "v1".into());
    Value::Object(options)
}
