//! A controller: what it watches, how a change leads to keys, and the pure decision for a key.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::object::Object;
use crate::reflectors::Reflectors;
use crate::request::ApiError;
use crate::{Change, Key, Plan, Store, View};

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The outside, for controllers that must see more than the caches show before they decide.
pub struct Outside {
    /// The controller's own client.
    pub client: kube::Client,
    /// The time.
    pub now: Timestamp,
}

/// A controller. `reconcile` looks at the view and nothing else.
pub trait Controller: Send + Sync + 'static {
    /// Its name in logs, metrics and flags.
    const NAME: &'static str;
    /// How many keys are worked on at once.
    const CONCURRENCY: usize = 16;

    /// Declares what it reads and which changes concern which keys.
    fn sources(&self, sources: &mut Sources<'_>);

    /// Adds to the view what the caches do not show. Most controllers need nothing.
    fn observe<'a>(
        &'a self,
        _outside: &'a Outside,
        _key: &'a Key,
        _view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async { Ok(()) })
    }

    /// Decides what to do about a key.
    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan;
}

type Snapshotter = Box<dyn Fn(&mut View) + Send + Sync>;
/// Receives keys that want to be looked at.
pub type Enqueue = Arc<dyn Fn(Key) + Send + Sync>;
type Connect = Box<dyn FnOnce(Arc<Snapshotters>, Enqueue) + Send>;

/// Makes views from the caches.
#[derive(Default)]
pub(crate) struct Snapshotters(Vec<Snapshotter>);

impl Snapshotters {
    pub(crate) fn view(&self) -> View {
        let mut view = View::new();
        for snapshot in &self.0 {
            snapshot(&mut view);
        }
        view
    }
}

/// What a controller declares.
pub struct Sources<'a> {
    reflectors: &'a Arc<Reflectors>,
    pub(crate) snapshotters: Snapshotters,
    pub(crate) connects: Vec<Connect>,
    pub(crate) synced: Vec<BoxFuture<'static, ()>>,
    pub(crate) periodic: BTreeMap<Duration, Vec<Key>>,
}

impl<'a> Sources<'a> {
    pub(crate) fn new(reflectors: &'a Arc<Reflectors>) -> Self {
        Self {
            reflectors,
            snapshotters: Snapshotters::default(),
            connects: Vec::new(),
            synced: Vec::new(),
            periodic: BTreeMap::new(),
        }
    }

    /// The process' caches.
    pub fn reflectors(&self) -> &Arc<Reflectors> {
        self.reflectors
    }

    /// Reads a kind without being woken by it.
    pub fn read<K: Object + kube::Resource<DynamicType = ()>>(&mut self) {
        let store = self.reflectors.store::<K>();
        self.read_store(store);
    }

    /// Reads a kind; `keys` says which keys a change of it concerns.
    pub fn on<K, I>(&mut self, keys: impl Fn(&View, &Change<'_, K>) -> I + Send + Sync + 'static)
    where
        K: Object + kube::Resource<DynamicType = ()>,
        I: IntoIterator<Item = Key>,
    {
        let store = self.reflectors.store::<K>();
        self.on_store(store, keys);
    }

    /// Reads the kind whose objects are this controller's keys.
    pub fn on_own<K: Object + kube::Resource<DynamicType = ()>>(&mut self) {
        self.on::<K, _>(|_, change| change.latest().map(|object| object.key()));
    }

    /// Reads a cache of the caller's without being woken by it.
    pub fn read_store<K: Object>(&mut self, store: Arc<Store<K>>) {
        let reading = store.clone();
        self.snapshotters.0.push(Box::new(move |view| view.put(reading.snapshot())));
        self.synced.push(Box::pin(async move { store.wait_synced().await }));
    }

    /// Reads a cache of the caller's; `keys` says which keys a change of it concerns.
    pub fn on_store<K: Object, I: IntoIterator<Item = Key>>(
        &mut self,
        store: Arc<Store<K>>,
        keys: impl Fn(&View, &Change<'_, K>) -> I + Send + Sync + 'static,
    ) {
        self.read_store(store.clone());
        self.connects.push(Box::new(move |snapshotters, enqueue| {
            store.subscribe(move |change| {
                for key in keys(&snapshotters.view(), change) {
                    enqueue(key);
                }
            });
        }));
    }

    /// Hands out a way to wake keys from anything that is no cache; called once when the controller starts.
    pub fn on_start(&mut self, connect: impl FnOnce(Enqueue) + Send + 'static) {
        self.connects.push(Box::new(move |_, enqueue| connect(enqueue)));
    }

    /// Does not start before this is done.
    pub fn wait_for(&mut self, ready: impl Future<Output = ()> + Send + 'static) {
        self.synced.push(Box::pin(ready));
    }

    /// Looks at a key at the start and then once in every period.
    pub fn every(&mut self, period: Duration, key: Key) {
        self.periodic.entry(period).or_default().push(key);
    }
}
