//! Continue tokens: where a list goes on, and at which revision. Opaque to clients, in upstream's form.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use machinery::go_text;
use machinery::status::Status;
use serde_json::{Value, json};

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

/// The answer to a token whose revision is no longer kept, with a token for whatever is there now.
pub fn expired(last: &str) -> Status {
    Status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    )
    .with_metadata("continue", encode(-1, last))
}

/// A token for the rest after `last` at a revision.
pub fn at(revision: u64, last: &str) -> String {
    encode(i64::try_from(revision).unwrap_or(i64::MAX), last)
}

/// Upstream's form: version, revision, and the first key of the rest (the last one sent, and a zero byte).
fn encode(revision: i64, last: &str) -> String {
    let token = json!({ "v": TOKEN_VERSION, "rv": revision, "start": format!("/{last}\0") });
    URL_SAFE_NO_PAD.encode(token.to_string())
}

/// The revision and the last key sent.
pub fn parse(text: &str) -> Result<(i64, String), Status> {
    let invalid =
        |what: String| Status::bad_request(format!("invalid continue token: continue key is not valid: {what}"));
    let at = text.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'));
    if let Some(at) = at {
        return Err(invalid(format!("illegal base64 data at input byte {at}")));
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).or_else(|_| lenient(text));
    let bytes = bytes.map_err(|_| invalid(format!("illegal base64 data at input byte {}", text.len())))?;
    let token: Value = serde_json::from_slice(&bytes).map_err(|_| {
        let first = bytes.first().map_or_else(
            || "unexpected end of JSON input".to_owned(),
            |byte| format!("invalid character '{}' looking for beginning of value", char::from(*byte)),
        );
        invalid(first)
    })?;
    let version = token.get("v").and_then(Value::as_str).unwrap_or_default();
    if version != TOKEN_VERSION {
        return Err(invalid(format!("server does not recognize this encoded version {version}")));
    }
    let revision = token.get("rv").and_then(Value::as_i64).unwrap_or(0);
    if revision == 0 {
        return Err(invalid(format!("incorrect encoded start resourceVersion (version {version})")));
    }
    let start = token.get("start").and_then(Value::as_str).unwrap_or_default();
    if start.is_empty() {
        return Err(invalid(format!("encoded start key empty (version {version})")));
    }
    // A start key is a path below the collection: nothing may lead out of it.
    let key = start.trim_start_matches('/').trim_end_matches('\0');
    if key.split('/').any(|part| part == "..") {
        return Err(invalid(format!("incorrect encoded start key {}", go_text::quote(start))));
    }
    Ok((revision, key.to_owned()))
}

/// Bits beyond the last byte that are not zero are no error upstream.
fn lenient(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    let config = base64::engine::GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(base64::engine::DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    base64::engine::GeneralPurpose::new(&base64::alphabet::URL_SAFE, config).decode(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_upstreams_form_and_come_back() {
        assert_eq!(at(38197, "a"), "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MzgxOTcsInN0YXJ0IjoiL2FcdTAwMDAifQ");
        assert_eq!(parse(&at(5, "ns/a")).unwrap(), (5, "ns/a".to_owned()));
    }

    #[test]
    fn bad_tokens_are_refused_as_upstream_words_it() {
        for (text, message) in [
            ("abc", "invalid character 'i' looking for beginning of value"),
            ("%%", "illegal base64 data at input byte 0"),
            (
                "eyJ2IjogIm1ldGEuazhzLmlvL3YyIiwgInJ2IjogNSwgInN0YXJ0IjogImEifQ",
                "server does not recognize this encoded version meta.k8s.io/v2",
            ),
            (
                "eyJ2IjogIm1ldGEuazhzLmlvL3YxIiwgInJ2IjogMCwgInN0YXJ0IjogImEifQ",
                "incorrect encoded start resourceVersion (version meta.k8s.io/v1)",
            ),
            (
                "eyJ2IjogIm1ldGEuazhzLmlvL3YxIiwgInJ2IjogNSwgInN0YXJ0IjogIiJ9",
                "encoded start key empty (version meta.k8s.io/v1)",
            ),
        ] {
            let status = parse(text).unwrap_err();
            assert_eq!(status.message(), format!("invalid continue token: continue key is not valid: {message}"));
        }
    }
}
