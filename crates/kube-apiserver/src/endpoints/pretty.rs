//! Answers for people: indented JSON when `pretty` asks for it or the client is one that people look at, and YAML. For
//! programs: protobuf.
//!
//! All are made from the finished JSON answer, so that nothing else has to know of them. Streams, and what others answer
//! through this server, stay as they are.

use http::{HeaderValue, header};
use http_body_util::BodyExt;
use machinery::status::Status;
use serde_json::Value;

use super::media::Encoding;
use super::options::Query;
use super::protobuf;
use crate::{Body, Context, Response, body};

/// Clients whose output goes to a screen.
const READERS: [&str; 3] = ["curl/", "Wget/", "Mozilla/5.0"];

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Compact,
    Indented,
    Yaml,
    Protobuf,
}

impl Style {
    pub fn of(ctx: &Context, request: &http::Request<Body>) -> Self {
        let passed_on = ctx.info.is_resource && super::CONNECT.contains(&ctx.info.subresource.as_str());
        if ctx.info.verb == "watch" || passed_on || request.headers().contains_key(header::UPGRADE) {
            return Self::Compact;
        }
        match Encoding::of(request.headers()) {
            Encoding::Protobuf => return Self::Protobuf,
            Encoding::Yaml => return Self::Yaml,
            Encoding::Json => {}
        }
        let asked = Query::parse(request.uri().query().unwrap_or_default()).boolean("pretty");
        let reader = || READERS.iter().any(|reader| ctx.user_agent.starts_with(reader));
        if asked.unwrap_or_else(reader) { Self::Indented } else { Self::Compact }
    }

    /// The same answer in this style, if it is JSON.
    pub async fn apply(self, response: Response) -> Response {
        let is_json =
            response.headers().get(header::CONTENT_TYPE) == Some(&HeaderValue::from_static("application/json"));
        if self == Self::Compact || !is_json || response.headers().contains_key(header::CONTENT_ENCODING) {
            return response;
        }
        let (mut parts, answer) = response.into_parts();
        let Ok(bytes) = answer.collect().await.map(http_body_util::Collected::to_bytes) else {
            return body::status(&Status::internal("the answer ended early"));
        };
        let Ok(value) = serde_json::from_slice::<Value>(&bytes) else {
            return Response::from_parts(parts, body::full(bytes));
        };
        if self == Self::Protobuf {
            let Some(message) = protobuf::encode(&value) else { return Response::from_parts(parts, body::full(bytes)) };
            parts.headers.remove(header::CONTENT_LENGTH);
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(protobuf::MEDIA_TYPE));
            return Response::from_parts(parts, body::full(message));
        }
        parts.headers.remove(header::CONTENT_LENGTH);
        let text = if self == Self::Yaml {
            parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
            let mut text = String::new();
            write_yaml(&mut text, &value, 0);
            text
        } else {
            format!("{value:#}")
        };
        Response::from_parts(parts, body::full(text))
    }
}

/// Block style; whatever could be read as something else than text is quoted.
fn write_yaml(out: &mut String, value: &Value, depth: usize) {
    let indent = |out: &mut String, depth: usize| out.extend(std::iter::repeat_n("  ", depth));
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (index, (key, value)) in fields.iter().enumerate() {
                // The first key stands where the dash or the caller left off.
                if index > 0 {
                    indent(out, depth);
                }
                write_text(out, key);
                out.push(':');
                write_child(out, value, depth);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    indent(out, depth);
                }
                out.push_str("- ");
                write_yaml(out, item, depth + 1);
            }
        }
        Value::String(text) => {
            write_text(out, text);
            out.push('\n');
        }
        other => {
            out.push_str(&other.to_string());
            out.push('\n');
        }
    }
}

fn write_child(out: &mut String, value: &Value, depth: usize) {
    let nested = matches!(value, Value::Object(fields) if !fields.is_empty());
    let list = matches!(value, Value::Array(items) if !items.is_empty());
    if !nested && !list {
        out.push(' ');
        return write_yaml(out, value, depth);
    }
    // Lists stand as deep as their key, maps one deeper.
    let depth = if nested { depth + 1 } else { depth };
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
    write_yaml(out, value, depth);
}

fn write_text(out: &mut String, text: &str) {
    let plain_start = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '_');
    let plain_rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte));
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n" | "nan" | "inf"
    );
    if plain_start && plain_rest && !word {
        out.push_str(text);
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use machinery::codec::{self, Limits};
    use serde_json::json;

    #[test]
    fn yaml_reads_back_as_what_was_written() {
        let value = json!({
            "kind": "List",
            "empty": {}, "none": [], "null": null, "number": 5, "text": "5", "yes": "yes", "multi": "a: b\n- c\n",
            "items": [{ "a": { "b": [1, [2, 3], { "c": "d" }] }, "e": "f" }, "plain", [{ "x": true }]],
        });
        let mut text = String::new();
        write_yaml(&mut text, &value, 0);
        assert_eq!(codec::yaml::parse(text.as_bytes(), Limits::default()).unwrap().value, value, "{text}");
        assert!(text.starts_with("kind: List\nempty: {}\n"), "{text}");
    }
}
