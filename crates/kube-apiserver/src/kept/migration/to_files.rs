//! From an etcd to files.
//!
//! The folder is filled under its mark that leads to etcd (marks.rs), so a start finds the objects there until all of them are here.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use store::journal::WalOptions;
use store::{Pause, Precondition, Snapshot, Store};

use super::{
    Migration, MigrationError, Moved, Progress, ROUNDS_MAX, WRITES_FEW, all_readable, blocking, check, io_failed, stay,
};
use crate::Config;
use crate::etcd::master_leases;
use crate::kept::save::save_state;
use crate::kept::{self, marks};
use crate::registry::Attrs;

/// Writes to etcd that a move allows for, beside two for each object. Nothing is written for them: the numbers are left out.
const WRITES_MIN: usize = 10_000;

/// How long other servers may take to go: a little longer than they count after they have gone.
const OTHERS_PATIENCE: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(500);

impl Migration<'_> {
    /// The objects leave an etcd for the files of a new store, and the store with them; files that were moved to etcd before go aside. They
    /// stay in etcd too, with a mark that keeps servers from serving them.
    pub async fn to_files(&self) -> Result<Moved, MigrationError> {
        let Self { store, folder, settings, config, tell, .. } = self;
        let before = marks::read(folder)?;
        if folder.exists() && before.is_none() {
            return Err(MigrationError::Exists { folder: folder.to_path_buf() });
        }
        // One that went a moment ago still counts.
        if let Some(addresses) = others(&store.snapshot(), config) {
            tell(Progress::Waiting { addresses });
            let patience = tokio::time::Instant::now() + OTHERS_PATIENCE;
            while others(&store.snapshot(), config).is_some() && tokio::time::Instant::now() < patience {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        let state = store.snapshot();
        none_left(&state, config)?;
        all_readable(&state)?;
        let (is_new, settings) = (before.is_none(), before.map_or_else(|| (*settings).clone(), |mark| mark.settings));
        let back = uuid::Uuid::new_v4().to_string();
        let mark = marks::Moved { settings, back: Some(back.clone()) };
        let filling = async {
            prepare(folder, &mark, state.revision())?;
            self.fill(state, &back).await
        };
        let filled = filling.await;
        if filled.is_err() {
            let undone = give_up(folder, &marks::Moved { back: None, ..mark }, is_new);
            undone.map_err(|source| io_failed("clear", folder, source))?;
        }
        filled
    }

    /// Nothing has the files open any more if this fails.
    async fn fill(&self, state: Snapshot<Attrs>, back: &str) -> Result<Moved, MigrationError> {
        let Self { folder, config, encryption, tell, .. } = self;
        tell(Progress::Copying { objects: state.totals().entries });
        let above = state.revision() + (2 * state.totals().entries + WRITES_MIN) as u64;
        let open = {
            let (state, folder) = (state.clone(), folder.to_path_buf());
            let (config, encryption) = ((*config).clone(), encryption.clone());
            move || {
                let segment_bytes = WalOptions::default().segment_bytes;
                save_state(&state, above, true, encryption.as_ref(), &config, &folder, segment_bytes)
                    .map_err(|source| MigrationError::Save { folder: folder.clone(), source })?;
                kept::open_files(&folder, &config, encryption.as_ref()).map_err(MigrationError::Open)
            }
        };
        let files = blocking(open).await?;
        tell(Progress::Following);
        let (pause, begun) = match self.follow(state, &files, back).await {
            Ok(done) => done,
            Err(error) => {
                files.close().await;
                return Err(error);
            }
        };
        if let Err(error) = marks::remove(folder) {
            tracing::warn!(%error, folder = %folder.display(), "the mark stays on the store, the next start will see to it");
        }
        let state = files.snapshot();
        let moved = Moved { objects: state.totals().entries, revision: state.revision() };
        pause.go_on_with(files).await;
        tell(moved.after(begun));
        Ok(moved)
    }

    /// Brings the files to where etcd is, and marks that; writers wait from the given time on.
    async fn follow(
        &self,
        mut copied: Snapshot<Attrs>,
        files: &Store<Attrs>,
        back: &str,
    ) -> Result<(Pause<Attrs>, Instant), MigrationError> {
        let Self { store, folder, settings, config, .. } = self;
        let failed = |reason: String| MigrationError::Write { prefix: settings.prefix.clone(), reason };
        let unsaved = |error: &dyn std::error::Error| MigrationError::Unsaved {
            folder: folder.to_path_buf(),
            reason: store::chain(error),
        };
        let stays = |key: &str| stay(key, config);
        for _ in 0..ROUNDS_MAX {
            let now = store.snapshot();
            all_readable(&now)?;
            let writes = now.copy_to(Some(&copied), files, stays).await.map_err(|error| unsaved(&error))?;
            copied = now;
            if writes <= WRITES_FEW {
                break;
            }
        }
        let pause = store.pause().await;
        let begun = Instant::now();
        store.barrier().await.map_err(|error| failed(error.to_string()))?;
        let last = pause.snapshot();
        none_left(&last, config)?;
        all_readable(&last)?;
        last.copy_to(Some(&copied), files, stays).await.map_err(|error| unsaved(&error))?;
        let there = files.snapshot();
        if last.revision() > there.revision() {
            return Err(MigrationError::Busy);
        }
        check(&last, &there, stays)?;
        // The steps in between are nobody's to resume from, also after a start.
        files.compact(there.revision()).await.map_err(|error| unsaved(&error))?;
        let mark = marks::back_value(folder, back).map_err(failed)?;
        pause.put(&marks::key(), mark, Precondition::Any).await.map_err(|error| failed(error.to_string()))?;
        Ok((pause, begun))
    }
}

/// An error if other servers count.
fn none_left(state: &Snapshot<Attrs>, config: &Config) -> Result<(), MigrationError> {
    others(state, config).map_or(Ok(()), |addresses| Err(MigrationError::Others { addresses }))
}

/// The addresses of the other servers that count, if there are any.
fn others(state: &Snapshot<Attrs>, config: &Config) -> Option<String> {
    let others = master_leases::addresses_in(state).into_iter().filter(|other| *other != config.advertise_address);
    let others: Vec<String> = others.map(|other| other.to_string()).collect();
    (!others.is_empty()).then(|| others.join(", "))
}

/// Makes the folder one that leads to etcd and is empty otherwise; the files that it had go aside.
fn prepare(folder: &Path, mark: &marks::Moved, revision: u64) -> Result<(), MigrationError> {
    let make = |folder: &Path| fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    make(folder).map_err(|source| io_failed("make", folder, source))?;
    marks::write(folder, mark).map_err(|source| io_failed("mark", folder, source))?;
    let files = marks::files(folder).map_err(|source| io_failed("read", folder, source))?;
    if files.is_empty() {
        return Ok(());
    }
    let aside = folder.with_extension(format!("before-{revision}"));
    make(&aside).map_err(|source| io_failed("make", &aside, source))?;
    for file in files {
        let Some(name) = file.file_name() else { continue };
        fs::rename(&file, aside.join(name)).map_err(|source| io_failed("put aside", &file, source))?;
    }
    let synced = marks::sync_names(&aside).and_then(|()| marks::sync_names(folder));
    synced.map_err(|source| io_failed("sync", folder, source))
}

/// Removes what was copied. What it had before stays aside.
fn give_up(folder: &Path, mark: &marks::Moved, is_new: bool) -> io::Result<()> {
    if is_new {
        return fs::remove_dir_all(folder);
    }
    marks::write(folder, mark)?;
    marks::files(folder)?.into_iter().try_for_each(fs::remove_file)
}
