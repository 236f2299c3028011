//! Keeps `metadata.managedFields`: each write is compared with what was there, before admission and before the kind's own
//! rules, and what it changed belongs to its manager from then on.

use api::{Kind, TypeRef, Version};
use machinery::patch::apply::{self, Managed, ManagerId, Operation, Place, Set, Versions, Writer};
use machinery::schema::{self, TypeId, Types};
use serde_json::{Map, Value, json};

use super::{now, object};

const FIELD: &str = "managedFields";
/// The server's own writes.
const SERVER: &str = "kube-apiserver";

/// To whom the fields belong that a write changes.
#[derive(Clone)]
pub struct Owner {
    pub manager: String,
    /// The version that the write came in; the storage version if none.
    pub version: Option<&'static Version>,
    /// "" for the object itself.
    pub subresource: String,
    /// Whether the object that is written says already who owns what, as after an apply.
    pub is_settled: bool,
}

impl Default for Owner {
    fn default() -> Self {
        Self { manager: SERVER.to_owned(), version: None, subresource: String::new(), is_settled: false }
    }
}

impl Owner {
    pub fn version(&self, kind: &Kind) -> &'static Version {
        self.version.unwrap_or(kind.storage_version())
    }

    pub fn api_version(&self, kind: &Kind) -> String {
        self.version(kind).api_version(kind)
    }

    pub fn id(&self, kind: &Kind, operation: Operation) -> ManagerId {
        ManagerId::new(&self.manager, operation, &self.api_version(kind), &self.subresource)
    }
}

/// Writes into a new object (in storage form) who owns what of it.
pub fn track(kind: &Kind, owner: &Owner, new: &mut Value, old: Option<&Value>) {
    if owner.is_settled {
        return;
    }
    let managed = known(owner, new, old);
    if old.is_some() && managed.entries.is_empty() {
        // Whoever lets go of all entries, or never had any, gets none until somebody applies.
        return set(new, &managed);
    }
    let versions = KindVersions::new(kind);
    let version = owner.api_version(kind);
    // Objects of custom kinds are in the version of the write already.
    let stored = if kind.custom.is_some() { version.clone() } else { kind.storage_api_version() };
    let versioned = |object: &Value| versions.convert(object, &stored, &version);
    let old = old.map_or_else(|| versions.empty(&version), versioned);
    let mut changed = new.clone();
    // Entries are no fields that anybody owns: equal ones make no difference.
    object::copy_metadata(&mut changed, &old, FIELD);
    let mut changed = versioned(&changed);
    versions.canonicalize_given(&version, &mut changed);
    let time = object::time(now());
    let writer = Writer {
        id: owner.id(kind, Operation::Update),
        api_version: &version,
        now: time.as_str().unwrap_or_default(),
        reset: &reset(kind, owner.version(kind), &owner.subresource),
    };
    set(new, &apply::update(&versions, &writer, &old, &changed, managed));
}

/// What the entries are before the write: the client's, if it gives any that can be read, else those of the object.
fn known(owner: &Owner, new: &Value, old: Option<&Value>) -> Managed {
    let given = list(new);
    if owner.subresource.is_empty() {
        // One empty entry asks for a new beginning.
        if given == [json!({})] {
            return Managed::default();
        }
        if let Some(managed) = Managed::decode(given).ok().filter(|managed| !managed.entries.is_empty()) {
            return managed;
        }
    }
    old.map(of).unwrap_or_default()
}

/// The entries of an object; none when they cannot be read.
pub fn of(object: &Value) -> Managed {
    Managed::decode(list(object)).unwrap_or_default()
}

fn list(object: &Value) -> &[Value] {
    object::list(object, "/metadata/managedFields")
}

/// Writes entries into an object.
pub fn set(object: &mut Value, managed: &Managed) {
    let entries = managed.encode();
    object::set_metadata(object, FIELD, (!entries.is_empty()).then(|| entries.into()));
}

/// Takes the old times back where nothing but times would change: such a write is none. Both objects are canonical.
pub fn keep_times(new: &mut Value, old: &Value) {
    let (given, before) = (list(new), list(old));
    if given == before || given.len() != before.len() {
        return;
    }
    let same = |(a, b): (&Value, &Value)| match (a.as_object(), b.as_object()) {
        (Some(a), Some(b)) => timeless(a).eq(timeless(b)),
        _ => a == b,
    };
    if !given.iter().zip(before).all(same) {
        return;
    }
    let mut with_old = new.clone();
    object::copy_metadata(&mut with_old, old, FIELD);
    let rest = |object: &Value, key: &str| object.get(key).cloned();
    let fields = with_old.as_object().into_iter().flatten().map(|(key, _)| key);
    let count = old.as_object().map_or(0, Map::len);
    if with_old.as_object().map_or(0, Map::len) == count
        && fields.clone().all(|key| rest(&with_old, key) == rest(old, key))
    {
        *new = with_old;
    }
}

fn timeless(entry: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    entry.iter().filter(|(key, _)| *key != "time")
}

/// What a write of the object or of a subresource sets back, so that nobody owns it by such a write.
pub fn reset(kind: &Kind, version: &Version, subresource: &str) -> Set {
    match subresource {
        "" if version.has_status(kind) => Set::of_fields(&[&["status"]]),
        "status" => {
            let own = version.type_ref(kind);
            let fields = own.as_ref().map(|own| own.types.get(own.id).fields.as_slice()).unwrap_or_default();
            // Metadata can be changed along with the status of built-in kinds.
            let metadata = if kind.custom.is_some() { "" } else { "metadata" };
            let kept = ["apiVersion", "kind", "status", metadata];
            let names = fields.iter().map(|field| field.name.as_ref());
            let paths: Vec<[&str; 1]> = names.filter(|name| !kept.contains(name)).map(|name| [name]).collect();
            Set::of_fields(&paths.iter().map(<[&str; 1]>::as_slice).collect::<Vec<_>>())
        }
        _ => Set::default(),
    }
}

/// The versions of a kind, as entries name them.
pub struct KindVersions<'k> {
    kind: &'k Kind,
    versions: Vec<(String, &'static Version, TypeRef)>,
}

impl<'k> KindVersions<'k> {
    pub fn new(kind: &'k Kind) -> Self {
        let known = |version: &'static Version| Some((version.api_version(kind), version, version.type_ref(kind)?));
        Self { kind, versions: kind.versions.iter().filter_map(known).collect() }
    }

    fn find(&self, api_version: &str) -> Option<&(String, &'static Version, TypeRef)> {
        self.versions.iter().find(|(name, ..)| name == api_version)
    }

    fn canonicalize(&self, api_version: &str, object: &mut Value) {
        self.canonical(api_version, object, schema::canonicalize);
    }

    /// A list that a client states to be empty is a field that it owns.
    fn canonicalize_given(&self, api_version: &str, object: &mut Value) {
        self.canonical(api_version, object, schema::canonicalize_given);
    }

    fn canonical(&self, api_version: &str, object: &mut Value, built_in: fn(&Types, TypeId, &mut Value)) {
        match (self.kind.custom, self.find(api_version)) {
            (Some(custom), _) => custom.canonicalize(object),
            (None, Some((.., own))) => built_in(&own.types, own.id, object),
            (None, None) => {}
        }
    }
}

impl Versions for KindVersions<'_> {
    fn place(&self, api_version: &str) -> Option<Place<'_>> {
        self.find(api_version).map(|(.., own)| Place::root(&own.types, own.id))
    }

    fn empty(&self, api_version: &str) -> Value {
        let mut object = json!({ "apiVersion": api_version, "kind": self.kind.kind });
        if self.kind.custom.is_none() {
            self.canonicalize(api_version, &mut object);
        }
        object
    }

    fn convert(&self, object: &Value, from: &str, to: &str) -> Value {
        let mut object = object.clone();
        if from == to {
            return object;
        }
        if let (Some(custom), Some((_, version, _))) = (self.kind.custom, self.find(to)) {
            let converted = custom.convert(vec![object.clone()], version.name).ok().and_then(|mut all| all.pop());
            return converted.unwrap_or(object);
        }
        let convert = |version: &str| self.find(version).and_then(|(_, version, _)| version.convert.as_ref());
        if let Some(convert) = convert(from) {
            (convert.to_storage)(&mut object);
        }
        if let Some(convert) = convert(to) {
            (convert.from_storage)(&mut object);
            self.canonicalize(to, &mut object);
        }
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), to.into());
        }
        object
    }
}

#[cfg(test)]
mod tests;
