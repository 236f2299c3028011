//! Expressions about requests, as policies and the match conditions of webhooks use them: what they see (`scene`), how one
//! is evaluated and what is said when it has no value (`expression`), and conditions that all must hold (`conditions`).
//!
//! What cannot happen here: an evaluation waits for anything, or costs more than its budget and one expression beyond it.

mod checks;
mod conditions;
mod expression;
mod scene;

pub use checks::Checks;
pub use conditions::{Condition, Conditions, compile, hold};
pub use expression::{Expression, Failure, Variables};
pub use scene::{Scene, Shown, namespace};
