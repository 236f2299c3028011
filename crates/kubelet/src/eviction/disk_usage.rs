//! Counting files, as `du -x` does: blocks on the disk, each inode once, and no other file system than the first.

use std::{collections::HashSet, fs, os::unix::fs::MetadataExt, path::Path};

use super::DiskUsage;

/// A block of `stat` has so many bytes, whatever the file system's own are.
const BLOCK_BYTES: u64 = 512;

/// What lies at and below `path`. What vanishes while it is counted does not count.
pub fn of(path: &Path) -> DiskUsage {
    let Ok(top) = fs::symlink_metadata(path) else { return DiskUsage::default() };
    let mut sum = DiskUsage { bytes: top.blocks() * BLOCK_BYTES, inodes: 1 };
    if !top.is_dir() {
        return sum;
    }
    let mut linked = HashSet::new();
    let mut open = vec![path.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.dev() != top.dev() || !found.is_dir() && found.nlink() > 1 && !linked.insert(found.ino()) {
                continue;
            }
            sum = sum + DiskUsage { bytes: found.blocks() * BLOCK_BYTES, inodes: 1 };
            if found.is_dir() {
                open.push(entry.path());
            }
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_once_however_they_are_called() {
        let dir = tempfile::tempdir().unwrap();
        let before = of(dir.path());
        assert_eq!(before.inodes, 1);
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/f"), vec![1; 100_000]).unwrap();
        fs::hard_link(dir.path().join("d/f"), dir.path().join("g")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("l")).unwrap();
        let after = of(dir.path());
        assert_eq!(after.inodes, 4);
        assert!((100_000..200_000).contains(&(after.bytes - before.bytes)), "{after:?}");
        assert_eq!(of(Path::new("/nonexistent")), DiskUsage::default());
    }
}
