//! The wire: tags, varints, lengths. Reads nothing beyond its bytes and copies nothing.

use super::ProtobufError;

pub const VARINT: u8 = 0;
pub const FIXED64: u8 = 1;
pub const LENGTH: u8 = 2;
const GROUP_START: u8 = 3;
const GROUP_END: u8 = 4;
const FIXED32: u8 = 5;

/// The head of a field.
#[derive(Clone, Copy)]
pub struct Tag {
    pub number: u32,
    pub wire_type: u8,
}

impl Tag {
    fn expect(self, wire_type: u8, field: &str) -> Result<(), ProtobufError> {
        if self.wire_type == wire_type {
            return Ok(());
        }
        Err(ProtobufError::WrongWireType { wire_type: self.wire_type, field: upstream_name(field) })
    }
}

/// Upstream's messages call fields by their names in Go, which begin with a capital letter.
fn upstream_name(field: &str) -> String {
    let mut chars = field.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

/// Reads the fields of one message.
#[derive(Clone)]
pub struct Reader<'b> {
    rest: &'b [u8],
}

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next field's tag; `None` at the end. `ty` names the message in errors.
    pub fn tag(&mut self, ty: &str) -> Result<Option<Tag>, ProtobufError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let word = self.varint()?;
        let wire_type = (word & 7) as u8;
        // Upstream cuts the number to 32 bits with a sign.
        let number = (word >> 3) as i32;
        if wire_type == GROUP_END {
            return Err(ProtobufError::EndGroup { ty: ty.to_owned() });
        }
        match u32::try_from(number) {
            Ok(number) if number > 0 => Ok(Some(Tag { number, wire_type })),
            _ => Err(ProtobufError::IllegalTag { ty: ty.to_owned(), number, wire_type }),
        }
    }

    /// Ten bytes at most; bits beyond the 64th are lost, as upstream.
    pub fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first().ok_or(ProtobufError::UnexpectedEof)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Overflow)
    }

    fn take(&mut self, length: u64) -> Result<&'b [u8], ProtobufError> {
        if i64::try_from(length).is_err() {
            return Err(ProtobufError::NegativeLength);
        }
        let length = usize::try_from(length).map_err(|_| ProtobufError::UnexpectedEof)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError::UnexpectedEof)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The varint of a field with this tag.
    pub fn integer(&mut self, tag: Tag, field: &str) -> Result<u64, ProtobufError> {
        tag.expect(VARINT, field)?;
        self.varint()
    }

    pub fn double(&mut self, tag: Tag, field: &str) -> Result<f64, ProtobufError> {
        tag.expect(FIXED64, field)?;
        let bytes = self.take(8)?.try_into().map_err(|_| ProtobufError::UnexpectedEof)?;
        Ok(f64::from_le_bytes(bytes))
    }

    /// The content of a string, of bytes or of a message.
    pub fn bytes(&mut self, tag: Tag, field: &str) -> Result<&'b [u8], ProtobufError> {
        tag.expect(LENGTH, field)?;
        let length = self.varint()?;
        self.take(length)
    }

    /// Text; what is no UTF-8 is replaced, as Go's JSON encoding does.
    pub fn text(&mut self, tag: Tag, field: &str) -> Result<String, ProtobufError> {
        Ok(String::from_utf8_lossy(self.bytes(tag, field)?).into_owned())
    }

    /// Steps over a field that nobody knows, groups included.
    pub fn skip(&mut self, tag: Tag) -> Result<(), ProtobufError> {
        let mut open_groups = 0usize;
        let mut wire_type = tag.wire_type;
        loop {
            match wire_type {
                VARINT => {
                    self.varint()?;
                }
                FIXED64 => {
                    self.take(8)?;
                }
                LENGTH => {
                    let length = self.varint()?;
                    self.take(length)?;
                }
                GROUP_START => open_groups += 1,
                GROUP_END => {
                    open_groups = open_groups.checked_sub(1).ok_or(ProtobufError::UnexpectedEndOfGroup)?;
                }
                FIXED32 => {
                    self.take(4)?;
                }
                other => return Err(ProtobufError::IllegalWireType(other)),
            }
            if open_groups == 0 {
                return Ok(());
            }
            wire_type = (self.varint()? & 7) as u8;
        }
    }
}

pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

pub fn put_integer(out: &mut Vec<u8>, number: u32, value: i64) {
    put_tag(out, number, VARINT);
    put_varint(out, value as u64);
}

pub fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    put_tag(out, number, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

pub fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, LENGTH);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A message whose content `write` appends: its length is put before it afterwards.
pub fn put_message<E>(
    out: &mut Vec<u8>,
    number: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_tag(out, number, LENGTH);
    let start = out.len();
    write(out)?;
    let mut length = Vec::with_capacity(4);
    put_varint(&mut length, (out.len() - start) as u64);
    out.splice(start..start, length);
    Ok(())
}
