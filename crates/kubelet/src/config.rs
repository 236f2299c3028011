//! What a kubelet is told at its start. Every path and name can be moved, so that several nodes fit on one machine.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{eviction, image_gc};

/// Who makes and limits cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CgroupDriver {
    /// The kubelet writes the cgroup file system itself.
    #[default]
    Cgroupfs,
    /// systemd slices.
    Systemd,
}

/// The kubelet's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The name of the Node object.
    pub node_name: String,
    /// The node's addresses, the primary first.
    pub node_ips: Vec<IpAddr>,
    /// Pods' directories and the server's own certificate lie below it.
    pub root_dir: PathBuf,
    /// Container logs: `<ns>_<pod>_<uid>/<container>/<attempt>.log` below it.
    pub pod_log_dir: PathBuf,
    /// Flat symlinks to container logs for log collectors; none when absent.
    pub container_log_dir: Option<PathBuf>,
    /// Socket of the container runtime, `unix:///...` or a plain path.
    pub cri_endpoint: String,
    /// Who makes cgroups.
    pub cgroup_driver: CgroupDriver,
    /// Parent of `kubepods` in the cgroup tree; empty for the root.
    pub cgroup_root: String,
    /// Where the server listens.
    pub bind_address: SocketAddr,
    /// Serving certificate; made by the kubelet itself when absent.
    pub tls_cert_file: Option<PathBuf>,
    /// Key of the serving certificate.
    pub tls_key_file: Option<PathBuf>,
    /// CA bundle whose client certificates are accepted.
    pub client_ca_file: Option<PathBuf>,
    /// Nameservers of pods with dnsPolicy ClusterFirst.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's domain, such as `cluster.local`.
    pub cluster_domain: String,
    /// The host's resolver configuration.
    pub resolv_conf: PathBuf,
    /// How many pods this node takes.
    pub max_pods: u32,
    /// The node's pod range; told to the runtime when it is known.
    pub pod_cidr: Option<String>,
    /// Labels that the node registers itself with, besides the well-known ones.
    pub node_labels: BTreeMap<String, String>,
    /// Taints at registration, as (key, value, effect).
    pub register_with_taints: Vec<(String, String, String)>,
    /// Kept from pods: resource name to quantity.
    pub reserved: BTreeMap<String, String>,
    /// The version reported as kubeletVersion.
    pub version: String,
    /// How long a node lease lasts.
    pub lease_duration: Duration,
    /// How often the lease is renewed.
    pub lease_renew_interval: Duration,
    /// How often the node's status is computed.
    pub status_update_frequency: Duration,
    /// How often an unchanged status is reported nonetheless.
    pub status_report_frequency: Duration,
    /// How often volumes are refreshed and each pod is looked at again without a cause.
    pub sync_frequency: Duration,
    /// How often the runtime is asked for changes while pods exist.
    pub relist_period: Duration,
    /// Size at which a container log is rotated.
    pub container_log_max_size: u64,
    /// How many files of a container's log are kept.
    pub container_log_max_files: u32,
    /// How often log sizes are looked at.
    pub container_log_monitor_interval: Duration,
    /// How many images are pulled at once.
    pub max_parallel_image_pulls: usize,
    /// When pods are ended for the sake of the node.
    pub eviction: eviction::Settings,
    /// When unused images go.
    pub image_gc: image_gc::Settings,
    /// Names of images that stay although no container uses them, such as that of sandboxes; with a slash at the end, the
    /// beginnings of names.
    pub kept_images: Vec<String>,
    /// Whether the kernel may give containers without a profile the runtime's seccomp profile.
    pub seccomp_default: bool,
}

impl Config {
    /// The usual settings for a node whose files lie below `dir` (`kubelet/`, `log/`, `containerd/`).
    pub fn new(node_name: impl Into<String>, node_ip: IpAddr, dir: &Path) -> Self {
        Self {
            node_name: node_name.into(),
            node_ips: vec![node_ip],
            root_dir: dir.join("kubelet"),
            pod_log_dir: dir.join("log/pods"),
            container_log_dir: Some(dir.join("log/containers")),
            cri_endpoint: dir.join("containerd/containerd.sock").display().to_string(),
            cgroup_driver: CgroupDriver::default(),
            cgroup_root: String::new(),
            bind_address: SocketAddr::from(([0, 0, 0, 0], 10250)),
            tls_cert_file: None,
            tls_key_file: None,
            client_ca_file: None,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".into(),
            resolv_conf: "/etc/resolv.conf".into(),
            max_pods: 110,
            pod_cidr: None,
            node_labels: BTreeMap::new(),
            register_with_taints: Vec::new(),
            reserved: BTreeMap::new(),
            version: "v1.36.2".into(),
            lease_duration: Duration::from_secs(40),
            lease_renew_interval: Duration::from_secs(10),
            status_update_frequency: Duration::from_secs(10),
            status_report_frequency: Duration::from_secs(300),
            sync_frequency: Duration::from_secs(60),
            relist_period: Duration::from_secs(1),
            container_log_max_size: 10 << 20,
            container_log_max_files: 5,
            container_log_monitor_interval: Duration::from_secs(10),
            max_parallel_image_pulls: 4,
            eviction: eviction::Settings::default(),
            image_gc: image_gc::Settings::default(),
            kept_images: Vec::new(),
            seccomp_default: false,
        }
    }

    /// The socket path in `cri_endpoint`.
    pub fn cri_socket(&self) -> PathBuf {
        PathBuf::from(self.cri_endpoint.strip_prefix("unix://").unwrap_or(&self.cri_endpoint))
    }

    /// The primary node address.
    pub fn node_ip(&self) -> Option<IpAddr> {
        self.node_ips.first().copied()
    }

    /// Everything that belongs to one pod on disk.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root_dir.join("pods").join(uid)
    }

    /// A pod's log directory.
    pub fn pod_logs(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.pod_log_dir.join(format!("{namespace}_{name}_{uid}"))
    }
}
