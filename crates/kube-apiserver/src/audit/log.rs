//! The audit log: a file that only its owner reads, or standard output. A file that has grown too large is set aside
//! under a name with the time; a thread of its own then removes what is too old or too much, and compresses the rest if asked
//! to, so that no request waits for it.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;

/// When the file is set aside, and what becomes of old ones. 0 is no limit, but of the size.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation {
    /// 100 MB when 0.
    pub size_max_megabytes: u64,
    pub backups_max: usize,
    pub age_max_days: u64,
    /// Whether old ones are compressed.
    pub compress: bool,
}

const SIZE_MAX_MEGABYTES: u64 = 100;
const COMPRESSED: &str = ".gz";

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
    File { path: PathBuf, file: File, size: u64, rotation: Rotation, keeper: Keeper },
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
        let keeper = Keeper::start(path, rotation).map_err(failed)?;
        Ok(Self(Mutex::new(Sink::File { path: path.to_owned(), file, size, rotation, keeper })))
    }

    /// Appends a line, which has its end.
    pub fn write(&self, line: &[u8]) -> std::io::Result<()> {
        self.0.lock().write(line)
    }
}

impl Sink {
    fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        let Self::File { path, file, size, rotation, keeper } = self else {
            return std::io::stdout().lock().write_all(line);
        };
        let megabytes = if rotation.size_max_megabytes == 0 { SIZE_MAX_MEGABYTES } else { rotation.size_max_megabytes };
        if *size > 0 && *size + line.len() as u64 > megabytes * 1024 * 1024 {
            std::fs::rename(&*path, backup_name(path, jiff::Timestamp::now()))?;
            (*file, *size) = open(path)?;
            keeper.wake();
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

/// The thread that looks after the files that were set aside. It ends, with what it has begun, when this is dropped.
struct Keeper {
    wake: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// What an earlier process left is looked after first.
    fn start(path: &Path, rotation: Rotation) -> std::io::Result<Self> {
        let (wake, woken) = sync_channel(1);
        let path = path.to_owned();
        let keep = move || {
            for () in woken {
                if let Err(error) = keep(&path, rotation, jiff::Timestamp::now()) {
                    tracing::error!(%error, path = %path.display(), "failed to look after old audit logs");
                }
            }
        };
        let thread = std::thread::Builder::new().name("audit-log".to_owned()).spawn(keep)?;
        let keeper = Self { wake: Some(wake), thread: Some(thread) };
        keeper.wake();
        Ok(keeper)
    }

    fn wake(&self) {
        // One that has been woken already will see this file too.
        let _ = self.wake.as_ref().map(|wake| wake.try_send(()));
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.wake = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
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

/// The time in a name that `backup_name` gave, compressed or not.
fn backup_time(path: &Path, name: &str) -> Option<jiff::Timestamp> {
    let (stem, extension) = parts(path);
    let name = name.strip_suffix(COMPRESSED).unwrap_or(name);
    let time = name.strip_prefix(&format!("{stem}-"))?.strip_suffix(&extension)?;
    let time = jiff::civil::DateTime::strptime("%Y-%m-%dT%H-%M-%S.%f", time).ok()?;
    time.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

/// Removes files that are too old or too many, and compresses the others if that is wanted.
fn keep(path: &Path, rotation: Rotation, now: jiff::Timestamp) -> std::io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut backups = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if let Some(time) = backup_time(path, &entry.file_name().to_string_lossy()) {
            backups.push((time, entry.path()));
        }
    }
    // A file whose compression was cut short is there twice, and counts once.
    backups.sort_by(|a, b| b.cmp(a));
    let mut times: Vec<jiff::Timestamp> = backups.iter().map(|(time, _)| *time).collect();
    times.dedup();
    let age_max_seconds = i64::try_from(rotation.age_max_days).unwrap_or(i64::MAX).saturating_mul(24 * 60 * 60);
    for (time, backup) in &backups {
        let newer = times.iter().take_while(|other| *other > time).count();
        let too_many = rotation.backups_max > 0 && newer >= rotation.backups_max;
        let too_old = rotation.age_max_days > 0 && now.as_second() - time.as_second() > age_max_seconds;
        if too_many || too_old {
            std::fs::remove_file(backup)?;
        } else if rotation.compress && !is_compressed(backup) {
            compress(backup)?;
        }
    }
    Ok(())
}

fn is_compressed(path: &Path) -> bool {
    path.to_string_lossy().ends_with(COMPRESSED)
}

/// The file goes only when its compressed form is complete.
fn compress(path: &Path) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(COMPRESSED);
    let file = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&name)?;
    let mut encoder = GzEncoder::new(file, Compression::default());
    std::io::copy(&mut File::open(path)?, &mut encoder)?;
    encoder.finish()?.sync_all()?;
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::PermissionsExt;

    fn names(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_full_file_is_set_aside_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let rotation = Rotation { size_max_megabytes: 1, backups_max: 2, age_max_days: 1, compress: false };
        std::fs::write(folder.path().join("audit-2020-01-01T00-00-00.000.log"), "old").unwrap();
        std::fs::write(folder.path().join("audit-other.log"), "not ours").unwrap();
        let log = Log::open(&path, rotation).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let line = format!("{}\n", "x".repeat(600 * 1024));
        for _ in 0..3 {
            log.write(line.as_bytes()).unwrap();
        }
        drop(log);
        let names = names(folder.path());
        assert!(!names.contains(&"audit-2020-01-01T00-00-00.000.log".to_owned()), "{names:?}");
        assert!(names.contains(&"audit-other.log".to_owned()) && names.contains(&"audit.log".to_owned()), "{names:?}");
        assert!((3..=4).contains(&names.len()), "{names:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }

    #[test]
    fn what_was_set_aside_is_compressed_and_counted_once() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("audit-2026-01-01T00-00-00.000.log.gz", "old");
        // The compression of this one was cut short.
        write("audit-2026-01-02T00-00-00.000.log", "whole");
        write("audit-2026-01-02T00-00-00.000.log.gz", "par");
        write("audit-2026-01-03T00-00-00.000.log", "new");
        let path = folder.path().join("audit.log");
        drop(Log::open(&path, Rotation { backups_max: 2, compress: true, ..Rotation::default() }).unwrap());
        let wanted = ["audit-2026-01-02T00-00-00.000.log.gz", "audit-2026-01-03T00-00-00.000.log.gz", "audit.log"];
        assert_eq!(names(folder.path()), wanted);
        for (name, wanted) in wanted.iter().zip(["whole", "new"]) {
            let file = File::open(folder.path().join(name)).unwrap();
            let mut text = String::new();
            flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
            assert_eq!(text, wanted);
        }
    }
}
