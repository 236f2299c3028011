//! Pods: a delete answers with the pod, and tables mark those that have ended.

use serde_json::{Value, json};

use super::{Strategy, object};

pub struct PodStrategy;

impl Strategy for PodStrategy {
    fn row_conditions(&self, object: &Value) -> Option<Value> {
        let message = match object::text(object, "/status/phase") {
            "Succeeded" => "The pod has completed successfully.",
            "Failed" => "The pod failed.",
            _ => return None,
        };
        let reason = object::text(object, "/status/phase");
        Some(json!([{ "type": "Completed", "status": "True", "reason": reason, "message": message }]))
    }

    fn returns_deleted(&self) -> bool {
        true
    }
}
