//! Every request for resources, discovery and OpenAPI: which kind, which verb, what form of answer.
//!
//! `dispatch` finds the kind and version that a path names and hands over to the verb's own file. The files of the verbs
//! read options and bodies, call the registry, and shape the answer; what an object is and does they do not know.

mod apply;
mod body;
mod compress;
mod computed;
mod continue_token;
mod create;
mod delete;
mod get;
mod list;
mod media;
mod options;
mod past;
mod patch;
mod pretty;
mod protobuf;
mod reviews;
mod selector;
mod subresources;
mod update;
mod watch;

pub use apply::MEDIA_TYPE as APPLY_MEDIA_TYPE;
use std::sync::Arc;

use api::{Kind, Verb, Version};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};
use machinery::schema;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::{self, Chain};
use crate::apiextensions::KindSet;
use crate::registry::{Admit, Outcome, encode, group_resource};
use crate::traces::{self, KeyValue};
use crate::{Body, Context, RequestInfo, Response, Server, body as http_body};
pub(crate) use compress::takes_gzip;
use media::{Encoding, Output};
pub(crate) use options::Query;
pub(crate) use subresources::{PART_VERBS, is_served};

pub(crate) use media::wants_aggregated;

/// Subresources that are streams or proxies: their answers come from kubelets, pods and services.
const CONNECT: &[&str] = &["attach", "exec", "log", "portforward", "proxy"];

/// Answers every request that the chain does not answer itself.
pub async fn dispatch(server: &Arc<Server>, ctx: Arc<Context>, request: http::Request<Body>) -> Response {
    if let Some(service) = server.aggregator.route(&ctx.info.path) {
        return crate::aggregator::serve(server, &ctx, &service, request).await;
    }
    let compressed = compress::is_wanted(&ctx, &request);
    let response = answer(server, ctx, request).await;
    if compressed { compress::apply(response).await } else { response }
}

async fn answer(server: &Arc<Server>, ctx: Arc<Context>, request: http::Request<Body>) -> Response {
    if !ctx.info.is_resource {
        let style = pretty::Style::of(&ctx, &request);
        let response = plain_path(server, &ctx, request.method(), request.uri(), request.headers());
        return style.apply(response).await;
    }
    let style = pretty::Style::of(&ctx, &request);
    let kinds = server.registry.kinds();
    if !crate::discovery::is_served(&kinds, &ctx.info.path) || is_misplaced(&kinds, &ctx.info) {
        return style.apply(nowhere()).await;
    }
    let response = match resource(server, &kinds, &ctx, request).await {
        Ok(response) => response,
        Err(status) => http_body::status(&status),
    };
    style.apply(response).await
}

fn plain_path(server: &Server, ctx: &Context, method: &Method, uri: &http::Uri, headers: &HeaderMap) -> Response {
    let answered = match method {
        &Method::GET | &Method::HEAD => {
            let (path, query) = (ctx.info.path.as_str(), uri.query().unwrap_or_default());
            // What other servers serve is shown beside what is served here.
            let merged = server.aggregator.discovery(server, path, headers);
            merged
                .or_else(|| server.aggregator.openapi(server, path, headers))
                .or_else(|| crate::discovery::serve(server, path, headers))
                .or_else(|| crate::openapi::serve(&server.registry.kinds(), path, headers, query))
        }
        _ => None,
    };
    answered.unwrap_or_else(|| match crate::discovery::is_served(&server.registry.kinds(), &ctx.info.path) {
        true => http_body::status(&Status::not_found_path()),
        false => nowhere(),
    })
}

/// Whether a custom kind is asked for where it is not: a cluster's object in a namespace, or one of a namespace in none. A
/// right to the one is so never taken for a right to the other.
fn is_misplaced(kinds: &KindSet, info: &RequestInfo) -> bool {
    let found = kinds.find(&info.api_group, &info.api_version, &info.resource);
    let Some((kind, _)) = found.filter(|(kind, _)| kind.custom.is_some()) else { return false };
    match (kind.namespaced, info.namespace.is_empty()) {
        (true, true) => !matches!(info.verb.as_str(), "list" | "watch"),
        (false, false) => true,
        _ => false,
    }
}

/// The answer below no API: plain text.
fn nowhere() -> Response {
    http_body::text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// One request for a resource, taken apart.
pub(crate) struct Scope {
    pub server: Arc<Server>,
    pub ctx: Arc<Context>,
    pub kind: &'static Kind,
    pub version: &'static Version,
    /// "" for a cluster-scoped kind and for requests over all namespaces.
    pub namespace: String,
    /// "" for requests to the collection.
    pub name: String,
    pub query: Query,
    pub output: Output,
    pub encoding: Encoding,
    pub content_type: String,
}

async fn resource(
    server: &Arc<Server>,
    kinds: &KindSet,
    ctx: &Arc<Context>,
    request: http::Request<Body>,
) -> Result<Response, Status> {
    let info = &ctx.info;
    let (kind, version) =
        kinds.find(&info.api_group, &info.api_version, &info.resource).ok_or_else(Status::not_found_path)?;
    let path_name = info.parts.get(1).cloned().unwrap_or_default();
    let is_namespace_itself = info.parts.first().is_some_and(|part| part == "namespaces") && !kind.namespaced;
    let namespace = if kind.namespaced { info.namespace.clone() } else { String::new() };
    if !kind.namespaced && !info.namespace.is_empty() && !is_namespace_itself {
        return Err(Status::not_found_path());
    }
    if kind.namespaced && namespace.is_empty() && !path_name.is_empty() {
        return Err(Status::not_found_path());
    }
    if kind.is_virtual && !path_name.is_empty() {
        // What is answered and not kept has no names.
        return Err(Status::not_found_path());
    }
    if kind.namespaced && namespace.is_empty() && !kind.verbs.contains(&Verb::List) {
        // What cannot be listed has no path over all namespaces.
        return Err(Status::not_found_path());
    }
    if let Some(warning) = version.warning(kind) {
        ctx.warn(warning);
    }
    if CONNECT.contains(&info.subresource.as_str()) && kind.subresource(&info.subresource).is_some() {
        server.registry.barrier().await?;
        return crate::connect::dispatch(server, ctx.clone(), request).await;
    }
    if info.parts.len() > 3 {
        return Err(Status::not_found_path());
    }
    let (parts, body) = request.into_parts();
    let is_list = path_name.is_empty();
    let output = Output::negotiate(&parts.headers, is_list && parts.method == Method::GET, kind.custom.is_some())?;
    let content_type =
        parts.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let scope = Scope {
        server: server.clone(),
        ctx: ctx.clone(),
        kind,
        version,
        namespace,
        name: path_name,
        query: Query::parse(parts.uri.query().unwrap_or_default()),
        output,
        encoding: if kind.custom.is_some() { Encoding::Json } else { Encoding::of(&parts.headers) },
        content_type: content_type.to_owned(),
    };
    let name = step(info, &parts.method);
    traces::step_if(name, || traced(ctx, &parts), serve_verb(scope, &parts.method, body)).await
}

/// What the span of the verb is called. A watch has none: it is over when its stream is.
fn step(info: &RequestInfo, method: &Method) -> Option<&'static str> {
    match method.as_str() {
        _ if info.verb == "watch" => None,
        "GET" | "HEAD" if info.name.is_empty() => Some("List"),
        "GET" | "HEAD" => Some("Get"),
        "POST" => Some("Create"),
        "PUT" => Some("Update"),
        "PATCH" => Some("Patch"),
        "DELETE" => Some("Delete"),
        _ => None,
    }
}

/// What the span of the verb says.
fn traced(ctx: &Context, parts: &http::request::Parts) -> Vec<KeyValue> {
    let info = &ctx.info;
    let accept = parts.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let scope = match (info.name.is_empty(), info.namespace.is_empty()) {
        (false, _) => "resource",
        (true, false) => "namespace",
        (true, true) => "cluster",
    };
    [
        ("accept", accept),
        ("audit-id", &ctx.audit_id),
        ("api-group", &info.api_group),
        ("api-version", &info.api_version),
        ("name", &info.name),
        ("subresource", &info.subresource),
        ("namespace", &info.namespace),
        ("resource", &info.resource),
        ("scope", scope),
        ("url", parts.uri.path()),
        ("user-agent", &ctx.user_agent),
        ("verb", &info.verb),
    ]
    .map(|(key, value)| KeyValue::text(key, value))
    .into()
}

async fn serve_verb(mut scope: Scope, method: &Method, body: Body) -> Result<Response, Status> {
    let ctx = scope.ctx.clone();
    past::check(&scope, method)?;
    if !chooses_freshness(&scope, method) {
        // What is read before a write, or with no version named, is the newest state of the whole cluster.
        scope.server.registry.barrier().await?;
    }
    if !ctx.info.subresource.is_empty() {
        return subresources::serve(&scope, &ctx.info.subresource, method, body).await;
    }
    let kind = scope.kind;
    let verb = verb_of(&scope, method).ok_or_else(Status::method_not_allowed)?;
    // A definition that is being deleted offers neither, but its objects are still changed: somebody takes their finalizers.
    let is_change = kind.custom.is_some() && matches!(verb, Verb::Update | Verb::Patch);
    if !kind.verbs.contains(&verb) && !is_change {
        return Err(not_offered(kind, verb));
    }
    match verb {
        Verb::Get if kind.is_computed => computed::get(&scope).await,
        Verb::List if kind.is_computed => computed::list(&scope).await,
        Verb::Get if past::wants_history(&scope) => past::history(&scope).await,
        Verb::Get => past::get(&scope).await,
        Verb::List => list::serve(&scope).await,
        Verb::Watch => {
            // A legacy watch of one object selects it by name.
            let name = std::mem::take(&mut scope.name);
            watch::serve(scope, &name).await
        }
        Verb::Create if kind.is_virtual => reviews::serve(&scope, body).await,
        Verb::Create => create::serve(&scope, body).await,
        Verb::Update => update::serve(&scope, body).await,
        Verb::Patch => patch::serve(&scope, body).await,
        Verb::Delete => delete::serve(&scope, body).await,
        Verb::DeleteCollection => delete::serve_collection(&scope, body).await,
    }
}

/// Whether a request reads what is at hand, or what was there at a revision: it says how fresh it wants things. What is
/// answered and not kept is answered from what is at hand too.
fn chooses_freshness(scope: &Scope, method: &Method) -> bool {
    if scope.kind.is_virtual || scope.kind.is_computed {
        return true;
    }
    let given = |key: &str| scope.query.get(key).is_some_and(|value| !value.is_empty());
    matches!(*method, Method::GET | Method::HEAD) && given("resourceVersion") && !given("continue")
}

/// The answer to a verb that the kind does not have.
fn not_offered(kind: &Kind, verb: Verb) -> Status {
    if kind.custom.is_none() {
        return Status::method_not_allowed();
    }
    // All verbs are there until the definition is being deleted.
    let verb = verb.as_str();
    Status::method_not_supported(&group_resource(kind), verb)
        .with_message(format!("{verb} not allowed while custom resource definition is terminating"))
}

/// The verb that a method means on the collection or on an object; over all namespaces one can only read.
fn verb_of(scope: &Scope, method: &Method) -> Option<Verb> {
    if scope.ctx.info.verb == "watch" && matches!(*method, Method::GET | Method::HEAD) {
        return Some(Verb::Watch);
    }
    let all_namespaces = scope.kind.namespaced && scope.namespace.is_empty();
    match (method.as_str(), scope.name.is_empty()) {
        ("GET" | "HEAD", true) => Some(Verb::List),
        ("GET" | "HEAD", false) => Some(Verb::Get),
        (_, true) if all_namespaces => None,
        ("POST", true) => Some(Verb::Create),
        ("DELETE", true) => Some(Verb::DeleteCollection),
        ("PUT", false) => Some(Verb::Update),
        ("PATCH", false) => Some(Verb::Patch),
        ("DELETE", false) => Some(Verb::Delete),
        _ => None,
    }
}

impl Scope {
    pub fn chain(&self) -> Arc<Chain> {
        self.server.admission.clone()
    }

    /// Admission for this request, to be handed to the registry.
    pub fn admission(&self, subresource: &str, name: &str, dry_run: bool) -> admission::Request {
        admission::Request {
            chain: self.chain(),
            server: self.server.clone(),
            user: self.ctx.user.clone(),
            subresource: subresource.to_owned(),
            namespace: self.namespace.clone(),
            name: name.to_owned(),
            dry_run,
            ctx: self.ctx.clone(),
            options: options::shown(&self.query),
        }
    }

    /// The answer to a write: what the registry wrote, in the form asked for.
    pub fn written(&self, outcome: Result<Outcome, Status>) -> Result<Response, Status> {
        let outcome = outcome?;
        let code = if outcome.created { StatusCode::CREATED } else { StatusCode::OK };
        self.object(code, &outcome.bytes)
    }

    /// An answer that is one stored object.
    pub fn object(&self, code: StatusCode, stored: &Bytes) -> Result<Response, Status> {
        if matches!(self.output, Output::Object) {
            return Ok(http_body::json_line(code, &self.in_version(stored)?));
        }
        let stored = encode::in_version(self.kind, self.version, encode::decode(stored)?)?;
        let mut sent = stored.clone();
        self.convert_from_storage(&mut sent);
        let object = self.output.shape_object(self, (self.kind, self.version), &stored, sent)?;
        Ok(self.value(code, &object))
    }

    /// Stored bytes as this request's version has them. Most versions differ in their first bytes only.
    pub fn in_version(&self, stored: &Bytes) -> Result<Bytes, Status> {
        if self.version.storage && self.kind.custom.is_none() {
            return Ok(stored.clone());
        }
        if self.version.convert.is_some() || self.kind.custom.is_some() {
            return Ok(self.value_in_version(stored)?.to_string().into());
        }
        let tail = stored.strip_prefix(encode::prefix(self.kind).as_bytes());
        let tail = tail.ok_or_else(|| Status::internal("a stored object does not begin with its type"))?;
        let mut bytes = encode::prefix_of(self.kind.kind, &self.version.api_version(self.kind)).into_bytes();
        bytes.extend_from_slice(tail);
        Ok(bytes.into())
    }

    pub fn value_in_version(&self, stored: &[u8]) -> Result<Value, Status> {
        let mut object = encode::in_version(self.kind, self.version, encode::decode(stored)?)?;
        self.convert_from_storage(&mut object);
        Ok(object)
    }

    /// A stored object as it is sent.
    pub fn sent(&self, stored: &Value) -> Result<Value, Status> {
        let mut object = encode::in_version(self.kind, self.version, stored.clone())?;
        self.convert_from_storage(&mut object);
        Ok(object)
    }

    /// From the storage form; objects of custom kinds are in the request's version from the moment they are read.
    pub fn convert_from_storage(&self, object: &mut Value) {
        if self.version.storage || self.kind.custom.is_some() {
            return;
        }
        if let Some(convert) = &self.version.convert {
            (convert.from_storage)(object);
        }
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), self.version.api_version(self.kind).into());
        }
        if let Some(own) = self.version.type_ref(self.kind).filter(|_| self.version.convert.is_some()) {
            schema::canonicalize(&own.types, own.id, object);
        }
    }

    /// A virtual or computed object as answer.
    pub fn value(&self, code: StatusCode, object: &Value) -> Response {
        http_body::json_line(code, object.to_string().as_bytes())
    }
}

/// Admission with the trait in scope for the verbs.
pub(crate) fn as_admit(request: &admission::Request) -> &dyn Admit {
    request
}

#[cfg(test)]
mod tests;
