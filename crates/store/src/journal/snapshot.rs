//! A snapshot: the whole state at one revision in one file, so that the log before it can go.
//!
//! ```text
//! header  magic, version u32, store id u64, revision u64, compact revision u64, first segment u64, time u64 (Unix milliseconds
//!         of the revision, 0 where nobody knows), crc u32 (64 bytes)
//! block   length u32, crc u32, records (see frame.rs)
//! end     length 0, crc of the number of entries, number of entries u64
//! ```
//!
//! It is written under another name, synced, renamed, and the names synced: a file with a snapshot's name is complete. The log
//! that goes on after it begins with `first segment`, which was begun at that very revision.

use std::io::{self, Read};
use std::sync::Arc;

use crate::journal::disk::{Disk, DiskFile, is_full};
use crate::journal::frame::{crc, put_record, salt, take, take_record};
use crate::journal::{JournalError, Record, SnapshotSink, Visitor, WalOptions, retention, segment};
use crate::{EventKind, Revision};

pub(crate) const HEADER: usize = 64;
const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"CANOPSNP";
const BLOCK: usize = 256 << 10;
/// Synced in pieces, so that the log's own fsync never waits behind all of it.
const SYNC_EVERY: u64 = 4 << 20;
const TEMPORARY: &str = "snapshot.tmp";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub store_id: u64,
    pub revision: Revision,
    pub compact_revision: Revision,
    pub first_segment: u64,
    pub time: u64,
}

pub(crate) fn name(revision: Revision) -> String {
    format!("snapshot-{revision:020}")
}

pub(crate) fn revision(name: &str) -> Option<Revision> {
    name.strip_prefix("snapshot-").filter(|digits| digits.len() == 20)?.parse().ok()
}

pub(crate) fn spare(name: &str) -> bool {
    name.starts_with("spare-")
}

impl Header {
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0..8].copy_from_slice(&MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        let fields = [self.store_id, self.revision, self.compact_revision, self.first_segment, self.time];
        for (at, field) in fields.into_iter().enumerate() {
            out[16 + at * 8..24 + at * 8].copy_from_slice(&field.to_le_bytes());
        }
        let check = crc(0, &out[..60]);
        out[60..64].copy_from_slice(&check.to_le_bytes());
        out
    }

    fn salt(&self) -> u32 {
        salt(self.store_id, self.revision)
    }
}

/// Reads the header; the rest is read by [`read`].
pub(crate) fn header(bytes: &[u8], disk: &dyn Disk, name: &str) -> Result<Header, JournalError> {
    let file = disk.folder().join(name);
    let corrupt = |detail: &str| JournalError::Corrupt { file: file.clone(), offset: 0, detail: detail.into() };
    let head = bytes.get(..HEADER).filter(|head| head[..8] == MAGIC).ok_or_else(|| corrupt("this is no snapshot"))?;
    let mut rest = &head[8..];
    let version = take(&mut rest).map_or(0, u32::from_le_bytes);
    if version > VERSION {
        return Err(JournalError::Version { file: file.clone(), version, known: VERSION });
    }
    if crc(0, &head[..60]).to_le_bytes() != head[60..64] {
        return Err(corrupt("the header's checksum does not hold"));
    }
    let mut rest = &head[16..];
    let mut next = || take(&mut rest).map_or(0, u64::from_le_bytes);
    let (store_id, revision, compact_revision) = (next(), next(), next());
    Ok(Header { store_id, revision, compact_revision, first_segment: next(), time: next() })
}

/// Checks the whole file without keeping anything of it.
pub(crate) fn check(bytes: &[u8], header: &Header, disk: &dyn Disk, name: &str) -> Result<(), JournalError> {
    read_records(bytes.get(HEADER..).unwrap_or_default(), header, disk, name, |_| true)
}

/// The same of a file that is read from behind its header on.
pub(crate) fn check_from(source: impl Read, header: &Header, disk: &dyn Disk, name: &str) -> Result<(), JournalError> {
    read_records(source, header, disk, name, |_| true)
}

/// Hands over the entries.
pub(crate) fn read(
    bytes: &[u8],
    header: &Header,
    disk: &dyn Disk,
    name: &str,
    visitor: &mut dyn Visitor,
) -> Result<(), JournalError> {
    visitor.snapshot(header.revision);
    read_records(bytes.get(HEADER..).unwrap_or_default(), header, disk, name, |record| {
        visitor.entry(record);
        true
    })
}

/// Hands over the entries of an open file, in the order of their keys, while `visit` says to go on. It must have this header.
pub(crate) fn entries(
    mut source: impl Read,
    header: &Header,
    disk: &dyn Disk,
    name: &str,
    visit: impl FnMut(Record<'_>) -> bool,
) -> Result<(), JournalError> {
    let mut head = [0; HEADER];
    source.read_exact(&mut head).map_err(failed_read)?;
    if self::header(&head, disk, name)? != *header {
        let (file, detail) = (disk.folder().join(name), "it was replaced while it was read".to_owned());
        return Err(JournalError::Corrupt { file, offset: 0, detail });
    }
    read_records(source, header, disk, name, visit)
}

/// `source` stands behind the header.
fn read_records(
    mut source: impl Read,
    header: &Header,
    disk: &dyn Disk,
    name: &str,
    mut visit: impl FnMut(Record<'_>) -> bool,
) -> Result<(), JournalError> {
    let (mut entries, mut offset, mut buffer) = (0u64, HEADER as u64, Vec::new());
    loop {
        let corrupt =
            |detail: &str| JournalError::Corrupt { file: disk.folder().join(name), offset, detail: detail.into() };
        let bad_block = || corrupt("a block's checksum does not hold");
        read_up_to(&mut source, 8, &mut buffer)?;
        let mut head = &buffer[..];
        let length = take(&mut head).map(u32::from_le_bytes).ok_or_else(bad_block)?;
        let check = take(&mut head).map(u32::from_le_bytes).ok_or_else(bad_block)?;
        let wanted = if length == 0 { 8 } else { u64::from(length) };
        read_up_to(&mut source, wanted, &mut buffer)?;
        if buffer.len() as u64 != wanted || crc(header.salt(), &buffer) != check {
            return Err(bad_block());
        }
        if length == 0 {
            let is_counted = buffer[..] == entries.to_le_bytes();
            read_up_to(&mut source, 1, &mut buffer)?;
            let complete = is_counted && buffer.is_empty();
            return if complete { Ok(()) } else { Err(corrupt("the number of entries is wrong")) };
        }
        let mut block = &buffer[..];
        while !block.is_empty() {
            let record = take_record(&mut block).filter(|record| record.kind == EventKind::Put);
            if !visit(record.ok_or_else(|| corrupt("an entry cannot be read"))?) {
                return Ok(());
            }
            entries += 1;
        }
        offset += 8 + wanted;
    }
}

/// So many bytes, or what is left.
fn read_up_to(source: &mut impl Read, bytes: u64, into: &mut Vec<u8>) -> Result<(), JournalError> {
    into.clear();
    source.take(bytes).read_to_end(into).map(drop).map_err(failed_read)
}

fn failed_read(source: io::Error) -> JournalError {
    JournalError::Failed { doing: "read a snapshot", source }
}

/// Writes a snapshot, in the background.
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    header: Header,
    block: Vec<u8>,
    offset: u64,
    synced: u64,
    entries: u64,
    options: WalOptions,
}

impl Writer {
    pub fn begin(disk: Arc<dyn Disk>, header: Header, options: WalOptions) -> Result<Self, JournalError> {
        let file = disk.create(TEMPORARY, 0).map_err(failed)?;
        let (offset, synced, entries) = (HEADER as u64, 0, 0);
        let mut writer = Self { disk, file, header, block: new_block(), offset, synced, entries, options };
        writer.file.write_at(&header.encode(), 0).map_err(failed)?;
        Ok(writer)
    }

    fn flush(&mut self) -> io::Result<()> {
        let length = (self.block.len() - 8) as u32;
        if length > 0 {
            self.write_block(length)?;
        }
        Ok(())
    }

    fn write_block(&mut self, length: u32) -> io::Result<()> {
        let check = crc(self.header.salt(), &self.block[8..]);
        self.block[0..4].copy_from_slice(&length.to_le_bytes());
        self.block[4..8].copy_from_slice(&check.to_le_bytes());
        self.file.write_at(&self.block, self.offset)?;
        self.offset += self.block.len() as u64;
        self.block.truncate(8);
        if self.offset - self.synced >= SYNC_EVERY {
            self.file.sync()?;
            self.synced = self.offset;
        }
        Ok(())
    }

    fn complete(&mut self) -> io::Result<()> {
        self.flush()?;
        self.block.extend_from_slice(&self.entries.to_le_bytes());
        self.write_block(0)?;
        self.file.sync()?;
        self.disk.rename(TEMPORARY, &name(self.header.revision))
    }
}

impl SnapshotSink for Writer {
    fn write(&mut self, record: Record<'_>) -> Result<(), JournalError> {
        put_record(&mut self.block, &record);
        self.entries += 1;
        if self.block.len() >= BLOCK { self.flush().map_err(failed) } else { Ok(()) }
    }

    fn finish(mut self: Box<Self>) -> Result<u64, JournalError> {
        self.complete().map_err(failed)?;
        clean(&*self.disk, &self.header, &self.options).map_err(failed)?;
        Ok(self.offset)
    }
}

/// Drops what a snapshot replaces, and is not kept as history: older snapshots, and the log before it, of which a little stays to be
/// written over: as much as the log fills until a state of this size is due to be written again.
pub(crate) fn clean(disk: &dyn Disk, header: &Header, options: &WalOptions) -> io::Result<()> {
    // The snapshot's own name first. At a start too: it may have been given just before the process was killed.
    disk.sync_names()?;
    let names = disk.list()?;
    let kept = retention::kept(disk, &names, header, &options.retention)?;
    let spares_max = if options.recycle {
        let state_bytes = disk.open(&name(header.revision))?.length()?;
        options.snapshot_log_bytes.max(state_bytes).div_ceil(options.segment_bytes)
    } else {
        0
    };
    let mut spares = 0;
    for name in &names {
        if spare(name) {
            if spares < spares_max {
                spares += 1;
            } else {
                disk.remove(name)?;
            }
        }
    }
    for name in &names {
        if revision(name).is_some_and(|revision| revision < kept.revision) {
            disk.remove(name)?;
        } else if let Some(number) = segment::number(name).filter(|number| *number < kept.first_segment) {
            if spares < spares_max {
                disk.rename(name, &format!("spare-{number:012}"))?;
                spares += 1;
            } else {
                disk.remove(name)?;
            }
        }
    }
    disk.sync_names()
}

fn new_block() -> Vec<u8> {
    let mut block = Vec::with_capacity(BLOCK + (64 << 10));
    block.resize(8, 0);
    block
}

fn failed(source: io::Error) -> JournalError {
    let doing = "write a snapshot";
    if is_full(&source) { JournalError::Full { doing, source } } else { JournalError::Failed { doing, source } }
}
