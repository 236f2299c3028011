//! authentication.k8s.io: questions about who somebody is. Nothing of it is stored.

pub mod self_subject_review;
pub mod token_request;
pub mod token_review;

const GROUP: &str = "authentication.k8s.io";
