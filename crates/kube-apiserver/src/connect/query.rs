//! Options of streams, as they come in the query.

use machinery::status::Status;

use crate::request_info::query_pairs;

/// All pairs of a query, in order.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn new(uri: &http::Uri) -> Self {
        Self(query_pairs(uri.query().unwrap_or_default()).collect())
    }

    pub fn text(&self, key: &str) -> &str {
        self.0.iter().find(|(own, _)| own == key).map_or("", |(_, value)| value)
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.0.iter().filter(move |(own, _)| own == key).map(|(_, value)| value.as_str())
    }

    /// Present and not plainly false.
    pub fn flag(&self, key: &str) -> bool {
        self.all(key).next().is_some_and(crate::request_info::is_true)
    }

    pub fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        let text = self.text(key);
        if text.is_empty() {
            return Ok(None);
        }
        let parsed: Result<i64, _> = text.parse();
        parsed.map(Some).map_err(|error| {
            let reason = match error.kind() {
                std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            let text = machinery::go_text::quote(text);
            Status::bad_request(format!("strconv.ParseInt: parsing {text}: {reason}"))
        })
    }
}

/// Builds a query, encoding what it must.
#[derive(Default)]
pub struct QueryBuilder(String);

impl QueryBuilder {
    pub fn add(&mut self, key: &str, value: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(key);
        self.0.push('=');
        self.0.push_str(&encode(value));
    }

    /// The path with this query.
    pub fn onto(self, path: String) -> String {
        if self.0.is_empty() { path } else { format!("{path}?{}", self.0) }
    }
}

/// Percent-encodes everything but what needs no encoding anywhere.
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => encoded.push(char::from(byte)),
            byte => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
