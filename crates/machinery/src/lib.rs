//! The API machinery that every other crate stands on: object metadata, API errors, selectors, quantities, names and patches.
//!
//! Everything here is a function of its arguments: no IO, no clock (a caller hands in the time), no async, and no kind is known
//! by name. Messages are part of the API, so they are equal to upstream's, word for word.

pub mod field;
pub mod gvk;
pub mod status;

pub mod meta;
pub mod time;

pub mod fields;
pub mod labels;
pub mod names;
pub mod quantity;

pub mod meta_validation;

pub mod codec;
pub mod schema;

pub mod patch;

pub mod certificates;
pub mod zpages;

pub mod go_text;
pub mod jsonpath;
