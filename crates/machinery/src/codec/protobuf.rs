//! Kubernetes' protobuf, driven by the schema: message bytes to JSON values and back, and the envelope around a body.
//!
//! The wire is proto2 as upstream's generated code writes it: fields in ascending order of their numbers, maps sorted by
//! key, and a value that is no pointer upstream written even when it is zero (a struct as an empty message). So
//! `{"metadata":{"name":"x"}}` as a Namespace begins `0a 0f 0a 01 78 12 00 1a 00 ..`: field 1, the metadata, whose own
//! field 1 is "x" and whose generateName and namespace are empty.
//! What the two forms do not share: apiVersion and kind of an object stand in the envelope, messages that JSON inlines
//! have a number of their own (`ProtoField::within`), and a few types are a message on the wire and plain text, a number
//! or any JSON outside: Time, MicroTime, Quantity, IntOrString, RawExtension, the unions of JSON schema.

mod wire;

mod decode;

mod encode;

mod envelope;

pub use decode::decode;
pub use encode::{encode, encode_list, encode_list_of, encode_partial, encode_partial_list};
pub use envelope::{Envelope, frame_watch_event, unwrap_envelope, wrap_envelope};

use crate::schema::{Field, Type};

/// Why bytes are no message of their type, or a value cannot be written as one. Texts of the first kind are upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    #[error("empty data")]
    EmptyData,
    #[error("empty body")]
    EmptyBody,
    #[error("provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]")]
    NoPrefix,
    #[error("unexpected EOF")]
    UnexpectedEof,
    #[error("proto: integer overflow")]
    Overflow,
    #[error("proto: negative length found during unmarshaling")]
    NegativeLength,
    #[error("proto: unexpected end of group")]
    UnexpectedEndOfGroup,
    #[error("proto: illegal wireType {0}")]
    IllegalWireType(u8),
    #[error("proto: {ty}: wiretype end group for non-group")]
    EndGroup { ty: String },
    #[error("proto: {ty}: illegal tag {number} (wire type {wire_type})")]
    IllegalTag { ty: String, number: i32, wire_type: u8 },
    #[error("proto: wrong wireType = {wire_type} for field {field}")]
    WrongWireType { wire_type: u8, field: String },
    /// A quantity, time, number or raw JSON that has no form in JSON.
    #[error("{0}")]
    Refused(String),
    #[error("exceeded max depth")]
    TooDeep,
    #[error("too many messages in one object")]
    TooMany,
    #[error("{field}: {found} cannot be written to protobuf")]
    Mismatch { field: String, found: &'static str },
}

/// Numbers of the types that are messages on the wire only.
mod number {
    pub const TIME_SECONDS: u32 = 1;
    pub const TIME_NANOS: u32 = 2;
    pub const QUANTITY_STRING: u32 = 1;
    pub const INT_OR_STRING_TYPE: u32 = 1;
    pub const INT_OR_STRING_INT: u32 = 2;
    pub const INT_OR_STRING_STRING: u32 = 3;
    pub const RAW: u32 = 1;
    /// The one field of a message that is a named list upstream: Verbs, ExtraValue.
    pub const ITEMS: u32 = 1;
    pub const MAP_KEY: u32 = 1;
    pub const MAP_VALUE: u32 = 2;
    pub const OR_BOOL_ALLOWS: u32 = 1;
    pub const OR_BOOL_SCHEMA: u32 = 2;
    /// Of the unions with a list.
    pub const OR_LIST_SCHEMA: u32 = 1;
    pub const OR_LIST_ITEMS: u32 = 2;
    /// Of every object and list.
    pub const METADATA: u32 = 1;
    pub const LIST_ITEMS: u32 = 2;
}

/// The part of a message that one number is about.
enum Part<'t> {
    Field(&'t Field),
    /// A message that JSON inlines, and the fields in it.
    Inlined(u32, &'t [u16]),
}

/// Fields of a message, or of an inlined message in it, ordered by number. `level` counts the inlined messages around.
#[derive(Clone, Copy)]
struct Layout<'t> {
    ty: &'t Type,
    fields: &'t [u16],
    level: usize,
}

impl<'t> Layout<'t> {
    fn of(ty: &'t Type) -> Self {
        Layout { ty, fields: ty.by_number(), level: 0 }
    }

    fn field(self, index: u16) -> &'t Field {
        &self.ty.fields[usize::from(index)]
    }

    /// The number of a field, or of the inlined message that it is in, at this level.
    fn number(self, index: u16) -> u32 {
        self.field(index).proto.as_ref().and_then(|proto| proto.numbers().nth(self.level)).unwrap_or_default()
    }

    /// What a field that stands first in `fields` and those with the same number make up.
    fn part(self, fields: &'t [u16]) -> Option<(Part<'t>, &'t [u16])> {
        let first = *fields.first()?;
        let field = self.field(first);
        if field.proto.as_ref().is_none_or(|proto| proto.within.len() <= self.level) {
            return Some((Part::Field(field), &fields[1..]));
        }
        let number = self.number(first);
        let end = fields.partition_point(|index| self.number(*index) <= number);
        let (inner, rest) = fields.split_at(end);
        Some((Part::Inlined(number, inner), rest))
    }

    fn inner(self, fields: &'t [u16]) -> Self {
        Layout { fields, level: self.level + 1, ..self }
    }

    fn parts(self) -> impl Iterator<Item = Part<'t>> {
        let mut rest = self.fields;
        std::iter::from_fn(move || {
            let (part, after) = self.part(rest)?;
            rest = after;
            Some(part)
        })
    }

    fn find(self, number: u32) -> Option<Part<'t>> {
        let at = self.fields.partition_point(|index| self.number(*index) < number);
        let rest = &self.fields[at..];
        let first = *rest.first()?;
        (self.number(first) == number).then(|| self.part(rest))?.map(|(part, _)| part)
    }
}

#[cfg(test)]
mod tests;
