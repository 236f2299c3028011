//! May this user do this? The server asks its authorizers in order: members of `system:masters` may do everything, then
//! the rules of nodes, then RBAC. The first that decides, decides; if none does, the answer is no.

pub mod aggregation;
mod attributes;
mod authorizer;
pub mod bootstrap;
pub mod escalation;
pub mod node;
mod own_client;
pub mod rbac;
pub mod review;
pub mod rules;
mod source;

pub use attributes::{Attributes, Decision};
pub use authorizer::{Authorizer, forbidden};
pub use rbac::{Policy, PolicySource};
pub use source::RegistryPolicy;

pub const GROUP: &str = "rbac.authorization.k8s.io";

#[cfg(test)]
mod tests;
