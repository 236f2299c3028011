//! One constructor for each error that the API knows, with upstream's message, reason, code and details.

use super::{Status, StatusCause, StatusDetails, reason};
use crate::field::{self, ErrorList};
use crate::go_text;
use crate::gvk::{GroupKind, GroupResource};

impl Status {
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::failure(404, reason::NOT_FOUND, format!("{resource} {} not found", go_text::quote(name)))
            .about(resource, name)
    }

    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::failure(409, reason::ALREADY_EXISTS, format!("{resource} {} already exists", go_text::quote(name)))
            .about(resource, name)
    }

    /// All names that were tried for a generateName were taken.
    pub fn generate_name_conflict(resource: &GroupResource, name: &str, retry_after: u32) -> Self {
        let message = format!(
            "{resource} {} already exists, the server was not able to generate a unique name for the object",
            go_text::quote(name)
        );
        Self::failure(409, reason::ALREADY_EXISTS, message).about(resource, name).with_retry_after(retry_after)
    }

    pub fn conflict(resource: &GroupResource, name: &str, message: impl std::fmt::Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {}: {message}", go_text::quote(name));
        Self::failure(409, reason::CONFLICT, message).about(resource, name)
    }

    /// The object changed since the client read it.
    pub fn optimistic_lock(resource: &GroupResource, name: &str) -> Self {
        let message = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, message)
    }

    /// Validation failed; each error becomes a cause.
    pub fn invalid(kind: &GroupKind, name: &str, errors: ErrorList) -> Self {
        let mut message = format!("{kind} {} is invalid", go_text::quote(name));
        if !errors.is_empty() {
            message.push_str(": ");
            message.push_str(&field::aggregate(&errors));
        }
        let cause =
            |e: field::Error| StatusCause { reason: e.kind.reason().to_owned(), message: e.body(), field: e.field };
        Self::failure(422, reason::INVALID, message).with_details(StatusDetails {
            name: name.to_owned(),
            group: kind.group.clone(),
            kind: kind.kind.clone(),
            causes: errors.into_iter().map(cause).collect(),
            ..StatusDetails::default()
        })
    }

    /// Not allowed. Without a resource the message is about the path, without a name about the whole resource.
    pub fn forbidden(resource: &GroupResource, name: &str, message: impl std::fmt::Display) -> Self {
        let message = if resource.is_empty() {
            format!("forbidden: {message}")
        } else if name.is_empty() {
            format!("{resource} is forbidden: {message}")
        } else {
            format!("{resource} {} is forbidden: {message}", go_text::quote(name))
        };
        Self::failure(403, reason::FORBIDDEN, message).about(resource, name)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, reason::BAD_REQUEST, message)
    }

    /// Nobody knows who is asking; an empty message says just "Unauthorized".
    pub fn unauthorized(message: impl Into<String>) -> Self {
        let message = message.into();
        Self::failure(
            401,
            reason::UNAUTHORIZED,
            if message.is_empty() { reason::UNAUTHORIZED.to_owned() } else { message },
        )
    }

    /// The kind exists but cannot do this.
    pub fn method_not_supported(resource: &GroupResource, action: &str) -> Self {
        let message =
            format!("{action} is not supported on resources of kind {}", go_text::quote(&resource.to_string()));
        Self::failure(405, reason::METHOD_NOT_ALLOWED, message).about(resource, "")
    }

    /// The path exists but not with this HTTP method.
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::failure(405, reason::METHOD_NOT_ALLOWED, message).with_details(StatusDetails::default())
    }

    /// The path leads nowhere.
    pub fn not_found_path() -> Self {
        let message = "the server could not find the requested resource";
        Self::failure(404, reason::NOT_FOUND, message).with_details(StatusDetails::default())
    }

    /// A JSON patch that is well formed but cannot be applied; upstream says no more than this.
    pub fn rejected_request() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::failure(422, reason::INVALID, message).with_details(StatusDetails::default())
    }

    pub fn gone(message: impl Into<String>) -> Self {
        Self::failure(410, reason::GONE, message)
    }

    /// The requested revision is no longer there.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, reason::EXPIRED, message)
    }

    pub fn too_many_requests(message: impl Into<String>, retry_after: u32) -> Self {
        Self::failure(429, reason::TOO_MANY_REQUESTS, message).with_retry_after(retry_after)
    }

    /// The operation may or may not have happened.
    pub fn server_timeout(resource: &GroupResource, operation: &str, retry_after: u32) -> Self {
        let message = format!(
            "The {operation} operation against {resource} could not be completed at this time, please try again."
        );
        Self::failure(500, reason::SERVER_TIMEOUT, message).about(resource, operation).with_retry_after(retry_after)
    }

    pub fn timeout(message: impl std::fmt::Display, retry_after: u32) -> Self {
        Self::failure(504, reason::TIMEOUT, format!("Timeout: {message}")).with_retry_after(retry_after)
    }

    /// The client asked for a revision that the server has not reached.
    pub fn future_revision(requested: u64, current: u64) -> Self {
        let what = "Too large resource version";
        Self::timeout(format!("{what}: {requested}, current: {current}"), 1).with_cause(StatusCause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: what.to_owned(),
            field: String::new(),
        })
    }

    pub fn internal(message: impl std::fmt::Display) -> Self {
        let message = message.to_string();
        Self::failure(500, reason::INTERNAL_ERROR, format!("Internal error occurred: {message}"))
            .with_cause(StatusCause { message, ..StatusCause::default() })
    }

    /// An error that upstream returns without giving it a reason: a bare 500.
    pub fn unexpected(message: impl Into<String>) -> Self {
        Self::failure(500, "", message)
    }

    /// None of the media types in Accept can be produced.
    pub fn not_acceptable<S: AsRef<str>>(accepted: &[S]) -> Self {
        let message = format!("only the following media types are accepted: {}", join(accepted));
        Self::failure(406, reason::NOT_ACCEPTABLE, message)
    }

    /// The body's media type is not understood. What was given is not repeated to the client.
    pub fn unsupported_media_type<S: AsRef<str>>(_given: &str, accepted: &[S]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            join(accepted)
        );
        Self::failure(415, reason::UNSUPPORTED_MEDIA_TYPE, message)
    }

    pub fn request_entity_too_large(message: impl std::fmt::Display) -> Self {
        Self::failure(413, reason::REQUEST_ENTITY_TOO_LARGE, format!("Request entity too large: {message}"))
    }

    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, reason::SERVICE_UNAVAILABLE, message)
    }

    /// The answer to a delete that left nothing behind.
    pub fn deleted(resource: &GroupResource, name: &str, uid: &str) -> Self {
        Self::success().with_details(StatusDetails {
            name: name.to_owned(),
            group: resource.group.clone(),
            kind: resource.resource.clone(),
            uid: uid.to_owned(),
            ..StatusDetails::default()
        })
    }

    /// The answer to a create that leaves no object, such as a binding.
    pub fn created() -> Self {
        Self::success().with_code(201)
    }

    fn about(self, resource: &GroupResource, name: &str) -> Self {
        self.with_details(StatusDetails {
            name: name.to_owned(),
            group: resource.group.clone(),
            kind: resource.resource.clone(),
            ..StatusDetails::default()
        })
    }
}

fn join<S: AsRef<str>>(items: &[S]) -> String {
    items.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ")
}
