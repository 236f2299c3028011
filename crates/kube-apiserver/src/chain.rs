//! The way of every request: request info, authentication, impersonation, limits, authorization, deadline, dispatch.
//!
//! Each step either goes on or answers; nothing behind a step runs before it. What every answer carries (audit id, cache
//! rules, warnings) is added on the way back.

mod impersonation;
mod limits;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use machinery::status::Status;
use tokio::time::Instant;

use crate::authentication::Peer;
use crate::authorization::{self, Attributes, Decision};
use crate::flowcontrol::{self, Classified};
use crate::kept::live;
use crate::metrics::Asked;
use crate::request_info::query_value;
use crate::traces::{self, context};
use crate::user::{ANONYMOUS, MASTERS_GROUP};
use crate::{
    Body, Context, RequestInfo, Response, Server, UserInfo, audit, body, endpoints, profiling, version, zpages,
};

pub use limits::Limits;

/// The longest id that a client may give its request.
const AUDIT_ID_LEN_MAX: usize = 64;
const AUDIT_ID: &str = "audit-id";

/// Where a request comes from.
pub enum Caller {
    /// A connection; the request says who it is.
    Remote(Arc<Peer>),
    /// A component in this process.
    Known(Arc<UserInfo>),
}

/// Answers a request. Never fails and never panics: whatever goes wrong becomes an answer.
pub fn handle(server: Arc<Server>, caller: Caller, request: http::Request<Body>) -> BoxFuture<'static, Response> {
    let audit_id = audit_id(&request);
    let is_traced = server.traces.is_some();
    let answer = AssertUnwindSafe(answer(server, caller, request, audit_id.clone())).catch_unwind();
    let answered = async move {
        let response = answer.await.unwrap_or_else(|panic| answer_to_panic(&audit_id, &*panic));
        finish(response, &audit_id)
    };
    if is_traced { Box::pin(context::CURRENT.scope(RefCell::default(), answered)) } else { Box::pin(answered) }
}

/// A panic is a bug of ours, and costs the one request that ran into it.
fn answer_to_panic(audit_id: &str, panic: &(dyn std::any::Any + Send)) -> Response {
    let reason = panic
        .downcast_ref::<&str>()
        .map(|reason| (*reason).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(audit_id, reason, "a request caused a panic");
    body::status(&Status::internal("this request caused apiserver to panic. Look in the logs for details."))
}

/// What every answer carries.
fn finish(mut response: Response, audit_id: &str) -> Response {
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(audit_id) {
        headers.insert(AUDIT_ID, id);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
    response
}

async fn answer(server: Arc<Server>, caller: Caller, mut request: http::Request<Body>, audit_id: String) -> Response {
    let started = Instant::now();
    let received = jiff::Timestamp::now();
    let info = match RequestInfo::new(request.method(), request.uri()) {
        Ok(info) => info,
        Err(error) => {
            return body::status(&Status::internal(format!("failed to create RequestInfo: {error}")));
        }
    };
    let asked = Asked::of(&info, &server.registry.kinds());
    let dry_run = request.uri().query().is_some_and(|query| query_value(query, "dryRun").as_deref() == Some("All"));
    let long_running = is_long_running(&info);
    let source_ips = source_ips(&caller, request.headers());
    let (peer, is_remote) = (caller.address(), matches!(caller, Caller::Remote(_)));
    let user = authenticate(&server, caller, &mut request, &info, received).await;
    // Behind authentication, since not everybody may say to which trace a request belongs.
    let serving = server.traces.as_ref().map(|traces| {
        let (user, headers) = (user.as_deref().ok(), request.headers());
        let (method, uri, version) = (request.method(), request.uri(), request.version());
        let (info, audit_id) = (&info, audit_id.as_str());
        traces.begin(&traces::Request { method, uri, version, headers, info, user, peer, audit_id, received })
    });
    let record = match &server.audit {
        Some(audit) => {
            let uri = request.uri().path_and_query().map_or("", |uri| uri.as_str());
            let (user, user_agent) = (user.as_deref().ok(), user_agent(&request));
            let (audit_id, user_agent) = (audit_id.as_str(), user_agent.as_str());
            audit.begin(&audit::Request { user, info: &info, uri, audit_id, user_agent, source_ips, received }).await
        }
        None => Ok(None),
    };
    let admitted = match (user, &record) {
        (_, Err(error)) => Err(failed(&request, &error.to_string())),
        (Ok(user), Ok(record)) => admit(&server, user, &mut request, &info, record.as_deref()).await,
        (Err(status), _) => Err(body::status(&status)),
    };
    let record = record.unwrap_or_default();
    let response = match admitted {
        Ok(user) => {
            let mut context = Context::new(user, info, received);
            context.user_agent = user_agent(&request);
            context.is_remote = is_remote;
            context.audit_id = audit_id;
            context.record = record.clone();
            if let Some(record) = &record {
                request = audit::capture::request(record, request).await;
            }
            within_limits(&server, context, request, &asked).await
        }
        Err(response) => response,
    };
    let response = match record {
        Some(record) => audit::capture::response(record, long_running, response).await,
        None => response,
    };
    let bytes = http_body::Body::size_hint(response.body()).exact();
    server.metrics.answered(&asked, dry_run, response.status(), started.elapsed(), bytes);
    match serving {
        Some(mut serving) => {
            serving.answered(response.status(), bytes);
            // The span ends with the last byte.
            response.map(|content| body::guarded(content, serving))
        }
        None => response,
    }
}

impl Caller {
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Remote(peer) => peer.address,
            Self::Known(_) => None,
        }
    }
}

fn source_ips(caller: &Caller, headers: &HeaderMap) -> Vec<String> {
    match caller {
        Caller::Remote(peer) => audit::source_ips(headers, peer.address),
        Caller::Known(_) => Vec::new(),
    }
}

/// Who asks.
async fn authenticate(
    server: &Server,
    caller: Caller,
    request: &mut http::Request<Body>,
    info: &RequestInfo,
    received: jiff::Timestamp,
) -> Result<Arc<UserInfo>, Status> {
    let begun = Instant::now();
    let user = match caller {
        Caller::Known(user) => user,
        Caller::Remote(peer) => {
            match server.authenticator.authenticate(request.headers_mut(), &peer, &info.path, received).await {
                Ok(user) => Arc::new(user),
                Err(error) => {
                    tracing::debug!(path = info.path, "{error}");
                    server.metrics.authenticated(None, begun.elapsed());
                    return Err(Status::unauthorized(""));
                }
            }
        }
    };
    let name = if user.name == ANONYMOUS { "anonymous" } else { "other" };
    server.metrics.authenticated(Some(name), begun.elapsed());
    Ok(user)
}

/// Impersonation and authorization: whom the request acts as, if it may.
async fn admit(
    server: &Server,
    user: Arc<UserInfo>,
    request: &mut http::Request<Body>,
    info: &RequestInfo,
    record: Option<&audit::Record>,
) -> Result<Arc<UserInfo>, Response> {
    let refuse = |status: Status| body::status(&status);
    let user = match impersonation::requested(request.headers_mut()).map_err(refuse)? {
        None => user,
        Some(wanted) => {
            let wanted = Arc::new(wanted.authorize(&server.authorizer, &user).await.map_err(refuse)?);
            if let Some(record) = record {
                record.impersonated(&wanted);
            }
            wanted
        }
    };
    let attributes = Attributes::of_request(&user, info);
    let begun = Instant::now();
    let answered = server.authorizer.answer(&attributes, record.is_some());
    let answer = traces::step("Authorization", Vec::new, answered).await;
    let (result, decision, reason) = match &answer.error {
        _ if answer.is_allowed() => ("allowed", Some("allow"), answer.reason.as_str()),
        Some(_) => ("error", None, "internal error"),
        None => ("denied", Some("forbid"), answer.reason.as_str()),
    };
    server.metrics.authorized(result, begun.elapsed());
    if let Some(record) = record {
        if let Some(decision) = decision {
            record.annotate("authorization.k8s.io/decision", decision);
        }
        record.annotate("authorization.k8s.io/reason", reason);
    }
    match answer.error {
        _ if answer.decision == Decision::Allow => Ok(user),
        Some(error) => Err(failed(request, &error)),
        None => Err(refuse(authorization::forbidden(&attributes, &answer.reason))),
    }
}

/// A part of the server failed on which the request depends.
fn failed(request: &http::Request<Body>, error: &str) -> Response {
    let uri = request.uri().path_and_query().map_or("", |uri| uri.as_str());
    let text = format!("Internal Server Error: {}: {error}", machinery::go_text::quote(uri));
    // The client's own words come back in it.
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    body::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{text}\n"))
}

/// Serves the request within the number of requests served at once and within its time.
async fn within_limits(
    server: &Arc<Server>,
    mut context: Context,
    request: http::Request<Body>,
    asked: &Asked,
) -> Response {
    let info = &context.info;
    let long = is_long_running(info);
    let mutating = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    let running = server.metrics.running(asked, long, mutating);
    let timeout = match limits::timeout(request.uri().query().unwrap_or_default(), server.config.request_timeout) {
        Ok(timeout) if !long => timeout,
        Err(status) if !long => return body::status(&status),
        _ => server.config.request_timeout,
    };
    let deadline = Instant::now() + timeout;
    // Streams are between a client and a node; of a watch, what it costs to begin counts.
    let place = if long && info.verb != "watch" {
        Ok(Place::default())
    } else {
        place(server, &context, request.uri().query().unwrap_or_default(), mutating, flowcontrol::patience(timeout))
            .await
    };
    let Place { held, classified } = match place {
        Ok(place) => place,
        Err(classified) => {
            server.metrics.terminated(asked, StatusCode::TOO_MANY_REQUESTS);
            let mut response =
                body::text(StatusCode::TOO_MANY_REQUESTS, "Too many requests, please try again later.\n");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            classified.mark(&mut response);
            return response;
        }
    };
    let mut response = if long {
        let response = dispatch(server, Arc::new(context), request).await;
        drop(held);
        // A server that ends does not wait for those who only listen.
        let end = server.shutdown.clone().cancelled_owned();
        response.map(|body| body::guarded(body::until(body, end), running))
    } else {
        context.deadline = Some(deadline);
        match tokio::time::timeout_at(deadline, dispatch(server, Arc::new(context), request)).await {
            // The answer counts until its last byte is sent.
            Ok(response) => response.map(|body| body::guarded(body, (running, held))),
            Err(_) => {
                server.metrics.terminated(asked, StatusCode::GATEWAY_TIMEOUT);
                body::status(&Status::timeout("request did not complete within the allotted timeout", 0))
            }
        }
    };
    classified.mark(&mut response);
    response
}

/// A request's place among those that are served, held until this is dropped.
#[derive(Default)]
struct Place {
    held: Option<Held>,
    classified: Classified,
}

#[expect(dead_code, reason = "held, not looked at")]
enum Held {
    Seat(flowcontrol::Seat),
    Permit(tokio::sync::OwnedSemaphorePermit),
}

/// Waits for a place, by priority and fairness or, where that is off, by the plain limits.
async fn place(
    server: &Arc<Server>,
    context: &Context,
    query: &str,
    mutating: bool,
    patience: Duration,
) -> Result<Place, Classified> {
    let (user, info) = (&context.user, &context.info);
    let Some(flow) = &server.flow else {
        // Whoever may do anything must be able to, also when the server is overrun.
        let exempt = user.in_group(MASTERS_GROUP) || is_health(&info.path) || is_long_running(info);
        let permit = if exempt { None } else { Some(server.limits.acquire(mutating).ok_or_else(Classified::default)?) };
        return Ok(Place { held: permit.map(Held::Permit), classified: Classified::default() });
    };
    let width = flowcontrol::width(server, info, query);
    let admitted = flow.admit(user, info, width, Instant::now() + patience).await;
    let flowcontrol::Admitted { classified, seat } = admitted.map_err(|(classified, _)| classified)?;
    Ok(Place { held: Some(Held::Seat(seat)), classified })
}

async fn dispatch(server: &Arc<Server>, context: Arc<Context>, request: http::Request<Body>) -> Response {
    let mut response = match own_path(server, &context, &request) {
        Some(response) => response,
        None if is_profiling(&context.info, request.method()) => {
            let query = request.uri().query().unwrap_or_default();
            match profiling::serve(server, &context.info.path, query).await {
                Some(response) => response,
                None => endpoints::dispatch(server, context.clone(), request).await,
            }
        }
        None if !context.info.is_resource && context.info.path == live::PATH => live::serve(server, request).await,
        None if !context.info.is_resource && profiling::flags::is_path(&context.info.path) => {
            match profiling::flags::serve(server, &context.info.path, request).await {
                Ok(response) => response,
                Err(request) => endpoints::dispatch(server, context.clone(), request).await,
            }
        }
        None if is_health(&context.info.path) && matches!(*request.method(), Method::GET | Method::HEAD) => {
            let query = request.uri().query().unwrap_or_default().to_owned();
            // It may have to be found out.
            match server.health.serve(&context.info.path, &query).await {
                Some(response) => response,
                None => endpoints::dispatch(server, context.clone(), request).await,
            }
        }
        None => endpoints::dispatch(server, context.clone(), request).await,
    };
    for warning in context.warnings.lock().iter() {
        if let Some(value) = warning_header(warning) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
}

fn is_profiling(info: &RequestInfo, method: &Method) -> bool {
    !info.is_resource && *method == Method::GET && info.path.starts_with("/debug/pprof")
}

/// What the server tells about itself.
fn own_path(server: &Server, context: &Context, request: &http::Request<Body>) -> Option<Response> {
    if context.info.is_resource || !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let json = |value: &serde_json::Value| body::json_bytes(StatusCode::OK, value.to_string());
    match context.info.path.as_str() {
        "/version" | "/version/" => Some(json(&version::value())),
        "/metrics" => Some(server.serve_metrics()),
        "/openid/v1/jwks" | "/openid/v1/jwks/" => {
            let mut response = json(&server.tokens.jwks());
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
            Some(response)
        }
        "/.well-known/openid-configuration" | "/.well-known/openid-configuration/" => {
            let host = format!("{}:{}", server.config.advertise_address, server.config.secure_port);
            let mut response = json(&server.tokens.openid_configuration(&host));
            let caching = HeaderValue::from_static("public, max-age=3600");
            response.headers_mut().insert(header::CACHE_CONTROL, caching);
            Some(response)
        }
        path => zpages::serve(server, path, request.headers(), context.received),
    }
}

/// Watches and streams end when the client wants.
fn is_long_running(info: &RequestInfo) -> bool {
    info.is_resource
        && (matches!(info.verb.as_str(), "watch" | "proxy")
            || matches!(info.subresource.as_str(), "attach" | "exec" | "proxy" | "log" | "portforward"))
}

fn is_health(path: &str) -> bool {
    ["/healthz", "/livez", "/readyz"].iter().any(|prefix| path.starts_with(prefix))
}

/// The client's id for the request if it gave a usable one, else a new one.
fn audit_id(request: &http::Request<Body>) -> String {
    request
        .headers()
        .get(AUDIT_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| !id.is_empty() && id.len() <= AUDIT_ID_LEN_MAX)
        .map_or_else(|| uuid::Uuid::new_v4().to_string(), str::to_owned)
}

fn user_agent(request: &http::Request<Body>) -> String {
    let value = request.headers().get(header::USER_AGENT);
    value.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

/// `299 - "text"`: the text as a quoted string on one line.
fn warning_header(text: &str) -> Option<HeaderValue> {
    let mut quoted = String::with_capacity(text.len() + 10);
    quoted.push_str("299 - \"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    HeaderValue::from_bytes(quoted.as_bytes()).ok()
}

#[cfg(test)]
mod tests;
