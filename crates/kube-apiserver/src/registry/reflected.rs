//! A typed, always current view of one kind, for RBAC and admission.
//!
//! There is no background task and so no lag: a read looks at the store's current index, and the decoded form is
//! kept beside the entry itself, so that an object is decoded at most once per revision however many readers there are.

use std::marker::PhantomData;
use std::sync::Arc;

use api::Kind;
use arc_swap::ArcSwapOption;
use serde::de::DeserializeOwned;
use store::{Snapshot, Store};

use super::attrs::Attrs;
use super::keys;

/// The objects of one kind, decoded to `T`.
pub struct Reflected<T> {
    store: Store<Attrs>,
    kind: &'static Kind,
    /// Of the kind's keys.
    prefix: String,
    list: ArcSwapOption<Listed<T>>,
    marker: PhantomData<fn() -> T>,
}

struct Listed<T> {
    changed: u64,
    items: Arc<Vec<Arc<T>>>,
}

impl<T: DeserializeOwned + Send + Sync + 'static> Reflected<T> {
    pub(super) fn new(store: Store<Attrs>, kind: &'static Kind) -> Self {
        Self { store, kind, prefix: keys::prefix(kind), list: ArcSwapOption::empty(), marker: PhantomData }
    }

    /// The object of that name, or nothing. The namespace of a cluster-scoped kind is "".
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        let entry = self.store.get(&keys::object(self.kind, namespace, name))?;
        entry.attrs(|entry| Attrs::of(self.kind, entry)).typed(&entry.value)
    }

    /// All objects, ordered by namespace and name. Cheap when nothing changed since the last call.
    pub fn list(&self) -> Arc<Vec<Arc<T>>> {
        let snapshot = self.store.snapshot();
        let changed = snapshot.changed(&self.prefix);
        if let Some(listed) = self.list.load_full()
            && listed.changed == changed
        {
            return listed.items.clone();
        }
        let items = Arc::new(self.decode(&snapshot, &self.prefix));
        self.list.store(Some(Arc::new(Listed { changed, items: items.clone() })));
        items
    }

    /// The objects of one namespace.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<T>> {
        self.decode(&self.store.snapshot(), &keys::namespace_prefix(self.kind, namespace))
    }

    /// Grows with every change of this kind: what was computed from `list` stays good while it stays equal.
    pub fn revision(&self) -> u64 {
        self.store.snapshot().changed(&self.prefix)
    }

    fn decode(&self, snapshot: &Snapshot<Attrs>, prefix: &str) -> Vec<Arc<T>> {
        snapshot
            .range(prefix, None)
            .filter_map(|entry| entry.attrs(|entry| Attrs::of(self.kind, entry)).typed(&entry.value))
            .collect()
    }
}
