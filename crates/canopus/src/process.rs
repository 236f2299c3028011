//! The cluster's background process: one a root folder, proven by a lock on its pid file, so that a stale file or a
//! reused process id is never mistaken for it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::layout::Layout;

/// Held by the cluster's process for as long as it lives.
pub struct PidFile {
    _lock: Flock<File>,
}

impl PidFile {
    /// Takes the root folder for this process; fails when another one has it.
    pub fn take(layout: &Layout) -> Result<Self> {
        let path = layout.pid_file();
        let file = open(&path)?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0)
                    .and_then(|()| lock.rewind())
                    .and_then(|()| writeln!(lock, "{}", std::process::id()))
                    .with_context(|| format!("failed to write {}", path.display()))?;
                Ok(Self { _lock: lock })
            }
            Err((_, nix::Error::EWOULDBLOCK)) => {
                bail!("a cluster is already running below {}", layout.root().display())
            }
            Err((_, error)) => Err(error).with_context(|| format!("failed to lock {}", path.display())),
        }
    }
}

/// The process id of the cluster that runs below this root folder, if one does.
pub fn running(layout: &Layout) -> Result<Option<u32>> {
    let path = layout.pid_file();
    if !path.exists() {
        return Ok(None);
    }
    let mut file = open(&path)?;
    let mut text = String::new();
    file.read_to_string(&mut text).with_context(|| format!("failed to read {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(None),
        Err((_, nix::Error::EWOULDBLOCK)) => Ok(text.trim().parse().ok()),
        Err((_, error)) => Err(error).with_context(|| format!("failed to look at the lock of {}", path.display())),
    }
}

/// Starts this program again with `arguments`, detached from the terminal, writing to the cluster's log.
pub fn spawn_in_background(layout: &Layout, arguments: &[std::ffi::OsString]) -> Result<Child> {
    let log_path = layout.log();
    if let Some(folder) = log_path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("failed to open {}", log_path.display()))?;
    let program = std::env::current_exe().context("failed to find this program's own file")?;
    let mut command = Command::new(&program);
    command.arg0("canopus").args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // SAFETY: between fork and exec only setsid is called, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(std::io::Error::from));
    }
    command.spawn().with_context(|| format!("failed to start {}", program.display()))
}

/// Asks the cluster's process to stop and waits for its lock to go; past `patience` it is killed.
pub fn stop(layout: &Layout, pid: u32, patience: Duration) -> Result<()> {
    let target = Pid::from_raw(i32::try_from(pid).context("the pid file holds no process id")?);
    let _ = kill(target, Signal::SIGTERM);
    let deadline = Instant::now() + patience;
    while running(layout)?.is_some() {
        if Instant::now() > deadline {
            let _ = kill(target, Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn open(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| format!("failed to make {}", folder.display()))?;
    }
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| format!("failed to open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_pid_file_is_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path()).unwrap();
        assert_eq!(running(&layout).unwrap(), None);
        std::fs::create_dir_all(layout.run()).unwrap();
        std::fs::write(layout.pid_file(), "1\n").unwrap();
        assert_eq!(running(&layout).unwrap(), None);
    }

    #[test]
    fn a_root_folder_has_one_owner() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path()).unwrap();
        let owner = PidFile::take(&layout).unwrap();
        assert!(PidFile::take(&layout).is_err());
        assert_eq!(running(&layout).unwrap(), Some(std::process::id()));
        drop(owner);
        PidFile::take(&layout).unwrap();
    }
}
