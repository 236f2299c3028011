//! From files to an etcd and back, while a server uses them or none does.
//!
//! Either way is gone while the place that is left is in use: all objects, then what has changed meanwhile, again and again until that is
//! little; only then writers wait, for the last few. Readers never do.
//!
//! Resource versions never go backwards: the new place stands beyond every revision of the old one before it takes what has changed. An etcd
//! numbers its writes itself, so it is raised by writes of a key that nobody reads, and all objects get later versions; files are begun
//! there, and only what changed during the move gets later ones. So clients that come back with an old version get 410 or
//! a conflict, and never an older state under a newer number.

mod to_etcd;
mod to_files;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use encryption::Encryption;
use serde::{Deserialize, Serialize};
use store::journal::JournalError;
use store::{Entry, Snapshot, Stay, Store};

use super::KeptError;
use crate::etcd::{Etcd, node_ports};
use crate::registry::{Attrs, keys};
use crate::{Config, encryption_config};

/// So many are copied quickly enough for the writers to wait for it.
const WRITES_FEW: usize = 64;
/// After so many looks at what has changed it is what it is.
const ROUNDS_MAX: usize = 20;

/// What was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moved {
    /// Objects, and the other values that servers share.
    pub objects: usize,
    /// Where the new place stands.
    pub revision: u64,
}

/// Why nothing was moved, or not all. The place that was read from stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    #[error(transparent)]
    Encryption(#[from] encryption::ConfigError),
    #[error(transparent)]
    Open(#[from] KeptError),
    #[error(
        "there are {objects} keys below {prefix} in etcd already: choose another --etcd-prefix, or remove them: etcdctl del --prefix {prefix}/"
    )]
    NotEmpty { objects: usize, prefix: String },
    #[error("the value of {key} is encrypted at rest: --encryption-provider-config says how to read it")]
    Sealed { key: String },
    #[error("the value of {key} in etcd cannot be read: mend it, or remove it with etcdctl")]
    Malformed { key: String },
    #[error(
        "failed to write to etcd, which holds a part now: remove what is below {prefix} there before the next attempt: {reason}"
    )]
    Write { prefix: String, reason: String },
    #[error("{} keys are not in etcd as they were, the first is {first}", count)]
    Different { count: usize, first: String },
    #[error(
        "the cluster was written to faster than etcd takes it: remove what is below {prefix} there, and try again when less is \
         going on"
    )]
    TooFast { prefix: String },
    #[error("etcd was written to faster than files follow it: try again when less is going on")]
    Busy,
    #[error("other servers use this etcd too ({addresses}): stop them first; they count for 15 s after they have gone")]
    Others { addresses: String },
    #[error("there is a store already at {}", folder.display())]
    Exists { folder: PathBuf },
    #[error("failed to write the store at {}", folder.display())]
    Save {
        folder: PathBuf,
        #[source]
        source: JournalError,
    },
    #[error("failed to follow etcd with the store at {}: {reason}", folder.display())]
    Unsaved { folder: PathBuf, reason: String },
    #[error("failed to {doing} {}", file.display())]
    Io {
        doing: &'static str,
        file: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// How far a move has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "camelCase")]
pub enum Progress {
    /// The new place is looked at.
    Opening,
    /// Other servers are to go first.
    Waiting {
        addresses: String,
    },
    /// etcd is made to count as far as the files do.
    Raising,
    /// The objects are written to the new place.
    Copying {
        objects: usize,
    },
    /// What has changed meanwhile is.
    Following,
    #[serde(rename_all = "camelCase")]
    Moved {
        objects: usize,
        revision: u64,
        /// Milliseconds for which writers waited.
        paused_milliseconds: u64,
    },
    Failed {
        reason: String,
    },
}

/// One move.
pub(in crate::kept) struct Migration<'a> {
    /// May be in use meanwhile.
    pub store: &'a Store<Attrs>,
    /// Of the files.
    pub folder: &'a Path,
    /// The etcd.
    pub settings: &'a Etcd,
    pub config: &'a Config,
    pub encryption: Option<Arc<Encryption>>,
    pub tell: &'a (dyn Fn(Progress) + Send + Sync),
}

/// Moves the objects of files, or those of an etcd, that no server uses.
pub async fn at_rest(to_files: bool, folder: &Path, settings: &Etcd, config: &Config) -> Result<Moved, MigrationError> {
    let encryption = encryption_config::open(config)?;
    let opening = {
        let (folder, settings, config, encryption) =
            (folder.to_owned(), settings.clone(), config.clone(), encryption.clone());
        move || {
            if to_files {
                return super::open_etcd(&settings, &config, encryption.as_ref());
            }
            super::still_kept(&folder)?;
            super::open_files(&folder, &config, encryption.as_ref())
        }
    };
    let store = blocking(opening).await?;
    let migration = Migration { store: &store, folder, settings, config, encryption, tell: &|_| {} };
    let moved = if to_files { migration.to_files().await } else { migration.to_etcd().await };
    store.close().await;
    moved
}

impl Moved {
    fn after(self, begun: Instant) -> Progress {
        let paused = begun.elapsed().as_millis();
        let Self { objects, revision } = self;
        Progress::Moved { objects, revision, paused_milliseconds: u64::try_from(paused).unwrap_or(u64::MAX) }
    }
}

/// Work that reads and writes files, or waits, is too long for an async thread.
async fn blocking<T: Send + 'static, E: Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// What only its keys, or nobody, can read would be carried on as if it were the object.
pub(in crate::kept) fn all_readable(state: &Snapshot<Attrs>) -> Result<(), MigrationError> {
    for entry in state.range("", None) {
        let key = || entry.key.to_string();
        if entry.value.starts_with(encryption::ENCRYPTED.as_bytes()) {
            return Err(MigrationError::Sealed { key: key() });
        }
        if entry.is_malformed() {
            return Err(MigrationError::Malformed { key: key() });
        }
    }
    Ok(())
}

/// Every key that stays is in both but for those that expire, which may have come to their end in one place alone.
fn check(from: &Snapshot<Attrs>, to: &Snapshot<Attrs>, stay: impl Fn(&str) -> Stay) -> Result<(), MigrationError> {
    let lasts = |entry: &&Arc<Entry<Attrs>>| !entry.expires() && stay(&entry.key) == Stay::Always;
    let mut different = from.in_one_of(to).filter(lasts);
    match different.next() {
        None => Ok(()),
        Some(first) => Err(MigrationError::Different { count: 1 + different.count(), first: first.key.to_string() }),
    }
}

/// What servers on one etcd tell each other stays behind; Events, whose leases only etcd knows, begin their time anew.
pub(in crate::kept) fn stay(key: &str, config: &Config) -> Stay {
    if key.starts_with(keys::MASTER_LEASES) || key == node_ports::KEY {
        return Stay::Not;
    }
    match keys::built_in(key) {
        Some(kind) if kind.plural == "events" => Stay::For(config.event_ttl),
        _ => Stay::Always,
    }
}

fn io_failed(doing: &'static str, file: &Path, source: io::Error) -> MigrationError {
    MigrationError::Io { doing, file: file.to_owned(), source }
}
