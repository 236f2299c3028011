//! The current snapshot of a kind and those who want to hear of changes. Written by one reflector, read by anybody.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::object::Object;
use crate::{Key, Snapshot};

/// What happened to one object: created (no old), changed, or gone (no new).
pub struct Change<'a, K> {
    /// The object as it was.
    pub old: Option<&'a Arc<K>>,
    /// The object as it is.
    pub new: Option<&'a Arc<K>>,
}

impl<'a, K> Change<'a, K> {
    /// The object as it is, or as it was last.
    pub fn latest(&self) -> Option<&'a Arc<K>> {
        self.new.or(self.old)
    }
}

type Subscriber<K> = Box<dyn Fn(&Change<'_, K>) + Send + Sync>;

/// A kind's cache.
pub struct Store<K> {
    current: ArcSwap<Snapshot<K>>,
    /// Holding this lock is the right to publish; the callbacks run under it, so that they see changes in order.
    subscribers: Mutex<Vec<Subscriber<K>>>,
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    synced: bool,
    /// Counts everything that was taken in.
    generation: u64,
    /// Counts what changed an object, and the first list.
    changes: u64,
}

impl<K: Object> Default for Store<K> {
    fn default() -> Self {
        Self {
            current: ArcSwap::from_pointee(Snapshot::default()),
            subscribers: Mutex::default(),
            state: watch::Sender::new(State::default()),
        }
    }
}

impl<K: Object> Store<K> {
    /// The snapshot of now.
    pub fn snapshot(&self) -> Arc<Snapshot<K>> {
        self.current.load_full()
    }

    /// One object of now.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.current.load().get(key).cloned()
    }

    /// Calls `subscriber` for every object there is and then for every change, in order, from the reflector's task:
    /// it must be quick and must not write to this store.
    pub fn subscribe(&self, subscriber: impl Fn(&Change<'_, K>) + Send + Sync + 'static) {
        let mut subscribers = self.subscribers.lock();
        for object in self.snapshot().iter() {
            subscriber(&Change { old: None, new: Some(object) });
        }
        subscribers.push(Box::new(subscriber));
    }

    /// Whether the first list is in.
    pub fn synced(&self) -> bool {
        self.state.borrow().synced
    }

    /// Waits until the first list is in.
    pub async fn wait_synced(&self) {
        // The sender lives in self, so waiting cannot fail.
        let _ = self.state.subscribe().wait_for(|state| state.synced).await;
    }

    /// Waits until the snapshot satisfies a condition. Wakes up on changes only.
    pub async fn wait_for(&self, mut condition: impl FnMut(&Snapshot<K>) -> bool) {
        let mut changes = self.state.subscribe();
        loop {
            changes.mark_unchanged();
            if condition(&self.current.load()) {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Wakes up when objects change, for those who look at the whole snapshot. The first list counts as a change, also
    /// where it is empty; a bookmark does not.
    pub fn changes(&self) -> Changes {
        Changes { state: self.state.subscribe(), seen: 0 }
    }

    /// Collects which objects there are and which change, for those who look at single objects.
    pub fn changed_keys(&self) -> ChangedKeys {
        let keys = Arc::new(Mutex::new(BTreeSet::new()));
        let changes = self.changes();
        let collector = Arc::downgrade(&keys);
        self.subscribe(move |change| {
            if let (Some(keys), Some(object)) = (collector.upgrade(), change.latest()) {
                keys.lock().insert(object.key());
            }
        });
        ChangedKeys { keys, changes }
    }

    /// A receiver that wakes up when the snapshot changes.
    pub(crate) fn generations(&self) -> Generations {
        Generations(self.state.subscribe())
    }

    /// Replaces everything by a fresh list and marks the store as synced.
    pub fn replace(&self, objects: Vec<K>, revision: u64) {
        let subscribers = self.subscribers.lock();
        let before = self.snapshot();
        let mut next = Snapshot::default();
        for mut object in objects {
            object.strip();
            // Unchanged objects keep their allocation, and with it whatever others hold of them.
            let known = before.get(&object.key()).filter(|known| {
                let (a, b) = (known.meta_ref(), object.meta_ref());
                a.resource_version == b.resource_version && a.uid == b.uid && a.resource_version != 0
            });
            next.put(known.cloned().unwrap_or_else(|| Arc::new(object)));
        }
        next.advance(revision);
        let next = Arc::new(next);
        self.current.store(next.clone());
        let mut changed = false;
        before.changes_to(&next, |change| {
            changed = true;
            notify(&subscribers, change);
        });
        drop(subscribers);
        self.state.send_modify(|state| {
            state.changes += u64::from(changed || !state.synced);
            state.synced = true;
            state.generation += 1;
        });
    }

    /// Takes in one new or changed object.
    pub fn apply(&self, mut object: K) {
        object.strip();
        let object = Arc::new(object);
        self.publish(|next| {
            let old = next.put(object.clone());
            Some((old, Some(object)))
        });
    }

    /// Takes out one object; `revision` is that of its deletion.
    pub fn remove(&self, key: &Key, revision: u64) {
        self.publish(|next| {
            next.advance(revision);
            next.remove(key).map(|old| (Some(old), None))
        });
    }

    /// Notes that everything up to this revision has been seen.
    pub fn advance(&self, revision: u64) {
        self.publish(|next| {
            next.advance(revision);
            None
        });
    }

    /// Marks the store as synced, for stores that are fed piece by piece.
    pub fn mark_synced(&self) {
        self.state.send_modify(|state| {
            state.changes += u64::from(!state.synced);
            state.synced = true;
        });
    }

    fn publish(&self, change: impl FnOnce(&mut Snapshot<K>) -> Option<(Option<Arc<K>>, Option<Arc<K>>)>) {
        let subscribers = self.subscribers.lock();
        let mut next = (**self.current.load()).clone();
        let happened = change(&mut next);
        self.current.store(Arc::new(next));
        if let Some((old, new)) = &happened {
            notify(&subscribers, &Change { old: old.as_ref(), new: new.as_ref() });
        }
        drop(subscribers);
        self.state.send_modify(|state| {
            state.changes += u64::from(happened.is_some());
            state.generation += 1;
        });
    }
}

fn notify<K>(subscribers: &[Subscriber<K>], change: &Change<'_, K>) {
    for subscriber in subscribers {
        subscriber(change);
    }
}

/// Tells that objects of a store have changed since one last asked.
pub struct Changes {
    state: watch::Receiver<State>,
    seen: u64,
}

impl Changes {
    /// Waits for a change since the last one told of; several are told as one. Never ends where the store is gone. Safe
    /// to drop while it waits.
    pub async fn next(&mut self) {
        let seen = self.seen;
        let changed = self.state.wait_for(|state| state.changes != seen).await.map(|state| state.changes);
        match changed {
            Ok(changes) => self.seen = changes,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Tells which objects of a store have changed since one last asked, each once: it holds no more than there are objects.
pub struct ChangedKeys {
    keys: Arc<Mutex<BTreeSet<Key>>>,
    changes: Changes,
}

impl ChangedKeys {
    /// Waits for changes and takes their keys; there are none when an empty first list has come. A list comes as one.
    /// Safe to drop while it waits.
    pub async fn next(&mut self) -> BTreeSet<Key> {
        self.changes.next().await;
        std::mem::take(&mut *self.keys.lock())
    }
}

/// Wakes up when a store changes, without knowing its kind.
pub(crate) struct Generations(watch::Receiver<State>);

impl Generations {
    pub(crate) fn mark_unchanged(&mut self) {
        self.0.mark_unchanged();
    }

    pub(crate) async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    pub(crate) async fn synced(&mut self) {
        let _ = self.0.wait_for(|state| state.synced).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;
    use serde_json::json;

    fn map(name: &str, version: u64) -> ConfigMap {
        serde_json::from_value(
            json!({"metadata": {"namespace": "n", "name": name, "uid": name, "resourceVersion": version.to_string(),
            "managedFields": [{"manager": "m"}]}}),
        )
        .unwrap()
    }

    fn recorded(store: &Store<ConfigMap>) -> Arc<Mutex<Vec<String>>> {
        let log = Arc::new(Mutex::new(Vec::new()));
        let sink = log.clone();
        store.subscribe(move |change| {
            let show = |object: Option<&Arc<ConfigMap>>| object.map_or(0, |object| object.meta_ref().resource_version);
            let name = change.latest().map(|object| object.meta_ref().name.to_owned()).unwrap_or_default();
            sink.lock().push(format!("{name} {}->{}", show(change.old), show(change.new)));
        });
        log
    }

    #[tokio::test]
    async fn a_new_list_is_told_as_differences() {
        let store = Store::default();
        store.replace(vec![map("a", 1), map("b", 2)], 3);
        let log = recorded(&store);
        assert_eq!(*log.lock(), ["a 0->1", "b 0->2"]);
        store.replace(vec![map("b", 4), map("c", 5)], 6);
        assert_eq!(log.lock()[2..], ["a 1->0", "b 2->4", "c 0->5"]);
        assert_eq!(store.snapshot().revision(), 6);
        store.wait_synced().await;
    }

    #[tokio::test]
    async fn changes_are_told_by_key_and_bookmarks_are_none() {
        let store = Store::default();
        let (mut changes, mut keys) = (store.changes(), store.changed_keys());
        let quiet = |changes: &mut Changes| futures::FutureExt::now_or_never(changes.next()).is_none();
        assert!(quiet(&mut changes));
        store.replace(vec![map("a", 1), map("b", 2)], 3);
        changes.next().await;
        assert_eq!(keys.next().await, BTreeSet::from([Key::new("n", "a"), Key::new("n", "b")]));
        store.advance(4);
        store.replace(vec![map("a", 1), map("b", 2)], 5);
        assert!(quiet(&mut changes));
        store.apply(map("a", 6));
        store.remove(&Key::new("n", "a"), 7);
        store.apply(map("c", 8));
        changes.next().await;
        assert!(quiet(&mut changes));
        assert_eq!(keys.next().await, BTreeSet::from([Key::new("n", "a"), Key::new("n", "c")]));
        // Who comes late hears of everything that is there.
        assert_eq!(store.changed_keys().next().await, BTreeSet::from([Key::new("n", "b"), Key::new("n", "c")]));
        let empty: Store<ConfigMap> = Store::default();
        let mut keys = empty.changed_keys();
        empty.replace(Vec::new(), 1);
        assert_eq!(keys.next().await, BTreeSet::new());
    }

    #[tokio::test]
    async fn waiting_ends_with_the_change_waited_for() {
        let store = Arc::new(Store::default());
        let waiting = {
            let store = store.clone();
            tokio::spawn(async move { store.wait_for(|snapshot| snapshot.revision() >= 7).await })
        };
        store.apply(map("a", 5));
        assert!(store.get(&Key::new("n", "a")).unwrap().metadata.managed_fields.is_none());
        store.remove(&Key::new("n", "a"), 7);
        waiting.await.unwrap();
        assert!(store.snapshot().is_empty());
    }
}
