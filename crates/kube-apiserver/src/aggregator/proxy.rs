//! Handing a request on. The other server is told who made it in headers that it believes because of this server's client
//! certificate; whatever the client itself sent to that effect is taken out.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Request, StatusCode};
use hyper::client::conn::http1::SendRequest;

use super::{Aggregator, ApiService};
use crate::connect::{Dial, DialError, Forward, Target, Trust, carry, speak};
use crate::outbound::{self, Destination, Tls};
use crate::{Body, Context, Response, Server, UserInfo, body};

const UNAVAILABLE: &str = "service unavailable\n";
const REDIRECTED: &str = "the backend attempted to redirect this request, which is not permitted";

impl Aggregator {
    /// The APIService of another server that answers for a path.
    pub fn route(&self, path: &str) -> Option<Arc<ApiService>> {
        let remote = self.remote();
        if remote.1.is_empty() {
            return None;
        }
        let path = path.strip_prefix("/openapi/v3").unwrap_or(path);
        let mut parts = path.strip_prefix("/apis/")?.split('/');
        let (group, version) = (parts.next()?, parts.next().filter(|version| !version.is_empty())?);
        remote.1.iter().find(|service| service.spec.group == group && service.spec.version == version).cloned()
    }
}

pub async fn serve(server: &Arc<Server>, ctx: &Context, service: &ApiService, request: Request<Body>) -> Response {
    if !service.is_available() {
        return body::text(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE);
    }
    let (to, tls) = match (service.destination(server), service.tls(server.aggregator.identity.as_ref())) {
        (Ok(to), Ok(tls)) => (to, tls),
        (Err(reason), _) => {
            tracing::warn!(service = service.name(), %reason, "failed to find an aggregated server");
            return body::text(StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE);
        }
        (_, Err(reason)) => return body::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{reason}\n")),
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
    // The path is taken over as the client wrote it: encoded characters must stay so.
    let target = Target { trust: Trust::Anyone, host: to.host.clone(), port: to.port, path };
    let options = Forward { headers: identity_headers(&ctx.user), ..Forward::default() };
    let dialer = Dialer { to, tls };
    match carry(&dialer, &server.shutdown, &target, request, options).await {
        Ok(answer) if answer.status().is_redirection() && answer.headers().contains_key(LOCATION) => {
            body::text(StatusCode::BAD_GATEWAY, REDIRECTED)
        }
        Ok(answer) => answer,
        Err(status) => body::text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", status.message())),
    }
}

/// `X-Remote-User` and its kin.
pub fn identity_headers(user: &UserInfo) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        // What cannot stand in a header would be another identity without it: then there is none.
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_str(value)) {
            headers.append(name, value);
        }
    };
    add("x-remote-user", &user.name);
    if let Some(uid) = user.uid.as_deref().filter(|uid| !uid.is_empty()) {
        add("x-remote-uid", uid);
    }
    user.groups.iter().for_each(|group| add("x-remote-group", group));
    for (key, values) in &user.extra {
        let name = format!("x-remote-extra-{}", escaped(key));
        values.iter().for_each(|value| add(&name, value));
    }
    headers
}

/// Percent-encodes what cannot stand in the name of a header.
fn escaped(key: &str) -> String {
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(byte)),
            b'!' | b'#' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

struct Dialer {
    to: Destination,
    tls: Tls,
}

#[async_trait]
impl Dial for Dialer {
    async fn dial(&self, _: &Target) -> Result<SendRequest<Body>, DialError> {
        let stream =
            outbound::connect(&self.tls, &self.to).await.map_err(|error| DialError::Other(error.to_string()))?;
        speak(stream).await
    }
}
