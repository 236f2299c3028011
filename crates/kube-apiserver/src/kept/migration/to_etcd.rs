//! From files to an empty etcd.

use std::time::Instant;

use serde_json::json;
use store::{NewValue, Stay};

use super::{
    Migration, MigrationError, Moved, Progress, ROUNDS_MAX, WRITES_FEW, all_readable, blocking, check, io_failed,
};
use crate::kept::{self, marks};
use crate::registry::{Attrs, encode, keys};

/// Writes to the files that a move allows for, at least.
const WRITES_MIN: usize = 1000;

impl Migration<'_> {
    /// The objects leave their files for an empty etcd, and the store with them: it is read all the time, its
    /// writers wait for the last step. The files stay, with a mark that leads the next start to that etcd.
    pub async fn to_etcd(&self) -> Result<Moved, MigrationError> {
        let Self { store, folder, settings, config, encryption, tell } = self;
        let etcd = {
            let (settings, config, encryption) = ((*settings).clone(), (*config).clone(), encryption.clone());
            blocking(move || kept::follow_etcd(&settings, &config, encryption.as_ref())).await?
        };
        let prefix = || settings.prefix.clone();
        let objects = etcd.snapshot().totals().entries;
        if objects > 0 {
            return Err(MigrationError::NotEmpty { objects, prefix: prefix() });
        }
        let failed =
            |error: store::WriteError<Attrs>| MigrationError::Write { prefix: prefix(), reason: error.to_string() };
        // Entries of files know themselves what expires.
        let always = |_: &str| Stay::Always;
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
        copied.copy_to(None, &etcd, always).await.map_err(failed)?;
        tell(Progress::Following);
        for _ in 0..ROUNDS_MAX {
            let now = store.snapshot();
            let writes = now.copy_to(Some(&copied), &etcd, always).await.map_err(failed)?;
            copied = now;
            if writes <= WRITES_FEW {
                break;
            }
        }
        let pause = store.pause().await;
        let begun = Instant::now();
        let last = pause.snapshot();
        last.copy_to(Some(&copied), &etcd, always).await.map_err(failed)?;
        if last.revision() >= above {
            return Err(MigrationError::TooFast { prefix: prefix() });
        }
        all_readable(&last)?;
        let there = etcd.snapshot();
        check(&last, &there, always)?;
        // The steps in between are nobody's to resume from, also for the servers that come later.
        let reason = |error: store::CompactError| MigrationError::Write { prefix: prefix(), reason: error.to_string() };
        etcd.compact(there.revision()).await.map_err(reason)?;
        let mark = marks::Moved { settings: (*settings).clone(), back: None };
        marks::write(folder, &mark).map_err(|source| io_failed("mark", folder, source))?;
        let moved = Moved { objects: there.totals().entries, revision: there.revision() };
        pause.go_on_with(etcd).await;
        tell(moved.after(begun));
        Ok(moved)
    }
}
