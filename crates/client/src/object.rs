//! What the caches must know of an object, whatever its kind: its identity, its owners and what it is indexed by.

use std::any::Any;
use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde::de::DeserializeOwned;

use crate::Key;

/// By what an object can be found besides its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Index {
    /// The uid of an owner.
    Owner,
    /// One label within a namespace, as [`crate::snapshot::label_entry`] writes it.
    Label,
    /// The node a pod is bound to.
    Node,
    /// Anything a component adds for its own kinds.
    Custom(&'static str),
}

/// The metadata that every kind has, borrowed.
#[derive(Clone, Copy)]
pub struct MetaRef<'a> {
    /// Namespace, empty for cluster-scoped kinds.
    pub namespace: &'a str,
    /// Name.
    pub name: &'a str,
    /// Uid, empty before the server gave one.
    pub uid: &'a str,
    /// Resource version as a number; 0 when absent or not a number.
    pub resource_version: u64,
    /// Owner references.
    pub owner_references: &'a [OwnerReference],
    /// Labels.
    pub labels: Option<&'a BTreeMap<String, String>>,
    /// Whether deletion has been asked for.
    pub deleting: bool,
    /// Finalizers.
    pub finalizers: &'a [String],
}

impl MetaRef<'_> {
    /// The reference to the controlling owner.
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.owner_references.iter().find(|owner| owner.controller == Some(true))
    }
}

/// An object as reflectors keep it.
pub trait Object: DeserializeOwned + Send + Sync + 'static {
    /// Its metadata.
    fn meta_ref(&self) -> MetaRef<'_>;

    /// Drops what no component reads, before the object is kept.
    fn strip(&mut self) {}

    /// The key it is kept under.
    fn key(&self) -> Key {
        let meta = self.meta_ref();
        Key::new(meta.namespace, meta.name)
    }

    /// Calls `add` with each index entry of the object besides owners and labels, which every kind has.
    fn indexes(&self, _add: &mut dyn FnMut(Index, &str)) {}
}

impl<T> Object for T
where
    T: k8s_openapi::Metadata<Ty = ObjectMeta> + DeserializeOwned + Send + Sync + 'static,
{
    fn meta_ref(&self) -> MetaRef<'_> {
        of_object_meta(self.metadata())
    }

    fn strip(&mut self) {
        self.metadata_mut().managed_fields = None;
    }

    fn indexes(&self, add: &mut dyn FnMut(Index, &str)) {
        let node = (self as &dyn Any).downcast_ref::<Pod>().and_then(|pod| pod.spec.as_ref()?.node_name.as_deref());
        if let Some(node) = node {
            add(Index::Node, node);
        }
    }
}

/// The value of an annotation.
pub fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// The borrowed form of typed metadata.
pub fn of_object_meta(meta: &ObjectMeta) -> MetaRef<'_> {
    MetaRef {
        namespace: meta.namespace.as_deref().unwrap_or_default(),
        name: meta.name.as_deref().unwrap_or_default(),
        uid: meta.uid.as_deref().unwrap_or_default(),
        resource_version: meta.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0),
        owner_references: meta.owner_references.as_deref().unwrap_or_default(),
        labels: meta.labels.as_ref(),
        deleting: meta.deletion_timestamp.is_some(),
        finalizers: meta.finalizers.as_deref().unwrap_or_default(),
    }
}
