//! How long old log stays, beyond what a start needs: with retention, the log before a snapshot and the older snapshots are
//! kept instead of being removed or written over. That costs no write; what it costs is room.
//!
//! What is kept is kept in stretches: a snapshot and the log from it to the next one. A stretch goes, oldest first, when all of it
//! is beyond one of the limits, which is looked at when a snapshot is finished and at a start. So history reaches back at
//! least as far as the limits of time and number say, and by up to a stretch farther.

use std::collections::HashSet;
use std::io;
use std::time::Duration;

use crate::Revision;
use crate::journal::disk::Disk;
use crate::journal::recover::FIRST_REVISION;
use crate::journal::{segment, snapshot};

/// What ends the keeping of old log: any of the limits that are set. With none set nothing is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Time since a state was superseded.
    pub age: Option<Duration>,
    /// Number of revisions.
    pub revisions: Option<u64>,
    /// Bytes of files that are kept for history alone.
    pub bytes: Option<u64>,
}

impl Retention {
    /// Nothing is kept.
    pub const OFF: Self = Self { age: None, revisions: None, bytes: None };

    /// Whether anything is kept.
    pub fn is_on(&self) -> bool {
        *self != Self::OFF
    }

    /// Whether all states before this snapshot are old enough to go.
    fn outlived(&self, end: &snapshot::Header, newest: &snapshot::Header) -> bool {
        let millis = |age: Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.age.is_some_and(|age| end.time.saturating_add(millis(age)) <= newest.time)
            || self.revisions.is_some_and(|count| end.revision.saturating_add(count) <= newest.revision)
    }
}

/// What of a folder is to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Snapshots from this one on.
    pub revision: Revision,
    /// Segments from this one on.
    pub first_segment: u64,
}

/// Decides what stays before the newest snapshot.
pub(crate) fn kept(
    disk: &dyn Disk,
    names: &[String],
    newest: &snapshot::Header,
    retention: &Retention,
) -> io::Result<Kept> {
    let mut kept = Kept { revision: newest.revision, first_segment: newest.first_segment };
    if !retention.is_on() {
        return Ok(kept);
    }
    let segments: HashSet<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    let (mut end, mut bytes) = (*newest, 0);
    for start in starts(disk, names, newest)? {
        let mut log = start.first_segment..end.first_segment;
        if retention.outlived(&end, newest) || !log.all(|number| segments.contains(&number)) {
            break;
        }
        if let Some(bytes_max) = retention.bytes {
            let log = (start.first_segment..end.first_segment).map(segment::name);
            for name in log.chain(names.iter().find(|name| snapshot::revision(name) == Some(start.revision)).cloned()) {
                bytes += disk.open(&name)?.length()?;
            }
            if bytes > bytes_max {
                break;
            }
        }
        kept = Kept { revision: start.revision, first_segment: start.first_segment };
        end = start;
    }
    Ok(kept)
}

/// Where stretches before the newest snapshot begin, newest first: older snapshots, and the beginning of the log.
fn starts(disk: &dyn Disk, names: &[String], newest: &snapshot::Header) -> io::Result<Vec<snapshot::Header>> {
    let is_older = |name: &&String| snapshot::revision(name).is_some_and(|revision| revision < newest.revision);
    let mut starts = Vec::new();
    for name in names.iter().filter(is_older) {
        // One that cannot be read begins nothing.
        starts.extend(snapshot::header(&disk.read_head(name, snapshot::HEADER)?, disk, name).ok());
    }
    starts.retain(|header| header.store_id == newest.store_id && header.first_segment <= newest.first_segment);
    if names.iter().any(|name| segment::number(name) == Some(1)) && newest.first_segment > 1 {
        let head = disk.read_head(&segment::name(1), segment::HEADER)?;
        let first = segment::Header::decode(&head, disk.folder().join(segment::name(1))).ok();
        starts.extend(first.filter(|first| first.base_revision == FIRST_REVISION).map(|first| snapshot::Header {
            store_id: first.store_id,
            revision: FIRST_REVISION,
            compact_revision: FIRST_REVISION,
            first_segment: 1,
            time: 0,
        }));
    }
    starts.sort_unstable_by_key(|header| std::cmp::Reverse(header.revision));
    Ok(starts)
}
