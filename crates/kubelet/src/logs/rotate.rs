//! Keeps logs of running containers from filling the disk: a log that has grown too large gets a new name with the
//! time in it, the runtime opens a new one, and the oldest files go.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{cri::v1, kubelet::Kubelet};

/// Looks at the logs from time to time, for ever.
pub async fn run(kubelet: Arc<Kubelet>) {
    loop {
        tokio::time::sleep(kubelet.config.container_log_monitor_interval).await;
        for handle in kubelet.handles() {
            let running: Vec<_> =
                handle.shared.lock().runtime.running().map(|c| (c.id.clone(), c.log_path.clone())).collect();
            for (id, path) in running {
                if fs::metadata(&path).is_ok_and(|metadata| metadata.len() > kubelet.config.container_log_max_size) {
                    rotate(&kubelet, &id, &path).await;
                }
            }
        }
    }
}

async fn rotate(kubelet: &Kubelet, id: &str, path: &Path) {
    let stamp = jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S");
    let old = PathBuf::from(format!("{}.{stamp}", path.display()));
    if let Err(error) = fs::rename(path, &old) {
        return tracing::warn!(path = %path.display(), %error, "failed to rotate a log");
    }
    let request = v1::ReopenContainerLogRequest { container_id: id.into() };
    if let Err(error) = kubelet.cri.runtime().reopen_container_log(request).await {
        // The runtime still writes the old file; giving it its name back loses nothing.
        tracing::warn!(path = %path.display(), %error, "failed to have a log opened anew");
        let _ = fs::rename(&old, path);
        return;
    }
    let keep = usize::try_from(kubelet.config.container_log_max_files.saturating_sub(1)).unwrap_or(4);
    for path in surplus(path, keep) {
        let _ = fs::remove_file(path);
    }
}

/// Rotated files of a log beyond the newest `keep`.
fn surplus(path: &Path, keep: usize) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let prefix = format!("{}.", name.to_string_lossy());
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut rotated: Vec<PathBuf> =
        entries.filter(|e| e.file_name().to_string_lossy().starts_with(&prefix)).map(|e| e.path()).collect();
    rotated.sort();
    rotated.truncate(rotated.len().saturating_sub(keep));
    rotated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_files_go() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["0.log", "0.log.20260101-000001", "0.log.20260101-000003", "0.log.20260101-000002", "1.log.x"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        assert_eq!(surplus(&dir.path().join("0.log"), 2), [dir.path().join("0.log.20260101-000001")]);
    }
}
