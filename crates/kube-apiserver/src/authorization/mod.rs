//! May this user do this? Members of `system:masters` may do everything; then the server asks the authorizers of
//! `--authorization-config` or `--authorization-mode` in their order. The first that decides, decides; if none does, the
//! answer is no.

mod abac;
pub mod aggregation;
mod always;
mod attributes;
mod authorizer;
pub mod bootstrap;
pub mod configuration;
pub mod escalation;
mod match_conditions;
pub mod metrics;
pub mod node;
pub mod node_relations;
mod own_client;
pub mod pod_references;
pub mod rbac;
pub mod review;
mod review_selectors;
mod review_spec;
pub mod rules;
mod source;
mod webhook;

pub use attributes::{Answer, Attributes, Decision};
pub use authorizer::{Authorize, Authorizer, ModeError, forbidden};
pub use node_relations::RegistryRelations;
pub use rbac::{Policy, PolicySource};
pub use source::RegistryPolicy;

pub const GROUP: &str = "rbac.authorization.k8s.io";

#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
mod attack_tests;
#[cfg(test)]
mod webhook_tests;
