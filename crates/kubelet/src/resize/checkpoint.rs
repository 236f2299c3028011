//! The file in a pod's directory that holds what it was promised and what it has been given.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::Allocation;
use crate::cgroups::Limits;

const NAME: &str = "resources.json";
/// No pod has so many containers that more would be needed.
const BYTES_MAX: u64 = 1 << 20;

/// What is remembered of a pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// What the node has promised.
    pub allocated: Allocation,
    /// What containers have been given.
    pub actuated: Allocation,
    /// What the pod's own cgroup has been given.
    #[serde(default)]
    pub limits: Option<Limits>,
    /// The pod's generation when it was promised.
    #[serde(default)]
    pub generation: Option<i64>,
}

fn path(pod_dir: &Path) -> PathBuf {
    pod_dir.join(NAME)
}

/// Reads it; None if there is none, or none that can be read: the pod's spec is then all that is known.
pub fn load(pod_dir: &Path) -> Option<Checkpoint> {
    let path = path(pod_dir);
    if fs::metadata(&path).ok()?.len() > BYTES_MAX {
        return None;
    }
    let text = fs::read(&path).ok()?;
    serde_json::from_slice(&text)
        .map_err(|error| tracing::warn!(path = %path.display(), %error, "failed to read a pod's resources"))
        .ok()
}

/// Writes it, whole or not at all.
pub fn save(pod_dir: &Path, checkpoint: &Checkpoint) -> io::Result<()> {
    fs::create_dir_all(pod_dir)?;
    let fresh = pod_dir.join(format!("{NAME}.new"));
    fs::write(&fresh, serde_json::to_vec(checkpoint)?)?;
    fs::rename(&fresh, path(pod_dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_read_again_and_rubbish_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let pod_dir = dir.path().join("pods/x");
        assert_eq!(load(&pod_dir), None);
        let requests = serde_json::json!({"containers": {"a": {"requests": {"cpu": "1"}}}});
        let allocated: Allocation = serde_json::from_value(requests).unwrap();
        let limits = Some(Limits { cpu_shares: 1024, cpu_quota: 0, memory_bytes: 1 << 20 });
        let saved = Checkpoint { allocated, actuated: Allocation::default(), limits, generation: Some(3) };
        save(&pod_dir, &saved).unwrap();
        assert_eq!(load(&pod_dir), Some(saved));
        fs::write(path(&pod_dir), "{").unwrap();
        assert_eq!(load(&pod_dir), None);
    }
}
