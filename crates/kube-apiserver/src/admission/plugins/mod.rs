//! One file a plugin; `chain.rs` has them in order.

pub mod certificate_approval;
pub mod certificate_requests;
pub mod certificate_signing;
pub mod certificate_subject_restriction;
pub mod default_toleration_seconds;
pub mod limit_ranger;
pub mod namespace_lifecycle;
pub mod node_restriction;
pub mod owner_references_permission_enforcement;
pub mod priority;
pub mod rbac_escalation;
pub mod resource_quota;
pub mod service_account;
pub mod taint_nodes_by_condition;
