//! Making a log's folder as small as its state, while no server uses it. (A server does the like by itself when the log has grown.)

use std::path::Path;

use crate::Revision;
use crate::journal::inspect::State;
use crate::journal::{Journal as _, JournalError, Retention, Wal, WalOptions};

/// Writes a snapshot of the newest state and drops the log before it, with its history and with old segments that were kept to be
/// written over. Gives back the revision it stands at, which stays what it was.
pub fn compact(folder: &Path, options: WalOptions) -> Result<Revision, JournalError> {
    let options = WalOptions { recycle: false, retention: Retention::OFF, ..options };
    let mut wal = Wal::open(folder, options)?;
    let mut state = State::default();
    wal.replay(&mut state)?;
    let revision = wal.revision()?;
    let mut sink = wal.begin_snapshot(revision, revision)?;
    for record in state.records() {
        sink.write(record)?;
    }
    sink.finish()?;
    Ok(revision)
}
