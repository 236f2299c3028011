//! The index: an ordered, persistent map from key to newest entry.
//!
//! Cloning it costs nothing, whatever its size: a clone shares all nodes, and a later change copies the few nodes on its way.
//! That makes a `Snapshot` a plain value that no writer waits for and that waits for no writer.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;

use crate::options::Layout;
use crate::{Entry, Event, EventKind, Revision};

/// Number and size of what is stored under a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of keys.
    pub entries: usize,
    /// Bytes of keys and values.
    pub bytes: u64,
}

/// A value of the indexed field, and a key.
type ByValue = (Arc<str>, Arc<str>);

pub(crate) struct Index<A> {
    entries: OrdMap<Arc<str>, Arc<Entry<A>>>,
    /// Those whose resource has an indexed field, by its value and their key.
    by_value: OrdMap<ByValue, Arc<Entry<A>>>,
    /// Sorted by name. Shared until a change, so that clones stay cheap.
    resources: Arc<Vec<Resource>>,
    total: Totals,
    layout: Layout,
}

#[derive(Clone)]
struct Resource {
    name: Arc<str>,
    totals: Totals,
    /// The revision of the last change.
    changed: Revision,
}

impl<A> Clone for Index<A> {
    fn clone(&self) -> Self {
        Self {
            entries: self.entries.clone(),
            by_value: self.by_value.clone(),
            resources: self.resources.clone(),
            total: self.total,
            layout: self.layout,
        }
    }
}

impl<A> Index<A> {
    pub fn new(layout: Layout) -> Self {
        let (entries, by_value) = (OrdMap::new(), OrdMap::new());
        Self { entries, by_value, resources: Arc::default(), total: Totals::default(), layout }
    }

    pub fn get(&self, key: &str) -> Option<&Arc<Entry<A>>> {
        self.entries.get(key)
    }

    pub fn total(&self) -> Totals {
        self.total
    }

    pub fn insert(&mut self, entry: Arc<Entry<A>>) {
        let (key, size, revision) = (entry.key.clone(), size(&entry), entry.revision);
        let value = entry.indexed(self.layout).cloned();
        let old = self.entries.insert(key.clone(), entry.clone());
        if let Some(old) =
            old.as_ref().and_then(|old| old.indexed(self.layout)).filter(|old| Some(*old) != value.as_ref())
        {
            self.by_value.remove(&(old.clone(), key.clone()));
        }
        if let Some(value) = value {
            self.by_value.insert((value, key.clone()), entry);
        }
        self.account(&key, old.map(|old| self::size(&old)), Some(size), revision);
    }

    /// Number and size per resource, sorted by resource.
    pub fn resources(&self) -> Vec<(Arc<str>, Totals)> {
        self.resources.iter().map(|own| (own.name.clone(), own.totals)).collect()
    }

    fn remove(&mut self, key: &str, revision: Revision) {
        if let Some(old) = self.entries.remove(key) {
            if let Some(value) = old.indexed(self.layout) {
                self.by_value.remove(&(value.clone(), old.key.clone()));
            }
            self.account(key, Some(size(&old)), None, revision);
        }
    }

    pub fn apply(&mut self, event: &Event<A>) {
        match event.kind {
            EventKind::Put => self.insert(event.entry.clone()),
            EventKind::Delete => self.remove(&event.entry.key, event.entry.revision),
        }
    }

    /// Takes back an event that was the last one applied to its key.
    pub fn undo(&mut self, event: &Event<A>) {
        match &event.previous {
            Some(previous) => self.insert(previous.clone()),
            None => self.remove(&event.entry.key, event.entry.revision),
        }
    }

    fn account(&mut self, key: &str, old: Option<u64>, new: Option<u64>, revision: Revision) {
        let resource = &key[..(self.layout.resource_of)(key)];
        let resources = Arc::make_mut(&mut self.resources);
        let at = resources.binary_search_by(|own| (*own.name).cmp(resource)).unwrap_or_else(|at| {
            resources.insert(at, Resource { name: resource.into(), totals: Totals::default(), changed: 0 });
            at
        });
        let own = &mut resources[at];
        own.changed = own.changed.max(revision);
        for totals in [&mut own.totals, &mut self.total] {
            totals.entries = totals.entries + usize::from(new.is_some()) - usize::from(old.is_some());
            totals.bytes = totals.bytes + new.unwrap_or(0) - old.unwrap_or(0);
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Entry<A>>> {
        self.entries.values()
    }

    fn range<'a>(&'a self, prefix: &'a str, start_after: Option<&str>) -> impl Iterator<Item = &'a Arc<Entry<A>>> + 'a {
        let start = match start_after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.entries
            .range::<(Bound<&str>, Bound<&str>), str>((start, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(move |entry| entry.key.starts_with(prefix))
    }

    fn indexed<'a>(
        &'a self,
        value: &str,
        prefix: &'a str,
        start_after: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<Entry<A>>> + 'a {
        let value: Arc<str> = value.into();
        let start = match start_after {
            Some(after) if after >= prefix => Bound::Excluded((value.clone(), after.into())),
            _ => Bound::Included((value.clone(), prefix.into())),
        };
        self.by_value
            .range((start, Bound::Unbounded))
            .take_while(move |((own, key), _)| *own == value && key.starts_with(prefix))
            .map(|(_, entry)| entry)
    }

    /// What is known of the resource that the prefix lies in, unless it spans several.
    fn resource(&self, prefix: &str) -> Option<&Resource> {
        let resource = &prefix[..(self.layout.resource_of)(prefix)];
        let at = self.resources.binary_search_by(|own| (*own.name).cmp(resource)).ok()?;
        Some(&self.resources[at])
    }

    fn count(&self, prefix: &str) -> usize {
        if prefix.is_empty() {
            return self.total.entries;
        }
        match self.resource(prefix) {
            Some(resource) if *resource.name == *prefix => resource.totals.entries,
            _ => self.range(prefix, None).count(),
        }
    }

    fn changed(&self, prefix: &str, revision: Revision) -> Revision {
        match self.resource(prefix) {
            Some(resource) => resource.changed,
            None if (self.layout.resource_of)(prefix) == 0 => revision,
            None => 0,
        }
    }
}

fn size<A>(entry: &Entry<A>) -> u64 {
    (entry.key.len() + entry.value.len()) as u64
}

/// An index and the revision it stands at.
pub(crate) struct Published<A> {
    pub index: Index<A>,
    pub revision: Revision,
}

/// A consistent view of the whole store at one revision. Cheap to make, to clone and to keep; it keeps alive what it shows.
pub struct Snapshot<A>(pub(crate) Arc<Published<A>>);

impl<A> Clone for Snapshot<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A> fmt::Debug for Snapshot<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot of {} entries at {}", self.0.index.total.entries, self.0.revision)
    }
}

impl<A> Snapshot<A> {
    /// The revision of the view.
    pub fn revision(&self) -> Revision {
        self.0.revision
    }

    /// The entry of a key.
    pub fn get(&self, key: &str) -> Option<&Arc<Entry<A>>> {
        self.0.index.get(key)
    }

    /// The entries whose key starts with `prefix`, in the order of keys, from the first key greater than `start_after`.
    pub fn range<'a>(
        &'a self,
        prefix: &'a str,
        start_after: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<Entry<A>>> + 'a {
        self.0.index.range(prefix, start_after)
    }

    /// Of the entries whose key starts with `prefix` those whose indexed field (see [`crate::Options::index_of`]) has this value, as
    /// [`Snapshot::range`] gives them.
    pub fn indexed<'a>(
        &'a self,
        value: &str,
        prefix: &'a str,
        start_after: Option<&str>,
    ) -> impl Iterator<Item = &'a Arc<Entry<A>>> + 'a {
        self.0.index.indexed(value, prefix, start_after)
    }

    /// The number of keys with this prefix: at once for a whole resource, by counting otherwise.
    pub fn count(&self, prefix: &str) -> usize {
        self.0.index.count(prefix)
    }

    /// Number and size of everything.
    pub fn totals(&self) -> Totals {
        self.0.index.total()
    }

    /// The revision of the last change of the resource that the prefix lies in, or of the store if it spans several: what
    /// was made of the entries below it stays good while this stays equal.
    pub fn changed(&self, prefix: &str) -> Revision {
        self.0.index.changed(prefix, self.0.revision)
    }
}
