//! What all parts of the kubelet share, and the way from the API's pods to workers.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use client::{Key, Reflectors, Store};
use k8s_openapi::{
    api::{
        core::v1::{Node, Pod, Service},
        node::v1::RuntimeClass,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::Api;
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    admission,
    cgroups::Cgroups,
    config::Config,
    cri::{Cri, CriError, v1},
    events::{Level, Recorder},
    eviction::{self, Pressure},
    image_gc,
    images::Images,
    node::machine::Machine,
    objects::{Objects, message},
    pleg,
    pod::{PodExt, env, labels},
    volumes::{Paths, Surroundings, Volumes, blocking},
    worker::{self, Handle},
};

/// The parts of a running kubelet.
pub struct Kubelet {
    /// Settings.
    pub config: Arc<Config>,
    /// The API.
    pub client: kube::Client,
    /// What is read of the API again and again.
    pub caches: Arc<Reflectors>,
    /// The container runtime.
    pub cri: Cri,
    /// Events.
    pub events: Recorder,
    /// Images.
    pub images: Images,
    /// ConfigMaps, Secrets, tokens.
    pub objects: Arc<Objects>,
    /// Volumes.
    pub volumes: Volumes,
    /// Pods' cgroups.
    pub cgroups: Cgroups,
    /// The machine.
    pub machine: Machine,
    /// The host's resolver configuration.
    pub host_dns: v1::DnsConfig,
    /// Services, for pods' environments.
    pub services: Arc<Store<Service>>,
    /// The Node object, once registered.
    pub node: watch::Receiver<Option<Arc<Node>>>,
    /// The runtime's own name, once it has told it.
    pub runtime_name: RwLock<String>,
    /// What the node has too little of.
    pub pressure: watch::Sender<BTreeSet<Pressure>>,
    /// When images were seen and used.
    pub image_records: Mutex<image_gc::Records>,
    /// Held while room is promised to a pod.
    pub allocating: Mutex<()>,
    workers: Mutex<HashMap<String, Handle>>,
    /// Pods in the runtime that the API does not know, being removed now.
    orphans: Mutex<HashSet<String>>,
    /// The API has said at least once which pods there are.
    synced: watch::Sender<bool>,
    /// Ends all workers, leaving their pods as they are.
    pub stopping: CancellationToken,
    /// For tasks that are started on the way.
    me: std::sync::Weak<Kubelet>,
}

impl Kubelet {
    /// Puts the parts together; nothing runs yet.
    pub fn new(
        config: Arc<Config>,
        caches: Arc<Reflectors>,
        node: watch::Receiver<Option<Arc<Node>>>,
        stopping: CancellationToken,
    ) -> Arc<Self> {
        let cri = Cri::new(&config.cri_socket());
        let client = caches.client().clone();
        let events = Recorder::start(client.clone(), config.node_name.clone());
        let objects = Arc::new(Objects::new(client.clone()));
        let host_dns = std::fs::read_to_string(&config.resolv_conf).unwrap_or_default();
        Arc::new_cyclic(|me| Self {
            images: Images::new(cri.clone(), events.clone(), objects.clone(), config.max_parallel_image_pulls),
            volumes: Volumes::new(config.clone(), objects.clone()),
            cgroups: Cgroups::new(config.cgroup_driver, &config.cgroup_root),
            machine: Machine::read(),
            host_dns: crate::pod::dns::parse_resolv_conf(&host_dns),
            runtime_name: RwLock::new("containerd".into()),
            pressure: watch::Sender::default(),
            image_records: Mutex::default(),
            allocating: Mutex::default(),
            workers: Mutex::default(),
            orphans: Mutex::default(),
            synced: watch::channel(false).0,
            me: me.clone(),
            config,
            client,
            cri,
            events,
            objects,
            services: caches.store(),
            caches,
            node,
            stopping,
        })
    }

    /// The scheme of container ids.
    pub fn runtime_name(&self) -> String {
        self.runtime_name.read().clone()
    }

    /// The node's addresses as text.
    pub fn host_ips(&self) -> Vec<String> {
        self.config.node_ips.iter().map(ToString::to_string).collect()
    }

    /// What pods may use of this node.
    pub fn allocatable(&self) -> BTreeMap<String, Quantity> {
        let node = self.node.borrow().clone();
        node.and_then(|node| node.status.as_ref().and_then(|status| status.allocatable.clone())).unwrap_or_default()
    }

    /// What a pod's volumes depend on besides the pod; `known` are those that are set up already.
    pub fn around_volumes(&self, known: Option<&Paths>) -> Surroundings {
        let known = known.cloned().unwrap_or_default();
        Surroundings { allocatable: self.allocatable(), node: self.node.borrow().clone(), known }
    }

    /// Services whose variables a pod's containers get.
    pub async fn services_for(&self, pod: &Pod) -> Vec<Arc<Service>> {
        // The first list comes within moments; a pod does not wait forever for an API server that is away.
        let _ = tokio::time::timeout(Duration::from_secs(5), self.services.wait_synced()).await;
        let links = pod.pod_spec().enable_service_links.unwrap_or(true);
        let services = self.services.snapshot();
        let mut found: Vec<_> =
            services.iter().filter(|s| env::is_linked(s, pod.namespace(), links)).cloned().collect();
        found.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        found
    }

    /// The runtime's handler for a pod's RuntimeClass; the error is the end of an event's message.
    pub async fn runtime_handler(&self, pod: &Pod) -> Result<String, String> {
        let Some(name) = pod.pod_spec().runtime_class_name.as_deref().filter(|name| !name.is_empty()) else {
            return Ok(String::new());
        };
        let api: Api<RuntimeClass> = Api::all(self.client.clone());
        match api.get_opt(name).await {
            Ok(Some(class)) => Ok(class.handler),
            Ok(None) => Err(format!("failed to get sandbox runtime: no runtime class named {name:?}")),
            Err(error) => Err(format!("failed to get sandbox runtime: {}", message(&error))),
        }
    }

    /// All workers.
    pub fn handles(&self) -> Vec<Handle> {
        self.workers.lock().values().cloned().collect()
    }

    /// The worker of a pod by name.
    pub fn find(&self, namespace: &str, name: &str, uid: Option<&str>) -> Option<Handle> {
        let fits =
            |pod: &Pod| pod.name() == name && pod.namespace() == namespace && uid.is_none_or(|uid| uid == pod.uid());
        let mut found: Vec<Handle> = self.handles().into_iter().filter(|handle| fits(&handle.pod())).collect();
        found.sort_by_key(|handle| handle.shared.lock().terminated);
        found.into_iter().next()
    }

    /// A worker has come to its end.
    pub fn forget(&self, uid: &str) {
        self.workers.lock().remove(uid);
        self.reconsider_resizes();
    }

    /// Lets all workers go; their pods stay as they are.
    pub fn stop_workers(&self) {
        self.workers.lock().clear();
    }

    /// Follows the API's pods, for ever.
    pub async fn follow_pods(self: Arc<Self>) {
        let pods = self.caches.store_where::<Pod>(&format!("spec.nodeName={}", self.config.node_name));
        let mut keys = pods.changed_keys();
        let mut known: HashMap<Key, String> = HashMap::new();
        loop {
            let keys = keys.next().await;
            let snapshot = pods.snapshot();
            let mut present = Vec::new();
            for key in keys {
                let pod = snapshot.get(&key);
                let before = match pod {
                    Some(pod) => known.insert(key, pod.uid().to_owned()),
                    None => known.remove(&key),
                };
                // Gone for good, or gone and made again under its name.
                if let Some(uid) = before.filter(|uid| pod.is_none_or(|pod| pod.uid() != uid)) {
                    self.gone(&uid);
                }
                present.extend(pod.cloned());
            }
            // Older pods first, so that they are not refused for the sake of younger ones.
            present.sort_by(|a, b| a.metadata.creation_timestamp.cmp(&b.metadata.creation_timestamp));
            present.into_iter().for_each(|pod| self.apply(pod));
            self.synced.send_replace(true);
        }
    }

    fn gone(&self, uid: &str) {
        if let Some(handle) = self.workers.lock().get(uid) {
            handle.gone();
        }
    }

    fn apply(&self, pod: Arc<Pod>) {
        if let Some(handle) = self.workers.lock().get(pod.uid()) {
            return handle.update(pod);
        }
        let Some(me) = self.me.upgrade() else { return };
        let verdict = self.refusal(&pod);
        if let Some(verdict) = &verdict {
            self.events.pod(&pod, None, Level::Warning, "FailedAdmission", verdict.message.clone());
        }
        let handle = worker::spawn(me, pod.clone(), verdict);
        self.workers.lock().insert(pod.uid().to_owned(), handle);
    }

    /// Only a pod that has not begun is asked; one that runs already was let in before.
    fn refusal(&self, pod: &Pod) -> Option<crate::status::generate::Verdict> {
        let begun = pod.status.as_ref().is_some_and(|status| status.start_time.is_some());
        if begun || pod.deleting() || matches!(pod.phase(), "Succeeded" | "Failed") {
            return None;
        }
        if let Some(verdict) = eviction::run::refuse(pod, &self.pressure.borrow()) {
            return Some(verdict);
        }
        let node = self.node.borrow().clone()?;
        let active = self.handles().into_iter().filter(Handle::is_active).map(|handle| handle.allocated_pod());
        admission::refuse(pod, &active.collect::<Vec<_>>(), &node)
    }

    /// Stops and removes whatever the runtime has of a pod.
    pub async fn remove_from_runtime(&self, uid: &str, grace: Duration) -> Result<(), CriError> {
        let (sandboxes, containers) = tokio::try_join!(self.cri.sandboxes(Some(uid)), self.cri.containers(Some(uid)))?;
        let running = containers.iter().filter(|c| c.state() == v1::ContainerState::ContainerRunning);
        let stopped = futures::future::join_all(running.map(|c| self.cri.stop_container(&c.id, grace))).await;
        stopped.into_iter().collect::<Result<(), _>>()?;
        for container in &containers {
            self.cri.remove_container(&container.id).await?;
        }
        for sandbox in sandboxes {
            self.cri.stop_sandbox(&sandbox.id).await?;
            self.cri.remove_sandbox(&sandbox.id).await?;
        }
        Ok(())
    }

    /// Removes a pod's logs and the links to them.
    pub async fn remove_logs(&self, pod: &Pod) {
        let logs = self.config.pod_logs(pod.namespace(), pod.name(), pod.uid());
        let links = self.config.container_log_dir.clone();
        let work = move || {
            for entry in links.iter().flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten()) {
                if std::fs::read_link(entry.path()).is_ok_and(|target| target.starts_with(&logs)) {
                    let _ = std::fs::remove_file(entry.path());
                }
            }
            let _ = std::fs::remove_dir_all(&logs);
            Ok(())
        };
        let _ = blocking(work).await;
    }

    /// Removes the flat link to one container's log.
    pub fn unlink_log(&self, pod: &Pod, container: &str, id: &str) {
        if let Some(dir) = &self.config.container_log_dir {
            let link = dir.join(format!("{}_{}_{container}-{id}.log", pod.name(), pod.namespace()));
            let _ = std::fs::remove_file(link);
        }
    }

    fn unknown(&self, uid: &str) -> bool {
        *self.synced.borrow() && !self.workers.lock().contains_key(uid)
    }

    /// Removes a pod that the runtime has and the API does not.
    async fn remove_orphan(&self, uid: &str) {
        let containers = self.cri.containers(Some(uid)).await.unwrap_or_default();
        let grace = containers.iter().find_map(|c| c.annotations.get(labels::GRACE_PERIOD)?.parse().ok()).unwrap_or(2);
        tracing::info!(uid, "removing a pod that the API does not know");
        if let Err(error) = self.remove_from_runtime(uid, Duration::from_secs(grace)).await {
            tracing::warn!(uid, %error, "failed to remove an orphaned pod");
        }
        self.remove_orphaned_files(uid).await;
    }

    async fn remove_orphaned_files(&self, uid: &str) {
        if let Err(error) = self.volumes.tear_down(uid).await {
            tracing::warn!(uid, error, "failed to remove an orphaned pod's volumes");
        }
        let (cgroups, owned) = (self.cgroups.clone(), uid.to_owned());
        let _ = blocking(move || Ok(cgroups.remove_pod(&owned))).await;
        let suffix = format!("_{uid}");
        for entry in std::fs::read_dir(&self.config.pod_log_dir).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().ends_with(&suffix) {
                let _ = std::fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Directories and cgroups that no pod claims any more: looked for once the pods are known, and now and then.
    pub async fn housekeeping(self: Arc<Self>, cancel: CancellationToken) {
        let mut synced = self.synced.subscribe();
        loop {
            tokio::select! {
                known = synced.wait_for(|synced| *synced) => if known.is_err() { return },
                () = cancel.cancelled() => return,
            }
            let in_runtime: HashSet<String> = match self.cri.sandboxes(None).await {
                Ok(list) => list.into_iter().filter_map(|s| s.labels.get(labels::POD_UID).cloned()).collect(),
                Err(_) => HashSet::new(),
            };
            for uid in &in_runtime {
                self.consider_orphan(uid);
            }
            let directories = std::fs::read_dir(self.config.root_dir.join("pods")).into_iter().flatten().flatten();
            let mut uids: Vec<String> =
                directories.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            uids.extend(self.cgroups.pods());
            for uid in uids.iter().filter(|uid| !in_runtime.contains(*uid) && self.unknown(uid)) {
                self.remove_orphaned_files(uid).await;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(120)) => {}
                () = cancel.cancelled() => return,
            }
        }
    }

    fn consider_orphan(&self, uid: &str) {
        if !self.unknown(uid) || !self.orphans.lock().insert(uid.to_owned()) {
            return;
        }
        let (Some(me), uid) = (self.me.upgrade(), uid.to_owned()) else { return };
        tokio::spawn(async move {
            me.remove_orphan(&uid).await;
            me.orphans.lock().remove(&uid);
        });
    }
}

impl pleg::Listener for Kubelet {
    fn changed(&self, uid: &str) {
        if let Some(handle) = self.workers.lock().get(uid) {
            handle.wake.notify_one();
        }
    }

    fn pod_count(&self) -> usize {
        self.workers.lock().len()
    }

    fn relisted(&self, uids: &HashSet<String>) {
        for uid in uids {
            self.consider_orphan(uid);
        }
    }
}
