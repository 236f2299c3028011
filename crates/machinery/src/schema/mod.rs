//! The schema: one compact table of types and fields, and the walkers over (value, type).
//!
//! Everything generic reads this table: field validation and pruning (`decode`), the form in which objects are
//! stored and sent (`canonical`), strategic merge, OpenAPI and explain. The built-in facts are generated once by
//! `cargo xtask codegen` and committed as `builtin.txt`; `old.txt` holds types of versions that upstream has given up; a CustomResourceDefinition compiles into the same table.
//! Nothing here knows a kind by name.

mod types;

mod load;

mod decode;

mod bytes;

mod go;

mod default;

mod canonical;

use std::sync::OnceLock;

pub use canonical::{canonicalize, canonicalize_given};
pub use decode::{DecodeError, Decoded, FieldValidation, decode, decode_parsed};
pub use default::apply_defaults;
pub use types::{
    Alternative, Field, GroupVersionKindName, ListKind, MapKind, Patch, ProtoField, ProtoLabel, Shape, Text, Type,
    TypeId, Types,
};

/// Content of the generated file, for the check that it is up to date.
pub const BUILTIN_TEXT: &str = include_str!("builtin.txt");

/// Types of old versions whose shape differs from today's.
const OLD_TEXT: &str = include_str!("old.txt");

/// The types of Kubernetes v1.36 and of the old versions that still answer, loaded on first use (a few milliseconds) and shared for ever.
pub fn builtin() -> &'static Types {
    static BUILTIN: OnceLock<Types> = OnceLock::new();
    BUILTIN.get_or_init(|| {
        load::load(&[BUILTIN_TEXT, OLD_TEXT])
            .expect("the generated table is well formed: a test loads it and codegen checks it")
    })
}

#[cfg(test)]
mod tests;
