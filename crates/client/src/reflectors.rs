//! The shared caches of one identity: each collection is listed, watched and decoded once, however many components read
//! it. Components with different rights have different `Reflectors`, so that nobody sees what its rights do not show.
//! A cache starts when somebody first asks for it and lives as long as the process' cancellation token.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::apply::Written;
use crate::environment::Environment;
use crate::object::{MetaRef, Object};
use crate::reflector::{self, Collection};
use crate::store::{Generations, Store};

/// All caches of an identity.
pub struct Reflectors {
    client: kube::Client,
    environment: Environment,
    cancel: CancellationToken,
    stores: Mutex<HashMap<(TypeId, Collection), Registered>>,
}

struct Registered {
    typed: Arc<dyn Any + Send + Sync>,
    erased: Arc<dyn AnyStore>,
}

/// A change, told by metadata alone: the object as it was and as it is.
pub type MetaSubscriber = Box<dyn for<'a> Fn(Option<MetaRef<'a>>, Option<MetaRef<'a>>) + Send + Sync>;

/// What can be asked of a cache without knowing its kind.
trait AnyStore: Send + Sync {
    fn has_seen(&self, written: &Written) -> bool;
    fn generations(&self) -> Generations;
    fn subscribe_meta(&self, subscriber: MetaSubscriber);
}

impl<K: Object> AnyStore for Store<K> {
    fn has_seen(&self, written: &Written) -> bool {
        let snapshot = self.snapshot();
        if written.deleted {
            return snapshot
                .get(&written.key)
                .is_none_or(|known| known.meta_ref().uid != written.uid || known.meta_ref().deleting);
        }
        // Taking away the last finalizer of an object is a change that ends in its deletion.
        snapshot.revision() >= written.revision || (!written.created && snapshot.get(&written.key).is_none())
    }

    fn generations(&self) -> Generations {
        Store::generations(self)
    }

    fn subscribe_meta(&self, subscriber: MetaSubscriber) {
        self.subscribe(move |change| {
            subscriber(change.old.map(|old| old.meta_ref()), change.new.map(|new| new.meta_ref()))
        });
    }
}

impl Reflectors {
    /// Caches that read through `client` until `cancel`.
    pub fn new(client: kube::Client, environment: Environment, cancel: CancellationToken) -> Arc<Self> {
        Arc::new(Self { client, environment, cancel, stores: Mutex::default() })
    }

    /// The client that the caches read through; components that are handed the caches write through it.
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// The clock and chance the caches live by.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The cache of all objects of a kind.
    pub fn store<K>(&self) -> Arc<Store<K>>
    where
        K: Object + kube::Resource<DynamicType = ()>,
    {
        self.store_of(Collection::all(K::url_path(&(), None)))
    }

    /// The cache of those objects of a kind that a field selector ("spec.nodeName=n1") picks.
    pub fn store_where<K>(&self, field_selector: &str) -> Arc<Store<K>>
    where
        K: Object + kube::Resource<DynamicType = ()>,
    {
        let collection = Collection::all(K::url_path(&(), None));
        self.store_of(Collection { field_selector: Some(field_selector.to_owned()), ..collection })
    }

    /// The cache of any collection.
    pub fn store_of<K: Object>(&self, collection: Collection) -> Arc<Store<K>> {
        let mut stores = self.stores.lock();
        if let Some(registered) = stores.get(&(TypeId::of::<K>(), collection.clone()))
            && let Ok(store) = registered.typed.clone().downcast::<Store<K>>()
        {
            return store;
        }
        let store = Arc::new(Store::<K>::default());
        let registered = Registered { typed: store.clone(), erased: store.clone() };
        stores.insert((TypeId::of::<K>(), collection.clone()), registered);
        let (client, environment, cancel, sink) =
            (self.client.clone(), self.environment.clone(), self.cancel.clone(), store.clone());
        tokio::spawn(async move { reflector::reflect(client, collection, &*sink, environment, cancel).await });
        store
    }

    /// Tells of every object and every change of a collection that is already cached whole; false if it is not.
    /// So a component that needs metadata alone does not watch and decode the same objects again.
    pub fn subscribe_meta(&self, path: &str, subscriber: MetaSubscriber) -> Option<SyncedSignal> {
        let stores = self.stores.lock();
        let whole = Collection::all(path);
        let (_, registered) = stores.iter().find(|((_, collection), _)| *collection == whole)?;
        let erased = registered.erased.clone();
        drop(stores);
        erased.subscribe_meta(subscriber);
        Some(SyncedSignal(erased))
    }

    /// Waits until the caches contain these writes, so that the next decision is not made on what was before them.
    pub(crate) async fn wait_seen(&self, written: &[Written], patience: Duration) {
        for write in written {
            let store = {
                let stores = self.stores.lock();
                // Only caches of the whole collection: others may never be told of this object.
                let whole = Collection::all(write.collection.as_str());
                stores.iter().find(|((_, collection), _)| *collection == whole).map(|(_, store)| store.erased.clone())
            };
            let Some(store) = store else { continue };
            let mut generations = store.generations();
            let seen = async {
                loop {
                    generations.mark_unchanged();
                    if store.has_seen(write) || !generations.changed().await {
                        return;
                    }
                }
            };
            if tokio::time::timeout(patience, seen).await.is_err() {
                warn!(collection = write.collection, key = %write.key, "cache has not shown a write in time, going on");
            }
        }
    }
}

/// Tells when a cache has its first list.
pub struct SyncedSignal(Arc<dyn AnyStore>);

impl SyncedSignal {
    /// Waits for the first list.
    pub async fn wait(&self) {
        self.0.generations().synced().await;
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Service;
    use serde_json::json;

    use super::*;
    use crate::Key;
    use crate::fake::FakeServer;

    fn reflectors(server: &FakeServer) -> (Arc<Reflectors>, tokio_util::sync::DropGuard) {
        let cancel = CancellationToken::new();
        (Reflectors::new(server.client(), Environment::system(), cancel.clone()), cancel.drop_guard())
    }

    #[tokio::test]
    async fn a_collection_is_listed_and_watched_once_however_many_read_it() {
        let server = FakeServer::new();
        server.put("/api/v1/namespaces/n/services", json!({"metadata": {"namespace": "n", "name": "a"}}));
        let (reflectors, _guard) = reflectors(&server);
        let (one, other) = (reflectors.store::<Service>(), reflectors.store::<Service>());
        let filtered = reflectors.store_where::<Service>("metadata.name=a");
        assert!(Arc::ptr_eq(&one, &other));
        assert!(!Arc::ptr_eq(&one, &filtered), "a part of a collection is a cache of its own");
        let mut keys = other.changed_keys();
        assert_eq!(keys.next().await, [Key::new("n", "a")].into());
        server.put("/api/v1/namespaces/n/services", json!({"metadata": {"namespace": "n", "name": "b"}}));
        assert_eq!(keys.next().await, [Key::new("n", "b")].into());
        filtered.wait_synced().await;
        let reads = server.reads();
        let selector = "fieldSelector=metadata.name%3Da";
        assert!(reads.iter().all(|read| read.starts_with("/api/v1/services?")));
        let count = |watch: bool, part: bool| {
            reads.iter().filter(|read| read.contains("watch=true") == watch && read.contains(selector) == part).count()
        };
        assert_eq!((count(false, false), count(true, false), count(false, true)), (1, 1, 1), "{reads:?}");
    }
}
