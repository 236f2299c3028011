//! The write-ahead log: segments of frames in a folder, a snapshot now and then, one fsync for each batch.
//!
//! ```text
//! lock                           held while a server serves the folder
//! log-000000000007               a segment: header, frames (segment.rs, frame.rs)
//! log-000000000008               the newest one is written to
//! snapshot-00000000000000031337  the state at that revision; names the segment that goes on after it (snapshot.rs)
//! spare-000000000005             an old segment that will be written over
//! *.tmp                          unfinished, removed at the next start
//! ```
//!
//! With retention older snapshots and the log behind them stay as they are (retention.rs), and past.rs reads them.
//!
//! What happens when the disk fails: no room for a frame or a new segment leaves the log as it was, and the next append tries
//! again (`Full`). Any other failure of a write or a sync ends writing for good (`Failed`): after a failed fsync the system may
//! have dropped the very pages it could not write and say "done" to the next one.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::Revision;
use crate::journal::disk::{Disk, DiskFile, Folder, is_full};
use crate::journal::frame::{FRAME_HEADER, put_record, seal};
use crate::journal::recover::{self, Recovered};
use crate::journal::{
    Batch, Journal, JournalError, JournalStats, Past, Retention, SnapshotSink, Visitor, segment, snapshot,
};

/// Settings of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalOptions {
    /// Size of a segment.
    pub segment_bytes: u64,
    /// A snapshot is written when the log has grown by this much, and by no less than the state itself has.
    pub snapshot_log_bytes: u64,
    /// Old segments are kept to be written over again, as many as the log fills until the next snapshot: their blocks are in place, so
    /// that an fsync has no inode to write. Off where what was written before must not stay on the disk.
    pub recycle: bool,
    /// What of the log stays though no start needs it.
    pub retention: Retention,
}

impl Default for WalOptions {
    fn default() -> Self {
        Self { segment_bytes: 16 << 20, snapshot_log_bytes: 32 << 20, recycle: true, retention: Retention::OFF }
    }
}

/// The log in a folder.
pub struct Wal {
    disk: Arc<dyn Disk>,
    options: WalOptions,
    state: Option<State>,
    /// Why nothing may be appended any more.
    broken: bool,
    buffer: Vec<u8>,
    stats: JournalStats,
}

/// Where the log stands; known after replay.
struct State {
    file: Box<dyn DiskFile>,
    header: segment::Header,
    length: u64,
    offset: u64,
    sequence: u64,
    revision: Revision,
    /// When that was written, in Unix milliseconds; 0 where nobody knows.
    time: u64,
}

impl Wal {
    /// Opens the log in a folder, making it if need be.
    pub fn open(folder: impl Into<std::path::PathBuf>, options: WalOptions) -> Result<Self, JournalError> {
        Ok(Self::on(Arc::new(Folder::open(folder)?), options))
    }

    /// The log on any disk.
    pub fn on(disk: Arc<dyn Disk>, options: WalOptions) -> Self {
        Self { disk, options, state: None, broken: false, buffer: Vec::new(), stats: JournalStats::default() }
    }

    /// The newest revision in the log.
    pub(super) fn revision(&self) -> Result<Revision, JournalError> {
        self.state.as_ref().map(|state| state.revision).ok_or_else(not_open)
    }

    /// Begins the segment behind the current one.
    fn rotate(&mut self, room: u64) -> Result<(), JournalError> {
        let Some(state) = &self.state else { return Err(not_open()) };
        let header = segment::Header {
            version: segment::VERSION,
            number: state.header.number + 1,
            first_sequence: state.sequence,
            base_revision: state.revision,
            ..state.header
        };
        let State { sequence, revision, time, .. } = *state;
        let length = self.options.segment_bytes.max(segment::HEADER as u64 + room);
        let (file, length) = begin_segment(&*self.disk, &header, length)?;
        self.stats.segments += 1;
        self.state = Some(State { file, header, length, offset: segment::HEADER as u64, sequence, revision, time });
        // Only now: a segment that has its name but may lose it again must never be followed by a write to the old one.
        self.disk.sync_names().map_err(|source| {
            self.broken = true;
            JournalError::Failed { doing: "begin a segment of the log", source }
        })
    }

    fn encode(&mut self, batch: &Batch<'_>) {
        self.buffer.clear();
        self.buffer.resize(FRAME_HEADER, 0);
        self.buffer.extend_from_slice(&batch.time.to_le_bytes());
        for record in batch.records {
            put_record(&mut self.buffer, record);
        }
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<(), JournalError> {
        let Some(state) = &mut self.state else { return Err(not_open()) };
        let first = batch.records.first().map_or(state.revision + 1, |record| record.revision);
        let records = batch.records.len() as u32;
        seal(&mut self.buffer, state.header.salt(), records, state.sequence, first, batch.compact_revision);
        let length = self.buffer.len() as u64;
        // An empty header behind the frame ends the log there, whatever an old segment holds behind it.
        let behind = (state.length - state.offset - length).min(FRAME_HEADER as u64);
        self.buffer.resize(self.buffer.len() + behind as usize, 0);
        if let Err(source) = state.file.write_at(&self.buffer, state.offset) {
            let doing = "append to the log";
            // The writers will be told that nothing happened, so what did get written must not be found after a crash. If even
            // this has no room, then the frame's beginning is not there to be found.
            let undone = match state.file.write_at(&[0; FRAME_HEADER], state.offset) {
                Err(error) if !is_full(&error) => false,
                _ => state.file.sync().is_ok(),
            };
            if is_full(&source) && undone {
                return Err(JournalError::Full { doing, source });
            }
            self.broken = true;
            return Err(JournalError::Failed { doing, source });
        }
        let begun = Instant::now();
        if let Err(source) = state.file.sync() {
            self.broken = true;
            return Err(JournalError::Failed { doing: "sync the log", source });
        }
        self.stats.sync_duration.observe(begun.elapsed());
        self.stats.bytes_written += self.buffer.len() as u64;
        self.stats.log_bytes += length;
        state.offset += length;
        state.sequence += 1;
        state.revision = batch.records.last().map_or(state.revision, |record| record.revision);
        state.time = batch.time;
        Ok(())
    }
}

impl Journal for Wal {
    fn replay(&mut self, visitor: &mut dyn Visitor) -> Result<(), JournalError> {
        let Recovered { header, end, last_frame, revision, time, log_bytes } =
            recover::recover(&*self.disk, &self.options, visitor)?;
        let doing = "open the log";
        let (file, length) = match &end {
            Some(end) => {
                let mut file = self.disk.open(&segment::name(header.number)).map_err(|source| failed(doing, source))?;
                // Readers are about to see the last batch, which may be in the system's memory only: its process was killed
                // before the sync, or the sync failed, and then a new one alone would do nothing. So it is written again.
                file.write_at(&last_frame, end.last_frame as u64).map_err(|source| failed(doing, source))?;
                file.sync().map_err(|source| failed(doing, source))?;
                self.disk.sync_names().map_err(|source| failed(doing, source))?;
                let length = file.length().map_err(|source| failed(doing, source))?;
                (file, length)
            }
            None => {
                let begun = begin_segment(&*self.disk, &header, self.options.segment_bytes)?;
                self.disk.sync_names().map_err(|source| failed(doing, source))?;
                self.stats.segments += 1;
                begun
            }
        };
        let torn = end.as_ref().map_or(0, |end| end.torn_bytes);
        let (offset, sequence) =
            end.map_or((segment::HEADER as u64, header.first_sequence), |end| (end.offset as u64, end.sequence));
        if torn > 0 {
            tracing::warn!(
                file = segment::name(header.number),
                offset,
                bytes = torn,
                "the log ends in an unfinished write, which nobody was told of; it is dropped"
            );
        }
        self.stats.torn_bytes = torn as u64;
        self.stats.log_bytes = log_bytes;
        self.state = Some(State { file, header, length, offset, sequence, revision, time });
        Ok(())
    }

    fn append(&mut self, batch: Batch<'_>) -> Result<(), JournalError> {
        if self.broken {
            return Err(failed(
                "append to the log",
                io::Error::other("an earlier failure left it in an unknown state"),
            ));
        }
        self.encode(&batch);
        let room = self.buffer.len().next_multiple_of(8) as u64;
        let Some(state) = &self.state else { return Err(not_open()) };
        // A segment of an earlier version is not gone on with: its frames have another form.
        if state.offset + room > state.length || state.header.version != segment::VERSION {
            self.rotate(room)?;
        }
        let result = self.write(&batch);
        if self.buffer.capacity() > 4 << 20 {
            self.buffer = Vec::new();
        }
        result
    }

    fn snapshot_due(&self, state_bytes: u64) -> bool {
        !self.broken && self.stats.log_bytes >= self.options.snapshot_log_bytes.max(state_bytes)
    }

    fn begin_snapshot(&mut self, revision: Revision, compact: Revision) -> Result<Box<dyn SnapshotSink>, JournalError> {
        // Counted from here on even if this fails: the next attempt is worth its cost only when the log has grown again.
        self.stats.log_bytes = 0;
        self.rotate(0)?;
        let Some(state) = &self.state else { return Err(not_open()) };
        let (segment::Header { store_id, number, .. }, time) = (state.header, state.time);
        let header = snapshot::Header { store_id, revision, compact_revision: compact, first_segment: number, time };
        Ok(Box::new(snapshot::Writer::begin(self.disk.clone(), header, self.options)?))
    }

    fn past(&self) -> Option<Past> {
        Some(Past::new(&self.disk, self.options.retention.is_on()))
    }

    fn stats(&self) -> JournalStats {
        self.stats.clone()
    }
}

/// Makes a segment, from a spare if there is one. Its name is not durable yet.
pub(super) fn begin_segment(
    disk: &dyn Disk,
    header: &segment::Header,
    length: u64,
) -> Result<(Box<dyn DiskFile>, u64), JournalError> {
    let doing = "begin a segment of the log";
    let temporary = "segment.tmp";
    let begin = || {
        let spare = disk.list()?.into_iter().find(|name| snapshot::spare(name));
        let mut file = match spare {
            Some(spare) => {
                let file = disk.open(&spare)?;
                if file.length()? < length {
                    // Made under other settings.
                    disk.remove(&spare)?;
                    disk.create(temporary, length)?
                } else {
                    disk.rename(&spare, temporary)?;
                    file
                }
            }
            None => disk.create(temporary, length)?,
        };
        let mut head = [0; segment::HEADER + FRAME_HEADER];
        head[..segment::HEADER].copy_from_slice(&header.encode());
        file.write_at(&head, 0)?;
        file.sync()?;
        let length = file.length()?;
        disk.rename(temporary, &segment::name(header.number))?;
        io::Result::Ok((file, length))
    };
    begin().map_err(|source| {
        // Gives back the room that was set aside; if that fails too, the next attempt empties the file.
        let _ = disk.remove(temporary);
        failed(doing, source)
    })
}

fn failed(doing: &'static str, source: io::Error) -> JournalError {
    if is_full(&source) { JournalError::Full { doing, source } } else { JournalError::Failed { doing, source } }
}

fn not_open() -> JournalError {
    failed("use the log", io::Error::other("it has not been replayed"))
}
