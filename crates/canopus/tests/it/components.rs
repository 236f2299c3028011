//! Five components as five processes under upstream's names, with upstream's flags, certificates and kubeconfigs, over a
//! container runtime and a pod network that somebody else set up.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use network::config::NetworkConfig;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::json;

use crate::harness::{Cluster, NODE_ADDRESS, target, wait};

const PODS: &str = "10.244.0.0/24";
const SERVICES: &str = "10.96.0.0/16";
const CGROUP: &str = "canopus-it-components";

#[test]
fn five_processes_by_upstreams_names_make_a_cluster() {
    let cluster = Cluster::prepare(&["busybox"]);
    let root = cluster.root();
    let authority = Authority::new(root);
    for (user, group) in [
        ("kubernetes-admin", "system:masters"),
        ("system:kube-controller-manager", "none"),
        ("system:kube-scheduler", "none"),
        ("system:node:node-1", "system:nodes"),
        ("system:kube-proxy", "none"),
    ] {
        authority.kubeconfig(user, group);
    }
    std::fs::copy(authority.path("kubernetes-admin.conf"), cluster.admin_conf()).unwrap();
    let runtime = Runtime::start(&cluster);

    let mut parts = Parts { cluster: &cluster, running: Vec::new() };
    parts.start(
        "kube-apiserver",
        &[
            &authority.flag("client-ca-file", "ca.crt"),
            &authority.flag("tls-cert-file", "server.crt"),
            &authority.flag("tls-private-key-file", "server.key"),
            &authority.flag("service-account-key-file", "sa.key"),
            &authority.flag("service-account-signing-key-file", "sa.key"),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            &authority.flag("kubelet-client-certificate", "kubernetes-admin.crt"),
            &authority.flag("kubelet-client-key", "kubernetes-admin.key"),
            &format!("--service-cluster-ip-range={SERVICES}"),
            &format!("--advertise-address={NODE_ADDRESS}"),
            &format!("--data-dir={}", root.join("store").display()),
        ],
    );
    let answers = |url: &str| {
        let probe = cluster.on_node("curl").args(["-sk", "--max-time", "5", url]).output().unwrap();
        probe.stdout == b"ok"
    };
    assert!(wait(|| answers("https://127.0.0.1:6443/readyz")), "{}", parts.logs());
    let manager = [
        authority.flag("kubeconfig", "system:kube-controller-manager.conf"),
        authority.flag("root-ca-file", "ca.crt"),
        "--use-service-account-credentials".into(),
        "--controllers=*,-resourcequota-controller".into(),
    ];
    parts.start("kube-controller-manager", &manager.each_ref().map(String::as_str));
    parts.start("kube-scheduler", &[&authority.flag("kubeconfig", "system:kube-scheduler.conf")]);
    let configuration = root.join("kubelet.yaml");
    std::fs::write(
        &configuration,
        json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "authentication": {"x509": {"clientCAFile": authority.path("ca.crt")}, "anonymous": {"enabled": false}},
            "authorization": {"mode": "Webhook"},
            "podLogsDir": root.join("log/pods"), "maxPods": 17, "cgroupRoot": CGROUP,
        })
        .to_string(),
    )
    .unwrap();
    parts.start(
        "kubelet",
        &[
            &authority.flag("kubeconfig", "system:node:node-1.conf"),
            &format!("--config={}", configuration.display()),
            "--hostname-override=node-1",
            &format!("--node-ip={NODE_ADDRESS}"),
            &format!("--container-runtime-endpoint=unix://{}", runtime.socket().display()),
            &format!("--root-dir={}", root.join("kubelet").display()),
            "--node-labels=example.com/place=here",
        ],
    );
    parts.start(
        "kube-proxy",
        &[
            &authority.flag("kubeconfig", "system:kube-proxy.conf"),
            "--hostname-override=node-1",
            "--cluster-cidr=10.244.0.0/16",
        ],
    );

    let kubectl = cluster.own_kubectl("apart");
    let node = kubectl.until(&["get", "node", "node-1", "--show-labels"], |table| table.contains(" Ready "));
    assert!(node.contains("example.com/place=here"), "{node}");
    assert_eq!(kubectl.field("node", "node-1", ".status.capacity.pods"), "17");
    // The Deployment needs its controllers, the scheduler, the kubelet; the address of the Service needs the proxy.
    let manifest = kubectl.manifest("box.json", &json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "box"},
        "spec": {"selector": {"matchLabels": {"app": "box"}}, "template": {"metadata": {"labels": {"app": "box"}}, "spec":
            {"containers": [{"name": "box", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": ["sleep", "3600"]}]}}},
    }).to_string());
    kubectl.ok(&["create", "-f", &manifest]);
    kubectl.until(&["get", "deployment", "box"], |table| table.contains("1/1"));
    let pod = kubectl.pods("app=box").pop().unwrap();
    assert_eq!(kubectl.ok(&["exec", &pod, "--", "echo", "hello"]), "hello\n");
    assert!(wait(|| answers("https://10.96.0.1/readyz")), "{}", parts.logs());
    for (lease, port) in [("kube-controller-manager", 10257), ("kube-scheduler", 10259)] {
        let holder = kubectl.ok(&["get", "lease", lease, "-n", "kube-system", "-o", "jsonpath={.spec.holderIdentity}"]);
        assert!(holder.contains('_'), "{lease} is held by {holder:?}");
        assert!(answers(&format!("https://127.0.0.1:{port}/healthz")), "{lease}");
    }

    // Upstream's manner of refusing: what is not served is not silently taken.
    for name in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy"] {
        let by_name = Command::new(parts.program(name)).arg("--no-such-flag=1").output().unwrap();
        let by_command = cluster.canopus().args([name, "--no-such-flag=1"]).output().unwrap();
        for output in [by_name, by_command] {
            assert_eq!(output.status.code(), Some(1));
            assert_eq!(String::from_utf8_lossy(&output.stderr), "Error: unknown flag: --no-such-flag\n");
        }
    }
}

/// The processes, ended in the reverse order with the value.
struct Parts<'a> {
    cluster: &'a Cluster,
    running: Vec<(String, Child)>,
}

impl Parts<'_> {
    fn start(&mut self, name: &str, arguments: &[&str]) {
        let program = self.program(name);
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        symlink(env!("CARGO_BIN_EXE_canopus"), &program).unwrap();
        let log = std::fs::File::create(self.log(name)).unwrap();
        let mut command = self.cluster.on_node(program.to_str().unwrap());
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.running.push((name.to_owned(), command.spawn().unwrap()));
    }

    /// The program under the component's name.
    fn program(&self, name: &str) -> PathBuf {
        self.cluster.root().join("bin").join(name)
    }

    fn log(&self, name: &str) -> PathBuf {
        self.cluster.root().join(format!("{name}.log"))
    }

    fn logs(&self) -> String {
        let read = |(name, _): &(String, Child)| {
            let text = std::fs::read_to_string(self.log(name)).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            format!("{name}:\n{}\n", lines[lines.len().saturating_sub(15)..].join("\n"))
        };
        self.running.iter().map(read).collect()
    }
}

impl Drop for Parts<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        while let Some((_, mut child)) = self.running.pop() {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }
}

/// containerd and the pod network in the node's namespace, taken away with the value.
struct Runtime<'a> {
    cluster: &'a Cluster,
    network: NetworkConfig,
}

impl<'a> Runtime<'a> {
    fn start(cluster: &'a Cluster) -> Self {
        let network = NetworkConfig {
            bridge: "cni0".into(),
            subnet: PODS.parse().unwrap(),
            cluster_cidr: "10.244.0.0/16".parse().unwrap(),
            mtu: None,
            state_dir: cluster.root().join("cni/state"),
        };
        let runtime = Self { cluster, network };
        let mut options = kubelet::containerd::Options::new(cluster.root());
        options.pause_image = "localhost/canopus/pause:1".into();
        runtime.on_node(|| {
            network::host::ensure(&runtime.network).unwrap();
            let program = Path::new(env!("CARGO_BIN_EXE_canopus"));
            network::host::install(&runtime.network, program, &options.cni_bin_dir, &options.cni_conf_dir).unwrap();
            kubelet::containerd::ensure(&runtime.folder(), &options).unwrap();
        });
        for image in ["pause", "busybox"] {
            let mut import = Command::new("ctr");
            import.arg("--address").arg(runtime.socket()).args(["--namespace", "k8s.io", "images", "import"]);
            crate::harness::succeed(import.arg(target().join(format!("images/{image}.tar"))));
        }
        runtime
    }

    fn folder(&self) -> PathBuf {
        self.cluster.root().join("containerd")
    }

    fn socket(&self) -> PathBuf {
        kubelet::containerd::socket(&self.folder())
    }

    /// Runs `work` in a thread that is in the node's network namespace, as is what it starts.
    fn on_node<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let namespace = std::fs::File::open(self.cluster.namespace_path()).unwrap();
        let inside = || {
            nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        std::thread::scope(|scope| scope.spawn(inside).join()).unwrap()
    }
}

impl Drop for Runtime<'_> {
    fn drop(&mut self) {
        let socket = self.socket();
        self.on_node(|| {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            let _ = runtime.block_on(kubelet::remove_all_pods(&socket));
            let _ = network::host::remove(&self.network);
        });
        let _ = kubelet::containerd::stop(&self.folder());
        kubelet::cgroups::Cgroups::new(kubelet::CgroupDriver::Cgroupfs, CGROUP).tear_down();
    }
}

/// A certificate authority such as an administrator makes, and what it issues.
struct Authority {
    folder: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(root: &Path) -> Self {
        let folder = root.join("certificates");
        std::fs::create_dir_all(&folder).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        parameters.distinguished_name.push(DnType::CommonName, "authority");
        let certificate = parameters.self_signed(&key).unwrap();
        std::fs::write(folder.join("ca.crt"), certificate.pem()).unwrap();
        std::fs::write(folder.join("sa.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
        let authority = Self { folder, issuer: Issuer::new(parameters, key) };
        let names = ["localhost", "127.0.0.1", NODE_ADDRESS, "10.96.0.1", "kubernetes.default.svc"];
        let server = CertificateParams::new(names.map(str::to_owned)).unwrap();
        authority.issue("server", "kube-apiserver", "none", server, ExtendedKeyUsagePurpose::ServerAuth);
        authority
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    /// `--NAME=FILE`.
    fn flag(&self, name: &str, file: &str) -> String {
        format!("--{name}={}", self.path(file).display())
    }

    fn issue(
        &self,
        file: &str,
        user: &str,
        group: &str,
        mut parameters: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) {
        let key = KeyPair::generate().unwrap();
        parameters.distinguished_name.push(DnType::CommonName, user);
        parameters.distinguished_name.push(DnType::OrganizationName, group);
        parameters.extended_key_usages = vec![usage];
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{file}.crt")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    /// A kubeconfig that names its files, as one writes by hand.
    fn kubeconfig(&self, user: &str, group: &str) {
        self.issue(user, user, group, CertificateParams::default(), ExtendedKeyUsagePurpose::ClientAuth);
        let document = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "it",
            "clusters": [{"name": "it", "cluster":
                {"server": "https://127.0.0.1:6443", "certificate-authority": self.path("ca.crt")}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": user}}],
            "users": [{"name": user, "user": {
                "client-certificate": self.path(&format!("{user}.crt")),
                "client-key": self.path(&format!("{user}.key")),
            }}],
        });
        std::fs::write(self.path(&format!("{user}.conf")), document.to_string()).unwrap();
    }
}
