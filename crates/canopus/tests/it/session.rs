//! The session that a user's first hour consists of, with each kubectl that can be had.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use crate::harness::{Cluster, Kubectl, NODE_ADDRESS, succeed, target, wait};

const POD: &str = "apiVersion: v1
kind: Pod
metadata:
  name: nginx-pod
spec:
  containers:
  - name: nginx
    image: nginx
";

const REPLICA_SET: &str = "apiVersion: extensions/v1beta1
kind: ReplicaSet
metadata:
  name: nginx
spec:
  replicas: 2
  template:
    metadata:
      labels:
        app: nginx
    spec:
      containers:
      - name: nginx
        image: nginx
        ports:
        - containerPort: 80
";

#[test]
fn the_first_hour_works_with_every_kubectl() {
    let cluster = Cluster::start_with_registry(&["busybox", "redis", "nginx"]);
    session(&cluster.own_kubectl("session-own"));
    let mut tried = vec!["own"];
    for suite in ["bookworm", "trixie", "sid"] {
        let program = target().join("kubectl").join(suite).join("kubectl");
        if program.exists() {
            session(&cluster.kubectl(suite, &[&program], &format!("session-{suite}")));
            tried.push(suite);
        }
    }
    println!("kubectls: {}", tried.join(", "));
    assert!(tried.len() > 1, "no other kubectl is there: run `cargo xtask kubectls`");
}

fn session(kubectl: &Kubectl<'_>) {
    a_deployment_runs_and_answers(kubectl);
    the_api_is_reached_through_the_proxy(kubectl);
    a_quota_refuses_and_admits(kubectl);
    a_deleted_pod_is_replaced(kubectl, "app=redis");
    labels_decide_what_a_replica_set_owns(kubectl);
    a_service_is_reached_from_everywhere(kubectl);
}

fn a_deployment_runs_and_answers(kubectl: &Kubectl<'_>) {
    assert_eq!(kubectl.ok(&["create", "deployment", "redis", "--image=redis"]), "deployment.apps/redis created\n");
    kubectl.until(&["get", "deployment", "redis"], |table| table.contains("1/1"));
    kubectl.until(&["get", "pods", "-l", "app=redis"], |table| table.lines().count() == 2 && table.contains("Running"));
    assert!(kubectl.ok(&["get", "replicaset"]).contains("redis-"));
    assert!(kubectl.ok(&["get", "nodes"]).contains("Ready"));
    let pod = kubectl.pods("app=redis").remove(0);
    kubectl.until(&["logs", &pod], |log| log.contains("Ready to accept connections"));
    assert_eq!(kubectl.ok(&["exec", &pod, "--", "redis-cli", "set", "canopus", "star"]).trim(), "OK");
    let talk = [("6379> ", "get canopus\r"), ("\"star\"", "quit\r")];
    on_a_terminal(kubectl, &["exec", "-ti", &pod, "--", "redis-cli"], &talk);
    let yaml = kubectl.ok(&["get", "pod", &pod, "-o", "yaml"]);
    assert!(yaml.contains("kind: Pod") && yaml.contains("phase: Running"), "{yaml}");
}

fn namespace(kubectl: &Kubectl<'_>) -> String {
    kubectl.ok(&["config", "view", "--minify", "-o", "jsonpath={..namespace}"])
}

/// Where a terminal is asked for its cursor, and what it answers. Programs ask that start before they know the size.
const CURSOR_QUESTION: &str = "\u{1b}[6n";
const CURSOR_ANSWER: &[u8] = b"\x1b[24;80R";

/// Runs a command on a real terminal: waits for each text to appear and types what belongs to it, to the command's end.
fn on_a_terminal(kubectl: &Kubectl<'_>, arguments: &[&str], talk: &[(&str, &str)]) {
    let command = kubectl.command(arguments);
    let quote = |text: &std::ffi::OsStr| format!("'{}'", text.to_string_lossy());
    let line: Vec<String> = std::iter::once(command.get_program()).chain(command.get_args()).map(quote).collect();
    let line = format!("stty rows 24 cols 80; {}", line.join(" "));
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    script.current_dir(kubectl.cluster.root());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let mut child = Running(script.spawn().unwrap());
    let (mut input, mut output) = (child.0.stdin.take().unwrap(), child.0.stdout.take().unwrap());
    let (mut seen, mut answered) = (String::new(), 0);
    for (wanted, typed) in talk {
        while !seen.contains(wanted) {
            let mut buffer = [0; 1024];
            let count = output.read(&mut buffer).unwrap();
            assert!(count > 0, "the terminal ended before {wanted:?}: {seen:?}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..count]));
            while answered < seen.matches(CURSOR_QUESTION).count() {
                input.write_all(CURSOR_ANSWER).unwrap();
                answered += 1;
            }
        }
        input.write_all(typed.as_bytes()).unwrap();
    }
    assert!(child.0.wait().unwrap().success(), "{seen:?}");
}

/// A child that ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Asked to end, not killed: `timeout` passes that on to what it runs.
        let _ = std::process::Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

fn the_api_is_reached_through_the_proxy(kubectl: &Kubectl<'_>) {
    let pod = kubectl.manifest("pod.yaml", POD);
    assert_eq!(kubectl.ok(&["create", "-f", &pod]), "pod/nginx-pod created\n");
    kubectl.until(&["get", "pod", "nginx-pod"], |table| table.contains("1/1") && table.contains("Running"));
    let mut proxy = Running(kubectl.command(&["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(proxy.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("Starting to serve on ").unwrap_or_else(|| panic!("{line}")).to_owned();
    let fetch =
        |path: &str| succeed(kubectl.cluster.on_node("curl").args(["-sSf", &format!("http://{address}{path}")]));
    assert!(fetch("/").contains("\"/api/v1\""));
    assert!(fetch("/api/v1").contains("\"APIResourceList\""));
    let page = fetch(&format!("/api/v1/namespaces/{}/pods/nginx-pod/proxy/", namespace(kubectl)));
    assert!(page.contains("Welcome to nginx!"), "{page}");
    drop(proxy);
    assert!(kubectl.ok(&["delete", "pod", "nginx-pod"]).starts_with("pod \"nginx-pod\" deleted"));
    assert!(kubectl.ok(&["get", "ns"]).contains("kube-system"));
    assert!(kubectl.ok(&["get", "pods", "--all-namespaces"]).contains("redis-"));
}

fn a_quota_refuses_and_admits(kubectl: &Kubectl<'_>) {
    let pod = kubectl.manifest("pod.yaml", POD);
    assert_eq!(kubectl.ok(&["create", "quota", "q", "--hard=pods=1"]), "resourcequota/q created\n");
    kubectl.until(&["get", "quota", "q", "-o", "jsonpath={.status.used.pods}"], |used| used == "1");
    let refusal = kubectl.fails(&["create", "-f", &pod]);
    let wanted = "pods \"nginx-pod\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1";
    assert!(refusal.trim_end().ends_with(wanted), "{refusal}");
    let edited = kubectl
        .command(&["edit", "quota", "q"])
        .env("KUBE_EDITOR", "sed -i 's/pods: \"1\"/pods: \"2\"/'")
        .output()
        .unwrap();
    assert!(edited.status.success(), "{}", String::from_utf8_lossy(&edited.stderr));
    kubectl.until(&["get", "quota", "q", "-o", "jsonpath={.status.hard.pods}"], |hard| hard == "2");
    kubectl.ok(&["create", "-f", &pod]);
    kubectl.until(&["get", "pod", "nginx-pod"], |table| table.contains("Running"));
    kubectl.ok(&["delete", "pod", "nginx-pod"]);
    kubectl.ok(&["delete", "quota", "q"]);
}

fn a_deleted_pod_is_replaced(kubectl: &Kubectl<'_>, selector: &str) {
    let before = kubectl.pods(selector);
    kubectl.ok(&["delete", "pod", &before[0]]);
    assert!(wait(|| {
        let now = kubectl.pods(selector);
        now.len() == before.len() && !now.contains(&before[0])
    }));
    let ready = |table: &str| table.lines().skip(1).filter(|line| line.contains("1/1")).count() == before.len();
    kubectl.until(&["get", "pods", "-l", selector], ready);
}

fn labels_decide_what_a_replica_set_owns(kubectl: &Kubectl<'_>) {
    let manifest = kubectl.manifest("rs.yaml", REPLICA_SET);
    assert!(kubectl.ok(&["create", "-f", &manifest]).contains("nginx created"));
    kubectl.until(&["get", "pods", "-l", "app=nginx"], |table| table.matches("1/1").count() == 2);
    a_deleted_pod_is_replaced(kubectl, "app=nginx");
    assert!(kubectl.ok(&["get", "pods", "-Lapp"]).lines().next().unwrap().ends_with("APP"));
    assert!(kubectl.ok(&["get", "pods", "--show-labels"]).contains("app=nginx"));
    let pod = kubectl.pods("app=nginx").remove(0);
    kubectl.ok(&["label", "pod", &pod, "tier=front"]);
    assert_eq!(kubectl.pods("tier=front"), std::slice::from_ref(&pod));
    assert!(kubectl.fails(&["label", "pod", &pod, "app=alone"]).contains("--overwrite is false"));
    kubectl.ok(&["label", "pod", &pod, "app=alone", "--overwrite"]);
    kubectl.until(&["get", "pods", "-l", "app=nginx"], |table| table.matches("1/1").count() == 2);
    assert_eq!(kubectl.pods("app=alone"), [pod]);
}

fn a_service_is_reached_from_everywhere(kubectl: &Kubectl<'_>) {
    kubectl.ok(&["expose", "replicaset", "nginx", "--port=80", "--type=NodePort"]);
    let node_port = kubectl.field("service", "nginx", ".spec.ports[0].nodePort");
    let cluster_ip = kubectl.field("service", "nginx", ".spec.clusterIP");
    kubectl.until(&["get", "endpoints", "nginx"], |table| table.matches(":80").count() == 2);
    let page = |url: &str| kubectl.cluster.in_world("curl").args(["-sS", "-m", "5", url]).output().unwrap().stdout;
    let url = format!("http://{NODE_ADDRESS}:{node_port}/");
    assert!(
        wait(|| String::from_utf8_lossy(&page(&url)).contains("Welcome to nginx!")),
        "{url} is not reached from outside"
    );
    let from_node =
        succeed(kubectl.cluster.on_node("curl").args(["-sS", "-m", "20", &format!("http://{cluster_ip}/")]));
    assert!(from_node.contains("Welcome to nginx!"));

    kubectl.ok(&["scale", "rs", "nginx", "--replicas=5"]);
    kubectl.until(&["get", "pods", "-l", "app=nginx"], |table| table.matches("1/1").count() == 5);

    kubectl.ok(&["run", "box", "--image=busybox", "--restart=Never", "--", "sleep", "3600"]);
    kubectl.until(&["get", "pod", "box"], |table| table.contains("Running"));
    look_up(kubectl, "nginx", &cluster_ip);
    for url in [format!("http://{cluster_ip}"), "http://nginx".to_owned()] {
        kubectl.until(&["exec", "box", "--", "timeout", "10", "wget", "-q", "-O-", &url], |page| {
            page.contains("Welcome to nginx!")
        });
    }
    kubectl.ok(&["delete", "namespace", &namespace(kubectl), "--wait=false"]);
}

/// Busybox asks for the name below each search domain and fails when one of them does not have it.
fn look_up(kubectl: &Kubectl<'_>, name: &str, address: &str) {
    let answered =
        || String::from_utf8_lossy(&kubectl.run(&["exec", "box", "--", "nslookup", name]).stdout).contains(address);
    assert!(wait(answered), "nslookup {name} never found {address}");
}
