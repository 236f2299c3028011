//! One file a plugin; `chain.rs` has them in order.

pub mod default_toleration_seconds;
pub mod limit_ranger;
pub mod namespace_lifecycle;
pub mod priority;
pub mod rbac_escalation;
pub mod resource_quota;
pub mod service_account;
pub mod taint_nodes_by_condition;
