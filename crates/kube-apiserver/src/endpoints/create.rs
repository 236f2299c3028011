//! create: POST of an object to its collection.

use machinery::status::Status;

use super::body::{self, Expected};
use super::options::Write;
use super::{Scope, as_admit};
use crate::registry::object;
use crate::{Body, Response};

pub async fn serve(scope: &Scope, request: Body) -> Result<Response, Status> {
    let bytes = body::read(scope, request).await?;
    let write = Write::parse(scope, "CreateOptions")?;
    let mut decoded = body::decode(scope, &bytes, &Expected::of(scope), write.field_validation)?;
    body::check_namespace(scope, &mut decoded)?;
    body::dedup_owners(scope, &mut decoded);
    if !object::resource_version(&decoded).is_empty() {
        return Err(Status::unexpected("resourceVersion should not be set on objects to be created"));
    }
    let object = body::to_storage(scope, decoded)?;
    let errors = scope.version.own_errors(&object, None);
    if !errors.is_empty() {
        return Err(Status::invalid(&crate::registry::group_kind(scope.kind), object::name(&object), errors));
    }
    let admission = scope.admission("", "", write.options.dry_run);
    let registry = &scope.server.registry;
    let outcome = registry.create(scope.kind, &scope.namespace, object, &write.options, as_admit(&admission)).await;
    scope.written(outcome)
}
