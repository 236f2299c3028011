//! Where the objects are kept: in files of this machine, in an etcd, or in memory; and their way from one to the other.

pub(crate) mod live;
mod migration;
mod save;
mod scrub;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use encryption::ENCRYPTED;
use encryption::Encryption;
use store::Store;
use store::journal::{Journal, JournalError, Memory, Transformer, Wal, WalOptions};

use crate::etcd::{self, Etcd, EtcdError};
use crate::registry::{Attrs, encode, keys, object};
use crate::{Config, Server, encryption_config};

pub use live::{Move, PATH as MIGRATION_PATH};
pub use migration::{MigrationError, Moved, Progress, at_rest};
pub use save::{save, save_etcd};

/// The file in the folder of a store whose objects have gone to an etcd; it says which.
const MOVED: &str = "moved";
/// The key, behind the prefix, in an etcd whose objects have gone to files; it says where.
const BACK: &str = "canopus/moved";

/// Why what is kept cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum KeptError {
    #[error("failed to open the journal")]
    Journal(#[source] JournalError),
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    #[error("failed to open the store")]
    Store(#[source] store::OpenError),
    #[error(
        "the objects kept at {} were moved to {to}: bring them back with `canopus store migrate --to embedded`, or remove the \
         file {MOVED} there to go on with what they were before",
        folder.display()
    )]
    Moved { folder: PathBuf, to: String },
    #[error("failed to read {}, which says to which etcd the objects have gone: {reason}", file.display())]
    Mark { file: PathBuf, reason: String },
    #[error(
        "the objects in etcd below {prefix} were moved to {to}: start without --etcd-servers, or delete the key \
         {prefix}/{BACK} there to go on with what they were before"
    )]
    Back { prefix: String, to: String },
}

pub(crate) fn open(config: &Config, encryption: Option<&Arc<Encryption>>) -> Result<Store<Attrs>, KeptError> {
    match (&config.etcd, &config.store_dir) {
        (Some(settings), _) => open_etcd(settings, config, encryption),
        (None, Some(folder)) => match moved_to(folder)? {
            Some(settings) => {
                tracing::info!(servers = settings.servers.join(","), "the objects were moved to etcd");
                open_etcd(&settings, config, encryption)
            }
            None => open_files(folder, config, encryption),
        },
        (None, None) => on(Box::new(Memory::default()), config, encryption),
    }
}

/// An etcd whose objects have not gone to files.
fn open_etcd(
    settings: &Etcd,
    config: &Config,
    encryption: Option<&Arc<Encryption>>,
) -> Result<Store<Attrs>, KeptError> {
    let store = follow_etcd(settings, config, encryption)?;
    match store.get(&format!("{}{BACK}", keys::ROOT)) {
        None => Ok(store),
        Some(mark) => {
            let to = encode::decode(&mark.value).map(|mark| object::text(&mark, "/data/to").to_owned());
            Err(KeptError::Back { prefix: settings.prefix.clone(), to: to.unwrap_or_default() })
        }
    }
}

/// An etcd, whatever is in it.
fn follow_etcd(
    settings: &Etcd,
    config: &Config,
    encryption: Option<&Arc<Encryption>>,
) -> Result<Store<Attrs>, KeptError> {
    // An etcd has a quota of its own.
    let options = store::Options { quota_bytes: 0, ..options(config, encryption) };
    Ok(etcd::open(settings, config.history_retention, options)?)
}

fn open_files(folder: &Path, config: &Config, encryption: Option<&Arc<Encryption>>) -> Result<Store<Attrs>, KeptError> {
    let options = encryption_config::wal_options(encryption.is_some());
    let wal = Wal::open(folder, WalOptions { retention: config.history_retention, ..options });
    on(Box::new(wal.map_err(KeptError::Journal)?), config, encryption)
}

/// Looks after the files of a store now and then, while there are any.
pub(crate) fn look_after(server: &Arc<Server>) {
    let (folder, interval) = (server.config.store_dir.clone(), server.config.store_scrub_interval);
    if let Some(folder) = folder.filter(|_| !interval.is_zero()) {
        let metrics = scrub::ScrubMetrics::default();
        server.metrics.extend(|registry| metrics.register(registry));
        let store = server.registry.store().clone();
        tokio::spawn(scrub::run(store, folder, interval, metrics, server.shutdown.clone()));
    }
}

/// Where the objects of a folder have gone.
pub fn moved_to(folder: &Path) -> Result<Option<Etcd>, KeptError> {
    let file = folder.join(MOVED);
    let unreadable = |reason: String| KeptError::Mark { file: file.clone(), reason };
    match std::fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| unreadable(error.to_string())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// An error if the objects of a store have gone to an etcd since.
pub fn still_kept(folder: &Path) -> Result<(), KeptError> {
    match moved_to(folder)? {
        Some(settings) => Err(KeptError::Moved { folder: folder.to_owned(), to: settings.servers.join(",") }),
        None => Ok(()),
    }
}

/// What opens values that are encrypted at rest, by the file of `--encryption-provider-config`.
pub fn opener(file: &Path) -> Result<Arc<dyn Transformer>, encryption::ConfigError> {
    Ok(Encryption::open(file, keys::resource)?)
}

fn on(
    journal: Box<dyn Journal>,
    config: &Config,
    encryption: Option<&Arc<Encryption>>,
) -> Result<Store<Attrs>, KeptError> {
    Store::open(journal, options(config, encryption)).map_err(KeptError::Store)
}

fn options(config: &Config, encryption: Option<&Arc<Encryption>>) -> store::Options {
    store::Options {
        history: config.history,
        quota_bytes: config.quota_backend_bytes,
        index_of: keys::indexed,
        transformer: encryption.cloned().map(|encryption| encryption as Arc<dyn Transformer>),
        ..store::Options::default()
    }
}
