//! The wire format: tags, varints, lengths.

use super::ProtobufError;

/// The content of a field.
pub enum Wire<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

/// Reads field by field; every length is checked against what is there.
pub struct Reader<'b>(pub &'b [u8]);

impl<'b> Reader<'b> {
    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (first, rest) = self.0.split_first().ok_or(ProtobufError::Truncated)?;
            self.0 = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Wire)
    }

    fn take(&mut self, len: usize) -> Result<&'b [u8], ProtobufError> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(ProtobufError::Truncated)?;
        self.0 = rest;
        Ok(head)
    }

    /// The next field's number and content; `None` at the end.
    pub fn next(&mut self) -> Result<Option<(u32, Wire<'b>)>, ProtobufError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number != 0).ok_or(ProtobufError::Wire)?;
        let wire = match tag & 7 {
            0 => Wire::Number(self.varint()?),
            1 => Wire::Number(u64::from_le_bytes(self.take(8)?.try_into().map_err(|_| ProtobufError::Truncated)?)),
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Truncated)?;
                Wire::Bytes(self.take(len)?)
            }
            5 => {
                let bytes = self.take(4)?.try_into().map_err(|_| ProtobufError::Truncated)?;
                Wire::Number(u64::from(u32::from_le_bytes(bytes)))
            }
            _ => return Err(ProtobufError::Wire),
        };
        Ok(Some((number, wire)))
    }
}
