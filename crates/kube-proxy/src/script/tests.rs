use std::io::Write as _;
use std::process::{Command, Stdio};

use client::Snapshot;
use serde_json::json;

use super::*;
use crate::services::plan;
use crate::services::tests::{service, slice};

/// A network namespace of the test's own with a table in it.
struct Kernel(String);

impl Kernel {
    fn make(name: &str) -> Self {
        let name = format!("{name}-{}", std::process::id());
        assert!(Command::new("ip").args(["netns", "add", &name]).status().unwrap().success());
        Self(name)
    }

    fn nft(&self, arguments: &[&str], script: &str) -> String {
        let namespace = format!("--net=/run/netns/{}", self.0);
        let mut child = Command::new("nsenter")
            .args([&namespace, "nft"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}\n{script}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn table(&self) -> String {
        self.nft(&["-s", "list", "table", "ip", "kube-proxy"], "")
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

type Ports = BTreeMap<ServicePortName, ServicePort>;

fn ports(spec: serde_json::Value, endpoints: serde_json::Value) -> Ports {
    plan(&Snapshot::of([service(spec)]), &Snapshot::of([slice(endpoints)]), "here")
}

fn variants() -> Vec<Ports> {
    let plain = json!({"clusterIP": "10.96.0.5", "ports": [{"port": 80}]});
    let node_port = json!({"clusterIP": "10.96.0.5", "type": "NodePort", "ports": [{"port": 80, "nodePort": 30080}]});
    let affinity = json!({"clusterIP": "10.96.0.5", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]});
    let local = json!({
        "clusterIP": "10.96.0.5", "type": "LoadBalancer", "externalTrafficPolicy": "Local", "externalIPs": ["198.51.100.7"],
        "ports": [{"port": 80, "nodePort": 30080}],
    });
    let one = json!([{"addresses": ["10.244.0.2"], "nodeName": "here"}]);
    let two =
        json!([{"addresses": ["10.244.0.2"], "nodeName": "here"}, {"addresses": ["10.244.1.2"], "nodeName": "there"}]);
    let far = json!([{"addresses": ["10.244.1.2"], "nodeName": "there"}]);
    vec![
        Ports::new(),
        ports(plain.clone(), json!([])),
        ports(plain.clone(), one.clone()),
        ports(plain, two.clone()),
        ports(node_port.clone(), two.clone()),
        ports(node_port, json!([])),
        ports(affinity.clone(), two.clone()),
        ports(affinity, one),
        ports(local.clone(), two),
        ports(local, far),
    ]
}

/// The kernel takes every step from every state to every other, and the way there leaves nothing behind: the table is
/// the one that a fresh start would have made.
#[test]
fn a_difference_leads_to_the_same_table_as_a_fresh_start() {
    let (kernel, fresh) = (Kernel::make("proxy-steps"), Kernel::make("proxy-fresh"));
    let variants = variants();
    for before in &variants {
        for after in &variants {
            kernel.nft(&["-f", "-"], &whole("kube-proxy", "10.244.0.0/16", before));
            let step = difference("kube-proxy", before, after);
            assert_eq!(step.is_empty(), before == after);
            kernel.nft(&["-f", "-"], &step);
            fresh.nft(&["-f", "-"], &whole("kube-proxy", "10.244.0.0/16", after));
            assert_eq!(sorted(&kernel.table()), sorted(&fresh.table()), "step:\n{step}");
        }
    }
    kernel.nft(&["-f", "-"], &(remove("kube-proxy") + &remove("kube-proxy")));
}

/// Chains and elements stand in the order in which they were made, which has no meaning.
fn sorted(table: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        table.replace(['{', '}', ','], "\n").lines().map(|line| line.trim().to_owned()).collect();
    lines.sort();
    lines
}

#[test]
fn a_port_without_endpoints_is_refused_and_one_without_local_endpoints_dropped() {
    let variants = variants();
    let refused = difference("t", &Ports::new(), &variants[5]);
    assert!(refused.contains("no-endpoints { 10.96.0.5 . tcp . 80 : goto reject-chain }"), "{refused}");
    assert!(refused.contains("no-endpoint-nodeports { tcp . 30080 : goto reject-chain }"), "{refused}");
    let dropped = difference("t", &Ports::new(), &variants[9]);
    assert!(dropped.contains("no-endpoint-nodeports { tcp . 30080 : drop }"), "{dropped}");
    assert!(dropped.contains("service-ips { 10.96.0.5 . tcp . 80 : goto cluster-default/web/tcp/ }"), "{dropped}");
}
