//! A JSON parser with upstream's error messages, which remembers duplicate keys and bounds depth and size.
//!
//! One pass over the bytes builds the value. Invalid UTF-8 and lone surrogates become U+FFFD, as upstream reads them.

use serde_json::{Map, Number, Value};

use super::{DUPLICATES_MAX, Duplicate, Limits, Parsed};
use crate::go_text;

const END: &str = "unexpected end of JSON input";

/// Parses one JSON value with nothing but white space after it.
pub fn parse(bytes: &[u8], limits: Limits) -> Result<Parsed, String> {
    if bytes.len() > limits.bytes {
        return Err(format!("body is larger than {} bytes", limits.bytes));
    }
    let mut parser = Parser { bytes, at: 0, depth: 0, depth_max: limits.depth, duplicates: Vec::new() };
    let value = parser.value(None)?;
    match parser.peek() {
        None => Ok(Parsed { value, duplicates: parser.duplicates, yaml_duplicates: Vec::new() }),
        Some(byte) => Err(unexpected(byte, "after top-level value")),
    }
}

/// Where the parser is: a list on the stack of its own recursion, read only when a duplicate is found.
struct Frame<'a> {
    parent: Option<&'a Frame<'a>>,
    step: Step<'a>,
    position: u32,
}

enum Step<'a> {
    Key(&'a str),
    Index,
}

struct Parser<'b> {
    bytes: &'b [u8],
    at: usize,
    depth: usize,
    depth_max: usize,
    duplicates: Vec<Duplicate>,
}

impl Parser<'_> {
    /// The next byte that is no white space, without taking it.
    fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.bytes.get(self.at) {
            match byte {
                b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
                byte => return Some(*byte),
            }
        }
        None
    }

    fn value(&mut self, frame: Option<&Frame>) -> Result<Value, String> {
        match self.peek().ok_or(END)? {
            b'{' => self.nested(|parser| parser.object(frame)),
            b'[' => self.nested(|parser| parser.array(frame)),
            b'"' => self.string().map(Value::String),
            b't' => self.literal("true", Value::Bool(true)),
            b'f' => self.literal("false", Value::Bool(false)),
            b'n' => self.literal("null", Value::Null),
            b'-' | b'0'..=b'9' => self.number(),
            byte => Err(unexpected(byte, "looking for beginning of value")),
        }
    }

    fn nested(&mut self, read: impl FnOnce(&mut Self) -> Result<Value, String>) -> Result<Value, String> {
        if self.depth == self.depth_max {
            return Err("exceeded max depth".to_owned());
        }
        self.depth += 1;
        self.at += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self, frame: Option<&Frame>) -> Result<Value, String> {
        let mut map = Map::new();
        if self.peek().ok_or(END)? == b'}' {
            self.at += 1;
            return Ok(Value::Object(map));
        }
        loop {
            match self.peek().ok_or(END)? {
                b'"' => {}
                byte => return Err(unexpected(byte, "looking for beginning of object key string")),
            }
            let key = self.string()?;
            match self.peek().ok_or(END)? {
                b':' => self.at += 1,
                byte => return Err(unexpected(byte, "after object key")),
            }
            let position = map.len() as u32;
            let value = self.value(Some(&Frame { parent: frame, step: Step::Key(&key), position }))?;
            if map.contains_key(&key) {
                self.duplicate(frame, &key, position);
            }
            map.insert(key, value);
            match self.peek().ok_or(END)? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(Value::Object(map));
                }
                byte => return Err(unexpected(byte, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self, frame: Option<&Frame>) -> Result<Value, String> {
        let mut items = Vec::new();
        if self.peek().ok_or(END)? == b']' {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            let position = items.len() as u32;
            items.push(self.value(Some(&Frame { parent: frame, step: Step::Index, position }))?);
            match self.peek().ok_or(END)? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                byte => return Err(unexpected(byte, "after array element")),
            }
        }
    }

    fn literal(&mut self, text: &str, value: Value) -> Result<Value, String> {
        for (index, expected) in text.bytes().enumerate() {
            match self.bytes.get(self.at) {
                Some(byte) if *byte == expected => self.at += 1,
                Some(byte) => {
                    let context = format!("in literal {text} (expecting {})", quote_byte(expected));
                    debug_assert!(index > 0, "the caller looked at the first byte");
                    return Err(unexpected(*byte, &context));
                }
                None => return Err(END.to_owned()),
            }
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, String> {
        let start = self.at;
        self.at += usize::from(self.bytes[self.at] == b'-');
        match self.bytes.get(self.at).ok_or(END)? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            byte => return Err(unexpected(*byte, "in numeric literal")),
        }
        let mut is_integer = true;
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
            is_integer = false;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
            is_integer = false;
        }
        let text = std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or_default();
        if is_integer {
            if let Ok(number) = text.parse::<i64>() {
                return Ok(Value::Number(number.into()));
            }
            if let Ok(number) = text.parse::<u64>() {
                return Ok(Value::Number(number.into()));
            }
        }
        let float = text.parse::<f64>().ok().and_then(Number::from_f64);
        float
            .map(Value::Number)
            .ok_or_else(|| format!("json: cannot unmarshal number {text} into Go value of type float64"))
    }

    fn digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self, context: &str) -> Result<(), String> {
        match self.bytes.get(self.at).ok_or(END)? {
            b'0'..=b'9' => self.digits(),
            byte => return Err(unexpected(*byte, context)),
        }
        Ok(())
    }

    /// Reads a string whose opening quote is next.
    fn string(&mut self) -> Result<String, String> {
        self.at += 1;
        let start = self.at;
        loop {
            match *self.bytes.get(self.at).ok_or(END)? {
                b'"' => {
                    let text = text(&self.bytes[start..self.at]);
                    self.at += 1;
                    return Ok(text);
                }
                b'\\' => return self.escaped_string(start),
                byte if byte < 0x20 => return Err(unexpected(byte, "in string literal")),
                _ => self.at += 1,
            }
        }
    }

    /// Goes on with a string in which an escape has been seen.
    fn escaped_string(&mut self, start: usize) -> Result<String, String> {
        let mut out = text(&self.bytes[start..self.at]);
        loop {
            let plain = self.at;
            while self.bytes.get(self.at).is_some_and(|byte| *byte >= 0x20 && *byte != b'"' && *byte != b'\\') {
                self.at += 1;
            }
            if plain < self.at {
                out.push_str(&text(&self.bytes[plain..self.at]));
            }
            match *self.bytes.get(self.at).ok_or(END)? {
                b'"' => {
                    self.at += 1;
                    return Ok(out);
                }
                b'\\' => {
                    self.at += 1;
                    let byte = *self.bytes.get(self.at).ok_or(END)?;
                    self.at += 1;
                    out.push(match byte {
                        b'"' | b'\\' | b'/' => char::from(byte),
                        b'b' => '\u{8}',
                        b'f' => '\u{c}',
                        b'n' => '\n',
                        b'r' => '\r',
                        b't' => '\t',
                        b'u' => self.unicode()?,
                        byte => return Err(unexpected(byte, "in string escape code")),
                    });
                }
                byte => return Err(unexpected(byte, "in string literal")),
            }
        }
    }

    /// Reads the digits after `\u`, and the second half of a surrogate pair when it follows.
    fn unicode(&mut self) -> Result<char, String> {
        let first = self.hex4()?;
        if !(0xd800..0xdc00).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        if self.bytes.get(self.at) == Some(&b'\\') && self.bytes.get(self.at + 1) == Some(&b'u') {
            let back = self.at;
            self.at += 2;
            let second = self.hex4()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, String> {
        let mut code = 0;
        for _ in 0..4 {
            let byte = *self.bytes.get(self.at).ok_or(END)?;
            let digit = char::from(byte).to_digit(16);
            code = code << 4 | digit.ok_or_else(|| unexpected(byte, "in \\u hexadecimal character escape"))?;
            self.at += 1;
        }
        Ok(code)
    }

    fn duplicate(&mut self, frame: Option<&Frame>, key: &str, keys_before: u32) {
        if self.duplicates.len() >= DUPLICATES_MAX {
            return;
        }
        let mut steps = Vec::new();
        let mut next = frame;
        while let Some(frame) = next {
            steps.push(frame);
            next = frame.parent;
        }
        let mut path = String::new();
        let mut at = Vec::with_capacity(steps.len() + 1);
        for frame in steps.iter().rev() {
            match frame.step {
                Step::Key(key) => push_key(&mut path, key),
                Step::Index => path.push_str(&format!("[{}]", frame.position)),
            }
            at.push(2 * frame.position + 1);
        }
        push_key(&mut path, key);
        at.push(2 * keys_before);
        if self.duplicates.iter().all(|known| known.path != path) {
            self.duplicates.push(Duplicate { path, at });
        }
    }
}

fn push_key(path: &mut String, key: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(key);
}

fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn unexpected(byte: u8, context: &str) -> String {
    format!("invalid character {} {context}", quote_byte(byte))
}

/// A byte in single quotes, read as Latin-1 as upstream does.
fn quote_byte(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        byte => {
            let quoted = go_text::quote(char::from(byte).encode_utf8(&mut [0; 4]));
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn value(text: &str) -> Result<Value, String> {
        parse(text.as_bytes(), Limits::default()).map(|parsed| parsed.value)
    }

    fn error(text: &str) -> String {
        value(text).unwrap_err()
    }

    #[test]
    fn values_are_read() {
        assert_eq!(
            value(
                r#" {"a":[1,-2,3.5,1e3,18446744073709551615,true,false,null],"b":{},"c":[],"":"\u00e9\ud83d\ude00\n\/"} "#
            ),
            Ok(json!({"a": [1, -2, 3.5, 1000.0, u64::MAX, true, false, null], "b": {}, "c": [], "": "é😀\n/"}))
        );
        assert_eq!(value("\"\\ud800x\""), Ok(json!("\u{fffd}x")));
        assert_eq!(value("\"\\ud800\\u0041\""), Ok(json!("\u{fffd}A")));
        assert_eq!(parse(b"\"a\xffb\"", Limits::default()).unwrap().value, json!("a\u{fffd}b"));
    }

    #[test]
    fn syntax_errors_are_worded_as_upstream() {
        assert_eq!(error(""), "unexpected end of JSON input");
        assert_eq!(error("{"), "unexpected end of JSON input");
        assert_eq!(error("{bad"), "invalid character 'b' looking for beginning of object key string");
        assert_eq!(error(r#"{"a":1,}"#), "invalid character '}' looking for beginning of object key string");
        assert_eq!(error("[1,]"), "invalid character ']' looking for beginning of value");
        assert_eq!(error("{} trailing"), "invalid character 't' after top-level value");
        assert_eq!(error(r#"{"a" 1}"#), "invalid character '1' after object key");
        assert_eq!(error(r#"{"a":1 "b"}"#), "invalid character '\"' after object key:value pair");
        assert_eq!(error("[1 2]"), "invalid character '2' after array element");
        assert_eq!(error("trux"), "invalid character 'x' in literal true (expecting 'e')");
        assert_eq!(error("[01]"), "invalid character '1' after array element");
        assert_eq!(error("-x"), "invalid character 'x' in numeric literal");
        assert_eq!(error("1.x"), "invalid character 'x' after decimal point in numeric literal");
        assert_eq!(error("1ex"), "invalid character 'x' in exponent of numeric literal");
        assert_eq!(error("\"a\nb\""), "invalid character '\\n' in string literal");
        assert_eq!(error("\"\\x\""), "invalid character 'x' in string escape code");
        assert_eq!(error("\"\\u12x4\""), "invalid character 'x' in \\u hexadecimal character escape");
        assert_eq!(error("'a'"), "invalid character '\\'' looking for beginning of value");
        assert_eq!(error("1e999"), "json: cannot unmarshal number 1e999 into Go value of type float64");
    }

    #[test]
    fn duplicates_are_remembered_with_their_paths() {
        let parsed =
            parse(br#"{"a":[{"x":1,"x":2}],"a.b":{"c":{"d":1,"e":1,"d":3}},"a":5}"#, Limits::default()).unwrap();
        assert_eq!(parsed.value, json!({"a": 5, "a.b": {"c": {"d": 3, "e": 1}}}));
        let paths: Vec<&str> = parsed.duplicates.iter().map(|duplicate| duplicate.path.as_str()).collect();
        assert_eq!(paths, ["a[0].x", "a.b.c.d", "a"]);
        assert_eq!(parsed.duplicates[1].at, [3, 1, 4]);
        let many = format!("{{{}\"z\":0}}", r#""k":1,"#.repeat(1000));
        assert_eq!(parse(many.as_bytes(), Limits::default()).unwrap().duplicates.len(), 1);
    }

    #[test]
    fn depth_and_size_are_bounded() {
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(value(&deep(512)).is_ok());
        assert_eq!(error(&deep(513)), "exceeded max depth");
        assert_eq!(error(&"{\"a\":".repeat(100_000)), "exceeded max depth");
        let limits = Limits { bytes: 3, ..Limits::default() };
        assert_eq!(parse(b"1234", limits).unwrap_err(), "body is larger than 3 bytes");
    }

    proptest! {
        /// serde_json reads the same texts as the same values (but knows no lone surrogates and no bound on depth).
        #[test]
        fn texts_are_read_as_by_another_parser(text in r#"[\[\]{},:" \\nu0-9eE.+\-truefalsé]{0,24}"#) {
            let other = serde_json::from_str::<Value>(&text).ok();
            if other.is_some() || !text.contains("\\u") {
                prop_assert_eq!(value(&text).ok(), other);
            }
        }
    }
}
