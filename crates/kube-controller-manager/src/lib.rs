//! The controllers, each a pure function from a snapshot to a plan in `controllers/<name>.rs`, listed in order in
//! [`controllers`]. `pods`, `claims`, `replicas` and `common` hold what several of them share.
//!
//! Invariant: no controller reads a clock, a random number or the API in `reconcile`; what the caches do not show is
//! put into the view by `observe`.

pub mod claims;
pub mod common;
pub mod controllers;
pub mod monitors;
pub mod pods;
pub mod replicas;

pub use controllers::{Options, run};

#[cfg(test)]
mod testing;
