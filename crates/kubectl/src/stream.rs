//! Connections that carry bytes both ways: exec and attach sessions, forwarded ports.
//!
//! They are WebSockets whose messages begin with a channel number, or SPDY with a stream a channel. A refused connection is an API error like any other,
//! with the server's own words.

mod link;
pub mod session;
mod spdy;
pub mod terminal;

use base64::Engine;
use http::header;
use http_body_util::BodyExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::api::Api;
use crate::error::{Error, Result, Status};

pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Opens a WebSocket; gives it with the protocol that the server chose.
pub async fn open(api: &Api, path: &str, protocols: &str) -> Result<(Socket, String)> {
    let key = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 16]>());
    let request = http::Request::get(path)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .header(header::SEC_WEBSOCKET_PROTOCOL, protocols);
    let (io, headers) = upgrade(api, request).await?;
    let text =
        |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
    if text(header::SEC_WEBSOCKET_ACCEPT) != derive_accept_key(key.as_bytes()) {
        return Err(Error::message("unable to upgrade connection: the server answered for another connection"));
    }
    let protocol = text(header::SEC_WEBSOCKET_PROTOCOL);
    Ok((WebSocketStream::from_raw_socket(io, Role::Client, None).await, protocol))
}

/// Sends a request to change protocols; gives the connection and the answer's headers.
pub async fn upgrade(api: &Api, request: http::request::Builder) -> Result<(TokioIo<Upgraded>, http::HeaderMap)> {
    let request =
        request.body(Body::empty()).map_err(|error| Error::message(format!("invalid request path: {error}")))?;
    let answer = api.send(request).await?;
    if answer.status() != http::StatusCode::SWITCHING_PROTOCOLS {
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let status = Status::from_body(code, &body);
        return Err(match status.reason.as_str() {
            // Upstream's stream clients lose the Status of these and show the words.
            "InternalError" | "BadRequest" | "" => {
                Error::message(format!("unable to upgrade connection: {}", status.message))
            }
            _ => Error::Status(Box::new(status)),
        });
    }
    let headers = answer.headers().clone();
    let upgraded = hyper::upgrade::on(answer)
        .await
        .map_err(|error| Error::message(format!("unable to upgrade connection: {error}")))?;
    Ok((TokioIo::new(upgraded), headers))
}
