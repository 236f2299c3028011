//! Which kinds there are at this moment.
//!
//! The set is made from the stored definitions whenever one of them has changed since it was last asked for, so that a
//! client that has defined a kind, or changed its schema, finds it so with its next request. A definition's declaration is
//! kept for as long as the process runs ([`Declared::leak`]) and taken up again when the same names come back.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use api::apiextensions::custom_resource_definition::is_true;
use api::apiextensions::served::{Behaviour, Converter, Declared, Served};
use api::{Kind, Version};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use serde_json::Value;
use store::{Snapshot, Store};

use super::{ConversionWebhook, definitions};
use crate::registry::{Attrs, WeakRegistry, encode, keys, object};

/// The kinds of one registry.
pub struct Kinds {
    store: Store<Attrs>,
    /// Whose kinds these are.
    registry: WeakRegistry,
    /// Of the definitions' keys.
    prefix: String,
    current: ArcSwap<Known>,
    /// Every declaration that was ever made here, by the definition's name; held while the set is made anew.
    leaked: Mutex<HashMap<String, Vec<(Declared, &'static Kind)>>>,
}

struct Known {
    changed: Option<u64>,
    set: Arc<KindSet>,
}

/// The kinds at one moment.
pub struct KindSet {
    custom: Vec<Custom>,
    /// Documents that are made from this very set.
    cache: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

/// A kind and the state of the definition that it was made from.
struct Custom {
    kind: &'static Kind,
    uid: String,
    generation: i64,
}

impl Kinds {
    pub fn new(store: Store<Attrs>, registry: WeakRegistry) -> Self {
        let none = Known { changed: None, set: Arc::new(KindSet { custom: Vec::new(), cache: Mutex::default() }) };
        Self {
            store,
            registry,
            prefix: keys::prefix(definitions()),
            current: ArcSwap::from_pointee(none),
            leaked: Mutex::default(),
        }
    }

    /// The kinds that there are now.
    pub fn current(&self) -> Arc<KindSet> {
        let snapshot = self.store.snapshot();
        let changed = snapshot.changed(&self.prefix);
        let known = self.current.load();
        if known.changed == Some(changed) {
            return known.set.clone();
        }
        drop(known);
        let mut leaked = self.leaked.lock();
        let known = self.current.load_full();
        if known.changed.is_some_and(|at| at >= changed) {
            return known.set.clone();
        }
        let custom = self.read(&snapshot, &known.set, &mut leaked);
        // Documents stay good while the kinds are the same.
        let same = known.set.custom.iter().map(Custom::key).eq(custom.iter().map(Custom::key));
        let set = if same { known.set.clone() } else { Arc::new(KindSet { custom, cache: Mutex::default() }) };
        self.current.store(Arc::new(Known { changed: Some(changed), set: set.clone() }));
        set
    }

    fn read(
        &self,
        snapshot: &Snapshot<Attrs>,
        known: &KindSet,
        leaked: &mut HashMap<String, Vec<(Declared, &'static Kind)>>,
    ) -> Vec<Custom> {
        let definitions = snapshot.range(&self.prefix, None);
        let definitions = definitions.filter_map(|entry| encode::decode(&entry.value).ok());
        definitions.filter_map(|definition| self.take(&definition, known, leaked)).collect()
    }

    /// The kind of a definition, if it is to be served.
    fn take(
        &self,
        definition: &Value,
        known: &KindSet,
        leaked: &mut HashMap<String, Vec<(Declared, &'static Kind)>>,
    ) -> Option<Custom> {
        if !is_true(definition, "Established") && !is_true(definition, "NamesAccepted") {
            return None;
        }
        let declared = Declared::of(definition)?;
        // A built-in kind is never replaced, nor are its objects taken for those of another.
        if api::ALL.iter().any(|kind| kind.group == declared.group && kind.plural == declared.plural) {
            return None;
        }
        let uid = object::uid(definition);
        let generation = object::number(definition, "/metadata/generation").unwrap_or_default();
        let behaviour = || {
            let webhook = ConversionWebhook::of(definition, self.registry.clone());
            Behaviour::of(definition, webhook.map(|webhook| Arc::new(webhook) as Arc<dyn Converter>))
        };
        let own = leaked.entry(object::name(definition).to_owned()).or_default();
        let kind = match own.iter().find(|(other, _)| *other == declared) {
            Some((_, kind)) => {
                let unchanged = known.custom.iter().any(|custom| {
                    std::ptr::eq(custom.kind, *kind) && custom.uid == uid && custom.generation == generation
                });
                if !unchanged && let Some(served) = Served::of(kind) {
                    served.set(behaviour());
                }
                *kind
            }
            None => {
                let kind = declared.clone().leak(behaviour());
                own.push((declared, kind));
                kind
            }
        };
        Some(Custom { kind, uid: uid.to_owned(), generation })
    }
}

impl Custom {
    fn key(&self) -> (usize, &str, i64) {
        (std::ptr::from_ref(self.kind).addr(), &self.uid, self.generation)
    }
}

impl KindSet {
    /// Built-in kinds alone.
    pub fn builtin() -> Self {
        Self { custom: Vec::new(), cache: Mutex::default() }
    }

    /// All kinds, the built-in ones first.
    pub fn all(&self) -> impl Iterator<Item = &'static Kind> {
        api::ALL.iter().copied().chain(self.custom())
    }

    pub fn custom(&self) -> impl Iterator<Item = &'static Kind> {
        self.custom.iter().map(|custom| custom.kind)
    }

    /// Every kind in every version in which it answers.
    pub fn served(&self) -> impl Iterator<Item = (&'static Kind, &'static Version)> {
        self.all().flat_map(|kind| kind.versions.iter().filter(|version| version.served).map(move |own| (kind, own)))
    }

    /// The kind and version that answer at `group`/`version`/`plural`.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<(&'static Kind, &'static Version)> {
        let custom = || {
            self.custom()
                .filter(|kind| kind.plural == plural && kind.group == group)
                .find_map(|kind| Some((kind, kind.version(group, version)?)))
        };
        api::find(group, version, plural).or_else(custom)
    }

    /// The same by kind name; bodies of subresources are found too.
    pub fn find_kind(&self, group: &str, version: &str, name: &str) -> Option<(&'static Kind, &'static Version)> {
        let custom = || {
            self.custom()
                .filter(|kind| kind.kind == name && kind.group == group)
                .find_map(|kind| Some((kind, kind.version(group, version)?)))
        };
        api::find_kind(group, version, name).or_else(custom)
    }

    /// A document that depends on nothing but the set, made once.
    pub fn cached<T: Send + Sync + 'static>(&self, make: impl FnOnce(&Self) -> T) -> Arc<T> {
        let kept = self.cache.lock().get(&TypeId::of::<T>()).cloned();
        if let Some(kept) = kept.and_then(|kept| kept.downcast().ok()) {
            return kept;
        }
        // Made outside of the lock: two that ask at once may both make it.
        let made = Arc::new(make(self));
        self.cache.lock().insert(TypeId::of::<T>(), made.clone());
        made
    }
}
