//! Where the objects are kept: in files of this machine, in an etcd, or in memory; and their way from one to the other.

mod migration;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use encryption::ENCRYPTED;
use encryption::Encryption;
use store::Store;
use store::journal::{Journal, JournalError, Memory, Transformer, Wal};

use crate::etcd::{self, EtcdError};
use crate::registry::Attrs;
use crate::{Config, encryption_config};

pub use migration::{MigrationError, Moved, to_etcd, to_files};

/// The file in the folder of a store whose objects have gone to an etcd; it says which.
const MOVED: &str = "moved";

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
        "the objects kept at {} were moved to {to}: start with --etcd-servers, bring them back with `canopus store migrate \
         --to embedded`, or remove the file {MOVED} there to go on with what they were before",
        folder.display()
    )]
    Moved { folder: PathBuf, to: String },
}

pub(crate) fn open(config: &Config, encryption: Option<&Arc<Encryption>>) -> Result<Store<Attrs>, KeptError> {
    match (&config.etcd, &config.store_dir) {
        (Some(settings), _) => Ok(etcd::open(settings, options(config, encryption))?),
        (None, Some(folder)) => open_files(folder, config, encryption),
        (None, None) => on(Box::new(Memory::default()), config, encryption),
    }
}

fn open_files(folder: &Path, config: &Config, encryption: Option<&Arc<Encryption>>) -> Result<Store<Attrs>, KeptError> {
    still_kept(folder)?;
    let wal = Wal::open(folder, encryption_config::wal_options(encryption.is_some()));
    on(Box::new(wal.map_err(KeptError::Journal)?), config, encryption)
}

/// An error if the objects of a store have gone to an etcd since.
pub fn still_kept(folder: &Path) -> Result<(), KeptError> {
    match std::fs::read_to_string(folder.join(MOVED)) {
        Ok(to) => Err(KeptError::Moved { folder: folder.to_owned(), to: to.trim().to_owned() }),
        Err(_) => Ok(()),
    }
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
        // An etcd has a quota of its own.
        quota_bytes: if config.etcd.is_some() { 0 } else { config.quota_backend_bytes },
        transformer: encryption.cloned().map(|encryption| encryption as Arc<dyn Transformer>),
        ..store::Options::default()
    }
}
