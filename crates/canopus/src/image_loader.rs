//! Image archives put into a cluster's `images` folder are imported into containerd when the node starts and whenever
//! one appears later, so that a machine needs no registry. An archive that has not changed is not imported again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use tokio_util::sync::CancellationToken;

/// How often the folder is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

type Seen = BTreeMap<PathBuf, (u64, SystemTime)>;

/// Imports what is there now. An archive that cannot be imported is reported and does not hold up the others.
pub async fn load(folder: &Path, socket: &Path, seen: &mut Seen) {
    for (archive, stamp) in archives(folder) {
        if seen.get(&archive) == Some(&stamp) {
            continue;
        }
        let started = std::time::Instant::now();
        match import(&archive, socket).await {
            Ok(()) => {
                tracing::info!(archive = %archive.display(), seconds = started.elapsed().as_secs_f32(), "imported images")
            }
            Err(error) => tracing::error!(archive = %archive.display(), "failed to import images: {error:#}"),
        }
        seen.insert(archive, stamp);
    }
}

/// Follows the folder until `shutdown`.
pub async fn follow(folder: PathBuf, socket: PathBuf, mut seen: Seen, shutdown: CancellationToken) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(INTERVAL) => load(&folder, &socket, &mut seen).await,
        }
    }
}

/// What was imported before this process started, as the runtime's folder remembers it.
pub fn read_seen(file: &Path) -> Seen {
    std::fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

pub fn write_seen(file: &Path, seen: &Seen) -> Result<()> {
    let text = serde_json::to_vec(seen).context("failed to encode the list of imported archives")?;
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
