//! Server-side apply: who owns which field of an object, and the structured merge that respects it.
//!
//! A field is named by a path of steps ([`Step`]); what a writer owns is a [`Set`] of paths, written into an entry of
//! `metadata.managedFields` ([`Managed`]) as FieldsV1 ([`fields_v1`]). Which paths a value has is decided by its type: lists are
//! one value, a set or a map by keys; maps and structs are one value or a field each ([`Place`]).
//!
//! Worked example. Alice applies `{data: {a: 1, b: 2}}`, which makes her own `.data.a` and `.data.b`. Bob's update sets a to 3: he
//! owns `.data.a` from then on, Alice still `.data.b`. When Alice applies `{data: {a: 1}}`, `.data.a` conflicts with Bob; if she
//! forces it she owns it again, and b, which she no longer names and nobody else owns, is removed.

mod path;

mod set;

pub mod fields_v1;

mod place;

mod owned;

mod validate;

mod compare;

mod merge;

mod unowned;

mod remove;

mod managed;

mod update;

mod structured;

mod last_applied;

pub use compare::{Comparison, compare};
pub use last_applied::{LAST_APPLIED, refreshed as refresh_last_applied};
pub use managed::{Entry, Managed, ManagerId, Operation};
pub use owned::owned;
pub use path::{Datum, Step, path_text};
pub use place::Place;
pub use set::Set;
pub use structured::{Applied, ApplyError, Conflict, apply, check_config};
pub use unowned::merge_unowned;
pub use update::{Versions, Writer, update};

#[cfg(test)]
mod tests;
