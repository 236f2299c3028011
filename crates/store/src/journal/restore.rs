//! Making a log's folder out of a state that was kept elsewhere.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::Revision;
use crate::journal::disk::{Disk, Folder};
use crate::journal::wal::{WalOptions, begin_segment};
use crate::journal::{JournalError, Record, SnapshotSink as _, segment, snapshot};

/// Begins a log in a folder, which must have none and need not be there, with a state at `revision`; history before it is not
/// promised. The entries come in the order of their keys, and none is newer than `revision`.
pub fn restore<'r>(
    folder: &Path,
    options: WalOptions,
    revision: Revision,
    entries: impl IntoIterator<Item = Record<'r>>,
) -> Result<(), JournalError> {
    let doing = "restore the store";
    let failed = |source| JournalError::Failed { doing, source };
    let disk: Arc<dyn Disk> = Arc::new(Folder::open(folder)?);
    let is_of_a_log =
        |name: &String| segment::number(name).is_some() || snapshot::revision(name).is_some() || snapshot::spare(name);
    if disk.list().map_err(failed)?.iter().any(is_of_a_log) {
        return Err(failed(io::Error::new(io::ErrorKind::AlreadyExists, "the folder has a log already")));
    }
    let store_id = disk.unique();
    let number = 1;
    let header =
        segment::Header { version: segment::VERSION, store_id, number, first_sequence: 1, base_revision: revision };
    begin_segment(&*disk, &header, options.segment_bytes)?;
    // When the revisions were written is not known here.
    let header = snapshot::Header { store_id, revision, compact_revision: revision, first_segment: number, time: 0 };
    let mut writer = Box::new(snapshot::Writer::begin(disk, header, options)?);
    for entry in entries {
        if entry.revision > revision {
            let detail = format!("{} is newer than the state it is in", entry.key);
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, detail)));
        }
        writer.write(entry)?;
    }
    writer.finish().map(drop)
}
