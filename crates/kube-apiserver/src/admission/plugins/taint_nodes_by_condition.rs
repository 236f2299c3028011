//! A new node takes no pods before it has said that it is ready.

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::{Value, json};

use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

const TAINT: &str = "node.kubernetes.io/not-ready";

pub struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if review.operation != Operation::Create || !review.is("", "nodes") {
            return Ok(());
        }
        let has = object::list(object, "/spec/taints").iter().any(|taint| {
            taint.get("key").and_then(Value::as_str) == Some(TAINT)
                && taint.get("effect").and_then(Value::as_str) == Some("NoSchedule")
        });
        if has {
            return Ok(());
        }
        let taints = object::map_mut(object, "spec").entry("taints").or_insert(Value::Null);
        if !taints.is_array() {
            *taints = json!([]);
        }
        if let Value::Array(taints) = taints {
            taints.push(json!({ "key": TAINT, "effect": "NoSchedule" }));
        }
        Ok(())
    }
}
