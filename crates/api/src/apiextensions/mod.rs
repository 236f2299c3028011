//! apiextensions.k8s.io: kinds that users define.

mod approval;
mod conversion;
pub mod custom_resource_definition;
mod internal;
mod names;
mod openapi;
mod options;
pub mod served;
mod spec;
mod structure;
mod v1beta1;
mod warnings;

pub use approval::{Approval, state as approval};
pub use custom_resource_definition::GROUP;
pub use spec::{Spec, version_schema};
