//! The bytes of records and of the frames that carry them.
//!
//! A frame is one batch: what one fsync makes durable. All numbers are little-endian.
//!
//! ```text
//! frame   payload length u32, records u32, sequence u64, first revision u64, compact revision u64,
//!         payload crc u32, header crc u32, payload, zeros up to a multiple of 8
//! payload time in Unix milliseconds u64 (not in segments of version 1), records
//! record  op u8, key length u32, value length u32, revision u64, created u64, revision_at u32, expires_at u64, key, value
//! ```
//!
//! The sequence counts frames over the store's whole life. Both checksums begin from a salt that differs for each segment, so a
//! frame left over in a recycled segment, or smuggled in as somebody's value, is never taken for one of this log.

use crate::journal::Record;
use crate::{EventKind, Revision};

pub(crate) const FRAME_HEADER: usize = 40;
const RECORD_HEADER: usize = 37;
const NOWHERE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub payload_length: u32,
    pub records: u32,
    pub sequence: u64,
    pub first_revision: Revision,
    pub compact_revision: Revision,
    payload_crc: u32,
}

/// The salt of a segment's checksums.
pub(crate) fn salt(store_id: u64, segment: u64) -> u32 {
    // A multiplication by an odd constant mixes neighbours apart; nothing depends on it being strong.
    let mixed = (store_id ^ segment.wrapping_mul(0x9E37_79B9_7F4A_7C15)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    (mixed >> 32) as u32
}

pub(crate) fn crc(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// Rounds up to a multiple of 8: frames begin only there.
pub(crate) fn align(length: usize) -> usize {
    length.next_multiple_of(8)
}

pub(crate) fn put_record(out: &mut Vec<u8>, record: &Record<'_>) {
    out.reserve(RECORD_HEADER + record.key.len() + record.value.len());
    out.push(match record.kind {
        EventKind::Put => 1,
        EventKind::Delete => 2,
    });
    // The store bounds keys and values far below 4 GiB.
    out.extend_from_slice(&(record.key.len() as u32).to_le_bytes());
    out.extend_from_slice(&(record.value.len() as u32).to_le_bytes());
    out.extend_from_slice(&record.revision.to_le_bytes());
    out.extend_from_slice(&record.create_revision.to_le_bytes());
    out.extend_from_slice(&record.revision_at.unwrap_or(NOWHERE).to_le_bytes());
    out.extend_from_slice(&record.expires_at.to_le_bytes());
    out.extend_from_slice(record.key.as_bytes());
    out.extend_from_slice(record.value);
}

/// Takes one record off the front. `None` if the bytes are none.
pub(crate) fn take_record<'a>(bytes: &mut &'a [u8]) -> Option<Record<'a>> {
    let mut rest = *bytes;
    let kind = match take::<1>(&mut rest)? {
        [1] => EventKind::Put,
        [2] => EventKind::Delete,
        _ => return None,
    };
    let key_length = u32::from_le_bytes(take(&mut rest)?) as usize;
    let value_length = u32::from_le_bytes(take(&mut rest)?) as usize;
    let revision = u64::from_le_bytes(take(&mut rest)?);
    let create_revision = u64::from_le_bytes(take(&mut rest)?);
    let revision_at = Some(u32::from_le_bytes(take(&mut rest)?)).filter(|at| *at != NOWHERE);
    let expires_at = u64::from_le_bytes(take(&mut rest)?);
    let (key, rest) = rest.split_at_checked(key_length)?;
    let (value, rest) = rest.split_at_checked(value_length)?;
    let key = std::str::from_utf8(key).ok()?;
    *bytes = rest;
    Some(Record { kind, key, create_revision, revision, value, revision_at, expires_at })
}

pub(crate) fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

/// Fills in the header of a frame whose payload stands behind `FRAME_HEADER` bytes of room, and pads it.
pub(crate) fn seal(buffer: &mut Vec<u8>, salt: u32, records: u32, sequence: u64, first: Revision, compact: Revision) {
    let payload = &buffer[FRAME_HEADER..];
    let (length, payload_crc) = (payload.len() as u32, crc(salt, payload));
    let mut header = [0; FRAME_HEADER];
    header[0..4].copy_from_slice(&length.to_le_bytes());
    header[4..8].copy_from_slice(&records.to_le_bytes());
    header[8..16].copy_from_slice(&sequence.to_le_bytes());
    header[16..24].copy_from_slice(&first.to_le_bytes());
    header[24..32].copy_from_slice(&compact.to_le_bytes());
    header[32..36].copy_from_slice(&payload_crc.to_le_bytes());
    let header_crc = crc(salt, &header[..36]);
    header[36..40].copy_from_slice(&header_crc.to_le_bytes());
    buffer[..FRAME_HEADER].copy_from_slice(&header);
    buffer.resize(align(buffer.len()), 0);
}

impl Frame {
    /// The header at the front of `bytes`, if its checksum holds.
    pub fn read(bytes: &[u8], salt: u32) -> Option<Self> {
        let header = bytes.get(..FRAME_HEADER)?;
        let mut rest = header;
        let payload_length = u32::from_le_bytes(take(&mut rest)?);
        let records = u32::from_le_bytes(take(&mut rest)?);
        let sequence = u64::from_le_bytes(take(&mut rest)?);
        let first_revision = u64::from_le_bytes(take(&mut rest)?);
        let compact_revision = u64::from_le_bytes(take(&mut rest)?);
        let payload_crc = u32::from_le_bytes(take(&mut rest)?);
        let header_crc = u32::from_le_bytes(take(&mut rest)?);
        (crc(salt, &header[..36]) == header_crc).then_some(Self {
            payload_length,
            records,
            sequence,
            first_revision,
            compact_revision,
            payload_crc,
        })
    }

    /// The payload behind the header at the front of `bytes`, if its checksum holds.
    pub fn payload<'a>(&self, bytes: &'a [u8], salt: u32) -> Option<&'a [u8]> {
        let payload = bytes.get(FRAME_HEADER..FRAME_HEADER + self.payload_length as usize)?;
        (crc(salt, payload) == self.payload_crc).then_some(payload)
    }

    /// Length in the file, padding included.
    pub fn length(&self) -> usize {
        align(FRAME_HEADER + self.payload_length as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(salt: u32) -> Vec<u8> {
        let mut buffer = vec![0; FRAME_HEADER];
        let mut record = Record {
            kind: EventKind::Put,
            key: "/registry/pods/a/b",
            create_revision: 3,
            revision: 9,
            value: b"value",
            revision_at: Some(2),
            expires_at: 0,
        };
        put_record(&mut buffer, &record);
        record.kind = EventKind::Delete;
        record.revision_at = None;
        put_record(&mut buffer, &record);
        seal(&mut buffer, salt, 2, 5, 9, 4);
        buffer
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = frame(7);
        assert_eq!(bytes.len() % 8, 0);
        let frame = Frame::read(&bytes, 7).expect("a header");
        assert_eq!((frame.records, frame.sequence, frame.first_revision, frame.compact_revision), (2, 5, 9, 4));
        assert_eq!(frame.length(), bytes.len());
        let mut payload = frame.payload(&bytes, 7).expect("a payload");
        let first = take_record(&mut payload).expect("a record");
        assert_eq!((first.kind, first.key, first.revision_at), (EventKind::Put, "/registry/pods/a/b", Some(2)));
        let second = take_record(&mut payload).expect("a record");
        assert_eq!((second.kind, second.value, second.revision_at), (EventKind::Delete, &b"value"[..], None));
        assert_eq!(take_record(&mut payload), None);
    }

    #[test]
    fn another_salt_or_a_flipped_bit_is_no_frame() {
        let good = frame(7);
        assert_eq!(Frame::read(&good, 8), None);
        let payload_end = FRAME_HEADER + Frame::read(&good, 7).expect("a header").payload_length as usize;
        for bit in 0..payload_end * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let read = Frame::read(&bad, 7).is_some_and(|frame| frame.payload(&bad, 7).is_some());
            assert!(!read, "bit {bit}");
        }
    }

    #[test]
    fn cut_records_are_refused() {
        let bytes = frame(7);
        let payload = Frame::read(&bytes, 7).and_then(|frame| frame.payload(&bytes, 7)).expect("a payload");
        let whole = payload.len() / 2;
        for length in 0..whole {
            assert_eq!(take_record(&mut &payload[..length]), None, "{length}");
        }
    }
}
