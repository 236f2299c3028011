//! The state of a running server in files of their own: what a backup is made of, wherever the objects are kept.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use encryption::Encryption;
use store::journal::{JournalError, Transformer, WalOptions};
use store::{Snapshot, Stay};

use super::migration::{MigrationError, Moved, all_readable, stay};
use crate::etcd::Etcd;
use crate::registry::Attrs;
use crate::{Config, Server, encryption_config};

/// Begins a log with all objects of a server at one revision, in a folder that is empty or not there, in segments of this size.
/// Values are encrypted as they are in the server's own store. Those in an etcd that nobody can read stay behind, and are named.
pub fn save(server: &Server, folder: &Path, segment_bytes: u64) -> Result<Moved, JournalError> {
    let store = server.registry.store();
    let (state, is_shared) = (store.snapshot(), store.is_shared());
    save_state(&state, state.revision(), is_shared, server.encryption.as_ref(), &server.config, folder, segment_bytes)
}

/// The same of the objects in an etcd, without a server. Blocks, and must not be called by an async thread.
pub fn save_etcd(settings: &Etcd, config: &Config, folder: &Path, segment_bytes: u64) -> Result<Moved, MigrationError> {
    let encryption = encryption_config::open(config)?;
    let store = super::open_etcd(settings, config, encryption.as_ref())?;
    let state = store.snapshot();
    all_readable(&state)?;
    let saved = save_state(&state, state.revision(), true, encryption.as_ref(), config, folder, segment_bytes);
    saved.map_err(|source| MigrationError::Save { folder: folder.to_owned(), source })
}

/// The same of one state, which is that of an etcd if it `is_shared`; the log goes on at `revision`.
pub(super) fn save_state(
    state: &Snapshot<Attrs>,
    revision: u64,
    is_shared: bool,
    encryption: Option<&Arc<Encryption>>,
    config: &Config,
    folder: &Path,
    segment_bytes: u64,
) -> Result<Moved, JournalError> {
    let malformed = state.range("", None).filter(|entry| entry.is_malformed()).map(|entry| &*entry.key);
    let malformed: HashSet<&str> = malformed.collect();
    for key in &malformed {
        tracing::warn!(key, "a value in etcd that nobody can read is not in the backup");
    }
    let stays = |key: &str| match is_shared {
        _ if malformed.contains(key) => Stay::Not,
        true => stay(key, config),
        // What expires is known to the entries.
        false => Stay::Always,
    };
    let transformer = encryption.map(Arc::as_ref).map(|encryption| encryption as &dyn Transformer);
    let wal = WalOptions { segment_bytes, ..encryption_config::wal_options(transformer.is_some()) };
    let now = jiff::Timestamp::now().as_second().unsigned_abs();
    state.save(folder, revision, wal, transformer, now, stays)?;
    let objects = state.range("", None).filter(|entry| stays(&entry.key) != Stay::Not).count();
    Ok(Moved { objects, revision })
}
