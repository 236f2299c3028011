//! What expressions cost: counted when they are evaluated, and estimated from the sizes that values may have.
//!
//! The figures are upstream's, since they decide which rules a CustomResourceDefinition may have and where an evaluation ends.

mod calls;
mod estimate;
mod estimator;
mod range;
pub(crate) mod runtime;

pub(crate) use estimate::estimate;
pub use range::CostRange;
