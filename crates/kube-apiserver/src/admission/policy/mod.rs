//! The plugins MutatingAdmissionPolicy and ValidatingAdmissionPolicy: rules of the cluster as expressions, which a binding
//! puts in force for some requests and some parameters.
//!
//! Read `spec` (policies and bindings), `matching` (is a request one that a policy is about) and `params` (the objects that
//! parameterize it), which both share; then `validator` (what a policy says of a request) and `validating`, `mutation` (what
//! a policy makes of an object) and `mutating`.
//!
//! What cannot happen here: a policy is about policies or bindings, so that a bad one can always be taken back; it waits for
//! anything; it costs more than its budget.

mod matching;
mod metrics;
mod mutating;
mod mutation;
mod params;
mod spec;
mod validating;
mod validator;

pub use metrics::PolicyMetrics;
pub use mutating::MutatingAdmissionPolicy;
pub use validating::ValidatingAdmissionPolicy;

#[cfg(test)]
mod tests;
