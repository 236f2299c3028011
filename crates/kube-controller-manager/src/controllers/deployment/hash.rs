//! The name of a version: a stable hash of the pod template, in letters and digits that spell no words.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodTemplateSpec;
use serde_json::Value;

const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of a template. `collisions` changes it when two templates met in one name.
pub fn of(template: &PodTemplateSpec, collisions: i32) -> String {
    let mut hash = 0x811c_9dc5_u32;
    let mut eat = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    // Sorted keys: the hash must not depend on how an encoder orders them.
    eat(sorted(serde_json::to_value(template).unwrap_or(Value::Null)).to_string().as_bytes());
    if collisions > 0 {
        eat(&collisions.to_le_bytes());
    }
    hash.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_stable_and_differs_with_the_template_and_with_collisions() {
        let template = |image: &str| {
            serde_json::from_value(json!({"spec": {"containers": [{"name": "c", "image": image}]}})).unwrap()
        };
        assert_eq!(of(&template("a"), 0), of(&template("a"), 0));
        assert_ne!(of(&template("a"), 0), of(&template("b"), 0));
        assert_ne!(of(&template("a"), 0), of(&template("a"), 1));
        assert!(of(&template("a"), 0).bytes().all(|byte| LETTERS.contains(&byte)));
        // Pinned: a changed hash would roll every Deployment of every cluster.
        assert_eq!(of(&template("a"), 0), PINNED);
    }

    const PINNED: &str = "65c76bf844";
}
