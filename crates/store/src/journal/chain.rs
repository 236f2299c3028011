//! The files of a log as what was: which segments go on where the one before ends, and which states can be begun with.

use std::collections::VecDeque;
use std::io;

use crate::Revision;
use crate::journal::disk::Disk;
use crate::journal::recover::FIRST_REVISION;
use crate::journal::{JournalError, segment, snapshot};

/// The files that follow each other without a gap up to the newest one, oldest first.
pub(crate) struct Chain {
    pub segments: Vec<segment::Header>,
    /// Those whose log is in `segments`.
    pub snapshots: Vec<snapshot::Header>,
}

/// A state to begin with.
#[derive(Clone, Copy)]
pub(crate) struct Start {
    /// The state is empty where there is none.
    pub snapshot: Option<snapshot::Header>,
    pub revision: Revision,
    pub first_segment: u64,
}

impl Chain {
    pub fn read(disk: &dyn Disk) -> Result<Self, JournalError> {
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
    pub fn starts(&self) -> impl DoubleEndedIterator<Item = Start> {
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

    /// The states at or before a revision that can be begun with, newest first.
    pub fn starts_up_to(&self, revision: Revision) -> impl Iterator<Item = Start> {
        self.starts().rev().filter(move |start| start.revision <= revision)
    }

    /// The place of a segment.
    pub fn place(&self, number: u64) -> usize {
        self.segments.partition_point(|header| header.number < number)
    }
}

fn failed(source: io::Error) -> JournalError {
    JournalError::Failed { doing: "read the log's history", source }
}
