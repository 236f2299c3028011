//! Writes a set of files so that readers see either all old or all new ones.
//!
//! The files lie in a directory with a time for a name; `..data` is a symlink to it, replaced by rename; what users
//! see (`key -> ..data/key`) are symlinks through `..data`:
//!
//! ```text
//! ..2026_11_20_20_30_00.123/key    ..data -> ..2026_11_20_20_30_00.123    key -> ..data/key
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink},
    path::{Component, Path},
};

/// A file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its contents.
    pub data: Vec<u8>,
    /// Its permissions.
    pub mode: u32,
    /// Its owner, if not root.
    pub owner: Option<u32>,
}

/// Files by relative path.
pub type Files = BTreeMap<String, File>;

const DATA: &str = "..data";

/// Makes `dir` hold exactly `files`; returns whether anything had to be changed.
pub fn write(dir: &Path, files: &Files, group: Option<i64>) -> io::Result<bool> {
    for path in files.keys() {
        check(path)?;
    }
    let group = group.and_then(|group| u32::try_from(group).ok());
    let current = fs::read_link(dir.join(DATA)).ok();
    if let Some(current) = &current
        && holds(&dir.join(current), files, group)
    {
        link(dir, files)?;
        return Ok(false);
    }
    let now = jiff::Timestamp::now();
    let name = format!("..{}.{}", now.strftime("%Y_%m_%d_%H_%M_%S"), now.subsec_nanosecond());
    let fresh = dir.join(&name);
    fs::create_dir(&fresh)?;
    chown(&fresh, None, group)?;
    let inherited = if group.is_some() { 0o2000 } else { 0 };
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755 | inherited))?;
    for (path, file) in files {
        let path = fresh.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, &file.data)?;
        chown(&path, file.owner, group)?;
        let shared = if group.is_some() { 0o040 } else { 0 };
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode | shared))?;
    }
    let pending = dir.join("..data_tmp");
    let _ = fs::remove_file(&pending);
    symlink(&name, &pending)?;
    fs::rename(&pending, dir.join(DATA))?;
    link(dir, files)?;
    if let Some(old) = current {
        let _ = fs::remove_dir_all(dir.join(old));
    }
    Ok(true)
}

/// A path must stay inside and may not begin like our own names.
fn check(path: &str) -> io::Result<()> {
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || !plain || path.starts_with("..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path: {path:?}")));
    }
    Ok(())
}

fn holds(current: &Path, files: &Files, group: Option<u32>) -> bool {
    let same = |(path, file): (&String, &File)| {
        let path = current.join(path);
        let shared = if group.is_some() { 0o040 } else { 0 };
        let metadata = fs::metadata(&path);
        let mode_fits = metadata.is_ok_and(|m| {
            m.permissions().mode() & 0o7777 == file.mode | shared && m.is_file() && m.uid() == file.owner.unwrap_or(0)
        });
        mode_fits && fs::read(&path).is_ok_and(|data| data == file.data)
    };
    files.iter().all(same) && count(current) == files.len()
}

fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| if e.file_type().is_ok_and(|kind| kind.is_dir()) { count(&e.path()) } else { 1 }).sum()
}

/// Makes the visible symlinks match, leaving those that are right alone.
fn link(dir: &Path, files: &Files) -> io::Result<()> {
    let wanted: BTreeSet<&str> = files.keys().filter_map(|path| path.split('/').next()).collect();
    for entry in fs::read_dir(dir)?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if is_link && !name.starts_with("..") && !wanted.contains(name.as_str()) {
            fs::remove_file(entry.path())?;
        }
    }
    for name in wanted {
        let path = dir.join(name);
        if fs::symlink_metadata(&path).is_err() {
            symlink(Path::new(DATA).join(name), path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        let file = |data: &str| File { data: data.into(), mode: 0o644, owner: None };
        list.iter().map(|(path, data)| ((*path).to_owned(), file(data))).collect()
    }

    #[test]
    fn updates_replace_everything_at_once() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write(dir.path(), &files(&[("a", "1"), ("sub/b", "2")]), None).unwrap());
        assert!(!write(dir.path(), &files(&[("a", "1"), ("sub/b", "2")]), None).unwrap(), "nothing changed");
        let before = fs::read_link(dir.path().join("..data")).unwrap();
        assert!(write(dir.path(), &files(&[("a", "3"), ("c", "4")]), None).unwrap());
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "3");
        assert_eq!(fs::read_to_string(dir.path().join("c")).unwrap(), "4");
        assert!(!dir.path().join("sub").exists() && !dir.path().join(before).exists());
    }

    #[test]
    fn paths_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["../x", "/x", "a/../../x", "..data", ""] {
            assert!(write(dir.path(), &files(&[(path, "1")]), None).is_err(), "{path}");
        }
    }
}
