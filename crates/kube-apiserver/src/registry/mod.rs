//! The objects: what is written how, under which key, and what writing one does besides.
//!
//! `Registry` is generic over [`api::Kind`]; it knows metadata, hooks and the store, and no kind by name. What a kind
//! does besides (allocate addresses, expire, wait for its contents) is a [`strategies::Strategy`] in one explicit list.
//! Read `create`, `update` and `delete` in this order: each is the way of one verb from the decoded object to the store.

pub mod allocator;
pub mod attrs;
mod background;
mod create;
mod delete;
pub mod encode;
pub mod initial;
pub mod keys;
pub mod managed_fields;
pub mod object;
pub mod options;
pub mod reflected;
pub mod strategies;
mod update;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use api::Kind;
use bytes::Bytes;
use jiff::Timestamp;
use machinery::gvk::{GroupKind, GroupResource};
use machinery::status::Status;
use parking_lot::Mutex;
use serde::de::DeserializeOwned;
use serde_json::Value;
use store::{Entry, NewValue, Precondition, Revision, Store, WriteError};

use crate::Config;
use crate::apiextensions::{ConversionMetrics, KindSet, Kinds};
use crate::traces::{self, KeyValue};
use allocator::Allocators;
pub use attrs::Attrs;
pub use create::random_suffix as create_suffix;
pub use delete::{Deleted, check_preconditions};
pub use managed_fields::Owner;
pub use options::{Admit, DeleteOptions, NoAdmission, Propagation, WriteOptions};
pub use reflected::Reflected;
pub use update::{Change, Part, Replace};

const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// All objects of a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

/// What a registry's own parts know it by.
#[derive(Clone)]
pub struct WeakRegistry(Weak<Inner>);

impl WeakRegistry {
    /// The registry, while somebody has it.
    pub fn upgrade(&self) -> Option<Registry> {
        self.0.upgrade().map(Registry)
    }
}

struct Inner {
    store: Store<Attrs>,
    config: Config,
    /// By kind (its address: kinds are statics) and type.
    reflected: Mutex<HashMap<(usize, TypeId), Arc<dyn Any + Send + Sync>>>,
    allocators: Arc<Allocators>,
    kinds: Kinds,
    conversions: ConversionMetrics,
}

/// What a write left behind.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The object in its storage version, encoded as it is sent.
    pub bytes: Bytes,
    /// Whether the object is new.
    pub created: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("service-cluster-ip-range {0:?} is not an IPv4 network of at most 20 host bits")]
    ServiceRange(String),
}

impl Registry {
    /// Takes the store into use: rebuilds what is allocated from the objects in it.
    pub fn open(store: Store<Attrs>, config: &Config) -> Result<Self, OpenError> {
        let allocators = Allocators::new(&config.service_cluster_ip_range, config.service_node_port_range)
            .ok_or_else(|| OpenError::ServiceRange(config.service_cluster_ip_range.clone()))?;
        let registry = Self(Arc::new_cyclic(|own| Inner {
            kinds: Kinds::new(store.clone(), WeakRegistry(own.clone())),
            conversions: ConversionMetrics::default(),
            store,
            config: config.clone(),
            reflected: Mutex::default(),
            allocators: Arc::new(allocators),
        }));
        for kind in api::ALL {
            strategies::of(kind).rebuild(&registry, kind);
        }
        Ok(registry)
    }

    /// The store below: for lists, watches and pages, which work on entries rather than objects.
    pub fn store(&self) -> &Store<Attrs> {
        &self.0.store
    }

    /// The kinds that there are now.
    pub fn kinds(&self) -> Arc<KindSet> {
        self.0.kinds.current()
    }

    /// What conversions by webhook count.
    pub fn conversion_metrics(&self) -> &ConversionMetrics {
        &self.0.conversions
    }

    pub fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn allocators(&self) -> &Arc<Allocators> {
        &self.0.allocators
    }

    /// The stored entry of an object.
    pub fn entry(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Arc<Entry<Attrs>>, Status> {
        let entry = self.0.store.get(&keys::object(kind, namespace, name));
        let entry = entry.ok_or_else(|| Status::not_found(&group_resource(kind), name))?;
        readable(&entry)?;
        Ok(entry)
    }

    /// Returns when whatever was written before by any server of the cluster is here.
    pub async fn barrier(&self) -> Result<(), Status> {
        self.0.store.barrier().await.map_err(|error| Status::unexpected(error.to_string()))
    }

    /// An object in its storage version. The namespace of a cluster-scoped kind is "".
    pub fn get(&self, kind: &Kind, namespace: &str, name: &str) -> Result<Value, Status> {
        let stored = encode::decode(&self.entry(kind, namespace, name)?.value)?;
        encode::in_version(kind, kind.storage_version(), stored)
    }

    /// All objects of a namespace, or of all namespaces when it is "".
    pub fn list(&self, kind: &Kind, namespace: &str) -> Vec<Value> {
        let snapshot = self.0.store.snapshot();
        let prefix = keys::namespace_prefix(kind, namespace);
        snapshot.range(&prefix, None).filter_map(|entry| encode::decode(&entry.value).ok()).collect()
    }

    /// A typed, always current view of a kind; one per kind and type, shared by all who ask.
    pub fn reflected<T: DeserializeOwned + Send + Sync + 'static>(&self, kind: &'static Kind) -> Arc<Reflected<T>> {
        let key = (address(kind), TypeId::of::<T>());
        let mut reflected = self.0.reflected.lock();
        let shared = reflected
            .entry(key)
            .or_insert_with(|| Arc::new(Reflected::<T>::new(self.0.store.clone(), kind)) as Arc<dyn Any + Send + Sync>);
        match shared.clone().downcast() {
            Ok(shared) => shared,
            // The key holds the type, so this is never taken; a view of one's own is as good.
            Err(_) => Arc::new(Reflected::new(self.0.store.clone(), kind)),
        }
    }

    /// Waits until an object of one of these kinds has changed since `revision`, which was read before the objects were looked
    /// at. Where that cannot be told (a closed store, a history that does not go back so far) it is time to look again soon.
    pub async fn change_since(&self, kinds: &[&Kind], revision: Revision) {
        let watches = kinds.iter().map(|kind| self.store().watch(&keys::prefix(kind), revision));
        if let Ok(mut watches) = watches.collect::<Result<Vec<_>, _>>()
            && !watches.is_empty()
        {
            let next = watches.iter_mut().map(|watch| Box::pin(watch.next()));
            if let Some(Ok(_)) = futures::future::select_all(next).await.0 {
                return;
            }
        }
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
    }

    /// Writes to the store, as a step of the request.
    async fn put(
        &self,
        step: &str,
        kind: &Kind,
        key: &str,
        value: NewValue,
        precondition: Precondition,
    ) -> Result<Arc<Entry<Attrs>>, WriteError<Attrs>> {
        traces::step(step, || traced(kind, key), self.0.store.put(key, value, precondition)).await
    }

    /// What is put in the store for an encoded object.
    fn new_value(&self, kind: &Kind, encoded: encode::Encoded) -> NewValue {
        let value = NewValue::new(encoded.bytes, Some(encoded.revision_at));
        match strategies::of(kind).time_to_live(self) {
            Some(ttl) => value.with_ttl(ttl),
            None => value,
        }
    }
}

/// What the span of a write says.
fn traced(kind: &Kind, key: &str) -> Vec<KeyValue> {
    vec![
        KeyValue::text("key", key),
        KeyValue::text("type", kind.kind),
        KeyValue::text("resource", group_resource(kind).to_string()),
    ]
}

fn address(kind: &Kind) -> usize {
    std::ptr::from_ref(kind).addr()
}

/// What messages call the resource: `deployments.apps`.
pub fn group_resource(kind: &Kind) -> GroupResource {
    GroupResource { group: kind.group.into(), resource: kind.plural.into() }
}

/// What messages call the kind: `Deployment.apps`.
pub fn group_kind(kind: &Kind) -> GroupKind {
    GroupKind { group: kind.group.into(), kind: kind.kind.into() }
}

/// The time as objects hold it: whole seconds.
pub fn now() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Refuses what somebody left in etcd and nobody can read.
pub fn readable(entry: &Entry<Attrs>) -> Result<(), Status> {
    if entry.is_malformed() {
        return Err(Status::internal(format!("unable to decode the object stored at {}", entry.key)));
    }
    Ok(())
}

/// A write that the store refused for a reason other than its precondition.
fn write_failed<A>(error: WriteError<A>) -> Status {
    match &error {
        WriteError::Full(reason) => Status::internal(format!("the store is full: {reason}")),
        WriteError::Unsealed(reason) => Status::internal(reason.as_ref()),
        WriteError::Unavailable(reason) => Status::unexpected(reason.as_ref()),
        WriteError::Conflict(_) => Status::internal("the object changed while it was written"),
        WriteError::TooLarge { .. } => Status::request_entity_too_large(error.to_string()),
        WriteError::Closed(_) => Status::service_unavailable(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use crate::apiextensions::definitions;

    #[tokio::test]
    async fn a_closed_store_is_no_reason_to_look_again_at_once() {
        let (server, _pki) = crate::testing::server().await;
        let registry = &server.registry;
        registry.store().close().await;
        let kinds = [definitions()];
        let wait = std::pin::pin!(registry.change_since(&kinds, registry.store().revision()));
        assert!(futures::poll!(wait).is_pending());
    }
}
