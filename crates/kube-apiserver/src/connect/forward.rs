//! Taking a request to a backend and its answer back.
//!
//! An upgrade is carried through only after the backend itself said 101: from then on the two connections are one pipe.
//! Any other answer is passed on as the plain response it is, and the client's connection is closed with it, so that
//! nobody can go on talking to the backend under the server's name. Redirects are passed on, never followed.

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode, Version};
use http_body_util::BodyExt as _;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use machinery::status::Status;
use tokio_util::sync::CancellationToken;

use super::backends::{Dial, DialError, Target};
use crate::{Body, Response, Server, body};

/// Belong to one connection, not to the request.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

#[derive(Default)]
pub struct Forward {
    /// Refuse a request that does not ask for an upgrade.
    pub upgrade_required: bool,
    /// The part of the path that stands for the backend; its redirects are led back below it.
    pub prefix: Option<String>,
    /// Set after everything by which the client could say who it is was taken out.
    pub headers: HeaderMap,
}

/// Takes the request to the target.
pub async fn forward(
    server: &Arc<Server>,
    target: &Target,
    request: Request<Body>,
    options: Forward,
) -> Result<Response, Status> {
    carry(&server.backends, &server.shutdown, target, request, options).await
}

pub(crate) async fn carry(
    backends: &dyn Dial,
    shutdown: &CancellationToken,
    target: &Target,
    mut request: Request<Body>,
    options: Forward,
) -> Result<Response, Status> {
    let upgrade = upgrade_of(request.headers());
    if options.upgrade_required && upgrade.is_none() {
        return Err(Status::bad_request("Upgrade request required"));
    }
    let client = match &upgrade {
        None => None,
        // Over HTTP/2 or in process there is no connection that could be handed over.
        Some(_) => Some(
            request
                .extensions_mut()
                .remove::<OnUpgrade>()
                .ok_or_else(|| Status::bad_request("the connection cannot be upgraded"))?,
        ),
    };
    let address = request.extensions().get::<SocketAddr>().copied();
    let (mut parts, body) = request.into_parts();
    clean(&mut parts.headers);
    parts.headers.extend(options.headers);
    add_forwarded(&mut parts.headers, address, parts.uri.path());
    if let Some(protocol) = &upgrade {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        parts.headers.insert(header::UPGRADE, protocol.clone());
    }
    let mut ask = Request::new(if upgrade.is_some() { body::empty() } else { body });
    *ask.method_mut() = parts.method;
    *ask.headers_mut() = parts.headers;

    let answer = send_raw(backends, target, ask).await.map_err(|error| match &upgrade {
        Some(_) => Status::unexpected(format!("error dialing backend: {error}")),
        None => Status::service_unavailable(format!("error trying to reach service: {error}")),
    })?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = client else {
            return Err(Status::unexpected("the backend switched protocols although nobody asked it to"));
        };
        return Ok(join(client, answer, shutdown.clone()));
    }
    let closes = client.is_some();
    let mut response = answer.map(|body| body.map_err(Into::into).boxed_unsync());
    *response.version_mut() = Version::default();
    clean(response.headers_mut());
    strip_cors(response.headers_mut());
    if let Some(prefix) = &options.prefix {
        lead_back(response.headers_mut(), prefix, target);
    }
    if closes {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Sends a request of the server's own.
pub(super) async fn send(backends: &dyn Dial, target: &Target, request: Request<Body>) -> Result<Response, DialError> {
    let answer = send_raw(backends, target, request).await?;
    Ok(answer.map(|body| body.map_err(Into::into).boxed_unsync()))
}

async fn send_raw(
    backends: &dyn Dial,
    target: &Target,
    mut request: Request<Body>,
) -> Result<http::Response<hyper::body::Incoming>, DialError> {
    *request.uri_mut() = target.uri()?;
    *request.version_mut() = Version::HTTP_11;
    let host = HeaderValue::from_str(&target.authority()).map_err(http::Error::from)?;
    request.headers_mut().insert(header::HOST, host);
    let mut sender = backends.dial(target).await?;
    Ok(sender.send_request(request).await?)
}

/// Makes one pipe of the two connections once the client has got the answer.
fn join(client: OnUpgrade, answer: http::Response<hyper::body::Incoming>, shutdown: CancellationToken) -> Response {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = answer.headers().clone();
    let backend = hyper::upgrade::on(answer);
    tokio::spawn(async move {
        let pipe = async {
            let (client, backend) = tokio::try_join!(client, backend)?;
            let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
            tokio::io::copy_bidirectional(&mut client, &mut backend).await?;
            Ok::<_, crate::BoxError>(())
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            result = pipe => if let Err(error) = result {
                tracing::debug!(error, "a stream ended");
            },
        }
    });
    response
}

/// The protocol that the request wants to switch to.
fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    if asks { headers.get(header::UPGRADE).cloned() } else { None }
}

/// Takes off what belongs to the connection, and whatever says who the client is: the backend is to see the server.
fn clean(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    headers.remove(header::AUTHORIZATION);
    let identity: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("impersonate-") || name.as_str().starts_with("x-remote-"))
        .cloned()
        .collect();
    for name in identity {
        headers.remove(name);
    }
}

fn add_forwarded(headers: &mut HeaderMap, address: Option<SocketAddr>, path: &str) {
    if let Some(address) = address {
        let before = headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
        let list = before.map_or_else(|| address.ip().to_string(), |before| format!("{before}, {}", address.ip()));
        if let Ok(value) = HeaderValue::from_str(&list) {
            headers.insert("x-forwarded-for", value);
        }
    }
    if let Some(host) = headers.get(header::HOST).cloned() {
        headers.insert("x-forwarded-host", host);
    }
    if let Ok(path) = HeaderValue::from_str(path) {
        headers.insert("x-forwarded-uri", path);
    }
    headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
}

/// A backend cannot open the server itself to other origins.
fn strip_cors(headers: &mut HeaderMap) {
    let names: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("access-control-")).cloned().collect();
    for name in names {
        headers.remove(name);
    }
}

/// A redirect within the backend must come back through the server.
fn lead_back(headers: &mut HeaderMap, prefix: &str, target: &Target) {
    let Some(location) = headers.get(header::LOCATION).and_then(|value| value.to_str().ok()) else { return };
    let own = ["http", "https"].iter().find_map(|scheme| {
        let rest = location.strip_prefix(&format!("{scheme}://{}", target.authority()))?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    });
    let path = match own {
        Some(rest) => rest,
        None if location.starts_with('/') && !location.starts_with("//") => location,
        None => return,
    };
    if let Ok(value) = HeaderValue::from_str(&format!("{prefix}{path}")) {
        headers.insert(header::LOCATION, value);
    }
}
