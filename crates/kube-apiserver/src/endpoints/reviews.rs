//! Kinds that are asked and answered and never stored.

use http::StatusCode;
use machinery::schema;
use machinery::status::Status;

use super::body::{self, Expected};
use super::options::Write;
use super::{Scope, as_admit, subresources};
use crate::admission::Operation;
use crate::registry::{Admit, managed_fields};
use crate::{Body, Response, authentication, authorization};

pub async fn serve(scope: &Scope, request: Body) -> Result<Response, Status> {
    if let Some(handler) = subresources::collection_handler(scope.kind) {
        return handler(scope, request).await;
    }
    let bytes = body::read(scope, request).await?;
    let write = Write::parse(scope, "CreateOptions")?;
    let mut object = body::decode(scope, &bytes, &Expected::of(scope), write.field_validation)?;
    body::check_namespace(scope, &mut object)?;
    let mut object = body::to_storage(scope, object)?;
    managed_fields::track(scope.kind, &write.options.owner, &mut object, None);
    if let Some(own) = scope.kind.storage_version().type_ref(scope.kind) {
        schema::canonicalize(&own.types, own.id, &mut object);
    }
    let admission = scope.admission("", "", write.options.dry_run);
    as_admit(&admission).mutate(scope.kind, Operation::Create, &mut object, None).await?;
    admission.validate(scope.kind, Operation::Create, Some(&object), None).await?;
    let server = &scope.server;
    let user = &scope.ctx.user;
    let mut answer = if scope.kind.group == authorization::review::GROUP {
        authorization::review::review(&server.authorizer, scope.kind.kind, user, &scope.namespace, object).await?
    } else {
        authentication::review(server, scope.kind.kind, user, object).await?
    };
    scope.convert_from_storage(&mut answer);
    if let Some(own) = scope.version.type_ref(scope.kind) {
        schema::canonicalize(&own.types, own.id, &mut answer);
    }
    Ok(scope.value(StatusCode::CREATED, &answer))
}
