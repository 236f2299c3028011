//! A CustomResourceDefinition stays until the objects of its kind are gone.

use api::apiextensions::custom_resource_definition::CLEANUP_FINALIZER;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Strategy, object};

pub struct DefinitionStrategy;

impl Strategy for DefinitionStrategy {
    /// Deleting one always begins with its objects.
    fn holds_deletion(&self, object: &Value) -> bool {
        !object::is_deleting(object)
    }

    fn mark_deleting(&self, object: &mut Value, now: Timestamp) {
        object::set_metadata(object, "deletionTimestamp", Some(object::time(now)));
        let mut finalizers: Vec<Value> = object::list(object, "/metadata/finalizers").to_vec();
        if !finalizers.contains(&CLEANUP_FINALIZER.into()) {
            finalizers.push(CLEANUP_FINALIZER.into());
        }
        object::set_metadata(object, "finalizers", Some(finalizers.into()));
        let condition = json!({
            "type": "Terminating",
            "status": "True",
            "lastTransitionTime": object::time(now),
            "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        });
        let status = object::map_mut(object, "status");
        match status.get_mut("conditions").and_then(Value::as_array_mut) {
            Some(conditions) => conditions.push(condition),
            None => drop(status.insert("conditions".to_owned(), json!([condition]))),
        }
    }
}
