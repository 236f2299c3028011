//! A namespace stays until its contents are gone: spec.finalizers hold it, and the namespace controller takes them away
//! through the finalize subresource.

use jiff::Timestamp;
use serde_json::Value;

use super::{Strategy, object};

pub struct NamespaceStrategy;

impl Strategy for NamespaceStrategy {
    fn holds_deletion(&self, object: &Value) -> bool {
        !object::list(object, "/spec/finalizers").is_empty()
    }

    fn mark_deleting(&self, object: &mut Value, now: Timestamp) {
        object::set_metadata(object, "deletionTimestamp", Some(object::time(now)));
        object::map_mut(object, "status").insert("phase".to_owned(), "Terminating".into());
    }
}
