//! pods/eviction: a delete that asks first whether it may. Disruption budgets will be asked here once there are any.

use http::StatusCode;
use machinery::status::Status;

use crate::endpoints::body::{self, Expected};
use crate::endpoints::options::{self, Write};
use crate::endpoints::{Scope, as_admit};
use crate::registry::object;
use crate::{Body, Response, body as http_body};

const OLD_VERSION: &str = "policy/v1beta1";

pub async fn serve(scope: &Scope, request: Body) -> Result<Response, Status> {
    let bytes = body::read(scope, request).await?;
    let write = Write::parse(scope, "CreateOptions")?;
    let old = body::claimed_version(scope, &bytes).as_deref() == Some(OLD_VERSION);
    let api_version = if old { OLD_VERSION } else { "policy/v1" }.to_owned();
    let expected = Expected::builtin("Eviction", api_version, "io.k8s.api.policy.v1.Eviction");
    let eviction = body::decode(scope, &bytes, &expected, write.field_validation)?;
    if object::name(&eviction) != scope.name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let given = eviction.get("deleteOptions").filter(|given| given.is_object()).cloned();
    let given = given.unwrap_or_else(|| serde_json::json!({}));
    let mut delete = options::delete(&scope.query, &given)?;
    delete.dry_run |= write.options.dry_run;
    let admission = scope.admission("eviction", &scope.name, delete.dry_run);
    scope.server.registry.delete(scope.kind, &scope.namespace, &scope.name, &delete, as_admit(&admission)).await?;
    let mut response = http_body::status(&Status::created());
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}
