//! Reading a log's folder at the start: the newest snapshot, and the segments after it.

use std::io;

use crate::Revision;
use crate::journal::disk::Disk;
use crate::journal::frame::{Frame, take_record};
use crate::journal::segment::{self, End, Header, scan};
use crate::journal::{JournalError, Visitor, WalOptions, snapshot};

/// The revision of a log without a write.
pub(crate) const FIRST_REVISION: Revision = 1;

/// Where the log ends.
pub(crate) struct Recovered {
    /// The segment to write to.
    pub header: Header,
    /// Where in it; none if it has to be made.
    pub end: Option<End>,
    /// The bytes of its last frame, at `end.last_frame`.
    pub last_frame: Vec<u8>,
    pub revision: Revision,
    /// When that was written, in Unix milliseconds; 0 where nobody knows.
    pub time: u64,
    /// Bytes of the log after the snapshot.
    pub log_bytes: u64,
}

/// Reads the folder and tidies it: what is unfinished goes, and what a snapshot replaces.
pub(crate) fn recover(
    disk: &dyn Disk,
    options: &WalOptions,
    visitor: &mut dyn Visitor,
) -> Result<Recovered, JournalError> {
    let read = |doing| move |source| JournalError::Failed { doing, source };
    let names = disk.list().map_err(read("list the store's folder"))?;
    for name in names.iter().filter(|name| name.ends_with(".tmp")) {
        disk.remove(name).map_err(read("remove an unfinished file of the log"))?;
    }
    let (recovered, base) = read_all(disk, visitor)?;
    // Last, so that a folder that is refused is left as it is.
    if let Some(header) = &base {
        snapshot::clean(disk, header, options).map_err(read("remove what the snapshot replaces"))?;
    }
    Ok(recovered)
}

/// Reads the folder and changes nothing.
pub(crate) fn read_all(
    disk: &dyn Disk,
    visitor: &mut dyn Visitor,
) -> Result<(Recovered, Option<snapshot::Header>), JournalError> {
    let listed = |source| JournalError::Failed { doing: "list the store's folder", source };
    let names = disk.list().map_err(listed)?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    let (base, newer_error) = match read_snapshot(disk, &names, &numbers, visitor)? {
        Some((base, newer_error)) => (Some(base), newer_error),
        None => (None, None),
    };
    if let Some(header) = &base {
        numbers.retain(|number| *number >= header.first_segment);
    }
    if numbers.is_empty() && base.is_none() {
        let (store_id, version) = (disk.unique(), segment::VERSION);
        let header = Header { version, store_id, number: 1, first_sequence: 1, base_revision: FIRST_REVISION };
        let (last_frame, revision) = (Vec::new(), FIRST_REVISION);
        let fresh = Recovered { header, end: None, last_frame, revision, time: 0, log_bytes: 0 };
        return Ok((fresh, None));
    }
    let first = base.as_ref().map_or(1, |header| header.first_segment);
    let recovered = check_numbers(disk, &numbers, first)
        .and_then(|()| read_segments(disk, &numbers, base.as_ref(), visitor))
        // Where an older snapshot stands in, its log may be on its way out: what is wrong is the newer one.
        .map_err(|error| newer_error.unwrap_or(error))?;
    Ok((recovered, base))
}

/// Reads the newest snapshot that is whole. An older one serves if the log after it is still there too; with it comes what is
/// wrong with the newer one.
fn read_snapshot(
    disk: &dyn Disk,
    names: &[String],
    segments: &[u64],
    visitor: &mut dyn Visitor,
) -> Result<Option<(snapshot::Header, Option<JournalError>)>, JournalError> {
    let mut snapshots: Vec<&String> = names.iter().filter(|name| snapshot::revision(name).is_some()).collect();
    snapshots.sort_unstable();
    let mut newest_error = None;
    for name in snapshots.into_iter().rev() {
        let checked = read_file(disk, name).and_then(|bytes| {
            let header = snapshot::header(&bytes, disk, name)?;
            snapshot::check(&bytes, &header, disk, name)?;
            Ok((bytes, header))
        });
        match checked {
            Ok((bytes, header)) if newest_error.is_none() || segments.contains(&header.first_segment) => {
                if newest_error.is_some() {
                    tracing::warn!(
                        snapshot = name,
                        "a newer snapshot is damaged; this one and the log after it are used"
                    );
                }
                visitor.compacted(header.compact_revision);
                snapshot::read(&bytes, &header, disk, name, visitor)?;
                return Ok(Some((header, newest_error)));
            }
            Ok(_) => {}
            Err(error) => drop(newest_error.get_or_insert(error)),
        }
    }
    newest_error.map_or(Ok(None), Err)
}

/// Segments must follow each other without a gap from the first one that is needed.
fn check_numbers(disk: &dyn Disk, numbers: &[u64], first: u64) -> Result<(), JournalError> {
    let missing = (first..).zip(numbers).find(|(expected, number)| expected != *number).map(|(expected, _)| expected);
    let missing = if numbers.is_empty() { Some(first) } else { missing };
    match missing {
        None => Ok(()),
        Some(missing) => {
            let file = disk.folder().join(segment::name(missing));
            Err(JournalError::Corrupt { file, offset: 0, detail: "the segment is missing".into() })
        }
    }
}

fn read_segments(
    disk: &dyn Disk,
    numbers: &[u64],
    base: Option<&snapshot::Header>,
    visitor: &mut dyn Visitor,
) -> Result<Recovered, JournalError> {
    let mut revision = base.map_or(FIRST_REVISION, |header| header.revision);
    let mut time = base.map_or(0, |header| header.time);
    let mut store_id = base.map(|header| header.store_id);
    let mut expected_sequence = None;
    let mut log_bytes = 0;
    let mut last = None;
    let mut last_frame = Vec::new();
    for (at, number) in numbers.iter().enumerate() {
        let name = segment::name(*number);
        let file = disk.folder().join(&name);
        let bytes = read_file(disk, &name)?;
        let header = Header::decode(&bytes, file.clone())?;
        let foreign = store_id.is_some_and(|id| id != header.store_id) || header.number != *number;
        let gap = expected_sequence.is_some_and(|sequence| sequence != header.first_sequence);
        if foreign || gap || header.base_revision != revision {
            let detail = "the segment does not go on where the one before it ends".into();
            return Err(JournalError::Corrupt { file, offset: 0, detail });
        }
        store_id = Some(header.store_id);
        let next_first = match numbers.get(at + 1) {
            Some(next) => {
                let name = segment::name(*next);
                let head = disk.read_head(&name, segment::HEADER).map_err(failed_read)?;
                Some(Header::decode(&head, disk.folder().join(&name))?.first_sequence)
            }
            None => None,
        };
        let end = scan(&bytes, &header, file, next_first, |frame, payload| {
            let (written, records) = header.open(payload).ok_or("the batch has no time")?;
            time = written.unwrap_or(0);
            revision = visit_frame(frame, records, revision, visitor)?;
            Ok(())
        })?;
        log_bytes += (end.offset - segment::HEADER) as u64;
        expected_sequence = Some(end.sequence);
        last_frame = bytes.get(end.last_frame..end.offset).unwrap_or_default().to_vec();
        last = Some((header, end));
    }
    match last {
        Some((header, end)) => Ok(Recovered { header, end: Some(end), last_frame, revision, time, log_bytes }),
        None => Err(JournalError::Failed { doing: "read the log", source: io::Error::other("it has no segment") }),
    }
}

fn visit_frame(
    frame: &Frame,
    mut payload: &[u8],
    mut revision: Revision,
    visitor: &mut dyn Visitor,
) -> Result<Revision, String> {
    visitor.compacted(frame.compact_revision);
    for _ in 0..frame.records {
        let record = take_record(&mut payload).ok_or("a record cannot be read")?;
        if record.revision != revision + 1 {
            return Err(format!("revision {} follows {revision}", record.revision));
        }
        revision = record.revision;
        visitor.record(record);
    }
    if payload.is_empty() { Ok(revision) } else { Err("bytes are left over behind the last record".into()) }
}

fn read_file(disk: &dyn Disk, name: &str) -> Result<Vec<u8>, JournalError> {
    disk.read(name).map_err(failed_read)
}

fn failed_read(source: io::Error) -> JournalError {
    JournalError::Failed { doing: "read a file of the log", source }
}
