//! authorization.k8s.io: questions about what somebody may do. Nothing of it is stored; a refused question names no
//! kind in its answer (the engine says `.authorization.k8s.io "" is invalid`).

mod access;

pub mod local_subject_access_review;
pub mod self_subject_access_review;
pub mod self_subject_rules_review;
pub mod subject_access_review;

const GROUP: &str = "authorization.k8s.io";
