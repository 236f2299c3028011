//! A cluster for a test: a namespace that is the node, one that is the world around it, and the data in a scratch folder.
//! Everything goes with the value, also when the test fails.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kube::config::{KubeConfigOptions, Kubeconfig};

/// How long anything may take: machines are slow and noisy, and a test that waits this long has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);
const INTERVAL: Duration = Duration::from_millis(100);

/// The node's and the world's addresses; each pair of namespaces has its own link, so they can be the same everywhere.
pub const NODE_ADDRESS: &str = "198.51.100.2";
const WORLD_ADDRESS: &str = "198.51.100.1";

pub struct Cluster {
    namespace: String,
    world: String,
    root: tempfile::TempDir,
    registry: Option<Child>,
}

impl Cluster {
    /// Starts a whole cluster with the given images loaded.
    pub fn start(images: &[&str]) -> Self {
        let cluster = Self::prepare(images);
        cluster.up();
        cluster
    }

    /// Starts a whole cluster that pulls the given images from a registry, as a user's cluster does: one on the node's
    /// own loopback address stands in for every registry.
    pub fn start_with_registry(images: &[&str]) -> Self {
        let mut cluster = Self::prepare(&[]);
        let configuration = cluster.root().join("registry.yml");
        let storage = cluster.root().join("registry");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:5000}}\n",
            storage.display()
        );
        std::fs::write(&configuration, text).unwrap();
        let log = std::fs::File::create(cluster.root().join("registry.log")).unwrap();
        let mut registry = cluster.on_node("docker-registry");
        registry.arg("serve").arg(&configuration).stdout(log.try_clone().unwrap()).stderr(log);
        cluster.registry = Some(registry.spawn().unwrap());
        for image in images {
            let archive = format!("docker-archive:{}", target().join(format!("images/{image}.tar")).display());
            let name = format!("docker://127.0.0.1:5000/library/{image}:latest");
            let copied = || {
                let mut copy = cluster.on_node("skopeo");
                copy.args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false", &archive, &name]);
                copy.output().unwrap().status.success()
            };
            assert!(wait(copied), "{image} cannot be put into the registry");
        }
        let mirrors = cluster.root().join("containerd/certs.d/_default");
        std::fs::create_dir_all(&mirrors).unwrap();
        std::fs::write(
            mirrors.join("hosts.toml"),
            "[host.\"http://127.0.0.1:5000\"]\n  capabilities = [\"pull\", \"resolve\"]\n",
        )
        .unwrap();
        cluster.up();
        cluster
    }

    /// Makes the namespaces and puts the images in place without starting anything.
    pub fn prepare(images: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let id = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let cluster = Self {
            namespace: format!("canopus-node-{id}"),
            world: format!("canopus-world-{id}"),
            root: tempfile::Builder::new().prefix("canopus-it-").tempdir().unwrap(),
            registry: None,
        };
        for namespace in [&cluster.namespace, &cluster.world] {
            succeed(Command::new("ip").args(["netns", "add", namespace]));
            succeed(cluster.inside(namespace, "ip").args(["link", "set", "lo", "up"]));
        }
        let (node, world) = (cluster.namespace.as_str(), cluster.world.as_str());
        succeed(
            cluster
                .inside(node, "ip")
                .args(["link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", world]),
        );
        for (namespace, address) in [(node, NODE_ADDRESS), (world, WORLD_ADDRESS)] {
            succeed(cluster.inside(namespace, "ip").args(["address", "add", &format!("{address}/24"), "dev", "eth0"]));
            succeed(cluster.inside(namespace, "ip").args(["link", "set", "eth0", "up"]));
        }
        succeed(cluster.inside(node, "ip").args(["route", "add", "default", "via", WORLD_ADDRESS]));
        std::fs::create_dir_all(cluster.root().join("images")).unwrap();
        for image in ["pause"].iter().chain(images) {
            let archive = target().join(format!("images/{image}.tar"));
            assert!(archive.exists(), "{} is missing: run `cargo xtask images`", archive.display());
            std::fs::copy(archive, cluster.root().join(format!("images/{image}.tar"))).unwrap();
        }
        cluster
    }

    pub fn root(&self) -> &Path {
        self.root.path()
    }

    pub fn admin_conf(&self) -> PathBuf {
        self.root().join("admin.conf")
    }

    /// `canopus up` in the node's namespace; returns what it printed.
    pub fn up(&self) -> String {
        let mut command = self.canopus();
        command
            .args(["up", "--no-kubeconfig", "--node-name", "node-1", "--wait-seconds", "180", "--root-dir"])
            .arg(self.root());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "canopus up failed:\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    pub fn down(&self) {
        succeed(self.canopus().args(["down", "--root-dir"]).arg(self.root()));
    }

    /// This project's program, to be run on the node.
    pub fn canopus(&self) -> Command {
        self.on_node(env!("CARGO_BIN_EXE_canopus"))
    }

    /// A program to be run on the node.
    pub fn on_node(&self, program: &str) -> Command {
        self.inside(&self.namespace, program)
    }

    /// A program to be run outside the node, on its network.
    pub fn in_world(&self, program: &str) -> Command {
        self.inside(&self.world, program)
    }

    fn inside(&self, namespace: &str, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{namespace}")).arg("--").arg(program).stdin(Stdio::null());
        // A user's own settings must not reach into a test.
        command.env_remove("KUBECONFIG").env("HOME", self.root.path());
        command
    }

    /// A client of this cluster that works in a namespace of the cluster, which is made.
    pub fn kubectl(&self, name: &str, program: &[&Path], namespace: &str) -> Kubectl<'_> {
        let kubeconfig = self.root().join(format!("{name}.conf"));
        std::fs::copy(self.admin_conf(), &kubeconfig).unwrap();
        let kubectl = Kubectl::new(self, program, kubeconfig);
        kubectl.ok(&["create", "namespace", namespace]);
        kubectl.ok(&["config", "set-context", "--current", &format!("--namespace={namespace}")]);
        kubectl
    }

    /// Our own client.
    pub fn own_kubectl(&self, namespace: &str) -> Kubectl<'_> {
        self.kubectl("own", &[Path::new(env!("CARGO_BIN_EXE_canopus")), Path::new("kubectl")], namespace)
    }

    /// The node's network namespace, to be entered.
    pub fn namespace_path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.namespace)
    }

    /// Runs async work on a thread inside the node's namespace, with a client of the administrator.
    pub fn as_admin<T: Send>(&self, work: impl AsyncFnOnce(kube::Client) -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let namespace = std::fs::File::open(self.namespace_path()).unwrap();
                nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
                // One thread: a worker of a pool would be outside the namespace.
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    let kubeconfig = Kubeconfig::read_from(self.admin_conf()).unwrap();
                    let config =
                        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
                    work(kube::Client::try_from(config).unwrap()).await
                })
            });
            thread.join().unwrap()
        })
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root().join("log/canopus.log")).unwrap_or_default()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the end of the cluster's log:\n{}", lines[lines.len().saturating_sub(40)..].join("\n"));
        }
        let _ = self.canopus().args(["down", "--purge", "--root-dir"]).arg(self.root()).output();
        if let Some(registry) = &mut self.registry {
            let _ = registry.kill();
            let _ = registry.wait();
        }
        for namespace in [&self.namespace, &self.world] {
            let _ = Command::new("ip").args(["netns", "del", namespace]).output();
        }
    }
}

/// A process that is asked to end with the value.
pub struct Part(pub Child);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// A kubectl with a context of its own.
pub struct Kubectl<'a> {
    pub cluster: &'a Cluster,
    program: Vec<PathBuf>,
    kubeconfig: PathBuf,
}

impl<'a> Kubectl<'a> {
    /// A client by a kubeconfig that is there.
    pub fn new(cluster: &'a Cluster, program: &[&Path], kubeconfig: PathBuf) -> Self {
        Self { cluster, program: program.iter().map(|part| part.to_path_buf()).collect(), kubeconfig }
    }
}

impl Kubectl<'_> {
    pub fn command(&self, arguments: &[&str]) -> Command {
        // One that hangs fails the test instead of holding it up for ever.
        let mut command = self.cluster.on_node("timeout");
        command
            .arg("--foreground")
            .arg(PATIENCE.as_secs().to_string())
            .args(&self.program)
            .args(arguments)
            .env("KUBECONFIG", &self.kubeconfig);
        command.current_dir(self.cluster.root());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it prints; the test fails if it fails.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "kubectl {arguments:?}\n{printed}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        printed
    }

    /// What it complains; the test fails if it succeeds.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            !output.status.success(),
            "kubectl {arguments:?} succeeded: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Repeats a command until what it prints is as wanted.
    #[track_caller]
    pub fn until(&self, arguments: &[&str], wanted: impl Fn(&str) -> bool) -> String {
        let mut last = String::new();
        let found = wait(|| {
            let output = self.run(arguments);
            last = String::from_utf8_lossy(&output.stdout).into_owned();
            let fine = output.status.success() && wanted(&last);
            last.push_str(&String::from_utf8_lossy(&output.stderr));
            fine
        });
        if !found {
            let events = String::from_utf8_lossy(&self.run(&["get", "events"]).stdout).into_owned();
            let pods = String::from_utf8_lossy(&self.run(&["get", "pods", "-o", "wide"]).stdout).into_owned();
            panic!(
                "kubectl {arguments:?} never printed what was wanted, but:\n{last}\npods:\n{pods}\nevents:\n{events}"
            );
        }
        last
    }

    /// A field of an object.
    #[track_caller]
    pub fn field(&self, kind: &str, name: &str, path: &str) -> String {
        self.ok(&["get", kind, name, "-o", &format!("jsonpath={{{path}}}")])
    }

    /// The names of the pods with a label.
    #[track_caller]
    pub fn pods(&self, selector: &str) -> Vec<String> {
        let names = self.ok(&["get", "pods", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}"]);
        names.split_whitespace().map(str::to_owned).collect()
    }

    /// Writes a manifest beside the kubeconfig and returns its name.
    pub fn manifest(&self, name: &str, text: &str) -> String {
        std::fs::write(self.cluster.root().join(name), text).unwrap();
        name.to_owned()
    }
}

/// Repeats until it holds; false when it never does.
pub fn wait(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::park_timeout(INTERVAL);
    }
    true
}

/// Runs a command that must succeed and returns what it printed.
#[track_caller]
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    printed
}

/// The build's output folder, where the images and the other kubectls lie.
pub fn target() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    workspace.join("target")
}
