//! The few file operations the log needs, as a trait, so that tests can put a disk below it that tears, loses and refuses writes.
//!
//! What a caller may rely on after a crash: the content of a file up to its last `sync`, and names up to the last `sync_names`.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::journal::JournalError;

/// A process that was killed holds its lock until its last thread is gone, and one that is being forked off holds ours until it
/// becomes another program.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// A folder of files.
pub trait Disk: Send + Sync {
    /// The folder's name for messages.
    fn folder(&self) -> PathBuf;
    /// All names in the folder.
    fn list(&self) -> io::Result<Vec<String>>;
    /// The whole content of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;
    /// A file, to be read from its beginning on.
    fn reader(&self, name: &str) -> io::Result<Box<dyn io::Read + Send>>;
    /// The first bytes of a file, at most so many.
    fn read_head(&self, name: &str, bytes: usize) -> io::Result<Vec<u8>>;
    /// Makes a file, or empties it, with room set aside for `allocate` bytes (which then read as zeros).
    fn create(&self, name: &str, allocate: u64) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file for writing into it.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file a new name, in the place of what had that name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes all names durable.
    fn sync_names(&self) -> io::Result<()>;
    /// A number that no other store has: stale or foreign blocks are told apart by it.
    fn unique(&self) -> u64;
}

/// An open file.
pub trait DiskFile: Send {
    /// Writes at an offset and says how many of the bytes: less than all where the system took no more at once.
    fn write_some_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Writes all bytes at an offset. After an error any part of them may have been written.
    fn write_at(&mut self, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.write_some_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    offset += written as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
    /// Makes all that was written durable.
    fn sync(&mut self) -> io::Result<()>;
    /// The file's length.
    fn length(&self) -> io::Result<u64>;
}

/// A folder on a real file system, held by a lock as long as this lives.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    handle: fs::File,
    _lock: fs::File,
}

impl Folder {
    /// Makes the folder if need be, closes it to other users and locks it against a second server.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, JournalError> {
        let path = path.into();
        let failed = |doing| move |source| JournalError::Failed { doing, source };
        fs::create_dir_all(&path).map_err(failed("make the store's folder"))?;
        // Secrets lie there as they are.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))
            .map_err(failed("close the store's folder to others"))?;
        let lock = options().create(true).truncate(false).open(path.join("lock"));
        let lock = lock.map_err(failed("open the store's lock file"))?;
        let begun = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(fs::TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                    std::thread::sleep(LOCK_PATIENCE / 100);
                }
                Err(fs::TryLockError::WouldBlock) => return Err(JournalError::Locked { folder: path }),
                Err(fs::TryLockError::Error(source)) => {
                    return Err(JournalError::Failed { doing: "lock the store's folder", source });
                }
            }
        }
        let handle = fs::File::open(&path).map_err(failed("open the store's folder"))?;
        Ok(Self { path, handle, _lock: lock })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The first bytes of a file.
pub(super) fn head_of(file: &Path, bytes: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(bytes);
    fs::File::open(file)?.take(bytes as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// All names in a folder. Those that are no UTF-8 are not ours.
pub(super) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let name = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().into_string().ok()).transpose();
    fs::read_dir(folder)?.filter_map(name).collect()
}

impl Disk for Folder {
    fn folder(&self) -> PathBuf {
        self.path.clone()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        names(&self.path)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.at(name))
    }

    fn reader(&self, name: &str) -> io::Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(fs::File::open(self.at(name))?))
    }

    fn read_head(&self, name: &str, bytes: usize) -> io::Result<Vec<u8>> {
        head_of(&self.at(name), bytes)
    }

    fn create(&self, name: &str, allocate: u64) -> io::Result<Box<dyn DiskFile>> {
        let file = options().create(true).truncate(true).open(self.at(name))?;
        if allocate > 0 {
            allocate_file(&file, allocate)?;
        }
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(options().open(self.at(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn unique(&self) -> u64 {
        use std::hash::{BuildHasher, Hasher};
        // The standard library seeds these from the system's randomness.
        let mut hasher = std::hash::RandomState::new().build_hasher();
        hasher.write(Path::as_os_str(&self.path).as_encoded_bytes());
        hasher.finish()
    }
}

fn options() -> fs::OpenOptions {
    let mut options = fs::File::options();
    options.read(true).write(true).mode(0o600);
    options
}

/// Sets room aside, so that a full disk shows when a segment is begun and an fsync has no new length to record.
fn allocate_file(file: &fs::File, length: u64) -> io::Result<()> {
    use nix::errno::Errno;
    use nix::fcntl::{FallocateFlags, fallocate};
    let signed = i64::try_from(length).map_err(io::Error::other)?;
    match fallocate(file, FallocateFlags::empty(), 0, signed) {
        Ok(()) => Ok(()),
        // Some file systems cannot; the length alone still keeps fsync cheap.
        Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => file.set_len(length),
        Err(errno) => Err(errno.into()),
    }
}

struct RealFile(fs::File);

impl DiskFile for RealFile {
    fn write_some_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}
