//! A claim that does not say of which class it is gets the default one. The empty class is an answer, too: no class.

use api::default_class::pick;
use async_trait::async_trait;
use k8s_openapi::api::storage::v1::StorageClass;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

/// The field's form of before.
pub const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";

pub struct DefaultStorageClass;

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if review.operation != Operation::Create || !review.is("", "persistentvolumeclaims") {
            return Ok(());
        }
        let annotated = object
            .pointer("/metadata/annotations")
            .is_some_and(|annotations| annotations.get(CLASS_ANNOTATION).is_some());
        if annotated || object.pointer("/spec/storageClassName").is_some_and(|class| !class.is_null()) {
            return Ok(());
        }
        let Some((kind, _)) = api::find("storage.k8s.io", "v1", "storageclasses") else { return Ok(()) };
        let classes = review.server.registry.reflected::<StorageClass>(kind).list();
        if let Some(name) =
            pick(classes.iter().map(|class| &class.metadata), &api::storage::storage_class::DEFAULT_ANNOTATIONS)
        {
            object::map_mut(object, "spec").insert("storageClassName".to_owned(), name.into());
        }
        Ok(())
    }
}
