//! Subresources: status and scale of any kind that has them, the parts that kinds declare with rules of their own, and
//! the actions of single kinds in one list.

mod binding;
mod eviction;
mod scale;
mod token;

use std::future::Future;
use std::pin::Pin;

use api::{Kind, Subresource, Verb};
use http::Method;
use machinery::status::Status;

use super::{Scope, get, patch, update};
use crate::registry::{Part, group_resource};
use crate::{Body, Response};

type Served<'s> = Pin<Box<dyn Future<Output = Result<Response, Status>> + Send + 's>>;

/// Serves a POST or PUT to a subresource.
pub type Handler = for<'s> fn(&'s Scope, Body) -> Served<'s>;

/// One line a subresource: group, resource, subresource, method, handler.
const HANDLERS: &[(&str, &str, &str, &str, Handler)] = &[
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
            return serve_part(scope, subresource, method, body, Part::STATUS, PART_VERBS).await;
        }
        "scale" => {
            return match scope.version.scale(kind) {
                Some(scale) => scale::serve(scope, &scale, method, body).await,
                None => Err(not_found(scope)),
            };
        }
        _ => {}
    }
    if let Some((part, rules)) = kind.subresource(subresource).and_then(|part| Some((part, part.update.as_ref()?))) {
        let rules = Part::own(rules.prepare, rules.validate);
        return serve_part(scope, subresource, method, body, rules, part.verbs).await;
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
    if known { Err(Status::method_not_allowed()) } else { Err(not_found(scope)) }
}

/// Reads the object, or changes the part of it that the rules are about.
async fn serve_part(
    scope: &Scope,
    subresource: &str,
    method: &Method,
    body: Body,
    part: Part,
    verbs: &[Verb],
) -> Result<Response, Status> {
    match *method {
        Method::GET | Method::HEAD if verbs.contains(&Verb::Get) => get::serve(scope).await,
        Method::PUT if verbs.contains(&Verb::Update) => update::serve_part(scope, body, subresource, part).await,
        Method::PATCH if verbs.contains(&Verb::Patch) => patch::serve_part(scope, body, subresource, part).await,
        _ => Err(not_offered(scope, method)),
    }
}

/// A subresource that a custom kind does not have reads as if the object were not there.
fn not_found(scope: &Scope) -> Status {
    if scope.kind.custom.is_none() {
        return Status::not_found_path();
    }
    Status::not_found(&group_resource(scope.kind), &scope.name)
}

fn not_offered(scope: &Scope, method: &Method) -> Status {
    let verb = match *method {
        Method::POST => "create",
        Method::DELETE => "delete",
        _ => return Status::method_not_allowed(),
    };
    if scope.kind.custom.is_none() {
        return Status::method_not_allowed();
    }
    Status::method_not_supported(&group_resource(scope.kind), verb)
}

/// Whether a subresource is served here; discovery shows no other.
pub fn is_served(kind: &Kind, subresource: &Subresource) -> bool {
    let name = subresource.name;
    super::CONNECT.contains(&name)
        || subresource.update.is_some()
        || HANDLERS
            .iter()
            .any(|(group, plural, own, ..)| *group == kind.group && *plural == kind.plural && *own == name)
}

/// The verbs that status and scale have.
pub const PART_VERBS: &[Verb] = Verb::GET_PATCH_UPDATE;
