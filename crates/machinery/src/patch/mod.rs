//! The patches: JSON patch (RFC 6902), JSON merge patch (RFC 7386) and Kubernetes' strategic merge patch.
//!
//! Each is a function over untyped objects. A patch that fails leaves the object in no defined state: callers patch a copy.
//! Server-side apply stands beside these.

pub mod apply;
pub mod json;
pub mod merge;
pub mod strategic;

use crate::codec::{self, Limits, Parsed};
use crate::status::Status;
use serde_json::Value;

/// The deepest object that a patch may build; deeper ones could exhaust the stack of whoever walks or drops them.
pub const DEPTH_MAX: usize = 512;

/// Why a patch was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch itself is no patch.
    #[error("{0}")]
    Malformed(String),
    /// A JSON patch with more operations than are allowed.
    #[error("The allowed maximum operations in a JSON patch is {max}, got {0}", max = json::OPERATIONS_MAX)]
    TooManyOperations(usize),
    /// The patch does not fit the object. Clients are not told the reason.
    #[error("{0}")]
    DoesNotApply(String),
    /// A test of a JSON patch failed. Clients are not told either.
    #[error("{0}")]
    TestFailed(String),
    /// What upstream answers with a bare 500 and this message.
    #[error("{0}")]
    Unexpected(String),
}

impl From<PatchError> for Status {
    fn from(error: PatchError) -> Self {
        match error {
            PatchError::Malformed(message) => Status::bad_request(message),
            PatchError::TooManyOperations(_) => Status::request_entity_too_large(error),
            PatchError::DoesNotApply(_) | PatchError::TestFailed(_) => Status::rejected_request(),
            PatchError::Unexpected(message) => Status::unexpected(message),
        }
    }
}

/// Reads the body of a merge patch or a strategic merge patch, which must be a map or null. The result also tells the keys that
/// were given twice, for field validation. Errors of a merge patch are introduced by "error decoding patch: " in the API.
pub fn parse_map(body: &[u8]) -> Result<Parsed, String> {
    let parsed = codec::json::parse(body, Limits { depth: DEPTH_MAX, ..Limits::default() })?;
    match &parsed.value {
        Value::Object(_) | Value::Null => Ok(parsed),
        other => Err(not_a_map(other)),
    }
}

fn not_a_map(value: &Value) -> String {
    format!("json: cannot unmarshal {} into Go value of type map[string]interface {{}}", codec::json_kind(value))
}

#[cfg(test)]
mod tests;
