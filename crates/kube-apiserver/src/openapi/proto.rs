//! The v2 document in protobuf (openapi.v2.Document), which is how older kubectl reads it.
//!
//! A small writer by hand: the message has few fields, and the document is made once. Field numbers are those of the
//! published OpenAPIv2.proto; what this server's documents never hold (examples, discriminators) is left out.

use serde_json::{Map, Value};

/// A message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u32, value: Option<&Value>) {
        if let Some(text) = value.and_then(Value::as_str).filter(|text| !text.is_empty()) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn texts(&mut self, field: u32, value: Option<&Value>) {
        for text in value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            self.bytes(field, text.as_bytes());
        }
    }

    fn boolean(&mut self, field: u32, value: Option<&Value>) {
        if value.and_then(Value::as_bool) == Some(true) {
            self.varint(u64::from(field) << 3);
            self.varint(1);
        }
    }

    fn message(&mut self, field: u32, message: Message) {
        self.bytes(field, &message.0);
    }

    /// A name and a message, as maps are written.
    fn named(&mut self, field: u32, name: &str, value: Message) {
        let mut pair = Message::default();
        pair.bytes(1, name.as_bytes());
        pair.message(2, value);
        self.message(field, pair);
    }

    /// Every `x-` key with its value as YAML (JSON is YAML).
    fn extensions(&mut self, field: u32, fields: &Map<String, Value>) {
        for (name, value) in fields.iter().filter(|(name, _)| name.starts_with("x-")) {
            self.named(field, name, any(value));
        }
    }
}

fn any(value: &Value) -> Message {
    let mut message = Message::default();
    message.bytes(2, value.to_string().as_bytes());
    message
}

fn object(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flatten()
}

/// Encodes a v2 document.
pub fn encode(document: &Value) -> Vec<u8> {
    let mut out = Message::default();
    out.text(1, document.get("swagger"));
    let mut info = Message::default();
    info.text(1, document.pointer("/info/title"));
    info.text(2, document.pointer("/info/version"));
    out.message(2, info);
    let mut paths = Message::default();
    for (path, item) in object(document.get("paths")) {
        paths.named(2, path, path_item(item));
    }
    out.message(8, paths);
    let mut definitions = Message::default();
    for (name, schema) in object(document.get("definitions")) {
        definitions.named(1, name, schema_message(schema));
    }
    out.message(9, definitions);
    out.0
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    for (method, field) in [("get", 2), ("put", 3), ("post", 4), ("delete", 5), ("patch", 8)] {
        if let Some(operation) = item.get(method) {
            out.message(field, operation_message(operation));
        }
    }
    for parameter in item.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        out.message(9, parameter_message(parameter));
    }
    out
}

fn operation_message(operation: &Value) -> Message {
    let mut out = Message::default();
    out.texts(1, operation.get("tags"));
    out.text(3, operation.get("description"));
    out.text(5, operation.get("operationId"));
    out.texts(6, operation.get("produces"));
    out.texts(7, operation.get("consumes"));
    for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
        out.message(8, parameter_message(parameter));
    }
    let mut responses = Message::default();
    for (code, response) in object(operation.get("responses")) {
        let mut inner = Message::default();
        inner.text(1, response.get("description"));
        if let Some(schema) = response.get("schema") {
            let mut item = Message::default();
            item.message(1, schema_message(schema));
            inner.message(2, item);
        }
        let mut value = Message::default();
        value.message(1, inner);
        responses.named(1, code, value);
    }
    out.message(9, responses);
    out.texts(10, operation.get("schemes"));
    if let Some(fields) = operation.as_object() {
        out.extensions(13, fields);
    }
    out
}

fn parameter_message(parameter: &Value) -> Message {
    let place = parameter.get("in").and_then(Value::as_str).unwrap_or_default();
    let mut inner = Message::default();
    if place == "body" {
        let mut body = Message::default();
        body.text(1, parameter.get("description"));
        body.text(2, parameter.get("name"));
        body.text(3, parameter.get("in"));
        body.boolean(4, parameter.get("required"));
        if let Some(schema) = parameter.get("schema") {
            body.message(5, schema_message(schema));
        }
        inner.message(1, body);
    } else {
        let is_path = place == "path";
        let mut sub = Message::default();
        sub.boolean(1, parameter.get("required"));
        sub.text(2, parameter.get("in"));
        sub.text(3, parameter.get("description"));
        sub.text(4, parameter.get("name"));
        sub.text(if is_path { 5 } else { 6 }, parameter.get("type"));
        let mut non_body = Message::default();
        non_body.message(if is_path { 4 } else { 3 }, sub);
        inner.message(2, non_body);
    }
    let mut out = Message::default();
    out.message(1, inner);
    out
}

fn schema_message(schema: &Value) -> Message {
    let mut out = Message::default();
    out.text(1, schema.get("$ref"));
    out.text(2, schema.get("format"));
    out.text(4, schema.get("description"));
    if let Some(default) = schema.get("default") {
        out.message(5, any(default));
    }
    out.texts(19, schema.get("required"));
    for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
        out.message(20, any(value));
    }
    if let Some(additional) = schema.get("additionalProperties") {
        let mut item = Message::default();
        item.message(1, schema_message(additional));
        out.message(21, item);
    }
    if let Some(kind) = schema.get("type") {
        let mut item = Message::default();
        item.text(1, Some(kind));
        out.message(22, item);
    }
    if let Some(items) = schema.get("items") {
        let mut item = Message::default();
        item.message(1, schema_message(items));
        out.message(23, item);
    }
    if let Some(properties) = schema.get("properties") {
        let mut message = Message::default();
        for (name, property) in object(Some(properties)) {
            message.named(1, name, schema_message(property));
        }
        out.message(25, message);
    }
    if let Some(fields) = schema.as_object() {
        out.extensions(31, fields);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_is_written_field_by_field() {
        let schema = json!({ "type": "array", "items": { "$ref": "#/d/X" }, "x-k": "v" });
        let expected: &[u8] = &[
            0xb2, 0x01, 7, 0x0a, 5, b'a', b'r', b'r', b'a', b'y', // type = 22 { value = 1 }
            0xba, 0x01, 9, 0x0a, 7, 0x0a, 5, b'#', b'/', b'd', b'/',
            b'X', // items = 23 { schema = 1 { _ref = 1 } }
            0xfa, 0x01, 12, 0x0a, 3, b'x', b'-', b'k', 0x12, 5, 0x12, 3, b'"', b'v',
            b'"', // extension = 31 { name, { yaml } }
        ];
        assert_eq!(schema_message(&schema).0, expected);
    }
}
