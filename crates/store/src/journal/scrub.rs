//! Reading a log's folder from the disk, slowly and beside the server that writes to it, so that bits that have gone bad are
//! found while the state in memory is still whole. ([`inspect`](super::inspect) reads the same for the sake of what is in it.)
//!
//! What the system has cached says nothing about the disk, so it is made to forget it first. And what looks damaged is looked
//! at again: the server writes, renames and removes files meanwhile.

use std::fs;
use std::io::{self, Read, Seek as _};
use std::ops::RangeInclusive;
use std::path::Path;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::Revision;
use crate::journal::disk::Disk as _;
use crate::journal::inspect::ReadOnly;
use crate::journal::lost::{self, Damaged};
use crate::journal::{JournalError, segment, snapshot};

/// Looks at something that seems damaged.
const TRIES: usize = 3;
/// Read at once.
const PIECE: usize = 256 << 10;

/// What was read.
#[derive(Debug, Default)]
pub struct Scrubbed {
    /// Files that were read to their end.
    pub files: usize,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong, file by file.
    pub damaged: Vec<JournalError>,
    /// The same of files that are there as history alone. Nothing can mend them; no start needs them.
    pub damaged_history: Vec<JournalError>,
    /// The revisions whose states cannot be read any more because of that, oldest first.
    pub lost: Vec<RangeInclusive<Revision>>,
}

/// Checks every checksum of what a restart would need, and of what is kept as history. `reached` is a revision that the store has
/// published. `pace` is told how many bytes were read just now; it waits as long as it sees fit, and ends the look by false: then
/// the result is `None`.
pub fn scrub(
    folder: &Path,
    reached: Revision,
    pace: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<Scrubbed>, JournalError> {
    let mut look = Look { disk: ReadOnly(folder.to_path_buf()), reached, pace, ended: false, bytes: 0 };
    let (mut found, mut history) = (Scrubbed::default(), Damaged::default());
    for part in look.all()? {
        let mut tried = 0;
        loop {
            tried += 1;
            let checked = look.check(&part).map_err(|error| look.named(error, &part));
            if look.ended {
                return Ok(None);
            }
            match checked {
                Ok(()) => found.files += 1,
                Err(_) if !look.all()?.contains(&part) => {}
                Err(_) if tried < TRIES => continue,
                // The segment before a damaged one ends nobody knows where, which is no damage of its own.
                Err(error) if found.names(&error) => {}
                Err(error) if look.parts()?.contains(&part) => found.damaged.push(error),
                Err(error) => {
                    found.damaged_history.push(error);
                    match part {
                        Part::Snapshot(revision) => history.snapshots.push(revision),
                        Part::Segment { number } => history.segments.push(number),
                    }
                }
            }
            break;
        }
    }
    if !found.damaged_history.is_empty() {
        found.lost = lost::lost(&look.disk, &history)?;
    }
    found.bytes = look.bytes;
    Ok(Some(found))
}

impl Scrubbed {
    /// Whether the file that an error is about is known to be damaged.
    fn names(&self, error: &JournalError) -> bool {
        let JournalError::Corrupt { file, .. } = error else { return false };
        let mut known = self.damaged.iter().chain(&self.damaged_history);
        known.any(|own| matches!(own, JournalError::Corrupt { file: own, .. } if own == file))
    }
}

/// A file to be checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Snapshot(Revision),
    Segment { number: u64 },
}

struct Look<'a> {
    disk: ReadOnly,
    reached: Revision,
    pace: &'a mut dyn FnMut(usize) -> bool,
    ended: bool,
    bytes: u64,
}

impl Look<'_> {
    /// The newest snapshot and the segments behind it, without a gap, there or not.
    fn parts(&self) -> Result<Vec<Part>, JournalError> {
        let names = self.disk.list().map_err(failed)?;
        let snapshot = names.iter().filter_map(|name| snapshot::revision(name)).max();
        let segments = || names.iter().filter_map(|name| segment::number(name));
        let first = match snapshot {
            None => Some(1),
            // If it cannot be read, that is found when it is checked.
            Some(revision) => self.header(revision).ok().map(|header| header.first_segment).or(segments().min()),
        };
        let behind = first.into_iter().flat_map(|first| first..=segments().max().unwrap_or(first));
        let behind = behind.map(|number| Part::Segment { number });
        Ok(snapshot.map(Part::Snapshot).into_iter().chain(behind).collect())
    }

    /// What a restart needs and then what is before it: older snapshots, and the log without a gap up to what a restart needs.
    fn all(&self) -> Result<Vec<Part>, JournalError> {
        let mut parts = self.parts()?;
        let names = self.disk.list().map_err(failed)?;
        let first = parts.iter().find_map(|part| match part {
            Part::Segment { number } => Some(*number),
            Part::Snapshot(_) => None,
        });
        let is_there = |number: &u64| names.iter().any(|name| segment::number(name) == Some(*number));
        let before = (1..first.unwrap_or(1)).rev().take_while(is_there).map(|number| Part::Segment { number });
        let older = names.iter().filter_map(|name| snapshot::revision(name)).map(Part::Snapshot);
        let older: Vec<Part> = older.chain(before).filter(|part| !parts.contains(part)).collect();
        parts.extend(older);
        Ok(parts)
    }

    fn header(&self, revision: Revision) -> Result<snapshot::Header, JournalError> {
        let name = snapshot::name(revision);
        let head = self.disk.read_head(&name, snapshot::HEADER).map_err(failed)?;
        snapshot::header(&head, &self.disk, &name)
    }

    /// What the disk does not give is damaged too, and its name is told.
    fn named(&self, error: JournalError, part: &Part) -> JournalError {
        let JournalError::Failed { source, .. } = error else { return error };
        let name = match *part {
            Part::Snapshot(revision) => snapshot::name(revision),
            Part::Segment { number } => segment::name(number),
        };
        let (file, detail) = (self.disk.folder().join(name), format!("it cannot be read: {source}"));
        JournalError::Corrupt { file, offset: 0, detail }
    }

    fn check(&mut self, part: &Part) -> Result<(), JournalError> {
        match *part {
            Part::Snapshot(revision) => {
                let (header, name) = (self.header(revision)?, snapshot::name(revision));
                let disk = ReadOnly(self.disk.folder());
                let mut file = self.open(&name).map_err(failed)?;
                file.file.seek(io::SeekFrom::Start(snapshot::HEADER as u64)).map_err(failed)?;
                snapshot::check_from(&mut file, &header, &disk, &name)
            }
            Part::Segment { number } => self.check_segment(number),
        }
    }

    fn check_segment(&mut self, number: u64) -> Result<(), JournalError> {
        let (name, next, reached) = (segment::name(number), segment::name(number + 1), self.reached);
        let path = self.disk.folder().join(&name);
        let corrupt = |offset: usize, detail: String| {
            Err(JournalError::Corrupt { file: path.clone(), offset: offset as u64, detail })
        };
        let next = match self.disk.read_head(&next, segment::HEADER) {
            Ok(head) => Some(segment::Header::decode(&head, self.disk.folder().join(&next))?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        let mut file = match self.open(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return corrupt(0, "the segment is missing".into());
            }
            opened => opened.map_err(failed)?,
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(failed)?;
        let header = segment::Header::decode(&bytes, path.clone())?;
        let next_first = next.map(|next| next.first_sequence);
        let mut looked_at = None;
        let (end, revision) = loop {
            let mut revision = header.base_revision;
            let scanned = segment::scan(&bytes, &header, path.clone(), next_first, |frame, _| {
                revision = frame.first_revision + u64::from(frame.records) - 1;
                Ok(())
            });
            match scanned {
                // The newest segment grows behind what has been read, which looks as if the batch at its end then were bad. It is
                // there when it is read again.
                Err(JournalError::Corrupt { offset, .. }) if next_first.is_none() && looked_at != Some(offset) => {
                    looked_at = Some(offset);
                    file.file.seek(io::SeekFrom::Start(offset)).map_err(failed)?;
                    bytes.truncate(offset as usize);
                    file.read_to_end(&mut bytes).map_err(failed)?;
                }
                scanned => break (scanned?, revision),
            }
        };
        drop(file);
        if next_first.is_none() && revision < reached {
            return corrupt(end.offset, format!("the log ends at revision {revision}, {reached} was written"));
        }
        Ok(())
    }

    /// The file as it is on the disk.
    fn open(&mut self, name: &str) -> io::Result<Slow<'_>> {
        let file = fs::File::open(self.disk.folder().join(name))?;
        forget(&file)?;
        Ok(Slow { file, pace: self.pace, ended: &mut self.ended, bytes: &mut self.bytes })
    }
}

/// A file read at the pace that is given.
struct Slow<'a> {
    file: fs::File,
    pace: &'a mut dyn FnMut(usize) -> bool,
    ended: &'a mut bool,
    bytes: &'a mut u64,
}

impl Read for Slow<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = buffer.len().min(PIECE);
        let read = self.file.read(&mut buffer[..piece])?;
        *self.bytes += read as u64;
        if read > 0 && !(self.pace)(read) {
            *self.ended = true;
            return Err(io::Error::other("the look was ended"));
        }
        Ok(read)
    }
}

impl Drop for Slow<'_> {
    /// What was read once a day is not worth the memory; if the system keeps it all the same, no harm is done.
    fn drop(&mut self) {
        let _ = forget(&self.file);
    }
}

/// The system keeps nothing in memory of what is on the disk anyway.
fn forget(file: &fs::File) -> io::Result<()> {
    match posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED) {
        // Some file systems have nothing to forget.
        Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn failed(source: io::Error) -> JournalError {
    JournalError::Failed { doing: "read the log to check it", source }
}
