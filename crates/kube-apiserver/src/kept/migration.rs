//! From files to an etcd and back, while a server uses them or none does.
//!
//! Resource versions never go backwards: etcd is raised beyond the revision of the files before it takes their objects (which get
//! later ones), and files go on at the revision of etcd. So clients that come back with an old version get 410 or a
//! conflict, and never an older state under a newer number.
//!
//! The way to etcd is long (each object is a write) and gone while the files are in use: all objects, then what has changed meanwhile, again
//! and again until that is little; only then writers wait, for the last few. The way back is short, files being fast to write, and
//! gone while writers wait; readers never do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use encryption::Encryption;
use serde::{Deserialize, Serialize};
use serde_json::json;
use store::journal::{JournalError, Transformer};
use store::{NewValue, Precondition, Snapshot, Stay, Store};

use super::{BACK, KeptError, MOVED};
use crate::etcd::{Etcd, master_leases, node_ports};
use crate::registry::{Attrs, encode, keys};
use crate::{Config, encryption_config};

/// Writes to the files that a move allows for, at least.
const WRITES_MIN: usize = 1000;
/// So many are copied quickly enough for the writers to wait for it.
const WRITES_FEW: usize = 64;
/// After so many looks at what has changed it is what it is.
const ROUNDS_MAX: usize = 20;

/// How long other servers may take to go: a little longer than they count after they have gone.
const OTHERS_PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(500);

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
pub(super) struct Migration<'a> {
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

impl Migration<'_> {
    /// The objects leave their files for an empty etcd, and the store with them: it is read all the time, its
    /// writers wait for the last step. The files stay, with a mark that leads the next start to that etcd.
    pub async fn to_etcd(&self) -> Result<Moved, MigrationError> {
        let Self { store, folder, settings, config, encryption, tell } = self;
        let etcd = {
            let (settings, config, encryption) = ((*settings).clone(), (*config).clone(), encryption.clone());
            blocking(move || super::follow_etcd(&settings, &config, encryption.as_ref())).await?
        };
        let prefix = || settings.prefix.clone();
        let objects = etcd.snapshot().totals().entries;
        if objects > 0 {
            return Err(MigrationError::NotEmpty { objects, prefix: prefix() });
        }
        let failed =
            |error: store::WriteError<Attrs>| MigrationError::Write { prefix: prefix(), reason: error.to_string() };
        tell(Progress::Raising);
        let mut copied = store.snapshot();
        all_readable(&copied)?;
        // What is written to the files from now on must not reach the revisions that etcd gives.
        let above = copied.revision() + copied.totals().entries.max(WRITES_MIN) as u64;
        let scratch = encode::encode_as("RangeAllocation", "v1", &json!({ "metadata": { "name": "migration" } }));
        let scratch = scratch
            .map_err(|status| MigrationError::Write { prefix: prefix(), reason: status.message().to_owned() })?;
        let scratch = NewValue::new(scratch.bytes, Some(scratch.revision_at));
        etcd.raise(&format!("{}ranges/migration", keys::ROOT), &scratch, above).await.map_err(failed)?;
        tell(Progress::Copying { objects: copied.totals().entries });
        copied.copy_to(None, &etcd).await.map_err(failed)?;
        tell(Progress::Following);
        for _ in 0..ROUNDS_MAX {
            let now = store.snapshot();
            let writes = now.copy_to(Some(&copied), &etcd).await.map_err(failed)?;
            copied = now;
            if writes <= WRITES_FEW {
                break;
            }
        }
        let pause = store.pause().await;
        let begun = Instant::now();
        let last = pause.snapshot();
        last.copy_to(Some(&copied), &etcd).await.map_err(failed)?;
        if last.revision() >= above {
            return Err(MigrationError::TooFast { prefix: prefix() });
        }
        all_readable(&last)?;
        let there = etcd.snapshot();
        check(&last, &there)?;
        // The steps in between are nobody's to resume from, also for the servers that come later.
        let reason = |error: store::CompactError| MigrationError::Write { prefix: prefix(), reason: error.to_string() };
        etcd.compact(there.revision()).await.map_err(reason)?;
        write(&folder.join(MOVED), &serde_json::to_vec_pretty(settings).unwrap_or_default())?;
        let moved = Moved { objects: there.totals().entries, revision: there.revision() };
        pause.go_on_with(etcd).await;
        tell(moved.after(begun));
        Ok(moved)
    }

    /// The objects leave an etcd for the files of a new store, and the store with them; files that were moved to etcd before go aside. They
    /// stay in etcd too, with a mark that keeps servers from serving them.
    pub async fn to_files(&self) -> Result<Moved, MigrationError> {
        let Self { store, folder, settings, config, encryption, tell } = self;
        let was_moved = folder.join(MOVED).exists();
        if folder.exists() && !was_moved {
            return Err(MigrationError::Exists { folder: folder.to_path_buf() });
        }
        let failed = |reason: String| MigrationError::Write { prefix: settings.prefix.clone(), reason };
        // One that went a moment ago still counts.
        if let Some(addresses) = others(&store.snapshot(), config) {
            tell(Progress::Waiting { addresses });
            let patience = tokio::time::Instant::now() + OTHERS_PATIENCE;
            while others(&store.snapshot(), config).is_some() && tokio::time::Instant::now() < patience {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        tell(Progress::Copying { objects: store.snapshot().totals().entries });
        let pause = store.pause().await;
        let begun = Instant::now();
        store.barrier().await.map_err(|error| failed(error.to_string()))?;
        let state = pause.snapshot();
        if let Some(addresses) = others(&state, config) {
            return Err(MigrationError::Others { addresses });
        }
        all_readable(&state)?;
        let written = folder.with_extension("new");
        let (transformer, wal) = (encryption.clone(), encryption_config::wal_options(encryption.is_some()));
        let now = jiff::Timestamp::now().as_second().unsigned_abs();
        let saving = {
            let (state, written, config) = (state.clone(), written.clone(), (*config).clone());
            move || {
                if written.exists() {
                    fs::remove_dir_all(&written)
                        .map_err(|source| io_failed("remove an unfinished store at", &written, source))?;
                }
                let transformer = transformer.as_deref().map(|encryption| encryption as &dyn Transformer);
                let saved = state.save(&written, wal, transformer, now, |key| stay(key, &config));
                saved.map_err(|source| MigrationError::Save { folder: written.clone(), source })
            }
        };
        blocking(saving).await?;
        let back = format!("{}{BACK}", keys::ROOT);
        let mark = json!({ "metadata": { "name": "moved" }, "data": { "to": folder.display().to_string() } });
        let mark = encode::encode_as("ConfigMap", "v1", &mark).map_err(|status| failed(status.message().to_owned()))?;
        let mark = NewValue::new(mark.bytes, Some(mark.revision_at));
        pause.put(&back, mark, Precondition::Any).await.map_err(|error| failed(error.to_string()))?;
        if was_moved {
            let aside = folder.with_extension(format!("before-{}", state.revision()));
            fs::rename(folder, &aside).map_err(|source| io_failed("put aside", folder, source))?;
        }
        fs::rename(&written, folder).map_err(|source| io_failed("give its name to the store at", folder, source))?;
        sync_names(folder)?;
        let files = {
            let (folder, config, encryption) = (folder.to_path_buf(), (*config).clone(), encryption.clone());
            blocking(move || super::open_files(&folder, &config, encryption.as_ref())).await?
        };
        let moved = Moved { objects: files.snapshot().totals().entries, revision: state.revision() };
        pause.go_on_with(files).await;
        tell(moved.after(begun));
        Ok(moved)
    }
}

/// The addresses of the other servers that count, if there are any.
fn others(state: &Snapshot<Attrs>, config: &Config) -> Option<String> {
    let others = master_leases::addresses_in(state).into_iter().filter(|other| *other != config.advertise_address);
    let others: Vec<String> = others.map(|other| other.to_string()).collect();
    (!others.is_empty()).then(|| others.join(", "))
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
pub(super) fn all_readable(state: &Snapshot<Attrs>) -> Result<(), MigrationError> {
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

/// Every key is there but for those that expire, and nothing else.
fn check(from: &Snapshot<Attrs>, to: &Snapshot<Attrs>) -> Result<(), MigrationError> {
    let missing = from.range("", None).filter(|entry| !entry.expires() && to.get(&entry.key).is_none());
    let foreign = to.range("", None).filter(|entry| from.get(&entry.key).is_none());
    let different: Vec<_> = missing.chain(foreign).collect();
    match different.first() {
        None => Ok(()),
        Some(first) => Err(MigrationError::Different { count: different.len(), first: first.key.to_string() }),
    }
}

/// What servers on one etcd tell each other stays behind; Events, whose leases only etcd knows, begin their time anew.
pub(super) fn stay(key: &str, config: &Config) -> Stay {
    if key.starts_with(keys::MASTER_LEASES) || key == node_ports::KEY {
        return Stay::Not;
    }
    match keys::built_in(key) {
        Some(kind) if kind.plural == "events" => Stay::For(config.event_ttl),
        _ => Stay::Always,
    }
}

/// Durably.
fn write(file: &Path, bytes: &[u8]) -> Result<(), MigrationError> {
    let unfinished = file.with_extension("tmp");
    let written = fs::write(&unfinished, bytes).and_then(|()| fs::File::open(&unfinished)?.sync_all());
    written.and_then(|()| fs::rename(&unfinished, file)).map_err(|source| io_failed("write", file, source))?;
    sync_names(file)
}

/// The names in the folder of `file` become durable.
fn sync_names(file: &Path) -> Result<(), MigrationError> {
    let Some(folder) = file.parent() else { return Ok(()) };
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| io_failed("sync", folder, source))
}

fn io_failed(doing: &'static str, file: &Path, source: io::Error) -> MigrationError {
    MigrationError::Io { doing, file: file.to_owned(), source }
}
