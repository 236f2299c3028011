//! A node for one test, and waiting for things to become true.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU32, Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use client::fake::FakeServer;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use kube::client::Body;
use kubelet::{Config, containerd, cri::Cri};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::Service;

use crate::image;

/// The fake API server, taught what kubelets need: conditions that merge by type, reviews, tokens.
#[derive(Clone)]
struct Api(FakeServer);

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

fn answer(body: &Value) -> Answer {
    Response::new(Full::new(Bytes::from(body.to_string())).boxed_unsync())
}

impl Api {
    /// Conditions of the patch merge into those of the object; directives of the patch format are not stored.
    fn patched_status(&self, path: &str, patch: &mut Value) {
        let Some(known) = self.0.get(path.trim_end_matches("/status")) else { return };
        let Some(status) = patch.get_mut("status").and_then(Value::as_object_mut) else { return };
        let conditions = status.get("conditions").and_then(Value::as_array).cloned().unwrap_or_default();
        let over: Vec<Value> = (conditions.iter())
            .filter(|condition| condition["$patch"] == "delete")
            .map(|condition| condition["type"].clone())
            .collect();
        for list in status.values_mut().filter_map(Value::as_array_mut) {
            list.retain(|item| item.get("$patch").is_none());
        }
        let Some(changed) = status.get("conditions").and_then(Value::as_array).cloned() else { return };
        let mut all = known["status"]["conditions"].as_array().cloned().unwrap_or_default();
        all.retain(|condition| !over.contains(&condition["type"]));
        for mut condition in changed {
            if let Some(map) = condition.as_object_mut() {
                map.retain(|_, value| !value.is_null());
            }
            match all.iter_mut().find(|old| old["type"] == condition["type"]) {
                Some(old) => *old = condition,
                None => all.push(condition),
            }
        }
        status.insert("conditions".into(), all.into());
    }
}

impl Service<Request<Body>> for Api {
    type Response = Answer;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Answer, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut api = self.clone();
        Box::pin(async move {
            let path = request.uri().path().to_owned();
            if request.method() == Method::PATCH && path.ends_with("/status") {
                let (head, body) = request.into_parts();
                let bytes = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let mut patch: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                api.patched_status(&path, &mut patch);
                return api.0.call(Request::from_parts(head, Body::from(patch.to_string().into_bytes()))).await;
            }
            if request.method() == Method::POST && path.ends_with("/token") {
                return Ok(answer(
                    &json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
                    "spec": {"audiences": []}, "status": {"token": "a-token", "expirationTimestamp": "2100-01-01T00:00:00Z"}}),
                ));
            }
            if path.ends_with("/tokenreviews") {
                let bytes = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let asked: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                let good = asked["spec"]["token"] == "good";
                return Ok(answer(&json!({"metadata": {}, "spec": asked["spec"],
                    "status": {"authenticated": good, "user": {"username": "tester"}}})));
            }
            if path.ends_with("/subjectaccessreviews") {
                let bytes = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
                let asked: Value = serde_json::from_slice(&bytes).unwrap_or_default();
                let allowed = asked["spec"]["resourceAttributes"]["subresource"] != "stats";
                return Ok(answer(&json!({"metadata": {}, "spec": asked["spec"], "status": {"allowed": allowed}})));
            }
            api.0.call(request).await
        })
    }
}

/// A node with its own runtime.
pub struct TestNode {
    pub api: FakeServer,
    pub config: Config,
    pub cri: Cri,
    dir: tempfile::TempDir,
    running: Option<(CancellationToken, JoinHandle<()>)>,
}

fn options(dir: &std::path::Path) -> containerd::Options {
    let mut options = containerd::Options::new(dir);
    options.pause_image = image::NAME.into();
    options.cni_bin_dir = "/usr/lib/cni".into();
    options
}

static NODES: AtomicU32 = AtomicU32::new(0);

impl TestNode {
    /// A node that runs; None, and a word on why, where there can be none.
    pub async fn start() -> Option<Self> {
        Self::start_with(|_| {}).await
    }

    pub async fn start_with(change: impl FnOnce(&mut Config)) -> Option<Self> {
        let root = nix::unistd::geteuid().is_root();
        let installed = ["containerd", "runc", "ctr"].iter().all(|program| {
            ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"]
                .iter()
                .any(|dir| std::path::Path::new(dir).join(program).exists())
        });
        if !root || !installed || !std::path::Path::new("/bin/busybox").exists() {
            eprintln!("SKIPPED: this test needs root, containerd, runc and busybox-static");
            return None;
        }
        let number = NODES.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::Builder::new().prefix("kubelet-test").tempdir().unwrap();
        let options = options(dir.path());
        let state = dir.path().join("containerd");
        let socket = tokio::task::spawn_blocking(move || containerd::ensure(&state, &options)).await.unwrap().unwrap();
        image::import(&socket, &image::archive(dir.path()));
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut config = Config::new("node-1", "127.0.0.1".parse().unwrap(), dir.path());
        config.bind_address = ([127, 0, 0, 1], port).into();
        // Tests set their own: the machine's disk may well be full.
        config.eviction.thresholds.clear();
        config.kept_images = vec![image::NAME.into()];
        config.cgroup_root = format!("kubelet-test-{}-{number}", std::process::id());
        change(&mut config);
        let mut node = Self { api: FakeServer::new(), cri: Cri::new(&config.cri_socket()), config, dir, running: None };
        node.start_kubelet();
        until("the node is registered", || node.api.get("/api/v1/nodes/node-1")).await;
        Some(node)
    }

    /// The settings of the node's containerd.
    pub fn options(&self) -> containerd::Options {
        options(self.dir.path())
    }

    /// Gives the runtime a pod network: a bridge, with Debian's plugins.
    pub fn set_up_network(&self) {
        let ranges = json!({"type": "host-local", "subnet": "10.99.0.0/16", "dataDir": self.dir.path().join("ipam")});
        let bridge = json!({"type": "bridge", "bridge": "kt0", "isGateway": true, "ipam": ranges});
        let list = json!({"cniVersion": "0.4.0", "name": "test", "plugins": [bridge, {"type": "loopback"}]});
        std::fs::create_dir_all(self.dir.path().join("cni/conf")).unwrap();
        std::fs::write(self.dir.path().join("cni/conf/10-test.conflist"), list.to_string()).unwrap();
    }

    pub fn start_kubelet(&mut self) {
        let cancel = CancellationToken::new();
        let client = client::for_service(Api(self.api.clone()), "kubelet/test");
        let caches = client::Reflectors::new(client, client::Environment::system(), cancel.clone());
        let (config, token) = (self.config.clone(), cancel.clone());
        let task = tokio::spawn(async move { kubelet::run(caches, config, token).await.unwrap() });
        self.running = Some((cancel, task));
    }

    pub async fn stop_kubelet(&mut self) {
        if let Some((cancel, task)) = self.running.take() {
            cancel.cancel();
            task.await.unwrap();
        }
    }

    /// Creates a pod bound to this node, on the host's network.
    pub fn create(&self, name: &str, spec: Value) {
        self.create_with(name, spec, true);
    }

    /// Creates a pod bound to this node.
    pub fn create_with(&self, name: &str, mut spec: Value, host_network: bool) {
        spec["nodeName"] = json!("node-1");
        spec["hostNetwork"] = json!(host_network);
        spec["tolerations"] = json!([{"operator": "Exists"}]);
        for list in ["containers", "initContainers"] {
            for container in spec[list].as_array_mut().into_iter().flatten() {
                container["image"] = container.get("image").cloned().unwrap_or_else(|| json!(image::NAME));
                container["terminationMessagePath"] = json!("/dev/termination-log");
            }
        }
        if spec["initContainers"].is_null() {
            spec.as_object_mut().unwrap().remove("initContainers");
        }
        let metadata =
            json!({"name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z", "generation": 1});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": "Pending"}});
        self.api.put("/api/v1/namespaces/default/pods", pod);
    }

    pub fn pod(&self, name: &str) -> Option<Value> {
        self.api.get(&format!("/api/v1/namespaces/default/pods/{name}"))
    }

    /// Waits until the pod is as wanted.
    pub async fn wait(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let what = format!("pod {name}: {}", std::panic::Location::caller());
        match tokio::time::timeout(LIMIT, poll(|| self.pod(name).filter(&wanted))).await {
            Ok(pod) => pod,
            Err(_) => panic!("{what} never came: {:#}", self.pod(name).unwrap_or_default()["status"]),
        }
    }

    /// Asks for deletion as the API server would.
    pub fn delete(&self, name: &str, grace: i64) {
        let mut pod = self.pod(name).unwrap();
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        self.api.put("/api/v1/namespaces/default/pods", pod);
    }

    /// Messages of events with this reason.
    pub fn events(&self, reason: &str) -> Vec<String> {
        let events = self.api.list("/api/v1/namespaces/default/events");
        let with_reason = events.iter().filter(|event| event["reason"] == reason);
        with_reason.map(|event| event["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Waits until the runtime has nothing of any pod, and checks that files and cgroups are gone as well.
    pub async fn wait_clean(&self) {
        let deadline = Instant::now() + LIMIT;
        loop {
            let left = self.cri.sandboxes(None).await.unwrap().len() + self.cri.containers(None).await.unwrap().len();
            let entries = |path: std::path::PathBuf| std::fs::read_dir(path).map_or(0, Iterator::count);
            let files = entries(self.config.root_dir.join("pods")) + entries(self.config.pod_log_dir.clone());
            let cgroups =
                kubelet::cgroups::Cgroups::new(self.config.cgroup_driver, &self.config.cgroup_root).pods().len();
            if left + files + cgroups == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "left: {left} in the runtime, {files} files, {cgroups} cgroups");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Ends everything; a test that fails before leaves it to `Drop`.
    pub async fn finish(mut self) {
        self.stop_kubelet().await;
        kubelet::remove_all_pods(&self.config.cri_socket()).await.unwrap();
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        if let Some((cancel, _)) = self.running.take() {
            cancel.cancel();
        }
        let socket = self.config.cri_socket();
        // A runtime of its own: the one of the test may be the one that is dropping us.
        let cleaned = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let _ = runtime.block_on(kubelet::remove_all_pods(&socket));
        });
        let _ = cleaned.join();
        let _ = containerd::stop(&self.dir.path().join("containerd"));
        let _ = kubelet::clean_machine(&self.config);
        let _ = kubelet::volumes::directories::unmount_below(self.dir.path());
    }
}

const LIMIT: Duration = Duration::from_secs(90);

async fn poll<T>(mut look: impl FnMut() -> Option<T>) -> T {
    loop {
        if let Some(found) = look() {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until `look` finds something.
pub async fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    match tokio::time::timeout(LIMIT, poll(look)).await {
        Ok(found) => found,
        Err(_) => panic!("never came: {what}"),
    }
}

/// A condition of a pod, as "True" or "False".
pub fn condition(pod: &Value, kind: &str) -> String {
    let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|condition| condition["type"] == kind);
    found.and_then(|condition| condition["status"].as_str()).unwrap_or_default().to_owned()
}
