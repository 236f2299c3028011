//! Nothing is created in a namespace that is not there or is going away; the namespaces of the system stay.

use async_trait::async_trait;
use machinery::gvk::GroupResource;
use machinery::status::{Status, StatusCause};
use serde_json::Value;

use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

const PROTECTED: [&str; 3] = ["default", "kube-public", "kube-system"];

pub struct NamespaceLifecycle;

#[async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if review.operation != Operation::Create || review.namespace.is_empty() || review.kind.is_virtual {
            return Ok(());
        }
        let Some((namespaces, _)) = api::find("", "v1", "namespaces") else { return Ok(()) };
        let Ok(namespace) = review.server.registry.get(namespaces, "", review.namespace) else {
            return Err(Status::not_found(&GroupResource::new("", "namespaces"), review.namespace));
        };
        if object::is_deleting(&namespace) || object::text(&namespace, "/status/phase") == "Terminating" {
            let name = review.namespace;
            let message = format!("unable to create new content in namespace {name} because it is being terminated");
            return Err(review.forbidden(Some(object), message).with_cause(StatusCause {
                reason: "NamespaceTerminating".to_owned(),
                message: format!("namespace {name} is being terminated"),
                field: "metadata.namespace".to_owned(),
            }));
        }
        Ok(())
    }

    async fn validate(&self, review: &Review<'_>, _: Option<&Value>) -> Result<(), Status> {
        if review.operation == Operation::Delete && review.is("", "namespaces") && PROTECTED.contains(&review.name) {
            return Err(review.forbidden(None, "this namespace may not be deleted"));
        }
        Ok(())
    }
}
