//! authorization.k8s.io: questions about what somebody may do. Nothing of it is stored; a refused question names no
//! kind in its answer (the engine says `.authorization.k8s.io "" is invalid`).

mod access;

pub mod local_subject_access_review;
pub mod self_subject_access_review;
pub mod self_subject_rules_review;
pub mod subject_access_review;

use serde_json::Value;

use crate::kind::{Convert, Deprecated, Version};

const GROUP: &str = "authorization.k8s.io";

const fn v1beta1(schema: &'static str, replacement: &'static str) -> Version {
    let deprecated = Deprecated { since: "1.19", removed: Some("1.22"), replacement };
    Version::old(GROUP, "v1beta1", schema, deprecated, |_| {})
}

/// v1beta1 calls the groups of whom a question is about `group`.
const GROUPS: Convert = Convert {
    to_storage: |review| rename(review, "group", "groups"),
    from_storage: |review| rename(review, "groups", "group"),
};

fn rename(review: &mut Value, from: &str, to: &str) {
    let Some(spec) = review.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(groups) = spec.shift_remove(from) {
        spec.insert(to.to_string(), groups);
    }
}
