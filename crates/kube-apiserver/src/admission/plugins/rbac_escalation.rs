//! Nobody grants by a role or a binding what they do not have themselves.

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::{Operation, Plugin, Review};
use crate::authorization;

pub struct RbacEscalation;

#[async_trait]
impl Plugin for RbacEscalation {
    fn name(&self) -> &'static str {
        // Upstream checks this in the storage of the kinds: it has no name there and cannot be switched off.
        ""
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(object) =
            object.filter(|_| review.kind.group == authorization::GROUP && review.subresource.is_empty())
        else {
            return Ok(());
        };
        if !matches!(review.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let (authorizer, resource) = (&review.server.authorizer, review.kind.plural);
        authorization::escalation::check(authorizer, review.user, resource, review.namespace, object, review.old).await
    }
}
