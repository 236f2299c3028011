//! A segment: one file of the log. A header, then frames, then whatever the room set aside holds.
//!
//! The end of the log needs care. A batch that was being written in a crash may be there in part (a torn tail): nobody was told
//! that it happened, so it is dropped. A batch that cannot be read although it *was* durable is damage and must not be dropped. The
//! proof that it was durable is anything written after it, because a batch is begun only when the one before is durable:
//! - in an older segment: that there is a newer one, whose header says which frame it begins with;
//! - in the newest: a later frame's header further on.
//!
//! Example: frames 7, 8, 9; the bytes of 8 are bad. Frame 9 is found behind it: damage, the store refuses to open. If it is 9
//! whose bytes are bad, nothing follows: a torn tail, the log ends after 8.

use std::path::PathBuf;

use crate::Revision;
use crate::journal::JournalError;
use crate::journal::frame::{FRAME_HEADER, Frame, crc, salt, take};

pub(crate) const HEADER: usize = 64;
/// What is written. Version 1, which is read too, has no times in its frames.
pub(crate) const VERSION: u32 = 2;
const MAGIC: [u8; 8] = *b"CANOPLOG";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub version: u32,
    pub store_id: u64,
    pub number: u64,
    /// The sequence of its first frame.
    pub first_sequence: u64,
    /// The newest revision before it.
    pub base_revision: Revision,
}

pub(crate) fn name(number: u64) -> String {
    format!("log-{number:012}")
}

pub(crate) fn number(name: &str) -> Option<u64> {
    name.strip_prefix("log-").filter(|digits| digits.len() == 12)?.parse().ok()
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&self.version.to_le_bytes());
        out[16..24].copy_from_slice(&self.store_id.to_le_bytes());
        out[24..32].copy_from_slice(&self.number.to_le_bytes());
        out[32..40].copy_from_slice(&self.first_sequence.to_le_bytes());
        out[40..48].copy_from_slice(&self.base_revision.to_le_bytes());
        let check = crc(0, &out[..60]);
        out[60..64].copy_from_slice(&check.to_le_bytes());
        out
    }

    pub fn decode(bytes: &[u8], file: PathBuf) -> Result<Self, JournalError> {
        let corrupt = |detail: &str| JournalError::Corrupt { file: file.clone(), offset: 0, detail: detail.into() };
        let header = bytes.get(..HEADER).ok_or_else(|| corrupt("the file is shorter than its header"))?;
        if header[..8] != MAGIC {
            return Err(corrupt("this is no segment of a log"));
        }
        let mut rest = &header[8..];
        let fields = (|| {
            let version = u32::from_le_bytes(take(&mut rest)?);
            take::<4>(&mut rest)?;
            let mut next = || take(&mut rest).map(u64::from_le_bytes);
            Some((version, next()?, next()?, next()?, next()?))
        })();
        let Some((version, store_id, number, first_sequence, base_revision)) = fields else {
            return Err(corrupt("the header cannot be read"));
        };
        // Before the checksum: another version may keep it elsewhere.
        if version > VERSION {
            return Err(JournalError::Version { file: file.clone(), version, known: VERSION });
        }
        if crc(0, &header[..60]).to_le_bytes() != header[60..64] {
            return Err(corrupt("the header's checksum does not hold"));
        }
        Ok(Self { version, store_id, number, first_sequence, base_revision })
    }

    pub fn salt(&self) -> u32 {
        salt(self.store_id, self.number)
    }

    /// The time of a frame, if the segment has times, and its records. `None` if the payload is too short.
    pub fn open<'a>(&self, mut payload: &'a [u8]) -> Option<(Option<u64>, &'a [u8])> {
        let time = if self.version == 1 { None } else { Some(u64::from_le_bytes(take(&mut payload)?)) };
        Some((time, payload))
    }
}

/// How the frames of a segment ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Where the next frame goes.
    pub offset: usize,
    /// Where the last frame begins; equal to `offset` if there is none.
    pub last_frame: usize,
    /// The sequence of the next frame.
    pub sequence: u64,
    /// Bytes of an unfinished frame that were passed over.
    pub torn_bytes: usize,
}

/// Hands over the frames of a segment in order. `next_first` is the first sequence of the segment behind it, if there is one.
pub(crate) fn scan(
    bytes: &[u8],
    header: &Header,
    file: PathBuf,
    next_first: Option<u64>,
    mut visit: impl FnMut(&Frame, &[u8]) -> Result<(), String>,
) -> Result<End, JournalError> {
    let salt = header.salt();
    let mut end = End { offset: HEADER, last_frame: HEADER, sequence: header.first_sequence, torn_bytes: 0 };
    let corrupt = |offset: usize, detail: String| {
        Err(JournalError::Corrupt { file: file.clone(), offset: offset as u64, detail })
    };
    while next_first.is_none_or(|next| end.sequence < next) {
        let rest = bytes.get(end.offset..).unwrap_or_default();
        let frame = Frame::read(rest, salt).filter(|frame| frame.sequence == end.sequence);
        let Some((frame, payload)) = frame.and_then(|frame| Some((frame, frame.payload(rest, salt)?))) else {
            if let Some(next) = next_first {
                let detail = format!("batch {} cannot be read, the next segment begins with {next}", end.sequence);
                return corrupt(end.offset, detail);
            }
            if let Some((later, at)) = find_later(bytes, end.offset, salt, end.sequence) {
                let sequence = end.sequence;
                let detail = format!("batch {sequence} cannot be read, but batch {later} behind it at {at} is intact");
                return corrupt(end.offset, detail);
            }
            end.torn_bytes = torn_bytes(rest, salt, end.sequence);
            break;
        };
        if let Err(detail) = visit(&frame, payload) {
            return corrupt(end.offset, detail);
        }
        end.last_frame = end.offset;
        end.offset += frame.length();
        end.sequence += 1;
    }
    Ok(end)
}

/// The whole frames at the front of a segment, each with its time and its records: what can be said of a segment that is being
/// written.
pub(crate) fn frames<'a>(bytes: &'a [u8], header: &Header) -> impl Iterator<Item = (Frame, Option<u64>, &'a [u8])> {
    let (header, salt) = (*header, header.salt());
    let (mut offset, mut sequence) = (HEADER, header.first_sequence);
    std::iter::from_fn(move || {
        let rest = bytes.get(offset..)?;
        let frame = Frame::read(rest, salt).filter(|frame| frame.sequence == sequence)?;
        let (time, records) = header.open(frame.payload(rest, salt)?)?;
        offset += frame.length();
        sequence += 1;
        Some((frame, time, records))
    })
}

/// A frame's header with a later sequence behind `from`.
fn find_later(bytes: &[u8], from: usize, salt: u32, sequence: u64) -> Option<(u64, usize)> {
    let mut at = from + 8;
    while let Some(candidate) = bytes.get(at..at + FRAME_HEADER) {
        // The sequence is looked at first: it rules out nearly every place without a checksum.
        let found = u64::from_le_bytes(candidate[8..16].try_into().ok()?);
        if found > sequence && found - sequence < 1 << 32 && Frame::read(candidate, salt).is_some() {
            return Some((found, at));
        }
        at += 8;
    }
    None
}

/// How much of an unfinished frame there is: none if the place where it would begin was never written.
fn torn_bytes(rest: &[u8], salt: u32, sequence: u64) -> usize {
    match Frame::read(rest, salt) {
        Some(frame) if frame.sequence == sequence => frame.length().min(rest.len()),
        _ => rest.get(..FRAME_HEADER).map_or(rest.len(), |head| head.iter().filter(|byte| **byte != 0).count()),
    }
}
