//! Which states cannot be had any more out of files that are kept as history, where some of them are damaged.
//!
//! Example: snapshots at 100, 200 and 300. Where the log behind 100 can be read up to 150, the states from 151 to 199 are lost: at
//! 200 the snapshot is begun with. If the snapshot at 200 is damaged nothing is lost, for that at 100 and the log make the same
//! states; but with both, those from 151 to 299 are.

use std::ops::RangeInclusive;

use crate::Revision;
use crate::journal::chain::Chain;
use crate::journal::disk::Disk;
use crate::journal::frame::{FRAME_HEADER, Frame, salt};
use crate::journal::recover::FIRST_REVISION;
use crate::journal::{JournalError, segment, snapshot};

/// Reads of all headers before it is believed that the disk does not give one of them.
const TRIES: usize = 3;

/// Damaged files, none of which a restart needs.
#[derive(Debug, Default)]
pub(super) struct Damaged {
    pub snapshots: Vec<Revision>,
    pub segments: Vec<u64>,
}

/// The revisions whose states are lost, oldest first.
pub(super) fn lost(disk: &dyn Disk, damaged: &Damaged) -> Result<Vec<RangeInclusive<Revision>>, JournalError> {
    let names = disk
        .list()
        .map_err(|source| JournalError::Failed { doing: "find out what of the log's history is lost", source })?;
    let Some(chain) = (0..TRIES).find_map(|_| Chain::read(disk).ok()) else {
        // Nothing at all is read without it.
        let newest = names.iter().filter_map(|name| snapshot::revision(name)).max().unwrap_or(FIRST_REVISION);
        let all = oldest(disk, &names, None)..=newest - 1;
        return Ok(if all.is_empty() { Vec::new() } else { vec![all] });
    };
    let whole: Vec<u64> = chain
        .starts()
        .filter(|start| start.snapshot.is_none_or(|header| !damaged.snapshots.contains(&header.revision)))
        .map(|start| start.first_segment)
        .collect();
    // A damaged segment without a header is not in the chain, nor is anything before it.
    let cut_off = chain.segments.first().filter(|first| damaged.segments.iter().any(|own| *own < first.number));
    // The first revision that is lost, while it is not known up to where.
    let mut since = cut_off.map(|first| oldest(disk, &names, Some(first.store_id)));
    let (mut lost, mut is_there) = (Vec::new(), false);
    for (place, header) in chain.segments.iter().enumerate() {
        let base = header.base_revision;
        if whole.contains(&header.number) {
            is_there = true;
            lost.extend(since.take().filter(|first| *first < base).map(|first| first..=base - 1));
        } else if !is_there && since.is_none() && damaged.snapshots.contains(&base) {
            since = Some(base);
        }
        let Some(next) = chain.segments.get(place + 1) else { break };
        if is_there && damaged.segments.contains(&header.number) {
            let reached = reached(disk, header);
            if reached < next.base_revision {
                (since, is_there) = (Some(reached + 1), false);
            }
        }
    }
    Ok(lost)
}

/// The oldest state that was kept: that which the oldest segment goes on from, as its header says, or its first batch.
fn oldest(disk: &dyn Disk, names: &[String], store_id: Option<u64>) -> Revision {
    let base = || {
        let number = names.iter().filter_map(|name| segment::number(name)).min()?;
        let head = disk.read_head(&segment::name(number), segment::HEADER + FRAME_HEADER).ok()?;
        let header = segment::Header::decode(&head, disk.folder()).ok();
        let frame = || Frame::read(head.get(segment::HEADER..)?, salt(store_id?, number));
        header.map(|header| header.base_revision).or_else(|| frame()?.first_revision.checked_sub(1))
    };
    let snapshot = || names.iter().filter_map(|name| snapshot::revision(name)).min();
    base().or_else(snapshot).unwrap_or(FIRST_REVISION)
}

/// The revision up to which a segment can be read.
fn reached(disk: &dyn Disk, header: &segment::Header) -> Revision {
    let bytes = disk.read(&segment::name(header.number)).unwrap_or_default();
    let last = segment::frames(&bytes, header).last();
    last.map_or(header.base_revision, |(frame, ..)| (frame.first_revision + u64::from(frame.records)).saturating_sub(1))
}
