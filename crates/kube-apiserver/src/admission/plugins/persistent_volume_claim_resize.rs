//! A claim grows only when it is bound and its class can make it grow.

use async_trait::async_trait;
use k8s_openapi::api::storage::v1::StorageClass;
use machinery::quantity::Quantity;
use machinery::status::Status;
use serde_json::Value;

use super::default_storage_class::CLASS_ANNOTATION;
use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

pub struct PersistentVolumeClaimResize;

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        if review.operation != Operation::Update || !review.is("", "persistentvolumeclaims") {
            return Ok(());
        }
        let (Some(new), Some(old)) = (object, review.old) else { return Ok(()) };
        if size(new) <= size(old) {
            return Ok(());
        }
        if object::text(old, "/status/phase") != "Bound" {
            return Err(review.forbidden(object, "Only bound persistent volume claims can be expanded"));
        }
        let class = class(new);
        let grows = !class.is_empty() && class == self::class(old) && {
            let kind = api::find("storage.k8s.io", "v1", "storageclasses").map(|(kind, _)| kind);
            let class = kind.and_then(|kind| review.server.registry.reflected::<StorageClass>(kind).get("", class));
            class.is_some_and(|class| class.allow_volume_expansion == Some(true))
        };
        if grows {
            return Ok(());
        }
        let message = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
        Err(review.forbidden(object, message))
    }
}

fn size(claim: &Value) -> Quantity {
    let size = claim.pointer("/spec/resources/requests/storage").and_then(|size| Quantity::from_json(size).ok());
    size.unwrap_or_default()
}

/// The class as the claim names it, by the annotation of before or by the field.
fn class(claim: &Value) -> &str {
    let annotations = claim.pointer("/metadata/annotations");
    let annotated = annotations.and_then(|annotations| annotations.get(CLASS_ANNOTATION)).and_then(Value::as_str);
    annotated.unwrap_or_else(|| object::text(claim, "/spec/storageClassName"))
}
