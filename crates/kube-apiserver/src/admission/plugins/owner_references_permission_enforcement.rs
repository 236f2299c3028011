//! Off by default: who sets owners of an object must be able to delete it, since the garbage collector will; who blocks
//! an owner's deletion must be able to set the owner's finalizers.

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::{Operation, Plugin, Review};
use crate::authorization::Attributes;
use crate::registry::object;

pub struct OwnerReferencesPermissionEnforcement;

#[async_trait]
impl Plugin for OwnerReferencesPermissionEnforcement {
    fn name(&self) -> &'static str {
        "OwnerReferencesPermissionEnforcement"
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        let Some(new) = object.filter(|_| matches!(review.operation, Operation::Create | Operation::Update)) else {
            return Ok(());
        };
        // What a kubelet reports is not about owners.
        if (review.kind.group, review.kind.plural, review.subresource) == ("", "pods", "status") {
            return Ok(());
        }
        let old = review.old.map_or(&[][..], owners);
        let added: Vec<&Value> = owners(new).iter().filter(|owner| !old.contains(owner)).collect();
        let removed = old.iter().any(|owner| !owners(new).contains(owner));
        if added.is_empty() && !removed {
            return Ok(());
        }
        may_delete(review, new).await?;
        let blocking = added.into_iter().filter(|owner| blocks(owner));
        let newly = blocking.filter(|owner| !old.iter().any(|old| uid(old) == uid(owner) && blocks(old)));
        for owner in newly {
            may_block(review, new, owner).await?;
        }
        Ok(())
    }
}

fn owners(object: &Value) -> &[Value] {
    object::list(object, "/metadata/ownerReferences")
}

fn blocks(owner: &Value) -> bool {
    owner.get("blockOwnerDeletion").and_then(Value::as_bool).unwrap_or(false)
}

fn uid(owner: &Value) -> &str {
    object::text(owner, "/uid")
}

async fn may_delete(review: &Review<'_>, new: &Value) -> Result<(), Status> {
    let mut attributes = Attributes::resource(review.user, "delete", review.kind.group, review.kind.plural);
    (attributes.subresource, attributes.namespace) = (review.subresource, review.namespace);
    attributes.name = if review.name.is_empty() { object::name(new) } else { review.name };
    let answer = review.server.authorizer.authorize(&attributes).await;
    if answer.is_allowed() {
        return Ok(());
    }
    let (reason, error) = (&answer.reason, answer.error.as_deref().unwrap_or("<nil>"));
    let message = format!("cannot set an ownerRef on a resource you can't delete: {reason}, {error}");
    Err(review.forbidden(Some(new), message))
}

async fn may_block(review: &Review<'_>, new: &Value, owner: &Value) -> Result<(), Status> {
    let (api_version, kind) = (object::text(owner, "/apiVersion"), object::text(owner, "/kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kinds = review.server.registry.kinds();
    let Some(found) = kinds.all().find(|own| own.group == group && own.kind == kind) else {
        let message = format!(
            "cannot set blockOwnerDeletion in this case because cannot find RESTMapping for APIVersion {api_version} Kind {kind}: no matches for kind {} in version {}",
            machinery::go_text::quote(kind),
            machinery::go_text::quote(api_version)
        );
        return Err(review.forbidden(Some(new), message));
    };
    let mut attributes = Attributes::resource(review.user, "update", group, found.plural);
    (attributes.api_version, attributes.subresource) = (version, "finalizers");
    attributes.name = object::text(owner, "/name");
    if found.namespaced {
        attributes.namespace = review.namespace;
    }
    let answer = review.server.authorizer.authorize(&attributes).await;
    if answer.is_allowed() {
        return Ok(());
    }
    let (reason, error) = (&answer.reason, answer.error.as_deref().unwrap_or("<nil>"));
    let message = format!(
        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: {reason}, {error}"
    );
    Err(review.forbidden(Some(new), message))
}
