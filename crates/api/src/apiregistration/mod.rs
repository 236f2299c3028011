//! apiregistration.k8s.io: which server answers for which version of which group.

pub mod api_service;

pub const GROUP: &str = "apiregistration.k8s.io";
