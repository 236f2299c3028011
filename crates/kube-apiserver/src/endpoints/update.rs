//! update: PUT of a whole object (or of one of its subresources).

use machinery::status::Status;
use serde_json::Value;

use super::body::{self, Expected};
use super::options::Write;
use super::{Scope, as_admit};
use crate::registry::{Change, Part, group_kind, object};
use crate::{Body, Response};

pub async fn serve(scope: &Scope, request: Body) -> Result<Response, Status> {
    serve_part(scope, request, "", Part::WHOLE).await
}

/// A PUT that changes one part of the object.
pub async fn serve_part(scope: &Scope, request: Body, subresource: &str, part: Part) -> Result<Response, Status> {
    let bytes = body::read(scope, request).await?;
    let write = Write::parse(scope, "UpdateOptions")?;
    let mut decoded = body::decode(scope, &bytes, &Expected::of(scope), write.field_validation)?;
    body::check_name(scope, &decoded)?;
    body::check_namespace(scope, &mut decoded)?;
    body::dedup_owners(scope, &mut decoded);
    let object = body::to_storage(scope, decoded)?;
    let mut change = Put { scope, object };
    let admission = scope.admission(subresource, &scope.name, write.options.dry_run);
    let registry = &scope.server.registry;
    let outcome = registry
        .update(scope.kind, &scope.namespace, &scope.name, part, &mut change, &write.options, as_admit(&admission))
        .await;
    scope.written(outcome)
}

/// The object of the body, whatever is there.
struct Put<'s> {
    scope: &'s Scope,
    object: Value,
}

impl Change for Put<'_> {
    fn apply(&mut self, current: Option<&Value>) -> Result<Value, Status> {
        let errors = self.scope.version.own_errors(&self.object, current);
        if !errors.is_empty() {
            return Err(Status::invalid(&group_kind(self.scope.kind), &self.scope.name, errors));
        }
        Ok(self.object.clone())
    }

    fn uid(&self) -> Option<&str> {
        Some(object::uid(&self.object)).filter(|uid| !uid.is_empty())
    }
}
