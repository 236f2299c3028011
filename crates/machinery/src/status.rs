//! `Status`: the API's own answer where there is no object to give, and the error type of every API operation.
//!
//! One pointer wide, so that `Result<T, Status>` stays small on the way where nothing fails. Fields are written in upstream's
//! order (kind, apiVersion, metadata, status, message, reason, details, code).

mod constructors;

use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use std::fmt;

/// meta/v1 Status.
#[derive(Clone, Debug, PartialEq)]
pub struct Status(Box<Inner>);

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Inner {
    metadata: Map<String, Value>,
    status: String,
    message: String,
    reason: String,
    details: Option<StatusDetails>,
    code: u16,
}

/// What the status is about, and what a client may do next.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatusDetails {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The kind, or in most errors the resource.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    #[serde(skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u32,
}

/// One of the reasons for a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StatusCause {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// The values of `reason` that the API itself gives.
pub mod reason {
    pub const UNAUTHORIZED: &str = "Unauthorized";
    pub const FORBIDDEN: &str = "Forbidden";
    pub const NOT_FOUND: &str = "NotFound";
    pub const ALREADY_EXISTS: &str = "AlreadyExists";
    pub const CONFLICT: &str = "Conflict";
    pub const GONE: &str = "Gone";
    pub const INVALID: &str = "Invalid";
    pub const SERVER_TIMEOUT: &str = "ServerTimeout";
    pub const TIMEOUT: &str = "Timeout";
    pub const TOO_MANY_REQUESTS: &str = "TooManyRequests";
    pub const BAD_REQUEST: &str = "BadRequest";
    pub const METHOD_NOT_ALLOWED: &str = "MethodNotAllowed";
    pub const NOT_ACCEPTABLE: &str = "NotAcceptable";
    pub const REQUEST_ENTITY_TOO_LARGE: &str = "RequestEntityTooLarge";
    pub const UNSUPPORTED_MEDIA_TYPE: &str = "UnsupportedMediaType";
    pub const INTERNAL_ERROR: &str = "InternalError";
    pub const EXPIRED: &str = "Expired";
    pub const SERVICE_UNAVAILABLE: &str = "ServiceUnavailable";
}

impl Status {
    /// A failure with any code and reason (which may be empty).
    pub fn failure(code: u16, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Status(Box::new(Inner {
            status: "Failure".to_owned(),
            message: message.into(),
            reason: reason.into(),
            code,
            ..Inner::default()
        }))
    }

    /// A success that has no object to show.
    pub fn success() -> Self {
        Status(Box::new(Inner { status: "Success".to_owned(), ..Inner::default() }))
    }

    /// Sets the code, which a plain success leaves out.
    #[must_use]
    pub fn with_code(mut self, code: u16) -> Self {
        self.0.code = code;
        self
    }

    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.0.message = message.into();
        self
    }

    #[must_use]
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.0.reason = reason.into();
        self
    }

    #[must_use]
    pub fn with_details(mut self, details: StatusDetails) -> Self {
        self.0.details = Some(details);
        self
    }

    /// Adds a cause, and the details if there are none yet.
    #[must_use]
    pub fn with_cause(mut self, cause: StatusCause) -> Self {
        self.0.details.get_or_insert_default().causes.push(cause);
        self
    }

    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.0.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// Sets a field of the list metadata: an expired list hands out a new `continue` there.
    #[must_use]
    pub fn with_metadata(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.metadata.insert(key.to_owned(), value.into());
        self
    }

    /// The HTTP code; a success without one is 200.
    pub fn code(&self) -> u16 {
        match self.0.code {
            0 if self.is_success() => 200,
            0 => 500,
            code => code,
        }
    }

    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    pub fn details(&self) -> Option<&StatusDetails> {
        self.0.details.as_ref()
    }

    pub fn causes(&self) -> &[StatusCause] {
        self.0.details.as_ref().map_or(&[], |details| &details.causes)
    }

    /// Seconds that a client should wait before it tries again.
    pub fn retry_after(&self) -> Option<u32> {
        self.details().map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0)
    }

    pub fn is_success(&self) -> bool {
        self.0.status == "Success"
    }

    pub fn is_not_found(&self) -> bool {
        self.reason() == reason::NOT_FOUND
    }

    pub fn is_conflict(&self) -> bool {
        self.reason() == reason::CONFLICT
    }

    pub fn is_already_exists(&self) -> bool {
        self.reason() == reason::ALREADY_EXISTS
    }

    pub fn is_invalid(&self) -> bool {
        self.reason() == reason::INVALID
    }

    /// The JSON text that goes to a client.
    pub fn to_json(&self) -> Vec<u8> {
        // All fields are strings, numbers and JSON values, which always have a JSON form.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The same as a value.
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let inner = &*self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", "Status")?;
        map.serialize_entry("apiVersion", "v1")?;
        map.serialize_entry("metadata", &inner.metadata)?;
        for (key, text) in [("status", &inner.status), ("message", &inner.message), ("reason", &inner.reason)] {
            if !text.is_empty() {
                map.serialize_entry(key, text)?;
            }
        }
        if let Some(details) = &inner.details {
            map.serialize_entry("details", details)?;
        }
        if inner.code != 0 {
            map.serialize_entry("code", &inner.code)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Inner::deserialize(deserializer).map(|inner| Status(Box::new(inner)))
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.message.is_empty() { &self.0.reason } else { &self.0.message })
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests;
