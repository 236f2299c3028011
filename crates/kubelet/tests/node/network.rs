//! Pods with a network of their own, in a network namespace that the test makes for itself.

use std::process::Command;

use serde_json::json;

use crate::harness::{TestNode, condition, until};

/// Runs a test in a network namespace of its own: threads and processes begun in it stay in it.
fn in_own_network<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(|| {
        if nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).is_err() {
            return eprintln!("SKIPPED: this test needs the right to make a network namespace");
        }
        assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
        tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(test());
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn a_pod_has_its_own_address_and_is_probed_there() {
    if !std::path::Path::new("/usr/lib/cni/bridge").exists() {
        return eprintln!("SKIPPED: this test needs containernetworking-plugins");
    }
    in_own_network(|| async {
        let Some(node) = TestNode::start().await else { return };
        let ready = |wanted: &str| {
            let node = node.api.get("/api/v1/nodes/node-1")?;
            (condition(&node, "Ready") == wanted).then_some(node)
        };
        let unready = until("the node waits for its network", || ready("False")).await;
        let conditions = unready["status"]["conditions"].to_string();
        assert!(conditions.contains("container runtime network not ready: NetworkReady=false"), "{conditions}");
        node.set_up_network();
        until("the node is ready", || ready("True")).await;
        node.create_with("web", json!({"subdomain": "s", "containers": [{"name": "c",
            "command": ["sh", "-c", "mkdir -p /tmp/w; echo $IP > /tmp/w/ip; cat /etc/hosts > /tmp/w/hosts; exec httpd -f -p 8080 -h /tmp/w"],
            "env": [{"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
            "readinessProbe": {"httpGet": {"port": 8080, "path": "/ip"}, "periodSeconds": 1, "timeoutSeconds": 5},
            "livenessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1, "timeoutSeconds": 5}}]}), false);
        let pod = node.wait("web", |pod| condition(pod, "Ready") == "True").await;
        let ip = pod["status"]["podIP"].as_str().unwrap().to_owned();
        assert!(ip.starts_with("10.99."), "{ip}");
        assert_eq!(pod["status"]["podIPs"], json!([{"ip": ip}]));
        let id =
            pod["status"]["containerStatuses"][0]["containerID"].as_str().unwrap().trim_start_matches("containerd://");
        let cat = vec!["cat".to_owned(), "/tmp/w/ip".into(), "/tmp/w/hosts".into()];
        let told = node.cri.exec_sync(id, cat, std::time::Duration::from_secs(10)).await.unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        assert!(told.starts_with(&format!("{ip}\n")), "{told}");
        assert!(told.contains(&format!("{ip}\tweb.s.default.svc.cluster.local\tweb\n")), "{told}");
        node.delete("web", 1);
        until("the object is deleted", || node.pod("web").is_none().then_some(())).await;
        node.wait_clean().await;
        node.finish().await;
    });
}
