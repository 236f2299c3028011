//! Large answers in gzip for clients that take it, as upstream: worth its time from 128 KiB on, never for a stream.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Method, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use machinery::status::Status;

use crate::{Body, Context, Response, body};

/// Smaller answers are sent faster as they are.
const SIZE_MIN_BYTES: u64 = 128 * 1024;

/// Whether the answer to this request may be compressed: a read by a client that takes gzip.
pub fn is_wanted(ctx: &Context, request: &http::Request<Body>) -> bool {
    let passed_on = ctx.info.is_resource && super::CONNECT.contains(&ctx.info.subresource.as_str());
    *request.method() == Method::GET && ctx.info.verb != "watch" && !passed_on && takes_gzip(request.headers())
}

/// Whether the client takes gzip.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip") && parameters.trim().replace(' ', "") != "q=0"
    })
}

/// Compresses a successful answer whose size is known and large enough.
pub async fn apply(response: Response) -> Response {
    let large = response.body().size_hint().exact().is_some_and(|size| size >= SIZE_MIN_BYTES);
    if !large || !response.status().is_success() || response.headers().contains_key(header::CONTENT_ENCODING) {
        return response;
    }
    let (mut parts, answer) = response.into_parts();
    let Ok(bytes) = answer.collect().await.map(http_body_util::Collected::to_bytes) else {
        return body::status(&Status::internal("the answer ended early"));
    };
    // A list of many megabytes must not hold up the other requests of this thread.
    let compressed = tokio::task::spawn_blocking({
        let bytes = bytes.clone();
        move || {
            let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
            encoder.write_all(&bytes).and_then(|()| encoder.finish())
        }
    });
    let Ok(Ok(compressed)) = compressed.await else { return Response::from_parts(parts, body::full(bytes)) };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    Response::from_parts(parts, body::full(compressed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn gzip_is_taken_unless_it_is_refused() {
        let takes = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]);
            takes_gzip(&headers)
        };
        assert!(takes("gzip") && takes("deflate, GZIP;q=0.5"));
        assert!(!takes("deflate") && !takes("gzip; q=0") && !takes("x-gzip"));
    }

    #[tokio::test]
    async fn large_answers_shrink_and_read_back() {
        let text = "abcdefgh".repeat(64 * 1024);
        let answer = apply(body::text(http::StatusCode::OK, text.clone())).await;
        assert_eq!(answer.headers()[header::CONTENT_ENCODING], "gzip");
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(bytes.len() < text.len() / 10);
        let mut read = String::new();
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
        for small in [body::text(http::StatusCode::OK, "x"), body::text(http::StatusCode::NOT_FOUND, text)] {
            assert!(!apply(small).await.headers().contains_key(header::CONTENT_ENCODING));
        }
    }
}
