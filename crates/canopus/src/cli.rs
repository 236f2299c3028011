//! The command line of `canopus` itself. Flags that a Kubernetes component has too carry its name for them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};

use crate::backup::objects::Selection;
use crate::backup::schedule::ScheduleArgs;
use crate::components::{EtcdFlags, HistoryFlags, StoreFlags};
use crate::layout::DEFAULT_ROOT_DIR;

/// Kubernetes, whole, in one binary.
#[derive(Debug, Parser)]
#[command(
    name = "canopus",
    version,
    disable_help_subcommand = true,
    after_help = "Single components: canopus kube-apiserver|kube-controller-manager|kube-scheduler|kubelet|kube-proxy --help"
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a whole cluster on this machine in the background and wait until it works
    Up(UpArgs),
    /// Stop the cluster: its processes, pods, mounts, links, firewall rules and cgroups. The data stays
    Down(DownArgs),
    /// Show what runs and whether it is well
    Status(RootArgs),
    /// Run the control plane alone in the foreground: API server, store, controllers and scheduler
    Server(ClusterArgs),
    /// Run the node alone in the foreground: container runtime, kubelet, service proxy and DNS
    Agent(AgentArgs),
    /// Look into the embedded store's files, also while the cluster runs, or make them smaller
    #[command(subcommand)]
    Store(StoreCommand),
    /// Write all objects at one revision into a file or an object store; also while the cluster runs, which is not disturbed
    Backup(BackupArgs),
    /// Make the store of a cluster that does not exist yet from a backup, or single objects in a running one
    Restore(RestoreArgs),
    /// The Kubernetes client
    #[command(disable_help_flag = true)]
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, num_args = 0..)]
        arguments: Vec<std::ffi::OsString>,
    },
}

#[derive(Debug, Clone, Args)]
pub struct RootArgs {
    /// Folder below which everything of this cluster lies
    #[arg(long, value_name = "DIR", default_value = DEFAULT_ROOT_DIR, env = "CANOPUS_ROOT_DIR")]
    pub root_dir: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct ClusterArgs {
    #[command(flatten)]
    pub root: RootArgs,
    /// Port of the API server
    #[arg(long, value_name = "PORT", default_value_t = 6443)]
    pub secure_port: u16,
    /// Address that the API server listens at
    #[arg(long, value_name = "ADDRESS", default_value = "0.0.0.0")]
    pub bind_address: IpAddr,
    /// Address at which others reach the API server; by default the address of the interface with the default route
    #[arg(long, value_name = "ADDRESS")]
    pub advertise_address: Option<IpAddr>,
    /// More names and addresses that the API server's certificate is valid for
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub tls_san: Vec<String>,
    /// Addresses of services
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/16")]
    pub service_cluster_ip_range: String,
    /// CSV file of static bearer tokens: token,user,uid,"group1,group2"
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// File that says which resources are encrypted in the store, and how; changes are taken over without a restart
    #[arg(long, value_name = "FILE")]
    pub encryption_provider_config: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreFlags,
    #[command(flatten)]
    pub etcd: EtcdFlags,
    #[command(flatten)]
    pub history: HistoryFlags,
    #[command(flatten)]
    pub backups: ScheduleArgs,
}

#[derive(Debug, Clone, Args)]
pub struct NodeArgs {
    /// Name of this node; by default the host's name
    #[arg(long, value_name = "NAME")]
    pub node_name: Option<String>,
    /// Address of this node; by default the address of the interface with the default route
    #[arg(long, value_name = "ADDRESS")]
    pub node_ip: Option<IpAddr>,
    /// Port of the kubelet's server
    #[arg(long, value_name = "PORT", default_value_t = 10250)]
    pub kubelet_port: u16,
    /// Addresses of this node's pods
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/24")]
    pub pod_cidr: String,
    /// Addresses of all pods of the cluster
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/16")]
    pub cluster_cidr: String,
    /// Address of the cluster's DNS; by default the tenth service address
    #[arg(long, value_name = "ADDRESS")]
    pub cluster_dns: Option<IpAddr>,
    /// Port at which DNS listens on the node; pods reach it at the service address
    #[arg(long, value_name = "PORT", default_value_t = 10053)]
    pub dns_port: u16,
    /// Port of the service proxy's health check
    #[arg(long, value_name = "PORT", default_value_t = 10256)]
    pub healthz_port: u16,
    /// Socket of a container runtime that is already there; by default a private containerd is started
    #[arg(long, value_name = "SOCKET")]
    pub container_runtime_endpoint: Option<String>,
    /// Cgroup below which all pods are put; by default the root for the machine's own cluster, else one of its own
    #[arg(long, value_name = "PATH")]
    pub cgroup_root: Option<String>,
}

#[derive(Debug, Clone, Args)]
pub struct UpArgs {
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(flatten)]
    pub node: NodeArgs,
    /// Stay in the foreground and log to standard error
    #[arg(long)]
    pub foreground: bool,
    /// Leave the user's kubeconfig alone
    #[arg(long)]
    pub no_kubeconfig: bool,
    /// Seconds to wait until the cluster works
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    pub wait_seconds: u64,
}

#[derive(Debug, Clone, Args)]
pub struct AgentArgs {
    #[command(flatten)]
    pub root: RootArgs,
    /// URL of the API server
    #[arg(long, value_name = "URL", default_value = "https://127.0.0.1:6443")]
    pub server: String,
    /// Addresses of services
    #[arg(long, value_name = "CIDR", default_value = "10.96.0.0/16")]
    pub service_cluster_ip_range: String,
    #[command(flatten)]
    pub node: NodeArgs,
}

#[derive(Debug, Clone, Args)]
pub struct DownArgs {
    #[command(flatten)]
    pub root: RootArgs,
    /// Remove the data as well
    #[arg(long)]
    pub purge: bool,
}

#[derive(Debug, Subcommand)]
pub enum StoreCommand {
    /// Read everything and check every checksum
    Verify(RootArgs),
    /// Count the objects and bytes of each resource
    Stats(RootArgs),
    /// Print the value of a key, such as /registry/configmaps/default/a
    Get {
        #[command(flatten)]
        root: RootArgs,
        #[command(flatten)]
        encryption: EncryptionArgs,
        key: String,
    },
    /// Print all keys that begin with PREFIX, with their revisions and values, one JSON object a line
    Dump {
        #[command(flatten)]
        root: RootArgs,
        #[command(flatten)]
        encryption: EncryptionArgs,
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Make the files as small as what they hold; the cluster must be down, for while it runs it does so by itself
    Compact(RootArgs),
    /// Move all objects from the embedded store to an etcd, or back, also while the cluster runs
    Migrate(Box<MigrateArgs>),
}

#[derive(Debug, Clone, Args)]
pub struct MigrateArgs {
    #[command(flatten)]
    pub root: RootArgs,
    /// Where to: etcd://HOST:PORT[,HOST:PORT...] (https where --etcd-cafile is given), or embedded, from
    /// --etcd-servers or the etcd that the objects went to
    #[arg(long, value_name = "STORE")]
    pub to: Target,
    #[command(flatten)]
    pub etcd: EtcdFlags,
    #[command(flatten)]
    pub encryption: EncryptionArgs,
}

#[derive(Debug, Clone, Args)]
pub struct EncryptionArgs {
    /// File that says which resources are encrypted, and how
    #[arg(long, value_name = "FILE")]
    pub encryption_provider_config: Option<PathBuf>,
}

/// The place that objects are moved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Its members.
    Etcd(Vec<String>),
    Embedded,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("etcd://") {
            Some(members) if members.split(',').all(|member| !member.is_empty()) => {
                Ok(Self::Etcd(members.split(',').map(str::to_owned).collect()))
            }
            None if text == "embedded" => Ok(Self::Embedded),
            _ => Err("this is neither etcd://HOST:PORT[,HOST:PORT...] nor embedded".to_owned()),
        }
    }
}

#[derive(Debug, Clone, Args)]
pub struct BackupArgs {
    #[command(flatten)]
    pub root: RootArgs,
    /// Also keep the certificates and keys of the cluster, so that it can be restored as the same cluster
    #[arg(long)]
    pub include_pki: bool,
    /// Also keep the flags that the cluster was started with and the files that they name, encryption keys and tokens among them
    #[arg(long)]
    pub include_config: bool,
    #[command(flatten)]
    pub etcd: EtcdFlags,
    #[command(flatten)]
    pub encryption: EncryptionArgs,
    /// File or URL (s3://BUCKET/NAME, file:///NAME) to write, which must not exist yet, or - for standard output. The
    /// credentials of s3 come from the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL
    #[arg(value_name = "FILE|URL")]
    pub destination: PathBuf,
}

#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    pub root: RootArgs,
    /// The store goes on so many revisions after the backup's, so that clients notice that they have seen another history
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub bump_revision: u64,
    #[command(flatten)]
    pub only: Selection,
    /// The backup: a file, a URL as for `canopus backup`, or - for standard input
    #[arg(value_name = "FILE|URL")]
    pub source: PathBuf,
}
