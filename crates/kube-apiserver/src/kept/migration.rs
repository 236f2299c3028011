//! From files to an etcd and back, while no server uses either.
//!
//! Resource versions never go backwards: etcd is raised to the revision of the files before it takes their objects (which get
//! later ones), and files go on at the revision of etcd. So clients that come back with an old version get 410 or a
//! conflict, and never an older state under a newer number.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use encryption::Encryption;
use serde_json::json;
use store::journal::{JournalError, Transformer};
use store::{NewValue, Snapshot, Stay, Store};

use super::{KeptError, MOVED, open_files};
use crate::etcd::{Etcd, node_ports};
use crate::registry::{Attrs, encode, keys};
use crate::{Config, encryption_config};

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
        "there are {objects} keys below {prefix} in etcd already: choose another --etcd-prefix, or remove them with etcdctl"
    )]
    NotEmpty { objects: usize, prefix: String },
    #[error("the value of {key} is encrypted at rest: --encryption-provider-config says how to read it")]
    Sealed { key: String },
    #[error(
        "failed to write to etcd, which holds a part now: remove what is below {prefix} there before the next attempt: {reason}"
    )]
    Write { prefix: String, reason: String },
    #[error("{} keys are not in etcd as they were, the first is {first}", count)]
    Different { count: usize, first: String },
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

/// From the files in `folder` to an empty etcd. The files stay, with a mark that keeps a server from serving them.
pub async fn to_etcd(folder: &Path, settings: &Etcd, config: &Config) -> Result<Moved, MigrationError> {
    let encryption = encryption_config::open(config)?;
    let files = open_files(folder, config, encryption.as_ref())?;
    let etcd = open_etcd(settings, config, encryption.clone()).await?;
    let prefix = || settings.prefix.clone();
    let objects = etcd.snapshot().totals().entries;
    if objects > 0 {
        return Err(MigrationError::NotEmpty { objects, prefix: prefix() });
    }
    let state = files.snapshot();
    none_sealed(&state)?;
    let failed =
        |error: store::WriteError<Attrs>| MigrationError::Write { prefix: prefix(), reason: error.to_string() };
    let scratch = encode::encode_as("RangeAllocation", "v1", &json!({ "metadata": { "name": "migration" } }));
    let scratch =
        scratch.map_err(|status| MigrationError::Write { prefix: prefix(), reason: status.message().to_owned() })?;
    let scratch = NewValue::new(scratch.bytes, Some(scratch.revision_at));
    etcd.raise(&format!("{}ranges/migration", keys::ROOT), &scratch, state.revision()).await.map_err(failed)?;
    state.copy_to(&etcd).await.map_err(failed)?;
    let there = etcd.snapshot();
    check(&state, &there)?;
    write(&folder.join(MOVED), &format!("{} {}\n", settings.servers.join(","), settings.prefix))?;
    files.close().await;
    etcd.close().await;
    Ok(Moved { objects: there.totals().entries, revision: there.revision() })
}

/// From an etcd to the files of a new store in `folder`; the files that were moved to etcd before go aside. etcd stays as it is.
pub async fn to_files(settings: &Etcd, folder: &Path, config: &Config) -> Result<Moved, MigrationError> {
    let encryption = encryption_config::open(config)?;
    let was_moved = folder.join(MOVED).exists();
    if folder.exists() && !was_moved {
        return Err(MigrationError::Exists { folder: folder.to_owned() });
    }
    let etcd = open_etcd(settings, config, encryption.clone()).await?;
    let state = etcd.snapshot();
    none_sealed(&state)?;
    let written = folder.with_extension("new");
    if written.exists() {
        fs::remove_dir_all(&written).map_err(|source| failed("remove an unfinished store at", &written, source))?;
    }
    let transformer = encryption.as_deref().map(|encryption| encryption as &dyn Transformer);
    let wal = encryption_config::wal_options(encryption.is_some());
    let now = jiff::Timestamp::now().as_second().unsigned_abs();
    let saved = state.save(&written, wal, transformer, now, |key| stay(key, config));
    saved.map_err(|source| MigrationError::Save { folder: written.clone(), source })?;
    if was_moved {
        let aside = folder.with_extension(format!("before-{}", state.revision()));
        fs::rename(folder, &aside).map_err(|source| failed("put aside", folder, source))?;
    }
    fs::rename(&written, folder).map_err(|source| failed("give its name to the store at", folder, source))?;
    sync_names(folder)?;
    etcd.close().await;
    Ok(Moved { objects: state.totals().entries, revision: state.revision() })
}

/// Opening waits for etcd, which is too long for an async thread.
async fn open_etcd(
    settings: &Etcd,
    config: &Config,
    encryption: Option<Arc<Encryption>>,
) -> Result<Store<Attrs>, MigrationError> {
    let config = Config { etcd: Some(settings.clone()), ..config.clone() };
    let opening = tokio::task::spawn_blocking(move || super::open(&config, encryption.as_ref()));
    match opening.await {
        Ok(opened) => Ok(opened?),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

/// Without its keys a sealed value would be carried on as if it were the object.
fn none_sealed(state: &Snapshot<Attrs>) -> Result<(), MigrationError> {
    let sealed = state.range("", None).find(|entry| entry.value.starts_with(encryption::ENCRYPTED.as_bytes()));
    sealed.map_or(Ok(()), |entry| Err(MigrationError::Sealed { key: entry.key.to_string() }))
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
fn stay(key: &str, config: &Config) -> Stay {
    if key.starts_with(keys::MASTER_LEASES) || key == node_ports::KEY {
        return Stay::Not;
    }
    match keys::built_in(key) {
        Some(kind) if kind.plural == "events" => Stay::For(config.event_ttl),
        _ => Stay::Always,
    }
}

/// Durably.
fn write(file: &Path, text: &str) -> Result<(), MigrationError> {
    let written = fs::write(file, text).and_then(|()| fs::File::open(file)?.sync_all());
    written.map_err(|source| failed("write", file, source))?;
    sync_names(file)
}

/// The names in the folder of `file` become durable.
fn sync_names(file: &Path) -> Result<(), MigrationError> {
    let Some(folder) = file.parent() else { return Ok(()) };
    let synced = fs::File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|source| failed("sync", folder, source))
}

fn failed(doing: &'static str, file: &Path, source: io::Error) -> MigrationError {
    MigrationError::Io { doing, file: file.to_owned(), source }
}
