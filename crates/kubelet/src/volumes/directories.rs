//! Volumes that are plain directories, and their mounts: emptyDir, hostPath, tmpfs below the others, removal.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, HostPathVolumeSource};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use crate::quantity;

fn failed(action: &str, path: &Path) -> impl FnOnce(io::Error) -> String {
    let text = format!("failed to {action} {}", path.display());
    move |error| format!("{text}: {error}")
}

/// A directory that begins empty and lives as long as the pod.
pub fn empty_dir(path: &Path, source: &EmptyDirVolumeSource, fs_group: Option<i64>) -> Result<(), String> {
    let fresh = !path.exists();
    fs::create_dir_all(path).map_err(failed("create", path))?;
    match source.medium.as_deref().unwrap_or_default() {
        "" => {}
        "Memory" => {
            let size = source.size_limit.as_ref().map(quantity::value).filter(|size| *size > 0);
            let options = size.map(|size| format!("size={size}")).unwrap_or_default();
            mount_tmpfs(path, &options)?;
        }
        other => return Err(format!("storage medium {other:?} is not supported by this node")),
    }
    if fresh {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).map_err(failed("set the mode of", path))?;
        if let Some(group) = fs_group.and_then(|group| u32::try_from(group).ok()) {
            chown(path, None, Some(group)).map_err(failed("change the group of", path))?;
            fs::set_permissions(path, fs::Permissions::from_mode(0o2777)).map_err(failed("set the mode of", path))?;
        }
    }
    Ok(())
}

/// The directory of a volume with files of ours; secrets never reach a disk. Its group may come in, and what is made in
/// it belongs to the group as well.
pub fn prepare(path: &Path, in_memory: bool, fs_group: Option<i64>) -> Result<(), String> {
    fs::create_dir_all(path).map_err(failed("create", path))?;
    if in_memory {
        mount_tmpfs(path, "")?;
    } else {
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).map_err(failed("set the mode of", path))?;
    }
    let Some(group) = fs_group.and_then(|group| u32::try_from(group).ok()) else { return Ok(()) };
    chown(path, None, Some(group)).map_err(failed("change the group of", path))?;
    let mode = fs::metadata(path).map_err(failed("read the mode of", path))?.mode() & 0o7777;
    fs::set_permissions(path, fs::Permissions::from_mode(mode | 0o2050)).map_err(failed("set the mode of", path))
}

fn mount_tmpfs(path: &Path, options: &str) -> Result<(), String> {
    if is_mount_point(path) {
        return Ok(());
    }
    let options = Some(options).filter(|options| !options.is_empty());
    mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), options)
        .map_err(|error| format!("failed to mount tmpfs on {}: {error}", path.display()))
}

fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| fs::symlink_metadata(path).map(|metadata| metadata.dev()).ok();
    path.parent().is_some_and(|parent| device(path) != device(parent))
}

/// A path of the host, checked or made as its type says.
pub fn host_path(source: &HostPathVolumeSource) -> Result<PathBuf, String> {
    let path = PathBuf::from(&source.path);
    let kind = source.type_.as_deref().unwrap_or_default();
    match kind {
        "DirectoryOrCreate" if !path.exists() => {
            fs::create_dir_all(&path).map_err(failed("create", &path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(failed("set the mode of", &path))?;
        }
        "FileOrCreate" if !path.exists() => {
            fs::File::create(&path).map_err(failed("create", &path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).map_err(failed("set the mode of", &path))?;
        }
        _ => {}
    }
    let found = fs::metadata(&path).map(|metadata| metadata.file_type());
    let (what, fits) = match kind {
        "" => return Ok(path),
        "DirectoryOrCreate" | "Directory" => ("directory", found.is_ok_and(|t| t.is_dir())),
        "FileOrCreate" | "File" => ("file", found.is_ok_and(|t| t.is_file())),
        "Socket" => ("socket", found.is_ok_and(|t| t.is_socket())),
        "CharDevice" => ("character device", found.is_ok_and(|t| t.is_char_device())),
        "BlockDevice" => ("block device", found.is_ok_and(|t| t.is_block_device())),
        _ => return Err(format!("hostPath type {kind:?} is not known")),
    };
    if fits { Ok(path) } else { Err(format!("hostPath type check failed: {} is not a {what}", path.display())) }
}

/// Mount points at or below `dir`, deepest first.
pub fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<PathBuf> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|path| PathBuf::from(unescape(path)))
        .filter(|path| path.starts_with(dir))
        .collect();
    found.reverse();
    found
}

/// mountinfo writes spaces and the like as `\040`.
fn unescape(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let code = (bytes[at] == b'\\').then(|| text.get(at + 1..at + 4)).flatten();
        match code.and_then(|code| u8::from_str_radix(code, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 4;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Unmounts everything at or below `dir`; an error if something stays mounted.
pub fn unmount_below(dir: &Path) -> Result<(), String> {
    for path in mounts_below(dir) {
        let _ = umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
    }
    match mounts_below(dir).first() {
        Some(path) => Err(format!("{} is still mounted", path.display())),
        None => Ok(()),
    }
}

/// Removes a pod's directory. Nothing is deleted while something is mounted in it: that might be the host's own data.
pub fn remove_pod_dir(dir: &Path) -> Result<(), String> {
    unmount_below(dir)?;
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", dir)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_paths_are_checked_and_made_by_type() {
        let dir = tempfile::tempdir().unwrap();
        let source = |path: PathBuf, kind: &str| HostPathVolumeSource {
            path: path.display().to_string(),
            type_: Some(kind.into()),
        };
        assert!(host_path(&source(dir.path().join("a"), "Directory")).is_err());
        assert!(host_path(&source(dir.path().join("a/b"), "DirectoryOrCreate")).is_ok());
        assert!(host_path(&source(dir.path().join("a/b"), "File")).unwrap_err().contains("is not a file"));
        assert!(host_path(&source(dir.path().join("f"), "FileOrCreate")).is_ok());
        assert!(host_path(&source("/dev/null".into(), "CharDevice")).is_ok());
    }

    #[test]
    fn the_root_of_a_volume_with_files_belongs_to_the_pods_group() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: only root can give directories away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v");
        prepare(&path, false, None).unwrap();
        let of = |path: &Path| fs::metadata(path).map(|found| (found.gid(), found.mode() & 0o7777)).unwrap();
        assert_eq!(of(&path), (0, 0o777));
        prepare(&path, false, Some(2000)).unwrap();
        assert_eq!(of(&path), (2000, 0o2777));
    }

    #[test]
    fn mountinfo_escapes_are_undone() {
        assert_eq!(unescape("/a\\040b"), "/a b");
        assert_eq!(unescape("/plain"), "/plain");
    }
}
