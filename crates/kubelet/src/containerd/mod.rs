//! A private containerd for clusters that bring their own runtime: its configuration is written, it is started in a
//! session of its own, so that pods and runtime outlive whoever started it, and it is stopped by its recorded id.

pub mod settings;

use std::{
    fs, io,
    os::unix::{net::UnixStream, process::CommandExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

pub use settings::Options;

/// Why containerd could not be brought up or down.
#[derive(Debug, thiserror::Error)]
pub enum ContainerdError {
    /// No binary of this name in PATH.
    #[error("{0} is not installed (try: apt-get install containerd runc)")]
    Missing(String),
    /// A file or directory could not be written or read.
    #[error("failed to {action} {path}")]
    File {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The process could not be started.
    #[error("failed to start containerd")]
    Start(#[source] io::Error),
    /// It came up but never answered, or ended at once.
    #[error("containerd does not answer on {socket}; the end of its log: {log}")]
    Silent {
        /// The socket asked.
        socket: PathBuf,
        /// The last lines of its log.
        log: String,
    },
    /// It did not end in time.
    #[error("containerd (process {0}) did not end")]
    Stuck(i32),
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ContainerdError {
    let path = path.to_path_buf();
    move |source| ContainerdError::File { action, path, source }
}

/// The socket of the containerd that lives in `dir`.
pub fn socket(dir: &Path) -> PathBuf {
    dir.join("containerd.sock")
}

/// Whether the containerd in `dir` answers.
pub fn answers(dir: &Path) -> bool {
    UnixStream::connect(socket(dir)).is_ok()
}

/// Makes sure that a containerd with its state in `dir` answers, starting one if need be, and returns its socket.
/// Blocks for as long as the start takes (a tenth of a second, usually; never above 30 s).
pub fn ensure(dir: &Path, options: &Options) -> Result<PathBuf, ContainerdError> {
    let socket = socket(dir);
    if answers(dir) {
        return Ok(socket);
    }
    fs::create_dir_all(dir).map_err(file("create", dir))?;
    fs::create_dir_all(&options.certs_dir).map_err(file("create", &options.certs_dir))?;
    let version = settings::Version::of(&options.binary)?;
    let config = dir.join("config.toml");
    fs::write(&config, settings::render(dir, options, version)).map_err(file("write", &config))?;
    let log_path = dir.join("containerd.log");
    let log = fs::File::options().create(true).append(true).open(&log_path).map_err(file("open", &log_path))?;
    let errors = log.try_clone().map_err(file("open", &log_path))?;
    let mut command = Command::new(&options.binary);
    command.arg("--config").arg(&config).stdin(Stdio::null()).stdout(log).stderr(errors).current_dir("/");
    // SAFETY: setsid is async-signal-safe and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from));
    }
    let mut child = command.spawn().map_err(ContainerdError::Start)?;
    let pid_file = dir.join("containerd.pid");
    fs::write(&pid_file, child.id().to_string()).map_err(file("write", &pid_file))?;
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut pause = Duration::from_millis(5);
    while !answers(dir) {
        let ended = child.try_wait().is_ok_and(|status| status.is_some());
        if ended || Instant::now() > deadline {
            return Err(ContainerdError::Silent { socket, log: tail(&log_path) });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    // Whoever started it reaps it, so that a killed containerd does not stay as a zombie while we live.
    std::thread::spawn(move || child.wait());
    Ok(socket)
}

/// Keeps the containerd in `dir` answering until cancelled: one that has died is started again, and finds its pods as
/// they were, for they do not depend on it.
pub async fn supervise(dir: PathBuf, options: Options, cancel: tokio_util::sync::CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
            () = cancel.cancelled() => return,
        }
        let (dir, options) = (dir.clone(), options.clone());
        let kept = tokio::task::spawn_blocking(move || {
            let there = answers(&dir);
            if there { Ok(false) } else { ensure(&dir, &options).map(|_| true) }
        });
        match kept.await {
            Ok(Ok(false)) => {}
            Ok(Ok(true)) => tracing::warn!("containerd had died and was started again"),
            Ok(Err(error)) => tracing::error!(%error, "failed to start containerd again"),
            Err(error) => tracing::error!(%error, "failed to look after containerd"),
        }
    }
}

/// Ends the containerd in `dir`. Its pods go on running; remove them first if that is not wanted.
pub fn stop(dir: &Path) -> Result<(), ContainerdError> {
    let Some(pid) = recorded_pid(dir) else { return Ok(()) };
    let target = nix::unistd::Pid::from_raw(pid);
    let _ = nix::sys::signal::kill(target, nix::sys::signal::Signal::SIGTERM);
    let deadline = Instant::now() + Duration::from_secs(15);
    while runs(pid, dir) {
        if Instant::now() > deadline {
            let _ = nix::sys::signal::kill(target, nix::sys::signal::Signal::SIGKILL);
            std::thread::sleep(Duration::from_millis(200));
            if runs(pid, dir) {
                return Err(ContainerdError::Stuck(pid));
            }
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = fs::remove_file(dir.join("containerd.pid"));
    let _ = fs::remove_file(socket(dir));
    Ok(())
}

/// The process id on record, if that process is still our containerd and not a later one with the same number.
fn recorded_pid(dir: &Path) -> Option<i32> {
    let pid: i32 = fs::read_to_string(dir.join("containerd.pid")).ok()?.trim().parse().ok()?;
    runs(pid, dir).then_some(pid)
}

fn runs(pid: i32, dir: &Path) -> bool {
    let config = dir.join("config.toml");
    let zombie = fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| stat.rsplit(") ").next().map(|rest| rest.starts_with('Z')))
        .unwrap_or(true);
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    !zombie && command_line.split(|byte| *byte == 0).any(|argument| argument == config.as_os_str().as_encoded_bytes())
}

fn tail(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" | ")
}
