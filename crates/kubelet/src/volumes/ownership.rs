//! The group of a pod (`fsGroup`) owns what is in its volumes. Everything is opened without following links and changed
//! through what was opened: pods that share the volume may change it meanwhile.

use std::{
    fs,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::PermissionsExt,
    },
    path::Path,
};

use k8s_openapi::api::core::v1::Pod;
use nix::{
    fcntl::{AT_FDCWD, AtFlags, OFlag, openat},
    sys::stat::{Mode, SFlag, fstat},
    unistd::{Gid, fchownat},
};

use crate::pod::PodExt;

/// One file is held open for each level.
const DEPTH_MAX: usize = 256;
const OF_FILES: u32 = 0o660;
const OF_DIRECTORIES: u32 = 0o2770;

/// The group, and when to look at everything.
pub struct Group {
    id: u32,
    /// Nothing is done where the root is the group's already (`fsGroupChangePolicy: OnRootMismatch`).
    only_on_root_mismatch: bool,
}

impl Group {
    /// The group that the pod asks for.
    pub fn of(pod: &Pod) -> Option<Self> {
        let context = pod.pod_spec().security_context.as_ref()?;
        let id = u32::try_from(context.fs_group?).ok()?;
        let only_on_root_mismatch = context.fs_group_change_policy.as_deref() == Some("OnRootMismatch");
        Some(Self { id, only_on_root_mismatch })
    }
}

/// Gives everything at and below `root` to the group.
pub fn give(root: &Path, group: &Group) -> Result<(), String> {
    let failed = |error: nix::Error| format!("failed to give {} to group {}: {error}", root.display(), group.id);
    let opened = open(AT_FDCWD, root).map_err(failed)?;
    let found = fstat(&opened).map_err(failed)?;
    if group.only_on_root_mismatch && found.st_gid == group.id && found.st_mode & OF_DIRECTORIES == OF_DIRECTORIES {
        return Ok(());
    }
    walk(&opened, group.id, 0).map_err(failed)
}

fn open(at: impl AsFd, path: &Path) -> nix::Result<OwnedFd> {
    openat(at, path, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty())
}

fn walk(opened: &OwnedFd, group: u32, depth: usize) -> nix::Result<()> {
    if depth > DEPTH_MAX {
        return Err(nix::Error::ENAMETOOLONG);
    }
    let found = fstat(opened)?;
    fchownat(opened, "", None, Some(Gid::from_raw(group)), AtFlags::AT_EMPTY_PATH)?;
    let kind = SFlag::from_bits_truncate(found.st_mode & SFlag::S_IFMT.bits());
    if kind == SFlag::S_IFLNK {
        return Ok(());
    }
    let is_directory = kind == SFlag::S_IFDIR;
    let this = format!("/proc/self/fd/{}", opened.as_raw_fd());
    let wanted = if is_directory { OF_DIRECTORIES } else { OF_FILES };
    let mode = found.st_mode & 0o7777 | wanted;
    fs::set_permissions(&this, fs::Permissions::from_mode(mode)).map_err(errno)?;
    if !is_directory {
        return Ok(());
    }
    for entry in fs::read_dir(&this).map_err(errno)? {
        match open(opened, Path::new(&entry.map_err(errno)?.file_name())) {
            Ok(entry) => walk(&entry, group, depth + 1)?,
            // Others may have removed it since.
            Err(nix::Error::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn errno(error: std::io::Error) -> nix::Error {
    error.raw_os_error().map_or(nix::Error::EIO, nix::Error::from_raw)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn everything_but_what_links_lead_to_becomes_the_groups() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("SKIPPED: only root can give files away");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("v"), dir.path().join("outside"));
        fs::create_dir_all(root.join("a")).unwrap();
        for file in [&outside, &root.join("a/file")] {
            fs::write(file, "").unwrap();
            fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
        }
        symlink(&outside, root.join("link")).unwrap();
        let of = |path: &Path| fs::symlink_metadata(path).map(|found| (found.gid(), found.mode() & 0o7777)).unwrap();
        let mut group = Group { id: 2000, only_on_root_mismatch: true };
        give(&root, &group).unwrap();
        assert_eq!(of(&root), (2000, 0o2775));
        assert_eq!(of(&root.join("a/file")), (2000, 0o660));
        assert_eq!(of(&root.join("link")).0, 2000);
        assert_eq!(of(&outside), (0, 0o600));

        fs::set_permissions(root.join("a/file"), fs::Permissions::from_mode(0o600)).unwrap();
        give(&root, &group).unwrap();
        assert_eq!(of(&root.join("a/file")).1, 0o600, "the root is the group's already");
        group.only_on_root_mismatch = false;
        give(&root, &group).unwrap();
        assert_eq!(of(&root.join("a/file")).1, 0o660);
    }
}
