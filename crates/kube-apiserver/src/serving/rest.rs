//! What remains of a request's body when the answer is decided without it (401, 405, ...). Over HTTP/2 a stream whose body
//! nobody reads is reset after the answer, and some clients (curl 7.88) then lose the answer: so the rest is read and dropped, as
//! far as it is small and comes soon.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

const BYTES_MAX: usize = 4 << 20;
const TIME_MAX: Duration = Duration::from_secs(10);

/// A body of which nothing is left when this is dropped.
pub struct WithRest(Option<Incoming>);

impl WithRest {
    pub fn new(body: Incoming) -> Self {
        Self(Some(body))
    }
}

impl Body for WithRest {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.0 {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for WithRest {
    fn drop(&mut self) {
        let Some(mut body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(TIME_MAX, async move {
            let mut dropped = 0;
            while let Some(Ok(frame)) = body.frame().await {
                dropped += frame.data_ref().map_or(0, Bytes::len);
                if dropped > BYTES_MAX {
                    return;
                }
            }
        }));
    }
}
