//! A pod's status: computed purely from what is known, then written when it differs from what the API has.

pub mod conditions;
pub mod containers;
pub mod generate;
pub mod patch;
#[cfg(test)]
mod tests;
pub mod writer;
