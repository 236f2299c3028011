//! From bytes to values and back: JSON and YAML bodies in, tables out, protobuf both ways. CBOR will stand beside them.
//!
//! The parsers of text know no schema (protobuf cannot be read without one). They bound depth and size, remember
//! duplicate keys (which field validation reports) and word their errors as upstream does. What a body says that it is
//! (`type_meta`) is read here too, because upstream refuses bodies without an object at the top before any schema is
//! looked at.

pub mod json;
pub mod protobuf;
pub mod table;
pub mod yaml;

use serde_json::Value;

/// Bounds on a body. Both hold before anything of the bounded size is built.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nesting of objects and lists. Upstream allows 10,000, which nothing real comes near.
    pub depth: usize,
    pub bytes: usize,
}

impl Default for Limits {
    /// 3 MiB is upstream's bound on a request body.
    fn default() -> Self {
        Limits { depth: 512, bytes: 3 << 20 }
    }
}

/// A parsed body.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Parsed {
    pub value: Value,
    /// Keys that a JSON object held twice; the last value counts. At most `DUPLICATES_MAX`.
    pub duplicates: Vec<Duplicate>,
    /// The same of a YAML body, worded with line numbers: `line 7: key "x" already set in map`.
    pub yaml_duplicates: Vec<String>,
}

/// More duplicates than this are not remembered: nobody reads them.
pub const DUPLICATES_MAX: usize = 100;

impl From<Value> for Parsed {
    fn from(value: Value) -> Self {
        Parsed { value, ..Parsed::default() }
    }
}

/// A key that stood twice in one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duplicate {
    /// `spec.containers[0].name`
    pub path: String,
    /// Place in the document: per level 2i + 1 for the i-th key or item; at the end 2n for "after n keys".
    pub at: Vec<u32>,
}

/// Upstream's printed name of the struct that it reads apiVersion and kind into.
const META_STRUCT: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

/// What a body says that it is: (apiVersion, kind), both empty when missing.
pub fn type_meta(value: &Value) -> Result<(&str, &str), String> {
    let Value::Object(map) = value else {
        if value.is_null() {
            return Ok(("", ""));
        }
        return Err(format!("json: cannot unmarshal {} into Go value of type {META_STRUCT}", json_kind(value)));
    };
    let read = |key: &str| match map.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(other) => {
            Err(format!("json: cannot unmarshal {} into Go struct field .{key} of type string", json_kind(other)))
        }
    };
    Ok((read("apiVersion")?, read("kind")?))
}

/// The message for a body that cannot be read as any object: `problem` is the parser's or `type_meta`'s message.
pub fn unrecognized(kind: &str, problem: &str, body: &[u8]) -> String {
    format!("the object provided is unrecognized (must be of type {kind}): {problem} ({})", summarize(body))
}

/// The same for JSON, whose problems upstream introduces.
pub fn unrecognized_json(kind: &str, problem: &str, body: &[u8]) -> String {
    unrecognized(kind, &format!("couldn't get version/kind; json parse error: {problem}"), body)
}

/// The start of a body as error messages show it: text when it looks like a JSON object, else hexadecimal.
pub fn summarize(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let (head, tail) = if body.len() > SHOWN { (&body[..SHOWN], " ...") } else { (body, "") };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{tail}", String::from_utf8_lossy(head)),
        Some(_) => {
            let mut out: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
            out.push_str(tail);
            out
        }
    }
}

/// JSON's name of a value's kind in upstream's messages.
pub fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn bodies_are_summarized_as_upstream_does() {
        assert_eq!(summarize(b""), "<empty>");
        assert_eq!(summarize(b"[]"), "5b5d");
        assert_eq!(summarize(br#"{"metadata":{"name":"b"}} trailing"#), r#"{"metadata":{"name":"b"}} trai ..."#);
    }

    #[test]
    fn type_meta_wants_an_object_with_strings() {
        assert_eq!(type_meta(&json!({"kind": "Pod", "apiVersion": null})), Ok(("", "Pod")));
        assert_eq!(
            unrecognized_json("Pod", &type_meta(&json!([])).unwrap_err(), b"[]"),
            "the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: \
             json: cannot unmarshal array into Go value of type struct { APIVersion string \
             \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" } (5b5d)"
        );
        assert_eq!(
            type_meta(&json!({"kind": 5})).unwrap_err(),
            "json: cannot unmarshal number into Go struct field .kind of type string"
        );
    }
}
