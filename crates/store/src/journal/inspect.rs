//! Looking into a log's folder without changing anything in it, also while a server writes to it: what is read then is the
//! state after some batch that was durable.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::journal::disk::{Disk, DiskFile, head_of, names};
use crate::journal::{JournalError, Past, Record, Visitor, recover, snapshot};
use crate::{EventKind, Revision};

/// A server that finishes a snapshot removes files in the middle of a look; the next look finds the new ones.
const TRIES: usize = 5;

/// What there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The newest revision.
    pub revision: Revision,
    /// The revision of the snapshot that the log begins with, if there is one.
    pub snapshot: Option<Revision>,
    /// Bytes of that snapshot's file.
    pub snapshot_bytes: u64,
    /// Bytes of the log after the snapshot.
    pub log_bytes: u64,
    /// Bytes of the keys and values in that log; the rest is framing.
    pub accepted_bytes: u64,
    /// Bytes at the log's end that are no whole batch: one that is being written, or was when the server was killed.
    pub torn_bytes: u64,
}

/// A state: every key that is there, with its value.
#[derive(Clone, Debug, Default)]
pub struct State {
    keys: BTreeMap<String, Kept>,
    /// Bytes of the keys and values of all writes that came after the snapshot.
    accepted_bytes: u64,
}

/// What is kept of a key.
#[derive(Clone, Debug)]
struct Kept {
    create_revision: Revision,
    revision: Revision,
    value: Vec<u8>,
    revision_at: Option<u32>,
    expires_at: u64,
}

impl State {
    /// One key.
    pub fn get(&self, key: &str) -> Option<Record<'_>> {
        self.keys.get_key_value(key).map(record)
    }

    /// All keys, in their order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        self.keys.iter().map(record)
    }
}

fn record<'s>((key, kept): (&'s String, &'s Kept)) -> Record<'s> {
    let Kept { create_revision, revision, ref value, revision_at, expires_at } = *kept;
    Record { kind: EventKind::Put, key, create_revision, revision, value, revision_at, expires_at }
}

impl Visitor for State {
    fn snapshot(&mut self, _: Revision) {}

    fn entry(&mut self, record: Record<'_>) {
        let Record { create_revision, revision, value, revision_at, expires_at, .. } = record;
        let kept = Kept { create_revision, revision, value: value.to_vec(), revision_at, expires_at };
        self.keys.insert(record.key.to_owned(), kept);
    }

    fn record(&mut self, record: Record<'_>) {
        self.accepted_bytes += (record.key.len() + record.value.len()) as u64;
        match record.kind {
            EventKind::Put => self.entry(record),
            EventKind::Delete => drop(self.keys.remove(record.key)),
        }
    }

    fn compacted(&mut self, _: Revision) {}
}

/// Reads the state in a folder whole and checks every checksum in it.
pub fn inspect(folder: &Path) -> Result<(State, Inspection), JournalError> {
    let disk = ReadOnly(folder.to_path_buf());
    let mut tried = 1;
    loop {
        let mut state = State::default();
        match recover::read_all(&disk, &mut state) {
            Ok((recovered, base)) => {
                let torn_bytes = recovered.end.map_or(0, |end| end.torn_bytes as u64);
                let snapshot = base.map(|header| header.revision);
                let file = snapshot.map(|revision| fs::metadata(folder.join(snapshot::name(revision))));
                // A newer one may have taken its place since.
                let snapshot_bytes = file.and_then(Result::ok).map_or(0, |file| file.len());
                let (revision, log_bytes, accepted_bytes) =
                    (recovered.revision, recovered.log_bytes, state.accepted_bytes);
                let found = Inspection { revision, snapshot, snapshot_bytes, log_bytes, accepted_bytes, torn_bytes };
                return Ok((state, found));
            }
            Err(error) if tried == TRIES => return Err(error),
            Err(_) => tried += 1,
        }
    }
}

/// Reads what is kept as history too and checks every checksum in it; gives back the oldest revision that can be read there.
pub fn check_history(folder: &Path) -> Result<Option<Revision>, JournalError> {
    let disk: Arc<dyn Disk> = Arc::new(ReadOnly(folder.to_path_buf()));
    Past::new(&disk, true).check()
}

/// A folder that nothing is written to.
pub(super) struct ReadOnly(pub PathBuf);

fn refused<T>() -> io::Result<T> {
    Err(io::ErrorKind::ReadOnlyFilesystem.into())
}

impl Disk for ReadOnly {
    fn folder(&self) -> PathBuf {
        self.0.clone()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        names(&self.0)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.0.join(name))
    }

    fn reader(&self, name: &str) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(fs::File::open(self.0.join(name))?))
    }

    fn read_head(&self, name: &str, bytes: usize) -> io::Result<Vec<u8>> {
        head_of(&self.0.join(name), bytes)
    }

    fn create(&self, _: &str, _: u64) -> io::Result<Box<dyn DiskFile>> {
        refused()
    }

    fn open(&self, _: &str) -> io::Result<Box<dyn DiskFile>> {
        refused()
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refused()
    }

    fn sync_names(&self) -> io::Result<()> {
        refused()
    }

    fn unique(&self) -> u64 {
        0
    }
}
