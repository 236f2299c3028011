//! Claims, volumes and classes of attributes are made with a finalizer that a controller takes off when nobody uses them.

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::{Value, json};

use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

const FINALIZERS: [(&str, &str, &str); 3] = [
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("storage.k8s.io", "volumeattributesclasses", "kubernetes.io/vac-protection"),
];

pub struct StorageObjectInUseProtection;

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if review.operation != Operation::Create {
            return Ok(());
        }
        let Some((.., finalizer)) = FINALIZERS.iter().find(|(group, plural, _)| review.is(group, plural)) else {
            return Ok(());
        };
        let mut finalizers = object::list(object, "/metadata/finalizers").to_vec();
        if !finalizers.iter().any(|own| own == finalizer) {
            finalizers.push(json!(finalizer));
            object::set_metadata(object, "finalizers", Some(finalizers.into()));
        }
        Ok(())
    }
}
