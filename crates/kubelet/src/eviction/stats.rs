//! The node and its pods at one moment.

use std::collections::{BTreeMap, HashMap};

use super::Signal;

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Observation {
    /// Of it, how much is left.
    pub available: u64,
    /// In all.
    pub capacity: u64,
}

/// Files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Their size on the disk.
    pub bytes: u64,
    /// Their number.
    pub inodes: u64,
}

impl std::ops::Add for DiskUsage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, inodes: self.inodes + other.inodes }
    }
}

impl std::iter::Sum for DiskUsage {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| sum + one)
    }
}

/// What a container uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerUsage {
    /// Its name.
    pub name: String,
    /// Memory that the kernel cannot simply take back.
    pub memory_bytes: u64,
    /// What it has written into its own file system.
    pub rootfs: DiskUsage,
    /// Its logs.
    pub logs: DiskUsage,
}

/// What a pod uses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodUsage {
    /// Its containers that run.
    pub containers: Vec<ContainerUsage>,
    /// Its volumes that lie on the node's disk, by name.
    pub volumes: BTreeMap<String, DiskUsage>,
    /// Its processes.
    pub processes: u64,
}

impl PodUsage {
    /// Memory in all.
    pub fn memory_bytes(&self) -> u64 {
        self.containers.iter().map(|container| container.memory_bytes).sum()
    }
}

/// Everything that decisions look at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// What could be measured of the node.
    pub node: BTreeMap<Signal, Observation>,
    /// Pods by uid; absent where nothing is known.
    pub pods: HashMap<String, PodUsage>,
    /// Whether images and containers lie on a file system of their own.
    pub has_own_imagefs: bool,
}
