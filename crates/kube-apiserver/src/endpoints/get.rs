//! get: one object as it is stored.

use http::StatusCode;
use machinery::go_text;
use machinery::status::Status;

use super::Scope;
use crate::Response;

pub async fn serve(scope: &Scope) -> Result<Response, Status> {
    let version = scope.query.get("resourceVersion").unwrap_or_default();
    let wanted = match version {
        "" => 0,
        text => text.parse::<u64>().map_err(|_| invalid_version(text))?,
    };
    let store = scope.server.registry.store();
    if wanted > store.revision() {
        // Another server may be ahead of this one.
        scope.server.registry.barrier().await?;
    }
    let current = store.revision();
    if wanted > current {
        return Err(Status::future_revision(wanted, current));
    }
    let entry = scope.server.registry.entry(scope.kind, &scope.namespace, &scope.name)?;
    scope.object(StatusCode::OK, &entry.value)
}

/// A resourceVersion that is no number.
pub fn invalid_version(text: &str) -> Status {
    let quoted = go_text::quote(text);
    Status::bad_request(format!(
        "invalid resource version: resourceVersion: Invalid value: {quoted}: strconv.ParseUint: parsing {quoted}: invalid syntax"
    ))
}
