//! The audit log: a file that only its owner reads, or standard output. A file that has grown too large is set aside
//! under a name with the time, of which so many and so old ones are kept.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// When the file is set aside, and which old ones go. 0 is no limit, but of the size.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    /// 100 MB when 0.
    pub size_max_megabytes: u64,
    pub backups_max: usize,
    pub age_max_days: u64,
}

const SIZE_MAX_MEGABYTES: u64 = 100;

#[derive(Debug, thiserror::Error)]
#[error("{path:?}")]
pub struct LogError {
    path: PathBuf,
    #[source]
    source: std::io::Error,
}

/// Where lines go.
pub struct Log(Mutex<Sink>);

enum Sink {
    Standard,
    File { path: PathBuf, file: File, size: u64, rotation: Rotation },
}

impl Log {
    /// `-` is standard output.
    pub fn open(path: &Path, rotation: Rotation) -> Result<Self, LogError> {
        if path == Path::new("-") {
            return Ok(Self(Mutex::new(Sink::Standard)));
        }
        let failed = |source| LogError { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let (file, size) = open(path).map_err(failed)?;
        Ok(Self(Mutex::new(Sink::File { path: path.to_owned(), file, size, rotation })))
    }

    /// Appends a line, which has its end.
    pub fn write(&self, line: &[u8]) -> std::io::Result<()> {
        self.0.lock().write(line)
    }
}

impl Sink {
    fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        let Self::File { path, file, size, rotation } = self else {
            return std::io::stdout().lock().write_all(line);
        };
        let megabytes = if rotation.size_max_megabytes == 0 { SIZE_MAX_MEGABYTES } else { rotation.size_max_megabytes };
        if *size > 0 && *size + line.len() as u64 > megabytes * 1024 * 1024 {
            std::fs::rename(&*path, backup_name(path, jiff::Timestamp::now()))?;
            (*file, *size) = open(path)?;
            remove_old(path, *rotation, jiff::Timestamp::now())?;
        }
        file.write_all(line)?;
        *size += line.len() as u64;
        Ok(())
    }
}

fn open(path: &Path) -> std::io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// `audit-2026-11-28T10-20-30.123.log`
fn backup_name(path: &Path, now: jiff::Timestamp) -> PathBuf {
    let (stem, extension) = parts(path);
    let time = now.strftime("%Y-%m-%dT%H-%M-%S.%3f");
    path.with_file_name(format!("{stem}-{time}{extension}"))
}

fn parts(path: &Path) -> (String, String) {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    (stem, extension)
}

/// The time in a name that `backup_name` gave.
fn backup_time(path: &Path, name: &str) -> Option<jiff::Timestamp> {
    let (stem, extension) = parts(path);
    let time = name.strip_prefix(&format!("{stem}-"))?.strip_suffix(&extension)?;
    let time = jiff::civil::DateTime::strptime("%Y-%m-%dT%H-%M-%S.%f", time).ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

fn remove_old(path: &Path, rotation: Rotation, now: jiff::Timestamp) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut backups = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(time) = backup_time(path, &entry.file_name().to_string_lossy()) {
            backups.push((time, entry.path()));
        }
    }
    backups.sort_by_key(|(time, _)| std::cmp::Reverse(*time));
    let age_max_seconds = i64::try_from(rotation.age_max_days).unwrap_or(i64::MAX).saturating_mul(24 * 60 * 60);
    for (i, (time, backup)) in backups.iter().enumerate() {
        let too_many = rotation.backups_max > 0 && i >= rotation.backups_max;
        let too_old = rotation.age_max_days > 0 && now.as_second() - time.as_second() > age_max_seconds;
        if too_many || too_old {
            std::fs::remove_file(backup)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_full_file_is_set_aside_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let rotation = Rotation { size_max_megabytes: 1, backups_max: 2, age_max_days: 1 };
        std::fs::write(folder.path().join("audit-2020-01-01T00-00-00.000.log"), "old").unwrap();
        std::fs::write(folder.path().join("audit-other.log"), "not ours").unwrap();
        let log = Log::open(&path, rotation).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let line = format!("{}\n", "x".repeat(600 * 1024));
        for _ in 0..3 {
            log.write(line.as_bytes()).unwrap();
        }
        let mut names: Vec<String> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert!(!names.contains(&"audit-2020-01-01T00-00-00.000.log".to_owned()), "{names:?}");
        assert!(names.contains(&"audit-other.log".to_owned()) && names.contains(&"audit.log".to_owned()), "{names:?}");
        assert!((3..=4).contains(&names.len()), "{names:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }
}
