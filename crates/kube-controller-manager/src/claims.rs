//! Which objects belong to an owner: those it controls and its selector matches. Objects of nobody that match are
//! adopted; controlled ones that no longer match are released. Both are patches with preconditions, so that two owners
//! never take the same object.

use std::sync::Arc;

use client::{ApiError, Intent, Key, MetaRef, Object, Outside, Resource, Selector, Snapshot, View};
use serde_json::{Value, json};

use crate::common::controller_reference;

/// What belongs to an owner now, and the writes that make it so.
pub struct Claimed<K> {
    /// Objects already controlled.
    pub owned: Vec<Arc<K>>,
    /// Adoptions and releases.
    pub writes: Vec<Intent>,
}

/// An owner's claim on objects of one kind.
pub struct Claim<'a, O> {
    /// The owner.
    pub owner: &'a O,
    /// Its selector.
    pub selector: &'a Selector,
    /// Whether a live read has shown that the owner still exists and is not being deleted.
    pub may_adopt: bool,
}

impl<O: Object + kube::Resource<DynamicType = ()>> Claim<'_, O> {
    /// Sorts the objects of the owner's namespace.
    pub fn over<K>(&self, objects: &Snapshot<K>) -> Claimed<K>
    where
        K: Object + kube::Resource<DynamicType = ()>,
    {
        let owner = self.owner.meta_ref();
        let mut claimed = Claimed { owned: Vec::new(), writes: Vec::new() };
        for object in objects.owned_by(owner.uid) {
            let meta = object.meta_ref();
            if meta.namespace != owner.namespace
                || meta.controller().is_none_or(|controller| controller.uid != owner.uid)
            {
                continue;
            }
            if self.selector.matches(meta.labels) {
                claimed.owned.push(object.clone());
            } else if !owner.deleting {
                claimed.writes.push(Intent::patch(&**object, without_owner(meta, owner.uid)));
            }
        }
        if self.may_adopt && !owner.deleting && !self.selector.is_empty() {
            for orphan in orphans(objects, owner.namespace, self.selector) {
                claimed.writes.push(Intent::patch(&**orphan, with_owner(orphan.meta_ref(), self.owner)));
            }
        }
        claimed
    }
}

/// Objects that nobody controls and the selector matches.
fn orphans<'a, K: Object>(objects: &'a Snapshot<K>, namespace: &str, selector: &Selector) -> Vec<&'a Arc<K>> {
    let mut matching = objects.select(namespace, selector);
    matching.retain(|object| object.meta_ref().controller().is_none() && !object.meta_ref().deleting);
    matching
}

/// Put into the view when there is something to adopt: whether the owner is really there.
#[derive(Clone, Copy, Debug)]
pub struct OwnerIsLive(pub bool);

/// Before anything is adopted the owner is read from the server: a cache may still show one that was deleted with its
/// objects orphaned on purpose, and adopting those would undo it.
pub async fn observe_owner<O, K>(
    outside: &Outside,
    key: &Key,
    selector: Option<Selector>,
    view: &mut View,
) -> Result<(), ApiError>
where
    O: Object + kube::Resource<DynamicType = ()>,
    K: Object,
{
    let (Some(owner), Some(selector)) = (view.of::<O>().get(key).cloned(), selector) else { return Ok(()) };
    let meta = owner.meta_ref();
    if meta.deleting || selector.is_empty() || orphans(&view.of::<K>(), meta.namespace, &selector).is_empty() {
        return Ok(());
    }
    let path = format!("{}/{}", Resource::of::<O>().path(meta.namespace), meta.name);
    let live: Result<Value, ApiError> = client::request::get(&outside.client, &path).await;
    view.put(Arc::new(OwnerIsLive(!deleting_or_gone(live, meta.uid)?)));
    Ok(())
}

/// Whether adoption is allowed in this view.
pub fn may_adopt(view: &View) -> bool {
    view.extra::<OwnerIsLive>().is_some_and(|live| live.0)
}

fn with_owner<O: Object + kube::Resource<DynamicType = ()>>(meta: MetaRef<'_>, owner: &O) -> Value {
    let mut owners = meta.owner_references.to_vec();
    owners.push(controller_reference(owner));
    json!({"metadata": {"ownerReferences": owners}})
}

fn without_owner(meta: MetaRef<'_>, uid: &str) -> Value {
    let owners: Vec<_> = meta.owner_references.iter().filter(|owner| owner.uid != uid).collect();
    json!({"metadata": {"ownerReferences": if owners.is_empty() { Value::Null } else { json!(owners) }}})
}

/// Reads the answer to a live read of an owner.
fn deleting_or_gone(live: Result<Value, ApiError>, uid: &str) -> Result<bool, ApiError> {
    match live {
        Ok(object) => {
            let meta = &object["metadata"];
            Ok(meta["uid"] != *uid || !meta["deletionTimestamp"].is_null())
        }
        Err(error) if error.is_not_found() => Ok(true),
        Err(error) => Err(error),
    }
}
