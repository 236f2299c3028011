//! subPath mounts. The path inside a volume belongs to the pod, which may put symlinks there that point at the host.
//! It is therefore opened by the kernel with escapes forbidden, and what was opened, not the path, is bind-mounted.

use std::{
    fs, io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::{Component, Path},
};

use nix::{
    fcntl::{OFlag, OpenHow, ResolveFlag, openat2},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::{Mode, mkdirat},
};

/// Bind-mounts `volume/sub_path` to `target`, making directories that are missing.
pub fn bind(volume: &Path, sub_path: &str, target: &Path) -> Result<(), String> {
    if super::directories::mounts_below(target).iter().any(|path| path == target) {
        return Ok(());
    }
    let opened = open(volume, sub_path)?;
    let source = format!("/proc/self/fd/{}", opened.as_raw_fd());
    let is_dir = fs::metadata(&source).map_err(|error| format!("failed to look at subPath: {error}"))?.is_dir();
    let made = match (is_dir, target.parent()) {
        (true, _) => fs::create_dir_all(target),
        (false, Some(parent)) => fs::create_dir_all(parent).and_then(|()| fs::File::create(target).map(drop)),
        (false, None) => Ok(()),
    };
    made.map_err(|error| format!("failed to create {}: {error}", target.display()))?;
    mount(Some(source.as_str()), target, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)
        .map_err(|error| format!("failed to mount subPath {sub_path:?}: {error}"))
}

/// Takes away what earlier starts of the same container had bound for its mount number `index`.
pub fn release_others(dir: &Path, index: usize, keep: &Path) {
    let prefix = format!("{index}.");
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path == keep || !entry.file_name().to_string_lossy().starts_with(&prefix) {
            continue;
        }
        let _ = umount2(&path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW);
        // Neither of these removes anything but an empty place to mount on.
        if fs::remove_dir(&path).is_err() && !super::directories::mounts_below(&path).contains(&path) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn open(volume: &Path, sub_path: &str) -> Result<OwnedFd, String> {
    let inside = Path::new(sub_path).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !inside {
        return Err(format!("subPath {sub_path:?} must stay inside its volume"));
    }
    let root = nix::fcntl::open(volume, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
        .map_err(|error| format!("failed to open volume {}: {error}", volume.display()))?;
    match beneath(&root, sub_path) {
        Ok(opened) => return Ok(opened),
        Err(nix::Error::ENOENT) => {}
        Err(error) => return Err(refused(sub_path, error)),
    }
    // Made step by step, each step below a directory that the kernel has vouched for. Who may write the volume may
    // write what is made in it, so its permissions are taken over, whatever our own umask is.
    let permissions = mode(&root).map_err(|error| unprepared(sub_path, &error))? & 0o777;
    let mut at = root;
    for part in Path::new(sub_path).components().filter(|part| matches!(part, Component::Normal(_))) {
        let name = Path::new(part.as_os_str());
        let made = match mkdirat(at.as_fd(), name, Mode::from_bits_truncate(0o750)) {
            Ok(()) => true,
            Err(nix::Error::EEXIST) => false,
            Err(error) => return Err(refused(sub_path, error)),
        };
        at = beneath(&at, name).map_err(|error| refused(sub_path, error))?;
        if made {
            open_up(&at, permissions).map_err(|error| unprepared(sub_path, &error))?;
        }
    }
    Ok(at)
}

fn beneath<P: AsRef<Path>>(root: &OwnedFd, path: P) -> nix::Result<OwnedFd> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root.as_fd(), path.as_ref(), how)
}

fn mode(opened: &OwnedFd) -> io::Result<u32> {
    Ok(fs::metadata(format!("/proc/self/fd/{}", opened.as_raw_fd()))?.permissions().mode() & 0o7777)
}

/// Sets the permissions of a directory just made; a setgid bit that it has inherited stays.
fn open_up(made: &OwnedFd, permissions: u32) -> io::Result<()> {
    let inherited = mode(made)? & 0o7000;
    fs::set_permissions(
        format!("/proc/self/fd/{}", made.as_raw_fd()),
        fs::Permissions::from_mode(inherited | permissions),
    )
}

fn unprepared(sub_path: &str, error: &io::Error) -> String {
    format!("failed to prepare subPath {sub_path:?}: {error}")
}

fn refused(sub_path: &str, error: nix::Error) -> String {
    match error {
        nix::Error::EXDEV | nix::Error::ELOOP => format!("subPath {sub_path:?} leads out of its volume"),
        other => format!("failed to prepare subPath {sub_path:?}: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn symlinks_may_not_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        fs::create_dir_all(volume.join("data")).unwrap();
        symlink("/etc", volume.join("absolute")).unwrap();
        symlink("../..", volume.join("relative")).unwrap();
        symlink("data", volume.join("inside")).unwrap();
        assert!(open(&volume, "absolute/passwd").unwrap_err().contains("leads out"));
        assert!(open(&volume, "relative").unwrap_err().contains("leads out"));
        assert!(open(&volume, "../v").unwrap_err().contains("must stay inside"));
        assert!(open(&volume, "inside").is_ok());
        assert!(open(&volume, "new/deep").is_ok());
        assert!(volume.join("new/deep").is_dir());
    }

    #[test]
    fn new_directories_are_as_open_as_their_volume_and_old_ones_stay() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        fs::create_dir_all(volume.join("old")).unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let get = |path: &str| fs::metadata(volume.join(path)).unwrap().permissions().mode() & 0o7777;
        set(&volume.join("old"), 0o700);
        set(&volume, 0o2777);
        open(&volume, "old/deep").unwrap();
        open(&volume, "new").unwrap();
        assert_eq!(get("old"), 0o700);
        assert_eq!(get("old/deep"), 0o777);
        assert_eq!(get("new"), 0o2777);
    }
}
