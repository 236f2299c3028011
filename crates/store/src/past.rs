//! What was, at any revision that is still kept: first out of memory (history.rs), then out of the journal's files, or of etcd.
//!
//! All of it may read files, so none of it is for an async thread. The states that were asked for last are kept a while: the
//! pages of a list come in a row.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::entry::Meta;
use crate::etcd::Remote;
use crate::index::{Index, Published};
use crate::journal::{Found, JournalError, Past, Range, Transformer};
use crate::{Entry, EventKind, PastError, ReadError, Revision, Snapshot, Store};

/// States that are kept, and for how long after they were last asked for.
const RECENT_STATES: usize = 4;
const RECENT_FOR: Duration = Duration::from_secs(60);
/// Versions of one key are read up to so many bytes.
const VERSIONS_BYTES_MAX: usize = 32 << 20;

/// One version of a key.
pub struct Version<A> {
    /// Put or delete.
    pub kind: EventKind,
    /// The state written; of a deletion the last state, carrying the deletion's revision.
    pub entry: Arc<Entry<A>>,
    /// When it was written, in Unix milliseconds, where that is known.
    pub time: Option<u64>,
}

impl<A> fmt::Debug for Version<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} at {:?}", self.kind, self.entry, self.time)
    }
}

/// What a store has for reading its past.
pub(crate) struct PastReads<A> {
    /// Where the journal has files.
    files: OnceLock<Past>,
    /// Where an etcd is in the journal's place.
    etcd: OnceLock<Remote>,
    recent: Mutex<VecDeque<Recent<A>>>,
}

struct Recent<A> {
    prefix: Box<str>,
    state: Snapshot<A>,
    asked: Duration,
}

impl<A> Default for PastReads<A> {
    fn default() -> Self {
        Self { files: OnceLock::new(), etcd: OnceLock::new(), recent: Mutex::default() }
    }
}

impl<A> PastReads<A> {
    /// Called once, with what the journal offers.
    pub fn read_from(&self, files: Option<Past>) {
        if let Some(files) = files {
            self.files.get_or_init(|| files);
        }
    }

    /// The same with an etcd.
    pub fn read_from_etcd(&self, etcd: Remote) {
        self.etcd.get_or_init(|| etcd);
    }

    /// The files, if they are kept for history.
    fn kept(&self) -> Option<&Past> {
        self.files.get().filter(|files| files.is_kept())
    }

    fn recent(&self, prefix: &str, revision: Revision, now: Duration) -> Option<Snapshot<A>> {
        let mut recent = self.recent.lock();
        recent.retain(|own| now.saturating_sub(own.asked) < RECENT_FOR);
        let found = recent.iter_mut().find(|own| *own.prefix == *prefix && own.state.revision() == revision)?;
        found.asked = now;
        Some(found.state.clone())
    }

    fn remember(&self, prefix: &str, state: Snapshot<A>, now: Duration) {
        let mut recent = self.recent.lock();
        if recent.len() == RECENT_STATES {
            recent.pop_front();
        }
        recent.push_back(Recent { prefix: prefix.into(), state, asked: now });
    }

    /// Lets go of states that nobody asks for any more.
    pub fn upkeep(&self, now: Duration) {
        self.recent.lock().retain(|own| now.saturating_sub(own.asked) < RECENT_FOR);
    }
}

impl<A: Send + Sync + 'static> Store<A> {
    /// The oldest revision that [`Store::past`] takes. Reads files.
    pub fn kept_since(&self) -> Result<Revision, PastError> {
        let (compacted, shared) = (self.compact_revision(), self.shared());
        let oldest = match (shared.past.etcd.get(), shared.past.kept()) {
            (Some(etcd), _) => Some(etcd.oldest()?),
            (None, Some(files)) => files.oldest()?,
            (None, None) => None,
        };
        Ok(oldest.map_or(compacted, |oldest| oldest.min(compacted)))
    }

    /// The keys with a prefix as they were at a revision. May read files.
    pub fn past(&self, prefix: &str, revision: Revision) -> Result<Snapshot<A>, PastError> {
        let oldest = match self.snapshot_at(revision) {
            Ok(snapshot) => return Ok(snapshot),
            Err(ReadError::Compacted { oldest }) => oldest,
            Err(error) => return Err(error.into()),
        };
        let shared = self.shared();
        if shared.past.kept().is_none() && shared.past.etcd.get().is_none() {
            return Err(ReadError::Compacted { oldest }.into());
        }
        let now = shared.options.clock.monotonic();
        if let Some(known) = shared.past.recent(prefix, revision, now) {
            return Ok(known);
        }
        let found = match shared.past.etcd.get() {
            Some(etcd) => Some(etcd.state(prefix, revision, shared.options.layout())?),
            None => self.in_files(prefix, revision)?,
        };
        let Some(found) = found else { return Err(ReadError::Compacted { oldest: self.kept_since()? }.into()) };
        let state = Snapshot(Arc::new(found));
        shared.past.remember(prefix, state.clone(), now);
        Ok(state)
    }

    fn in_files(&self, prefix: &str, revision: Revision) -> Result<Option<Published<A>>, PastError> {
        let shared = self.shared();
        let options = &shared.options;
        let found = shared.past.kept().map(|files| files.state(prefix, revision)).transpose()?.flatten();
        let Some(found) = found else { return Ok(None) };
        let mut index = Index::new(options.layout());
        for (key, found) in found {
            index.insert(entry(key.into(), found, options.transformer.as_deref())?);
        }
        Ok(Some(Published { index, revision }))
    }

    /// The newest `count_max` versions of a key that are kept, oldest first; fewer where they are large. Before those that were
    /// written since [`Store::kept_since`] comes the one that was there then. May read files.
    pub fn versions(&self, key: &str, count_max: usize) -> Result<Vec<Version<A>>, PastError> {
        let (shared, end) = (self.shared(), self.revision());
        if let Some(etcd) = shared.past.etcd.get() {
            let versions = etcd.versions(key, end, count_max)?.into_iter();
            let time = |revision| self.time_of(revision);
            return Ok(versions.map(|(kind, entry)| Version { kind, time: time(entry.revision), entry }).collect());
        }
        let compacted = self.compact_revision();
        let oldest = shared.past.files.get().map(Past::oldest).transpose()?.flatten();
        let (Some(files), Some(oldest)) = (shared.past.files.get(), oldest.filter(|oldest| *oldest <= compacted))
        else {
            // Memory reaches farther back.
            return Ok(self.versions_in_memory(key, count_max));
        };
        let floor = if files.is_kept() { oldest } else { compacted };
        let range = Range { floor, end, count_max, bytes_max: VERSIONS_BYTES_MAX };
        let (key, transformer) = (Arc::<str>::from(key), shared.options.transformer.as_deref());
        let version = |found: Found| {
            let (kind, time) = (found.kind, found.time);
            Ok(Version { kind, entry: entry(key.clone(), found, transformer)?, time })
        };
        files.versions(&key, &range)?.into_iter().map(version).collect()
    }

    /// The newest revision that was written at or before a time in Unix milliseconds. May read files.
    pub fn revision_at(&self, time: u64) -> Result<Revision, PastError> {
        let (oldest, end, shared) = (self.kept_since()?, self.revision(), self.shared());
        let in_files = match shared.past.files.get() {
            Some(files) => files.revision_at(time, end)?,
            None => None,
        };
        let in_memory = || {
            let clock = &shared.options.clock;
            let ago = Duration::from_millis(clock.unix_millis().saturating_sub(time));
            shared.history.lock().revision_at(clock.monotonic().checked_sub(ago)?)
        };
        let found = in_files.or_else(in_memory);
        found.filter(|revision| *revision >= oldest).ok_or_else(|| ReadError::Compacted { oldest }.into())
    }

    fn versions_in_memory(&self, key: &str, count_max: usize) -> Vec<Version<A>> {
        let mut versions: Vec<Version<A>> = Vec::new();
        {
            let shared = self.shared();
            let history = shared.history.lock();
            for event in history.events_of(key) {
                if let (true, Some(entry)) = (versions.is_empty(), &event.previous) {
                    versions.push(Version { kind: EventKind::Put, entry: entry.clone(), time: None });
                }
                versions.push(Version { kind: event.kind, entry: event.entry.clone(), time: None });
            }
            if versions.is_empty() {
                let entry = history.present.index.get(key).cloned();
                versions.extend(entry.map(|entry| Version { kind: EventKind::Put, entry, time: None }));
            }
        }
        versions.iter_mut().for_each(|own| own.time = self.time_of(own.entry.revision));
        versions.split_off(versions.len().saturating_sub(count_max))
    }

    /// When a revision was written, in Unix milliseconds, as far as this process was there.
    fn time_of(&self, revision: Revision) -> Option<u64> {
        let shared = self.shared();
        let clock = &shared.options.clock;
        let time = shared.history.lock().time_of(revision)?;
        let ago = clock.monotonic().saturating_sub(time);
        Some(clock.unix_millis().saturating_sub(u64::try_from(ago.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// What the files have, as the store serves it.
fn entry<A>(key: Arc<str>, found: Found, transformer: Option<&dyn Transformer>) -> Result<Arc<Entry<A>>, JournalError> {
    let Found { create_revision, revision, value, revision_at, expires_at, .. } = found;
    let value = match transformer {
        None => Bytes::from(value),
        Some(transformer) => match transformer.open(&key, &value) {
            Ok(opened) => Bytes::from(opened.value.into_owned()),
            Err(reason) => return Err(JournalError::Open { key: (*key).to_owned(), reason }),
        },
    };
    let meta = Meta { revision_at, expires_at, malformed: false };
    Ok(Entry::new(key, create_revision, revision, value, meta))
}
