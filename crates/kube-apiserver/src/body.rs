//! Bodies and responses as the whole server uses them: one boxed body type, so that stored bytes, streams of watch
//! events and streams from a kubelet are answered alike.

use std::pin::Pin;
use std::task::{self, Poll};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use http::{HeaderValue, StatusCode, header};
use http_body_util::{BodyExt, BodyStream, Empty, Full, StreamBody, combinators::UnsyncBoxBody};
use machinery::status::Status;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
pub type Body = UnsyncBoxBody<Bytes, BoxError>;
pub type Response = http::Response<Body>;

/// A body without bytes.
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body of bytes that are already there.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body whose chunks come one by one (a watch, a log); each chunk is sent as soon as it is there.
pub fn stream<S>(chunks: S) -> Body
where
    S: Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
{
    StreamBody::new(chunks.map(|chunk| chunk.map(http_body::Frame::data))).boxed_unsync()
}

/// The first bytes of a body, `max` at most; what follows is not waited for.
pub async fn read_at_most(mut body: Body, max: usize) -> Result<Bytes, BoxError> {
    let mut read = BytesMut::new();
    while read.len() < max {
        let Some(frame) = body.frame().await else { break };
        if let Ok(data) = frame?.into_data() {
            let rest = max - read.len();
            read.extend_from_slice(&data[..data.len().min(rest)]);
        }
    }
    Ok(read.freeze())
}

/// A body that keeps something alive (a place among the requests being served) until it is sent or given up.
pub fn guarded<G: Send + 'static>(body: Body, guard: G) -> Body {
    // An empty body is never polled to its end: what it keeps alive is let go at once.
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    Guarded { body, _guard: guard }.boxed_unsync()
}

/// A body and what lives as long; its size stays known, so that it is sent with its length.
struct Guarded<G> {
    body: Body,
    _guard: G,
}

// Nothing in it is ever pinned: the body is a pointer.
impl<G> Unpin for Guarded<G> {}

impl<G> http_body::Body for Guarded<G> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut task::Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// A body that ends, as if it were complete, when `end` does: for streams that would otherwise go on for ever.
pub fn until(body: Body, end: impl Future<Output = ()> + Send + 'static) -> Body {
    if http_body::Body::is_end_stream(&body) {
        return body;
    }
    StreamBody::new(BodyStream::new(body).take_until(Box::pin(end))).boxed_unsync()
}

/// A response of encoded JSON.
pub fn json_bytes(code: StatusCode, bytes: impl Into<Bytes>) -> Response {
    typed(code, "application/json", bytes)
}

/// A response of one JSON value on a line of its own, as upstream ends every object.
pub fn json_line(code: StatusCode, value: &[u8]) -> Response {
    let mut line = BytesMut::with_capacity(value.len() + 1);
    line.extend_from_slice(value);
    line.extend_from_slice(b"\n");
    json_bytes(code, line.freeze())
}

/// A response of plain text, as health checks and unknown paths give it.
pub fn text(code: StatusCode, text: impl Into<Bytes>) -> Response {
    let mut response = typed(code, "text/plain; charset=utf-8", text);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// The answer to a failed request: the `Status` as JSON, with its code and, where it has one, its `Retry-After`.
pub fn status(status: &Status) -> Response {
    let code = StatusCode::from_u16(status.code()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json_line(code, &status.to_json());
    if let Some(seconds) = status.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn typed(code: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
