//! Metadata of every deletable object of the cluster, in one store keyed by uid: what the garbage collector walks and
//! the resource quota counts. Resources come from discovery, so custom ones are in it too. Kinds that the process caches
//! anyway are listened to there; the others are watched for metadata only.

pub mod discovery;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use client::object::of_object_meta;
use client::reflector::{Collection, Sink, reflect};
use client::{Index, Key, MetaRef, Object, Reflectors, Resource, Store, Target};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Deserializer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use discovery::Discovered;

/// How often discovery is read again, for resources that come and go.
const DISCOVERY_PERIOD: Duration = Duration::from_secs(30);
/// After this time decisions are made even if a resource could not be listed; what is missing is asked for live.
const SYNC_PATIENCE: Duration = Duration::from_secs(30);
/// Index of nodes by resource and namespace.
pub const PLACE: Index = Index::Custom("place");

/// One object of the cluster.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its resource.
    pub resource: Arc<Resource>,
    /// Namespace, empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Uid.
    pub uid: String,
    /// Resource version.
    pub resource_version: u64,
    /// Owners.
    pub owners: Vec<OwnerReference>,
    /// Finalizers.
    pub finalizers: Vec<String>,
    /// Whether its deletion has been asked for.
    pub deleting: bool,
}

impl Node {
    fn new(resource: &Arc<Resource>, meta: MetaRef<'_>) -> Self {
        Self {
            resource: resource.clone(),
            namespace: meta.namespace.to_owned(),
            name: meta.name.to_owned(),
            uid: meta.uid.to_owned(),
            resource_version: meta.resource_version,
            owners: meta.owner_references.to_vec(),
            finalizers: meta.finalizers.to_vec(),
            deleting: meta.deleting,
        }
    }

    /// Where to write to it.
    pub fn target(&self) -> Target {
        Target {
            resource: Resource::clone(&self.resource),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
        }
    }

    /// Whether it has a finalizer.
    pub fn has_finalizer(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|known| known == finalizer)
    }
}

/// The value under which [`PLACE`] finds the objects of a resource ("pods", "deployments.apps") in a namespace.
pub fn place(group_resource: &str, namespace: &str) -> String {
    format!("{group_resource}\0{namespace}")
}

/// The key of the object with this uid.
pub fn key_of(uid: &str) -> Key {
    Key::cluster(uid)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("a node is made from metadata, never decoded"))
    }
}

impl Object for Node {
    fn meta_ref(&self) -> MetaRef<'_> {
        MetaRef {
            namespace: &self.namespace,
            name: &self.name,
            uid: &self.uid,
            resource_version: self.resource_version,
            owner_references: &self.owners,
            labels: None,
            deleting: self.deleting,
            finalizers: &self.finalizers,
        }
    }

    fn key(&self) -> Key {
        key_of(&self.uid)
    }

    fn indexes(&self, add: &mut dyn FnMut(Index, &str)) {
        add(PLACE, &place(&self.resource.group_resource(), &self.namespace));
    }
}

/// What a metadata-only watch delivers.
#[derive(Deserialize)]
struct Partial {
    metadata: ObjectMeta,
}

impl Object for Partial {
    fn meta_ref(&self) -> MetaRef<'_> {
        of_object_meta(&self.metadata)
    }
}

/// The graph of all objects, and discovery.
pub struct Monitors {
    /// All objects.
    pub graph: Arc<Store<Node>>,
    discovered: RwLock<Arc<Discovered>>,
    first_discovery: watch::Sender<bool>,
}

impl Monitors {
    /// An empty graph; [`Self::run`] fills it.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            graph: Arc::default(),
            discovered: RwLock::default(),
            first_discovery: watch::Sender::new(false),
        })
    }

    /// What the server serves, as last seen.
    pub fn discovered(&self) -> Arc<Discovered> {
        self.discovered.read().clone()
    }

    /// Waits for the first successful discovery.
    pub async fn wait_discovered(&self) {
        let _ = self.first_discovery.subscribe().wait_for(|seen| *seen).await;
    }

    /// Follows discovery and keeps a monitor for every deletable resource, until cancelled.
    pub async fn run(self: Arc<Self>, client: kube::Client, reflectors: Arc<Reflectors>, cancel: CancellationToken) {
        let mut running: HashMap<Resource, Running> = HashMap::new();
        let mut first = true;
        let follow = async {
            loop {
                match discovery::discover(&client).await {
                    Ok(discovered) => {
                        self.adopt(&client, &reflectors, &cancel, &mut running, Arc::new(discovered));
                        if std::mem::take(&mut first) {
                            self.first_discovery.send_replace(true);
                            let all =
                                futures::future::join_all(running.values().map(|monitor| monitor.sink.wait_synced()));
                            if tokio::time::timeout(SYNC_PATIENCE, all).await.is_err() {
                                warn!("some resources could not be listed, going on without them");
                            }
                            self.graph.mark_synced();
                        }
                    }
                    Err(error) => warn!(%error, "failed to read discovery"),
                }
                let pause = if first { Duration::from_secs(1) } else { DISCOVERY_PERIOD };
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = follow => {}
            () = cancel.cancelled() => {}
        }
    }

    fn adopt(
        &self,
        client: &kube::Client,
        reflectors: &Arc<Reflectors>,
        cancel: &CancellationToken,
        running: &mut HashMap<Resource, Running>,
        discovered: Arc<Discovered>,
    ) {
        let wanted: HashSet<&Resource> =
            discovered.resources.iter().filter(|served| served.is_monitored()).map(|served| &served.resource).collect();
        running.retain(|resource, monitor| {
            let stays = wanted.contains(resource) || !discovered.complete;
            if !stays {
                monitor.cancel.cancel();
                monitor.sink.replace(Vec::new(), 0);
            }
            stays
        });
        for resource in wanted {
            if running.contains_key(resource) {
                continue;
            }
            let sink = Arc::new(GraphSink::new(resource.clone(), self.graph.clone()));
            let cancel = cancel.child_token();
            listen(client, reflectors, resource, sink.clone(), cancel.clone());
            running.insert(resource.clone(), Running { sink, cancel });
        }
        *self.discovered.write() = discovered;
    }
}

struct Running {
    sink: Arc<GraphSink>,
    cancel: CancellationToken,
}

fn listen(
    client: &kube::Client,
    reflectors: &Arc<Reflectors>,
    resource: &Resource,
    sink: Arc<GraphSink>,
    cancel: CancellationToken,
) {
    let path = resource.path("");
    let told = sink.clone();
    let subscriber = Box::new(move |old: Option<MetaRef<'_>>, new: Option<MetaRef<'_>>| match (old, new) {
        (_, Some(meta)) => told.put(meta),
        (Some(meta), None) => told.take(meta),
        (None, None) => {}
    });
    if let Some(synced) = reflectors.subscribe_meta(&path, subscriber) {
        tokio::spawn(async move {
            synced.wait().await;
            sink.synced.send_replace(true);
        });
        return;
    }
    let collection = Collection { metadata_only: true, ..Collection::all(path) };
    let (client, environment) = (client.clone(), reflectors.environment().clone());
    tokio::spawn(async move { reflect::<Partial>(client, collection, &*sink, environment, cancel).await });
}

/// Feeds the objects of one resource into the graph.
struct GraphSink {
    resource: Arc<Resource>,
    graph: Arc<Store<Node>>,
    uids: Mutex<HashSet<String>>,
    synced: watch::Sender<bool>,
}

impl GraphSink {
    fn new(resource: Resource, graph: Arc<Store<Node>>) -> Self {
        Self { resource: Arc::new(resource), graph, uids: Mutex::default(), synced: watch::Sender::new(false) }
    }

    async fn wait_synced(&self) {
        let _ = self.synced.subscribe().wait_for(|synced| *synced).await;
    }

    fn put(&self, meta: MetaRef<'_>) {
        self.uids.lock().insert(meta.uid.to_owned());
        self.graph.apply(Node::new(&self.resource, meta));
    }

    fn take(&self, meta: MetaRef<'_>) {
        self.uids.lock().remove(meta.uid);
        self.graph.remove(&key_of(meta.uid), meta.resource_version);
    }
}

impl Sink<Partial> for GraphSink {
    fn replace(&self, objects: Vec<Partial>, revision: u64) {
        let there: HashSet<String> = objects.iter().map(|object| object.meta_ref().uid.to_owned()).collect();
        let gone: Vec<String> = self.uids.lock().difference(&there).cloned().collect();
        for object in &objects {
            let meta = object.meta_ref();
            let known = self.graph.get(&key_of(meta.uid));
            if known.is_none_or(|known| known.resource_version != meta.resource_version) {
                self.put(meta);
            }
        }
        for uid in gone {
            self.uids.lock().remove(&uid);
            self.graph.remove(&key_of(&uid), revision);
        }
        self.synced.send_replace(true);
    }

    fn apply(&self, object: Partial) {
        self.put(object.meta_ref());
    }

    fn remove(&self, object: Partial) {
        self.take(object.meta_ref());
    }

    fn advance(&self, _revision: u64) {}
}
