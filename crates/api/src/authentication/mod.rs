//! authentication.k8s.io: questions about who somebody is. Nothing of it is stored.

pub mod self_subject_review;
pub mod token_request;
pub mod token_review;

use crate::kind::{Deprecated, Version};

const GROUP: &str = "authentication.k8s.io";

/// `authentication.k8s.io/v1beta1`, which has the shape of v1.
const fn v1beta1(
    schema: &'static str,
    since: &'static str,
    removed: &'static str,
    replacement: &'static str,
) -> Version {
    Version::old(GROUP, "v1beta1", schema, Deprecated { since, removed: Some(removed), replacement }, |_| {})
}
