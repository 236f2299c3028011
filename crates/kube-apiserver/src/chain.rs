//! The way of every request: request info, authentication, impersonation, limits, authorization, deadline, dispatch.
//!
//! Each step either goes on or answers; nothing behind a step runs before it. What every answer carries (audit id, cache
//! rules, warnings) is added on the way back.

mod impersonation;
mod limits;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use machinery::status::Status;
use tokio::time::Instant;

use crate::authentication::Peer;
use crate::authorization::Attributes;
use crate::metrics::Asked;
use crate::user::{ANONYMOUS, MASTERS_GROUP};
use crate::{Body, Context, RequestInfo, Response, Server, UserInfo, audit, body, endpoints, version};

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
    let answer = AssertUnwindSafe(answer(server, caller, request, audit_id.clone())).catch_unwind();
    Box::pin(async move {
        let response = answer.await.unwrap_or_else(|panic| answer_to_panic(&audit_id, &*panic));
        finish(response, &audit_id)
    })
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
    let asked = Asked::of(&info);
    let long_running = is_long_running(&info);
    let source_ips = source_ips(&caller, request.headers());
    let user = authenticate(&server, caller, &mut request, &info, received);
    let record = server.audit.as_ref().and_then(|audit| {
        audit.begin(&audit::Request {
            user: user.as_deref().ok(),
            info: &info,
            uri: request.uri().path_and_query().map_or("", |uri| uri.as_str()),
            audit_id: &audit_id,
            user_agent: &user_agent(&request),
            source_ips,
            received,
        })
    });
    let admitted = user.and_then(|user| admit(&server, user, &mut request, &info, record.as_deref()));
    let response = match admitted {
        Ok(user) => {
            let mut context = Context::new(user, info, received);
            context.user_agent = user_agent(&request);
            context.audit_id = audit_id;
            if let Some(record) = &record {
                request = audit::capture::request(record, request).await;
            }
            within_limits(&server, context, request, &asked).await
        }
        Err(status) => body::status(&status),
    };
    let response = match record {
        Some(record) => audit::capture::response(record, long_running, response).await,
        None => response,
    };
    server.metrics.answered(&asked, response.status(), started.elapsed());
    response
}

fn source_ips(caller: &Caller, headers: &HeaderMap) -> Vec<String> {
    match caller {
        Caller::Remote(peer) => audit::source_ips(headers, peer.address),
        Caller::Known(_) => Vec::new(),
    }
}

/// Who asks.
fn authenticate(
    server: &Server,
    caller: Caller,
    request: &mut http::Request<Body>,
    info: &RequestInfo,
    received: jiff::Timestamp,
) -> Result<Arc<UserInfo>, Status> {
    let user = match caller {
        Caller::Known(user) => user,
        Caller::Remote(peer) => match server.authenticator.authenticate(request.headers_mut(), &peer, received) {
            Ok(user) => Arc::new(user),
            Err(error) => {
                tracing::debug!(path = info.path, "{error}");
                return Err(Status::unauthorized(""));
            }
        },
    };
    server.metrics.authenticated(if user.name == ANONYMOUS { "anonymous" } else { "other" });
    Ok(user)
}

/// Impersonation and authorization: whom the request acts as, if it may.
fn admit(
    server: &Server,
    user: Arc<UserInfo>,
    request: &mut http::Request<Body>,
    info: &RequestInfo,
    record: Option<&audit::Record>,
) -> Result<Arc<UserInfo>, Status> {
    let user = match impersonation::requested(request.headers_mut())? {
        None => user,
        Some(wanted) => {
            let wanted = Arc::new(wanted.authorize(&server.authorizer, &user)?);
            if let Some(record) = record {
                record.impersonated(&wanted);
            }
            wanted
        }
    };
    let attributes = Attributes::of_request(&user, info);
    let allowed = server.authorizer.check(&attributes);
    if let Some(record) = record {
        record.annotate("authorization.k8s.io/decision", if allowed.is_ok() { "allow" } else { "forbid" });
        record.annotate("authorization.k8s.io/reason", &server.authorizer.authorize(&attributes).1);
    }
    allowed.map(|()| user)
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
    if long {
        let response = dispatch(server, Arc::new(context), request).await;
        // A server that ends does not wait for those who only listen.
        let end = server.shutdown.clone().cancelled_owned();
        return response.map(|body| body::guarded(body::until(body, end), running));
    }
    // Whoever may do anything must be able to, also when the server is overrun.
    let exempt = context.user.in_group(MASTERS_GROUP) || is_health(&info.path);
    let permit = if exempt { None } else { server.limits.acquire(mutating) };
    if !exempt && permit.is_none() {
        server.metrics.terminated(asked, StatusCode::TOO_MANY_REQUESTS);
        return body::status(&Status::too_many_requests("too many requests, please try again later", 1));
    }
    let timeout = match limits::timeout(request.uri().query().unwrap_or_default(), server.config.request_timeout) {
        Ok(timeout) => timeout,
        Err(status) => return body::status(&status),
    };
    let deadline = Instant::now() + timeout;
    context.deadline = Some(deadline);
    match tokio::time::timeout_at(deadline, dispatch(server, Arc::new(context), request)).await {
        // The answer counts until its last byte is sent.
        Ok(response) => response.map(|body| body::guarded(body, (running, permit))),
        Err(_) => {
            server.metrics.terminated(asked, StatusCode::GATEWAY_TIMEOUT);
            body::status(&Status::timeout("request did not complete within the allotted timeout", 0))
        }
    }
}

async fn dispatch(server: &Arc<Server>, context: Arc<Context>, request: http::Request<Body>) -> Response {
    let mut response = match own_path(server, &context, &request) {
        Some(response) => response,
        None => endpoints::dispatch(server, context.clone(), request).await,
    };
    for warning in context.warnings.lock().iter() {
        if let Some(value) = warning_header(warning) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
    response
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
        path => server.health.serve(path, request.uri().query().unwrap_or_default()),
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
