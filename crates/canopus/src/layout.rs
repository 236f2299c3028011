//! Where a cluster's files lie. Everything is below one root folder, so that several clusters and several nodes live on
//! one machine; the default is the machine's own cluster.

use std::path::{Path, PathBuf};

/// The root folder of the machine's own cluster.
pub const DEFAULT_ROOT_DIR: &str = "/var/lib/canopus";

/// The paths below one root folder.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

impl Layout {
    /// `root` is made absolute, because it ends up in files that other processes read.
    pub fn new(root: &Path) -> std::io::Result<Self> {
        Ok(Self { root: std::path::absolute(root)? })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The kubeconfig of the cluster's administrator, with a client certificate.
    pub fn admin_conf(&self) -> PathBuf {
        self.root.join("admin.conf")
    }

    /// Certificates and keys, named as kubeadm names them.
    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// The embedded store's write-ahead log and snapshots.
    pub fn store(&self) -> PathBuf {
        self.root.join("store")
    }

    /// What the cluster was started with last; it stays when the cluster stops.
    pub fn arguments(&self) -> PathBuf {
        self.root.join("arguments.json")
    }

    /// Files that a restored cluster is started with.
    pub fn config(&self) -> PathBuf {
        self.root.join("config")
    }

    pub fn kubelet(&self) -> PathBuf {
        self.root.join("kubelet")
    }

    pub fn containerd(&self) -> PathBuf {
        self.root.join("containerd")
    }

    /// Image archives that are loaded into containerd when the node starts.
    pub fn images(&self) -> PathBuf {
        self.root.join("images")
    }

    /// Pods' logs, laid out as upstream's `/var/log/pods`.
    pub fn pod_logs(&self) -> PathBuf {
        self.root.join("log/pods")
    }

    /// The log of the cluster's own process.
    pub fn log(&self) -> PathBuf {
        self.root.join("log/canopus.log")
    }

    pub fn cni_conf(&self) -> PathBuf {
        self.root.join("cni/conf")
    }

    pub fn cni_bin(&self) -> PathBuf {
        self.root.join("cni/bin")
    }

    pub fn cni_state(&self) -> PathBuf {
        self.root.join("cni/state")
    }

    /// Sockets, process ids and locks of what runs now.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    /// The process id of the cluster's background process; it holds a lock on this file while it lives.
    pub fn pid_file(&self) -> PathBuf {
        self.root.join("run/canopus.pid")
    }

    /// What the running process was started with, for `status`, `down` and a second `up`.
    pub fn state_file(&self) -> PathBuf {
        self.root.join("run/state.json")
    }
}
