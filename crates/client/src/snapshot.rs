//! One moment of one kind: every object the reflector knew, in key order, with indexes. Persistent maps make taking a
//! snapshot O(1) and changing the next one O(log n), so a decision never blocks the reflector and never sees half a change.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::labels::Selector;
use crate::object::{Index, Object};
use crate::{Change, Key};

/// An immutable view of all objects of a kind.
pub struct Snapshot<K> {
    objects: OrdMap<Key, Arc<K>>,
    /// One flat ordered set instead of a set a value: an index value with one object costs one entry.
    index: OrdSet<IndexEntry>,
    revision: u64,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct IndexEntry {
    index: Index,
    value: Arc<str>,
    key: Key,
}

impl<K> Clone for Snapshot<K> {
    fn clone(&self) -> Self {
        Self { objects: self.objects.clone(), index: self.index.clone(), revision: self.revision }
    }
}

impl<K> Default for Snapshot<K> {
    fn default() -> Self {
        Self { objects: OrdMap::new(), index: OrdSet::new(), revision: 0 }
    }
}

/// The index value of a label in a namespace.
pub fn label_entry(namespace: &str, key: &str, value: &str) -> String {
    format!("{namespace}\0{key}={value}")
}

impl<K: Object> Snapshot<K> {
    /// A snapshot of these objects, for tests and rehearsals.
    pub fn of(objects: impl IntoIterator<Item = K>) -> Self {
        let mut snapshot = Self::default();
        for object in objects {
            snapshot.put(Arc::new(object));
        }
        snapshot
    }

    /// The newest revision this snapshot is known to contain.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// The object of this key.
    pub fn get(&self, key: &Key) -> Option<&Arc<K>> {
        self.objects.get(key)
    }

    /// The object of this namespace and name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.get(&Key::new(namespace, name))
    }

    /// All objects in key order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.iter().map(|(_, object)| object)
    }

    /// The objects of a namespace in name order.
    pub fn namespace<'a, 'b>(&'a self, namespace: &'b str) -> impl Iterator<Item = &'a Arc<K>> + use<'a, 'b, K> {
        self.objects
            .range(Key::new(namespace, "")..)
            .take_while(move |(key, _)| &*key.namespace == namespace)
            .map(|(_, object)| object)
    }

    /// The objects with this value in this index, in key order.
    pub fn by<'a, 'b>(&'a self, index: Index, value: &'b str) -> impl Iterator<Item = &'a Arc<K>> + use<'a, 'b, K> {
        let start = IndexEntry { index, value: value.into(), key: Key::new("", "") };
        self.index
            .range(start..)
            .take_while(move |entry| entry.index == index && &*entry.value == value)
            .filter_map(|entry| self.objects.get(&entry.key))
    }

    /// The objects that name this uid as an owner.
    pub fn owned_by<'a, 'b>(&'a self, uid: &'b str) -> impl Iterator<Item = &'a Arc<K>> + use<'a, 'b, K> {
        self.by(Index::Owner, uid)
    }

    /// The objects of a namespace that a selector matches, in name order.
    pub fn select(&self, namespace: &str, selector: &Selector) -> Vec<&Arc<K>> {
        let matching = |object: &&Arc<K>| selector.matches(object.meta_ref().labels);
        match selector.exact().iter().next() {
            Some((key, value)) => {
                let entry = label_entry(namespace, key, value);
                self.by(Index::Label, &entry).filter(matching).collect()
            }
            None => self.namespace(namespace).filter(matching).collect(),
        }
    }

    /// Puts an object in, giving the one it replaces.
    pub fn put(&mut self, object: Arc<K>) -> Option<Arc<K>> {
        let key = object.key();
        self.revision = self.revision.max(object.meta_ref().resource_version);
        let old = self.objects.insert(key.clone(), object.clone());
        if let Some(old) = &old {
            each_entry(&**old, &key, &mut |entry| {
                self.index.remove(&entry);
            });
        }
        each_entry(&*object, &key, &mut |entry| {
            self.index.insert(entry);
        });
        old
    }

    /// Takes an object out.
    pub fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let old = self.objects.remove(key)?;
        each_entry(&*old, key, &mut |entry| {
            self.index.remove(&entry);
        });
        Some(old)
    }

    /// Notes that everything up to this revision has been seen.
    pub fn advance(&mut self, revision: u64) {
        self.revision = self.revision.max(revision);
    }

    /// The difference to a later snapshot, in key order, each change given to `each`.
    pub fn changes_to(&self, later: &Self, mut each: impl FnMut(&Change<'_, K>)) {
        for (key, old) in &self.objects {
            match later.objects.get(key) {
                None => each(&Change { old: Some(old), new: None }),
                Some(new)
                    if new.meta_ref().resource_version != old.meta_ref().resource_version
                        || new.meta_ref().uid != old.meta_ref().uid =>
                {
                    each(&Change { old: Some(old), new: Some(new) });
                }
                Some(_) => {}
            }
        }
        for (key, new) in &later.objects {
            if !self.objects.contains_key(key) {
                each(&Change { old: None, new: Some(new) });
            }
        }
    }
}

fn each_entry<K: Object>(object: &K, key: &Key, each: &mut dyn FnMut(IndexEntry)) {
    let mut add = |index: Index, value: &str| each(IndexEntry { index, value: value.into(), key: key.clone() });
    let meta = object.meta_ref();
    for owner in meta.owner_references {
        add(Index::Owner, &owner.uid);
    }
    for (label, value) in meta.labels.into_iter().flatten() {
        add(Index::Label, &label_entry(meta.namespace, label, value));
    }
    object.indexes(&mut add);
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::json;

    fn pod(namespace: &str, name: &str, app: &str, node: &str) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}"), "labels": {"app": app},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "r", "uid": format!("owner-{app}")}]},
            "spec": {"nodeName": node, "containers": []}
        }))
        .unwrap()
    }

    fn names<'a>(pods: impl Iterator<Item = &'a Arc<Pod>>) -> Vec<String> {
        pods.map(|pod| pod.key().to_string()).collect()
    }

    #[test]
    fn objects_are_found_by_namespace_owner_label_and_node() {
        let snapshot = Snapshot::of([pod("b", "y", "1", "n1"), pod("a", "x", "1", "n1"), pod("b", "x", "2", "n2")]);
        assert_eq!(names(snapshot.iter()), ["a/x", "b/x", "b/y"]);
        assert_eq!(names(snapshot.namespace("b")), ["b/x", "b/y"]);
        assert_eq!(names(snapshot.owned_by("owner-1")), ["a/x", "b/y"]);
        assert_eq!(names(snapshot.by(Index::Node, "n1")), ["a/x", "b/y"]);
        let selector = Selector::of_labels(&[("app".to_owned(), "1".to_owned())].into());
        assert_eq!(names(snapshot.select("b", &selector).into_iter()), ["b/y"]);
        assert_eq!(names(snapshot.select("b", &Selector::default()).into_iter()), ["b/x", "b/y"]);
    }

    #[test]
    fn an_old_snapshot_does_not_change_with_the_new_one() {
        let before = Snapshot::of([pod("a", "x", "1", "n1")]);
        let mut after = before.clone();
        after.put(Arc::new(pod("a", "x", "2", "n2")));
        after.put(Arc::new(pod("a", "z", "2", "n2")));
        assert_eq!(names(before.by(Index::Node, "n1")), ["a/x"]);
        assert_eq!(names(after.by(Index::Node, "n1")), Vec::<String>::new());
        assert_eq!(names(after.by(Index::Node, "n2")), ["a/x", "a/z"]);
        after.remove(&Key::new("a", "x"));
        assert_eq!(names(after.owned_by("owner-2")), ["a/z"]);
    }
}
