//! admissionregistration.k8s.io: who is asked about a write besides the server itself. Webhooks are asked over the network,
//! policies are expressions that the server evaluates; a policy does nothing until a binding puts it in force.

mod client_config;
mod conditions;
pub mod expressions;
mod match_resources;
mod param_ref;
mod rules;
mod webhooks;

pub mod mutating_admission_policy;
pub mod mutating_admission_policy_binding;
pub mod mutating_webhook_configuration;
pub mod type_checking;
pub mod validating_admission_policy;
pub mod validating_admission_policy_binding;
pub mod validating_webhook_configuration;

use serde_json::Value;

use crate::kind::{Deprecated, Version};
use crate::strategy;

pub use client_config::{service as validate_service, url as validate_url};

pub const GROUP: &str = "admissionregistration.k8s.io";
const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];

/// `admissionregistration.k8s.io/v1beta1`, which has the shape of v1.
const fn v1beta1(
    schema: &'static str,
    since: &'static str,
    removed: &'static str,
    replacement: &'static str,
    default: fn(&mut Value),
) -> Version {
    let deprecated = Deprecated { since, removed: Some(removed), replacement };
    Version::old(GROUP, "v1beta1", schema, deprecated, default)
}

/// A new object starts at generation 1.
fn first_generation(object: &mut Value) {
    strategy::set_generation(object, 1);
}

/// A changed spec moves the generation.
fn next_generation(new: &mut Value, old: &Value) {
    strategy::bump_generation(new, old, &["spec"]);
}
