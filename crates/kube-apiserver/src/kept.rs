//! Where the objects are kept: in files of this machine, in an etcd, or in memory; and their way from one to the other.

pub(crate) mod live;
mod marks;
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
use crate::registry::{Attrs, keys};
use crate::{Config, Server, encryption_config};

pub use live::{Move, PATH as MIGRATION_PATH};
pub use migration::{MigrationError, Moved, Progress, at_rest};
pub use save::{save, save_etcd};

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
         file {} there to go on with what they were before",
        folder.display(),
        marks::MOVED
    )]
    Moved { folder: PathBuf, to: String },
    #[error("failed to read {}, which says to which etcd the objects have gone: {reason}", file.display())]
    Mark { file: PathBuf, reason: String },
    #[error(
        "the objects in etcd below {prefix} were moved to {to}: start without --etcd-servers, or delete the key \
         {prefix}/{} there to go on with what they were before",
        marks::BACK
    )]
    Back { prefix: String, to: String },
}

pub(crate) fn open(config: &Config, encryption: Option<&Arc<Encryption>>) -> Result<Store<Attrs>, KeptError> {
    match (&config.etcd, &config.store_dir) {
        (Some(settings), _) => open_etcd(settings, config, encryption),
        (None, Some(folder)) => match marks::read(folder)? {
            Some(mark) => open_moved(folder, mark, config, encryption),
            None => open_files(folder, config, encryption),
        },
        (None, None) => on(Box::new(Memory::default()), config, encryption),
    }
}

/// The etcd that the objects of a folder have gone to, or the folder where they have come back to it but for the last step.
fn open_moved(
    folder: &Path,
    mark: marks::Moved,
    config: &Config,
    encryption: Option<&Arc<Encryption>>,
) -> Result<Store<Attrs>, KeptError> {
    let marks::Moved { settings, back } = mark;
    tracing::info!(servers = settings.servers.join(","), "the objects were moved to etcd");
    let store = follow_etcd(&settings, config, encryption)?;
    match marks::back(&store) {
        None => Ok(store),
        Some(there) if back.is_some() && there.back == back => {
            tracing::info!("they came back from there; going on with the files");
            let failed = |source: std::io::Error| KeptError::Mark {
                file: folder.join(marks::MOVED),
                reason: format!("it cannot be removed: {source}"),
            };
            marks::remove(folder).map_err(failed)?;
            open_files(folder, config, encryption)
        }
        Some(there) => Err(KeptError::Back { prefix: settings.prefix, to: there.to }),
    }
}

/// An etcd whose objects have not gone to files.
fn open_etcd(
    settings: &Etcd,
    config: &Config,
    encryption: Option<&Arc<Encryption>>,
) -> Result<Store<Attrs>, KeptError> {
    let store = follow_etcd(settings, config, encryption)?;
    match marks::back(&store) {
        None => Ok(store),
        Some(there) => Err(KeptError::Back { prefix: settings.prefix.clone(), to: there.to }),
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
    Ok(marks::read(folder)?.map(|mark| mark.settings))
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
