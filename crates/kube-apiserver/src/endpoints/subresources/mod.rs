//! Subresources: status and scale of any kind that has them, and those that single kinds have, in one list.

mod binding;
mod eviction;
mod finalize;
mod scale;
mod token;

use std::future::Future;
use std::pin::Pin;

use api::{Kind, Verb};
use http::Method;
use machinery::status::Status;

use super::{Scope, get, patch, update};
use crate::registry::Part;
use crate::{Body, Response};

type Served<'s> = Pin<Box<dyn Future<Output = Result<Response, Status>> + Send + 's>>;

/// Serves a POST or PUT to a subresource.
pub type Handler = for<'s> fn(&'s Scope, Body) -> Served<'s>;

/// One line a subresource: group, resource, subresource, method, handler.
const HANDLERS: &[(&str, &str, &str, &str, Handler)] = &[
    ("", "namespaces", "finalize", "PUT", |scope, body| Box::pin(finalize::serve(scope, body))),
    ("", "pods", "binding", "POST", |scope, body| Box::pin(binding::serve(scope, body))),
    ("", "pods", "eviction", "POST", |scope, body| Box::pin(eviction::serve(scope, body))),
    ("", "serviceaccounts", "token", "POST", |scope, body| Box::pin(token::serve(scope, body))),
];

/// Virtual kinds whose POST is an action on another object.
pub fn collection_handler(kind: &Kind) -> Option<Handler> {
    (kind.group.is_empty() && kind.plural == "bindings").then_some(|scope, body| Box::pin(binding::serve(scope, body)))
}

pub async fn serve(scope: &Scope, subresource: &str, method: &Method, body: Body) -> Result<Response, Status> {
    let kind = scope.kind;
    match subresource {
        "status" if scope.version.has_status(kind) => {
            return match *method {
                Method::GET | Method::HEAD => get::serve(scope),
                Method::PUT => update::serve_part(scope, body, subresource, Part::STATUS).await,
                Method::PATCH => patch::serve_part(scope, body, subresource, Part::STATUS).await,
                _ => Err(Status::method_not_allowed()),
            };
        }
        "scale" => {
            return match scope.version.scale(kind) {
                Some(scale) => scale::serve(scope, &scale, method, body).await,
                None => Err(Status::not_found_path()),
            };
        }
        _ => {}
    }
    let handlers = HANDLERS
        .iter()
        .filter(|(group, plural, name, ..)| *group == kind.group && *plural == kind.plural && *name == subresource);
    let mut known = false;
    for (.., wanted, handler) in handlers {
        known = true;
        if method.as_str() == *wanted {
            return handler(scope, body).await;
        }
    }
    if known { Err(Status::method_not_allowed()) } else { Err(Status::not_found_path()) }
}

/// The verbs of a subresource that is served here; discovery shows no other.
pub fn is_served(kind: &Kind, subresource: &str) -> bool {
    super::CONNECT.contains(&subresource)
        || HANDLERS
            .iter()
            .any(|(group, plural, name, ..)| *group == kind.group && *plural == kind.plural && *name == subresource)
}

/// The verbs that status and scale have.
pub const PART_VERBS: &[Verb] = Verb::GET_PATCH_UPDATE;
