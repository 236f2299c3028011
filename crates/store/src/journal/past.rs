//! Reading what was out of the files: the state at an old revision, the versions of a key, the revision at a time.
//!
//! Example: snapshots at 100 and 200, log up to 250. The state at 180 is the snapshot at 100 with the log behind it up to 180;
//! the versions of a key are looked for in the log from its end back, and the oldest is the one in the snapshot at 100. Where the
//! snapshot at 200 is damaged, that at 100 and more of the log make the states from 200 on too (what cannot be made: lost.rs).
//!
//! All of it goes on beside the writer. What is asked for was durable before; but a snapshot that is finished meanwhile may take
//! files away or let them be written over, which checksums and headers show, and then the read begins anew.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Weak};

use crate::journal::chain::{Chain, Start};
use crate::journal::disk::Disk;
use crate::journal::frame::{FRAME_HEADER, Frame, take_record};
use crate::journal::segment::{self, frames};
use crate::journal::{JournalError, Record, snapshot};
use crate::{EventKind, Revision};

/// How often a read begins anew.
const TRIES: usize = 5;

/// Reads the files of a log while it is written.
pub struct Past {
    /// Not held: the folder is let go when the journal is.
    disk: Weak<dyn Disk>,
    /// Whether files are kept for this; else they are there as long as a start needs them.
    is_kept: bool,
}

/// What the files have of one version of a key, the value in the form that is kept.
pub(crate) struct Found {
    pub kind: EventKind,
    pub create_revision: Revision,
    pub revision: Revision,
    pub value: Vec<u8>,
    pub revision_at: Option<u32>,
    pub expires_at: u64,
    /// When it was written, in Unix milliseconds, where that is known.
    pub time: Option<u64>,
}

/// Which versions of a key are wanted.
pub(crate) struct Range {
    /// Of the older ones, only that which was there at this revision.
    pub floor: Revision,
    /// The newest revision looked at.
    pub end: Revision,
    /// The newest so many.
    pub count_max: usize,
    /// No more than one beyond so many bytes.
    pub bytes_max: usize,
}

impl Found {
    /// Whether the key was not there before.
    fn is_first(&self) -> bool {
        self.kind == EventKind::Put && self.revision == self.create_revision
    }

    fn of(record: &Record<'_>, time: Option<u64>) -> Self {
        let Record { kind, create_revision, revision, value, revision_at, expires_at, .. } = *record;
        Self { kind, create_revision, revision, value: value.to_vec(), revision_at, expires_at, time }
    }
}

impl Past {
    pub(super) fn new(disk: &Arc<dyn Disk>, is_kept: bool) -> Self {
        Self { disk: Arc::downgrade(disk), is_kept }
    }

    /// Whether files are kept for history.
    pub fn is_kept(&self) -> bool {
        self.is_kept
    }

    /// The oldest revision whose state can be had; `None` if there is none.
    pub(crate) fn oldest(&self) -> Result<Option<Revision>, JournalError> {
        self.begin_anew(|_, chain| Ok(chain.starts().next().map(|start| start.revision)))
    }

    /// Reads all that is kept before the newest segment and checks its checksums; gives back the oldest revision that can be had.
    pub(crate) fn check(&self) -> Result<Option<Revision>, JournalError> {
        self.begin_anew(|files, chain| {
            for header in &chain.snapshots {
                files.entries(header, |_| true)?;
            }
            for place in 0..chain.segments.len().saturating_sub(1) {
                files.log(chain, place, Revision::MAX, |_, _| {})?;
            }
            Ok(chain.starts().next().map(|start| start.revision))
        })
    }

    /// The keys with this prefix at a revision, which must be durable; `None` if that is too old.
    pub(crate) fn state(
        &self,
        prefix: &str,
        revision: Revision,
    ) -> Result<Option<BTreeMap<String, Found>>, JournalError> {
        self.begin_anew(|files, chain| {
            let mut wrong = None;
            for start in chain.starts_up_to(revision) {
                match files.state(chain, &start, prefix, revision) {
                    Ok(state) => return Ok(Some(state)),
                    // An older one and more of the log make the same.
                    Err(Wrong::Snapshot(error)) => drop(wrong.get_or_insert(error)),
                    // Which an older one would need too.
                    Err(Wrong::Log(error)) => return Err(wrong.unwrap_or(error)),
                }
            }
            wrong.map_or(Ok(None), Err)
        })
    }

    /// The newest versions of a key, oldest first. Where `floor` is older than what there is, the oldest state stands for it.
    pub(crate) fn versions(&self, key: &str, range: &Range) -> Result<Vec<Found>, JournalError> {
        self.begin_anew(|files, chain| {
            let start = chain.starts_up_to(range.floor).next();
            let Some(start) = start.or_else(|| chain.starts().next()) else { return Ok(Vec::new()) };
            let mut versions: VecDeque<Found> = VecDeque::new();
            let mut bytes = 0;
            for place in (chain.place(start.first_segment)..chain.segments.len()).rev() {
                let mut own = Vec::new();
                files.log(chain, place, range.end, |record, time| {
                    if record.key == key {
                        own.push(Found::of(&record, time));
                    }
                })?;
                for version in own.into_iter().rev() {
                    if version.revision <= range.floor && version.kind == EventKind::Delete {
                        return Ok(versions.into());
                    }
                    bytes += version.value.len();
                    let is_last = version.revision <= range.floor;
                    versions.push_front(version);
                    if is_last || versions.len() >= range.count_max || bytes > range.bytes_max {
                        return Ok(versions.into());
                    }
                }
            }
            // What was made since was not there then.
            let is_made_since = versions.front().is_some_and(|first| first.is_first());
            if let Some(header) = start.snapshot.filter(|_| !is_made_since) {
                files.entries(&header, |record| {
                    if record.key == key {
                        versions.push_front(Found::of(&record, None));
                    }
                    record.key < key
                })?;
            }
            Ok(versions.into())
        })
    }

    /// The newest revision, up to `end`, that was written at or before a time in Unix milliseconds; `None` if that is not known.
    pub(crate) fn revision_at(&self, time: u64, end: Revision) -> Result<Option<Revision>, JournalError> {
        self.begin_anew(|files, chain| {
            for (place, header) in chain.segments.iter().enumerate().rev() {
                let first = match files.first_time(header)? {
                    // Of an older segment that has a batch, it is damaged.
                    First::None => {
                        files.is_read(chain, place, Revision::MAX, header.base_revision)?;
                        continue;
                    }
                    First::Unknown => break,
                    First::At(first) => first,
                };
                if first > time {
                    continue;
                }
                let bytes = files.0.read(&segment::name(header.number)).map_err(failed)?;
                let (mut revision, mut reached, mut is_passed) = (header.base_revision, header.base_revision, false);
                for (frame, written, _) in frames(&bytes, header) {
                    reached = (frame.first_revision + u64::from(frame.records)).saturating_sub(1);
                    match written {
                        Some(written) if written <= time => revision = reached,
                        _ => is_passed = true,
                    }
                }
                // What cannot be read may have been written by then.
                if !is_passed {
                    files.is_read(chain, place, Revision::MAX, reached)?;
                }
                return Ok(Some(revision.min(end)));
            }
            // Before the first batch that is kept lies the state that it goes on from.
            let mut known = chain.snapshots.iter().rev().filter(|header| header.time != 0 && header.time <= time);
            Ok(known.next().map(|header| header.revision))
        })
    }

    fn begin_anew<T>(
        &self,
        mut read: impl FnMut(&Files, &Chain) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let disk = self.disk.upgrade().ok_or_else(|| failed(io::Error::other("the store is closed")))?;
        let files = Files(disk);
        let mut tried = 1;
        loop {
            match Chain::read(&*files.0).and_then(|chain| read(&files, &chain)) {
                Err(_) if tried < TRIES => tried += 1,
                result => return result,
            }
        }
    }
}

/// What of a state cannot be read.
enum Wrong {
    Snapshot(JournalError),
    Log(JournalError),
}

/// The files while they are read.
struct Files(Arc<dyn Disk>);

impl Files {
    /// The keys with a prefix at a revision, from a state before it on.
    fn state(
        &self,
        chain: &Chain,
        start: &Start,
        prefix: &str,
        revision: Revision,
    ) -> Result<BTreeMap<String, Found>, Wrong> {
        let mut state = BTreeMap::new();
        if let Some(header) = &start.snapshot {
            let entries = self.entries(header, |record| {
                if record.key.starts_with(prefix) {
                    state.insert(record.key.to_owned(), Found::of(&record, None));
                }
                // Sorted by key: behind the prefix there is nothing more.
                record.key < prefix || record.key.starts_with(prefix)
            });
            entries.map_err(Wrong::Snapshot)?;
        }
        for place in chain.place(start.first_segment)..chain.segments.len() {
            if chain.segments[place].base_revision >= revision {
                break;
            }
            let log = self.log(chain, place, revision, |record, time| {
                if !record.key.starts_with(prefix) {
                    return;
                }
                match record.kind {
                    EventKind::Put => drop(state.insert(record.key.to_owned(), Found::of(&record, time))),
                    EventKind::Delete => drop(state.remove(record.key)),
                }
            });
            log.map_err(Wrong::Log)?;
        }
        Ok(state)
    }

    /// When the first batch of a segment was written.
    fn first_time(&self, header: &segment::Header) -> Result<First, JournalError> {
        let length = segment::HEADER + FRAME_HEADER + size_of::<u64>();
        let head = self.0.read_head(&segment::name(header.number), length).map_err(failed)?;
        let frame = head.get(segment::HEADER..).and_then(|rest| Frame::read(rest, header.salt()));
        let is_first = frame.is_some_and(|frame| frame.sequence == header.first_sequence);
        let payload = head.get(segment::HEADER + FRAME_HEADER..).filter(|_| is_first);
        Ok(match payload.and_then(|payload| header.open(payload)) {
            None => First::None,
            Some((None, _)) => First::Unknown,
            Some((Some(time), _)) => First::At(time),
        })
    }

    /// The records of a segment up to a revision.
    fn log(
        &self,
        chain: &Chain,
        place: usize,
        end: Revision,
        mut visit: impl FnMut(Record<'_>, Option<u64>),
    ) -> Result<(), JournalError> {
        let Some(header) = chain.segments.get(place) else { return Ok(()) };
        let name = segment::name(header.number);
        let bytes = self.0.read(&name).map_err(failed)?;
        let mut reached = header.base_revision;
        for (frame, time, mut records) in frames(&bytes, header) {
            for _ in 0..frame.records {
                let Some(record) = take_record(&mut records) else { break };
                if record.revision > end {
                    return Ok(());
                }
                reached = record.revision;
                visit(record, time);
            }
        }
        self.is_read(chain, place, end, reached)
    }

    /// An error if a segment was not read as far as it was written, up to `end`.
    fn is_read(&self, chain: &Chain, place: usize, end: Revision, reached: Revision) -> Result<(), JournalError> {
        // How far the newest one was written only who asks knows.
        let wanted = chain.segments.get(place + 1).map_or(end, |next| next.base_revision.min(end));
        let Some(header) = chain.segments.get(place).filter(|_| reached < wanted && wanted != Revision::MAX) else {
            return Ok(());
        };
        let detail = format!("it can be read up to revision {reached}, not up to {wanted}");
        Err(JournalError::Corrupt { file: self.0.folder().join(segment::name(header.number)), offset: 0, detail })
    }

    /// The entries of a snapshot, in the order of their keys, while `visit` says to go on.
    fn entries(&self, header: &snapshot::Header, visit: impl FnMut(Record<'_>) -> bool) -> Result<(), JournalError> {
        let name = snapshot::name(header.revision);
        let source = self.0.reader(&name).map_err(failed)?;
        snapshot::entries(source, header, &*self.0, &name, visit)
    }
}

/// What is known of a segment's first batch.
enum First {
    /// There is none yet.
    None,
    /// Its version has no times.
    Unknown,
    At(u64),
}

fn failed(source: io::Error) -> JournalError {
    JournalError::Failed { doing: "read the log's history", source }
}
