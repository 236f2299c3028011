//! Kinds that users define: the set of kinds that this server serves, and what it does with definitions by itself.
//!
//! `kinds` is the set: built-in kinds and those of accepted definitions, read off the store and so never behind it. What a
//! custom kind is and does is `api::apiextensions::served`; `conversion` asks webhooks for it. `controller` accepts names, establishes kinds, and removes the
//! objects of definitions that are being deleted.

mod cleanup;
mod conditions;
mod controller;
mod conversion;
mod kinds;
mod names;

pub use controller::run;
pub use conversion::{ConversionMetrics, ConversionWebhook};
pub use kinds::{KindSet, Kinds};

/// The kind of definitions.
pub fn definitions() -> &'static api::Kind {
    &api::apiextensions::custom_resource_definition::KIND
}
