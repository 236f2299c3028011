//! A pod that says nothing about nodes that fail stays on one for five minutes before it is evicted.

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::{Value, json};

use crate::admission::{Plugin, Review};
use crate::registry::object;

const DEFAULT_SECONDS: i64 = 300;
const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

pub struct DefaultTolerationSeconds;

#[async_trait]
impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if !review.is("", "pods") {
            return Ok(());
        }
        let missing: Vec<&str> = {
            let tolerations = object::list(object, "/spec/tolerations");
            TAINTS
                .into_iter()
                .filter(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
                .collect()
        };
        if missing.is_empty() {
            return Ok(());
        }
        let tolerations = object::map_mut(object, "spec").entry("tolerations").or_insert(Value::Null);
        if !tolerations.is_array() {
            *tolerations = json!([]);
        }
        if let Value::Array(tolerations) = tolerations {
            tolerations.extend(missing.into_iter().map(|taint| {
                json!({
                    "key": taint,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": DEFAULT_SECONDS,
                })
            }));
        }
        Ok(())
    }
}

/// Whether a toleration is about this taint when it evicts: its key or all keys, its effect or all effects.
fn tolerates(toleration: &Value, taint: &str) -> bool {
    let text = |key: &str| toleration.get(key).and_then(Value::as_str).unwrap_or_default();
    matches!(text("key"), key if key == taint || key.is_empty()) && matches!(text("effect"), "NoExecute" | "")
}
