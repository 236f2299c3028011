//! Image archives put into a cluster's `images` folder are imported into containerd when the node starts and whenever
//! one appears later, so that a machine needs no registry. An archive that has not changed is not imported again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;

/// How often the folder is looked at.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long an archive that could not be imported is left alone.
const RETRY: Duration = Duration::from_secs(60);

type Stamp = (u64, SystemTime);

/// The archives that were imported, and those that could not be: a failure is not remembered over a restart.
#[derive(Default)]
pub struct Seen {
    /// Size and time of each archive whose images the runtime has.
    imported: BTreeMap<PathBuf, Stamp>,
    /// What failed in this process, and when it is worth another try.
    failed: BTreeMap<PathBuf, (Stamp, Instant)>,
}

impl Seen {
    fn wants(&self, archive: &Path, stamp: Stamp, now: Instant) -> bool {
        let waits = self.failed.get(archive).is_some_and(|(failed, again)| *failed == stamp && now < *again);
        self.imported.get(archive) != Some(&stamp) && !waits
    }

    fn record(&mut self, archive: PathBuf, stamp: Stamp, imported: bool, now: Instant) {
        if imported {
            self.failed.remove(&archive);
            self.imported.insert(archive, stamp);
        } else {
            self.failed.insert(archive, (stamp, now + RETRY));
        }
    }
}

/// Imports what is there now, and writes down in `file` what was. An archive that cannot be imported is reported, does
/// not hold up the others and is tried again after a pause, or at once when it changes.
pub async fn load(folder: &Path, socket: &Path, file: &Path, seen: &mut Seen) {
    let mut changed = false;
    for (archive, stamp) in archives(folder) {
        let started = Instant::now();
        if !seen.wants(&archive, stamp, started) {
            continue;
        }
        let result = import(&archive, socket).await;
        match &result {
            Ok(()) => {
                tracing::info!(archive = %archive.display(), seconds = started.elapsed().as_secs_f32(), "imported images")
            }
            Err(error) => tracing::error!(archive = %archive.display(), "failed to import images: {error:#}"),
        }
        changed |= result.is_ok();
        seen.record(archive, stamp, result.is_ok(), Instant::now());
    }
    if changed && let Err(error) = write_seen(file, seen) {
        tracing::error!("{error:#}");
    }
}

/// Follows the folder until `shutdown`.
pub async fn follow(folder: PathBuf, socket: PathBuf, file: PathBuf, mut seen: Seen, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => load(&folder, &socket, &file, &mut seen).await,
        }
    }
}

/// What was imported before this process started, as the runtime's folder remembers it.
pub fn read_seen(file: &Path) -> Seen {
    let imported = std::fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    Seen { imported, ..Seen::default() }
}

fn write_seen(file: &Path, seen: &Seen) -> Result<()> {
    let text = serde_json::to_vec(&seen.imported).context("failed to encode the list of imported archives")?;
    std::fs::write(file, text).with_context(|| format!("failed to write {}", file.display()))
}

fn archives(folder: &Path) -> Vec<(PathBuf, (u64, SystemTime))> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut archives: Vec<_> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let hidden = path.file_name()?.to_str()?.starts_with('.');
            let metadata = std::fs::metadata(&path).ok()?;
            let wanted = metadata.is_file() && !hidden && path.extension()? == "tar";
            wanted.then_some((path, (metadata.len(), metadata.modified().ok()?)))
        })
        .collect();
    archives.sort();
    archives
}

async fn import(archive: &Path, socket: &Path) -> Result<()> {
    let output = tokio::process::Command::new("ctr")
        .arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io", "images", "import"])
        .arg(archive)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .context("failed to start ctr")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_import_is_tried_again_and_a_done_one_is_not() {
        let (archive, start) = (Path::new("a.tar"), Instant::now());
        let (stamp, newer) = ((1, SystemTime::UNIX_EPOCH), (2, SystemTime::UNIX_EPOCH));
        let mut seen = Seen::default();
        assert!(seen.wants(archive, stamp, start));
        seen.record(archive.into(), stamp, false, start);
        assert!(!seen.wants(archive, stamp, start), "not at once");
        assert!(seen.wants(archive, newer, start), "at once when it has changed");
        assert!(seen.wants(archive, stamp, start + RETRY));
        seen.record(archive.into(), stamp, true, start);
        assert!(!seen.wants(archive, stamp, start + RETRY));
        assert!(seen.wants(archive, newer, start));
    }

    #[test]
    fn only_what_was_imported_is_remembered_over_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("imported.json");
        let stamp = (1, SystemTime::UNIX_EPOCH);
        let mut seen = Seen::default();
        seen.record("good.tar".into(), stamp, true, Instant::now());
        seen.record("bad.tar".into(), stamp, false, Instant::now());
        write_seen(&file, &seen).unwrap();
        let again = read_seen(&file);
        assert!(!again.wants(Path::new("good.tar"), stamp, Instant::now()));
        assert!(again.wants(Path::new("bad.tar"), stamp, Instant::now()));
    }
}
