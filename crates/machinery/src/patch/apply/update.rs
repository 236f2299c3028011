//! What a write other than an apply does to the entries: whoever changes a field owns it, alone.

use std::collections::BTreeMap;

use serde_json::Value;

use super::compare::{Comparison, compare};
use super::managed::{Entry, Managed, ManagerId};
use super::place::Place;
use super::set::Set;

/// The versions of one kind. Entries may be of other versions than the write.
pub trait Versions {
    /// The root of the version's schema; none when there is no such version.
    fn place(&self, api_version: &str) -> Option<Place<'_>>;

    /// An object of the version with nothing in it, as it is written: what stands in it belongs to nobody.
    fn empty(&self, api_version: &str) -> Value;

    /// An object of the version `from` in the version `to`, which has a place.
    fn convert(&self, object: &Value, from: &str, to: &str) -> Value;
}

/// Who writes, and by what rules.
pub struct Writer<'a> {
    pub id: ManagerId,
    /// The version of the write.
    pub api_version: &'a str,
    pub now: &'a str,
    /// What this kind of write resets and so cannot own.
    pub reset: &'a Set,
}

/// The entries after an update from one state to another, both of the write's version.
pub fn update(versions: &dyn Versions, writer: &Writer, old: &Value, new: &Value, mut managed: Managed) -> Managed {
    let Some(mut differences) = Differences::new(versions, writer, old, new) else { return Managed::default() };
    if !differences.own.is_same() {
        for (id, entry) in std::mem::take(&mut managed.entries) {
            let Some(entry) = differences.lose(entry) else { continue };
            managed.entries.insert(id, entry);
        }
    }
    managed.entries.retain(|_, entry| !entry.fields.is_empty());
    let mut fields = differences.own.set();
    fields.subtract(&nobodys());
    if !fields.is_empty() {
        let entry = managed.entries.entry(writer.id.clone()).or_default();
        entry.fields.add(fields);
        entry.api_version = writer.api_version.to_owned();
        entry.time = Some(writer.now.to_owned());
    }
    managed.limit();
    managed
}

/// The difference between two states in the versions that entries are of, each computed once.
pub(super) struct Differences<'a> {
    versions: &'a dyn Versions,
    writer: &'a Writer<'a>,
    old: &'a Value,
    new: &'a Value,
    /// In the write's version.
    pub own: Comparison,
    others: BTreeMap<String, Option<Comparison>>,
}

impl<'a> Differences<'a> {
    pub fn new(versions: &'a dyn Versions, writer: &'a Writer, old: &'a Value, new: &'a Value) -> Option<Self> {
        let mut own = compare(versions.place(writer.api_version)?, old, new);
        own.ignore(writer.reset);
        Some(Self { versions, writer, old, new, own, others: BTreeMap::new() })
    }

    /// The difference in a version; none when there is no such version (any more).
    pub fn of_version(&mut self, api_version: &str) -> Option<&Comparison> {
        if api_version == self.writer.api_version {
            return Some(&self.own);
        }
        let (versions, writer, old, new) = (self.versions, self.writer, self.old, self.new);
        let computed = self.others.entry(api_version.to_owned()).or_insert_with(|| {
            let place = versions.place(api_version)?;
            let convert = |object: &Value| versions.convert(object, writer.api_version, api_version);
            let mut comparison = compare(place, &convert(old), &convert(new));
            comparison.ignore(writer.reset);
            Some(comparison)
        });
        computed.as_ref()
    }

    /// What is left of an entry when everything that changed is taken from it.
    pub fn lose(&mut self, mut entry: Entry) -> Option<Entry> {
        let comparison = self.of_version(&entry.api_version)?;
        for set in [&comparison.added, &comparison.modified, &comparison.removed] {
            entry.fields.subtract(set);
        }
        Some(entry)
    }
}

/// What identifies an object or is the server's own belongs to nobody.
pub(super) fn nobodys() -> Set {
    Set::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
}
