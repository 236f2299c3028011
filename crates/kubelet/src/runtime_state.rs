//! One pod as the runtime has it, in the few words that decisions and status need.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::{
    cri::v1::{self, ContainerState},
    pod::labels,
};

/// A sandbox of a pod.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sandbox {
    /// The runtime's id.
    pub id: String,
    /// How many sandboxes came before it.
    pub attempt: u32,
    /// Whether it is up.
    pub ready: bool,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    /// Its addresses, the primary first; none on the host's network.
    pub ips: Vec<String>,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerInfo {
    /// The runtime's id.
    pub id: String,
    /// Its name in the pod.
    pub name: String,
    /// The sandbox that it runs in.
    pub sandbox_id: String,
    /// The runtime's word on it.
    pub state: ContainerState,
    /// How often it had been restarted.
    pub restarts: u32,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    /// When it started, if it has.
    pub started_at: Option<Timestamp>,
    /// When it ended, if it has.
    pub finished_at: Option<Timestamp>,
    /// How it ended.
    pub exit_code: i32,
    /// The runtime's reason, such as OOMKilled.
    pub reason: String,
    /// The runtime's message.
    pub message: String,
    /// The image by name.
    pub image: String,
    /// The image by content.
    pub image_ref: String,
    /// Which definition it was made from.
    pub hash: String,
    /// The node's file with its last words.
    pub termination_file: Option<PathBuf>,
    /// Whether its log stands in for missing last words.
    pub log_is_fallback: bool,
    /// Its log.
    pub log_path: PathBuf,
    /// Last words that have been read, once it has ended.
    pub last_words: Option<String>,
    /// It was stopped so that a new one takes its place.
    pub is_replaced: bool,
}

impl ContainerInfo {
    /// From the runtime's answer.
    pub fn new(status: v1::ContainerStatus, sandbox_id: String) -> Self {
        let state = status.state();
        let note = |key: &str| status.annotations.get(key).cloned().unwrap_or_default();
        let path = note(labels::TERMINATION_PATH);
        let attempt = status.metadata.as_ref().map_or(0, |metadata| metadata.attempt);
        let termination_file = status
            .mounts
            .iter()
            .find(|mount| !path.is_empty() && mount.container_path == path)
            .map(|mount| PathBuf::from(&mount.host_path));
        Self {
            name: status.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_default(),
            sandbox_id,
            state,
            restarts: note(labels::RESTART_COUNT).parse().unwrap_or(attempt),
            created_at: status.created_at,
            started_at: timestamp(status.started_at),
            finished_at: timestamp(status.finished_at),
            exit_code: status.exit_code,
            hash: note(labels::HASH),
            log_is_fallback: note(labels::TERMINATION_POLICY) == "FallbackToLogsOnError",
            termination_file,
            log_path: PathBuf::from(&status.log_path),
            image: status.image.map(|image| image.image).unwrap_or_default(),
            image_ref: status.image_ref,
            reason: status.reason,
            message: status.message,
            id: status.id,
            last_words: None,
            is_replaced: false,
        }
    }

    /// Whether it runs.
    pub fn running(&self) -> bool {
        self.state == ContainerState::ContainerRunning
    }

    /// Whether it ran and ended.
    pub fn exited(&self) -> bool {
        self.state == ContainerState::ContainerExited
    }
}

/// The runtime writes zero for "not yet".
pub fn timestamp(nanos: i64) -> Option<Timestamp> {
    if nanos <= 0 { None } else { Timestamp::from_nanosecond(i128::from(nanos)).ok() }
}

/// A pod in the runtime, newest things first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PodRuntime {
    /// Its sandboxes.
    pub sandboxes: Vec<Sandbox>,
    /// Its containers, dead ones included.
    pub containers: Vec<ContainerInfo>,
}

impl PodRuntime {
    /// Puts the newest first.
    pub fn sorted(mut self) -> Self {
        self.sandboxes.sort_by_key(|s| std::cmp::Reverse((s.attempt, s.created_at)));
        self.containers.sort_by_key(|c| std::cmp::Reverse((c.created_at, c.restarts)));
        self
    }

    /// The sandbox that containers can be started in.
    pub fn ready_sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|sandbox| sandbox.ready)
    }

    /// The newest container of a name.
    pub fn latest(&self, name: &str) -> Option<&ContainerInfo> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// The newest container of a name that ended before the newest one.
    pub fn before_latest(&self, name: &str) -> Option<&ContainerInfo> {
        self.containers.iter().filter(|c| c.name == name).skip(1).find(|c| c.exited())
    }

    /// Containers that run.
    pub fn running(&self) -> impl Iterator<Item = &ContainerInfo> {
        self.containers.iter().filter(|c| c.running())
    }
}
