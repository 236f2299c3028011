use std::process::Command;

use super::*;

/// A network namespace of the test's own, removed when it goes. The tests need root, as the plugin does.
struct Namespace(String);

impl Namespace {
    fn make(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        run("ip", &["netns", "add", &name]);
        Self(name)
    }

    fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.0)
    }

    fn run(&self, arguments: &[&str]) -> String {
        let namespace = format!("--net={}", self.path().display());
        let output = Command::new("nsenter").arg(namespace).args(arguments).output().expect("nsenter starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).status().expect("the program starts");
    assert!(status.success(), "{program} {arguments:?}");
}

/// Serves a call as the runtime would make it, from inside the node's namespace.
fn call(
    node: &Namespace,
    command: &str,
    id: &str,
    pod: &Namespace,
    configuration: &Value,
) -> Result<Option<Value>, String> {
    let environment = |name: &str| match name {
        "CNI_COMMAND" => Some(command.to_owned()),
        "CNI_CONTAINERID" => Some(id.to_owned()),
        "CNI_IFNAME" => Some("eth0".to_owned()),
        "CNI_NETNS" => Some(pod.path().display().to_string()),
        _ => None,
    };
    let text = configuration.to_string();
    within(node, || serve(text.as_bytes(), &environment).map_err(|failure| failure.message))
}

/// Runs `work` on a thread inside the namespace.
fn within<T: Send>(namespace: &Namespace, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let file = std::fs::File::open(namespace.path()).unwrap();
            nix::sched::setns(&file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

fn configuration(folder: &Path, mappings: Value) -> Value {
    let network = NetworkConfig {
        bridge: "cni0".into(),
        subnet: "10.244.0.0/24".parse().unwrap(),
        cluster_cidr: "10.244.0.0/16".parse().unwrap(),
        mtu: Some(1400),
        state_dir: folder.to_path_buf(),
    };
    let mut configuration = network.conflist()["plugins"][0].clone();
    configuration["cniVersion"] = "1.0.0".into();
    configuration["name"] = "canopus".into();
    configuration["runtimeConfig"] = json!({"portMappings": mappings});
    configuration
}

#[test]
fn pods_reach_each_other_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (node, one, two) = (Namespace::make("cni-node"), Namespace::make("cni-one"), Namespace::make("cni-two"));
    let mappings = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}]);
    let configuration = configuration(folder.path(), mappings);
    let result = call(&node, "ADD", "sandbox-one", &one, &configuration).unwrap().unwrap();
    assert_eq!(result["ips"][0]["address"], "10.244.0.2/24");
    assert_eq!(result["interfaces"][2]["name"], "eth0");
    // A repeated call (the runtime died before it saw the answer) gives the same address.
    let again = call(&node, "ADD", "sandbox-one", &one, &configuration).unwrap().unwrap();
    assert_eq!(again["ips"], result["ips"]);
    call(&node, "ADD", "sandbox-two", &two, &self::configuration(folder.path(), json!([]))).unwrap();
    let listener = within(&two, || std::net::TcpListener::bind("10.244.0.3:80").unwrap());
    let peer = within(&one, || std::net::TcpStream::connect("10.244.0.3:80").unwrap().local_addr().unwrap());
    assert_eq!(listener.accept().unwrap().1, peer);
    let rules = node.run(&["nft", "list", "table", "ip", "canopus-cni-cni0"]);
    assert!(rules.contains("tcp . 8080 : 10.244.0.2 . 80"), "{rules}");

    for (id, pod) in [("sandbox-one", &one), ("sandbox-two", &two), ("sandbox-two", &two)] {
        call(&node, "DEL", id, pod, &configuration).unwrap();
    }
    let rules = node.run(&["nft", "list", "table", "ip", "canopus-cni-cni0"]);
    assert!(!rules.contains("8080"), "{rules}");
    assert!(!node.run(&["ip", "link"]).contains("veth"));
    assert!(Ipam::open(folder.path()).unwrap().all().unwrap().is_empty());
}

#[test]
fn a_host_port_answers_at_the_nodes_address_and_at_its_loopback() {
    let folder = tempfile::tempdir().unwrap();
    let (node, pod) = (Namespace::make("cni-local"), Namespace::make("cni-pod"));
    node.run(&["ip", "link", "set", "lo", "up"]);
    let mappings = json!([{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}]);
    let configuration = configuration(folder.path(), mappings);
    call(&node, "ADD", "sandbox", &pod, &configuration).unwrap();
    let listener = within(&pod, || std::net::TcpListener::bind("10.244.0.2:80").unwrap());
    for address in ["127.0.0.1:8080", "10.244.0.1:8080"] {
        let to = address.parse().unwrap();
        let limit = std::time::Duration::from_secs(20);
        within(&node, || std::net::TcpStream::connect_timeout(&to, limit).unwrap());
        assert_eq!(listener.accept().unwrap().1.ip().to_string(), "10.244.0.1", "{address}");
    }
    call(&node, "DEL", "sandbox", &pod, &configuration).unwrap();
}

#[test]
fn a_pod_without_its_namespace_gets_an_error_and_keeps_no_address() {
    let folder = tempfile::tempdir().unwrap();
    let node = Namespace::make("cni-alone");
    let gone = Namespace("never-made".into()); // nothing to remove, and `ip` says so
    let error = call(&node, "ADD", "sandbox", &gone, &configuration(folder.path(), json!([]))).unwrap_err();
    assert!(error.starts_with("failed to open the network namespace /run/netns/never-made"), "{error}");
    assert!(Ipam::open(folder.path()).unwrap().all().unwrap().is_empty());
}

#[test]
fn bad_calls_are_answered_with_the_specifications_codes() {
    let code = |text: &str, command: &str| {
        let environment = |name: &str| (name == "CNI_COMMAND" && !command.is_empty()).then(|| command.to_owned());
        serve(text.as_bytes(), &environment).map_err(|failure| failure.code)
    };
    assert_eq!(code("{}", ""), Err(INVALID_ENVIRONMENT));
    assert_eq!(code("not json", "ADD"), Err(DECODING_FAILURE));
    let folder = tempfile::tempdir().unwrap();
    let mut configuration = configuration(folder.path(), json!([]));
    assert_eq!(code(&configuration.to_string(), "ADD"), Err(INVALID_ENVIRONMENT));
    configuration["cniVersion"] = "9.0.0".into();
    assert_eq!(code(&configuration.to_string(), "ADD"), Err(INCOMPATIBLE_VERSION));
    let versions = code(r#"{"cniVersion":"1.0.0"}"#, "VERSION").unwrap().unwrap();
    assert_eq!(versions["supportedVersions"], json!(VERSIONS));
}
