//! Reading what was out of the files: the state at an old revision, the versions of a key, the revision at a time.
//!
//! Example: snapshots at 100 and 200, log up to 250. The state at 180 is the snapshot at 100 with the log behind it up to 180;
//! the versions of a key are looked for in the log from its end back, and the oldest is the one in the snapshot at 100.
//!
//! All of it goes on beside the writer. What is asked for was durable before; but a snapshot that is finished meanwhile may take
//! files away or let them be written over, which checksums and headers show, and then the read begins anew.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Weak};

use crate::journal::disk::Disk;
use crate::journal::frame::{FRAME_HEADER, Frame, take_record};
use crate::journal::recover::FIRST_REVISION;
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
    fn of(record: &Record<'_>, time: Option<u64>) -> Self {
        let Record { kind, create_revision, revision, value, revision_at, expires_at, .. } = *record;
        Self { kind, create_revision, revision, value: value.to_vec(), revision_at, expires_at, time }
    }
}

/// The files that follow each other without a gap up to the newest one, oldest first.
struct Chain {
    segments: Vec<segment::Header>,
    /// Those whose log is in `segments`.
    snapshots: Vec<snapshot::Header>,
}

/// A state to begin with.
#[derive(Clone, Copy)]
struct Start {
    snapshot: Option<snapshot::Header>,
    revision: Revision,
    first_segment: u64,
}

impl Chain {
    fn read(disk: &dyn Disk) -> Result<Self, JournalError> {
        let names = disk.list().map_err(failed)?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
        numbers.sort_unstable();
        let mut segments: VecDeque<segment::Header> = VecDeque::new();
        for number in numbers.into_iter().rev() {
            let name = segment::name(number);
            let head = disk.read_head(&name, segment::HEADER).map_err(failed)?;
            let Ok(header) = segment::Header::decode(&head, disk.folder().join(&name)) else { break };
            let follows = segments.front().is_none_or(|next| {
                next.number == number + 1
                    && next.store_id == header.store_id
                    && next.base_revision >= header.base_revision
                    && next.first_sequence >= header.first_sequence
            });
            if header.number != number || !follows {
                break;
            }
            segments.push_front(header);
        }
        let segments = Vec::from(segments);
        let mut snapshots = Vec::new();
        for name in names.iter().filter(|name| snapshot::revision(name).is_some()) {
            let head = disk.read_head(name, snapshot::HEADER).map_err(failed)?;
            // One that cannot be read is no way to anything.
            let header = snapshot::header(&head, disk, name).ok();
            let goes_on = |header: &snapshot::Header| {
                segments.iter().any(|own| {
                    (own.number, own.base_revision, own.store_id)
                        == (header.first_segment, header.revision, header.store_id)
                })
            };
            snapshots.extend(header.filter(goes_on));
        }
        snapshots.sort_unstable_by_key(|header| header.revision);
        Ok(Self { segments, snapshots })
    }

    /// The states that can be begun with, oldest first.
    fn starts(&self) -> impl DoubleEndedIterator<Item = Start> {
        let is_first = |first: &&segment::Header| first.number == 1 && first.base_revision == FIRST_REVISION;
        let empty = Start { snapshot: None, revision: FIRST_REVISION, first_segment: 1 };
        let empty = self.segments.first().filter(is_first).map(|_| empty);
        let of = |header: &snapshot::Header| Start {
            snapshot: Some(*header),
            revision: header.revision,
            first_segment: header.first_segment,
        };
        empty.into_iter().chain(self.snapshots.iter().map(of))
    }

    /// The newest state at or before a revision that can be begun with.
    fn start(&self, revision: Revision) -> Option<Start> {
        self.starts().rfind(|start| start.revision <= revision)
    }

    /// The place of a segment.
    fn place(&self, number: u64) -> usize {
        self.segments.partition_point(|header| header.number < number)
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
            let Some(start) = chain.start(revision) else { return Ok(None) };
            let mut state = BTreeMap::new();
            if let Some(header) = &start.snapshot {
                files.entries(header, |record| {
                    if record.key.starts_with(prefix) {
                        state.insert(record.key.to_owned(), Found::of(&record, None));
                    }
                    // Sorted by key: behind the prefix there is nothing more.
                    record.key < prefix || record.key.starts_with(prefix)
                })?;
            }
            for place in chain.place(start.first_segment)..chain.segments.len() {
                if chain.segments[place].base_revision >= revision {
                    break;
                }
                files.log(chain, place, revision, |record, time| {
                    if !record.key.starts_with(prefix) {
                        return;
                    }
                    match record.kind {
                        EventKind::Put => drop(state.insert(record.key.to_owned(), Found::of(&record, time))),
                        EventKind::Delete => drop(state.remove(record.key)),
                    }
                })?;
            }
            Ok(Some(state))
        })
    }

    /// The newest versions of a key, oldest first. Where `floor` is older than what there is, the oldest state stands for it.
    pub(crate) fn versions(&self, key: &str, range: &Range) -> Result<Vec<Found>, JournalError> {
        self.begin_anew(|files, chain| {
            let Some(start) = chain.start(range.floor).or_else(|| chain.starts().next()) else {
                return Ok(Vec::new());
            };
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
            if let Some(header) = &start.snapshot {
                files.entries(header, |record| {
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
            for header in chain.segments.iter().rev() {
                let first = match files.first_time(header)? {
                    First::None => continue,
                    First::Unknown => break,
                    First::At(first) => first,
                };
                if first > time {
                    continue;
                }
                let bytes = files.0.read(&segment::name(header.number)).map_err(failed)?;
                let mut revision = header.base_revision;
                for (frame, written, _) in frames(&bytes, header) {
                    if written.is_some_and(|written| written <= time) {
                        revision = (frame.first_revision + u64::from(frame.records)).saturating_sub(1);
                    }
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

/// The files while they are read.
struct Files(Arc<dyn Disk>);

impl Files {
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
        let wanted = chain.segments.get(place + 1).map_or(end, |next| next.base_revision.min(end));
        if reached >= wanted {
            return Ok(());
        }
        let detail = format!("it can be read up to revision {reached}, not up to {wanted}");
        Err(JournalError::Corrupt { file: self.0.folder().join(name), offset: 0, detail })
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
