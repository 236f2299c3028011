//! Nothing is written in a namespace that is not there.

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::{Operation, Plugin, Review};

pub struct NamespaceExists;

#[async_trait]
impl Plugin for NamespaceExists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    async fn validate(&self, review: &Review<'_>, _: Option<&Value>) -> Result<(), Status> {
        let is_about = !review.namespace.is_empty() && review.kind.namespaced;
        if !is_about || review.operation == Operation::Connect {
            return Ok(());
        }
        let Some((kind, _)) = api::find("", "v1", "namespaces") else { return Ok(()) };
        review.server.registry.entry(kind, "", review.namespace).map(drop)
    }
}
