//! Delete: at once, after a grace period, or when the finalizers are gone.
//!
//! A delete does one of three things, decided on the current object and repeated when somebody writes in between:
//! it marks the object (deletionTimestamp, finalizers of the propagation policy) and leaves it to whoever must act;
//! it marks and then removes it; or it removes it.

use std::sync::Arc;

use api::Kind;
use jiff::{SignedDuration, Timestamp};
use machinery::status::Status;
use serde_json::Value;
use store::{Entry, NewValue, Precondition, WriteError};

use super::strategies::{self, Strategy};
use super::{
    Admit, Attrs, DeleteOptions, Propagation, Registry, encode, group_resource, keys, now, object, traced, write_failed,
};
use crate::admission::Operation;
use crate::traces;

const TRIES: usize = 100;
const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What a delete did.
#[derive(Clone, Debug)]
pub struct Deleted {
    /// The object as it was left or as it was last, in its storage version.
    pub object: Value,
    /// Whether it is gone.
    pub gone: bool,
}

/// What is to be done to the current object.
enum Step {
    /// It is being deleted already and this request changes nothing.
    Pending,
    Remove,
    Mark {
        object: Value,
        then_remove: bool,
    },
}

impl Registry {
    /// Deletes an object, or begins to.
    pub async fn delete(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
        admit: &dyn Admit,
    ) -> Result<Deleted, Status> {
        let key = keys::object(kind, namespace, name);
        for _ in 0..TRIES {
            let not_found = || Status::not_found(&group_resource(kind), name);
            let entry = self.store().get(&key).ok_or_else(not_found)?;
            let old = encode::decode(&entry.value)?;
            check_preconditions(kind, name, &old, options)?;
            admit.validate(kind, Operation::Delete, None, Some(&old)).await?;
            if let Some(deleted) = self.delete_entry(kind, &entry, old, options).await? {
                return Ok(deleted);
            }
        }
        Err(Status::optimistic_lock(&group_resource(kind), name))
    }

    async fn delete_entry(
        &self,
        kind: &'static Kind,
        entry: &Arc<Entry<Attrs>>,
        old: Value,
        options: &DeleteOptions,
    ) -> Result<Option<Deleted>, Status> {
        let strategy = strategies::of(kind);
        match next_step(kind, strategy, &old, options, now()) {
            Step::Pending => Ok(Some(Deleted { object: old, gone: false })),
            Step::Remove => {
                let removed = options.dry_run || self.remove_entry(kind, &old, entry).await?;
                Ok(removed.then_some(Deleted { object: old, gone: true }))
            }
            Step::Mark { mut object, then_remove } => {
                encode::canonicalize(kind, &mut object);
                if options.dry_run {
                    return Ok(Some(Deleted { object, gone: then_remove }));
                }
                let encoded = encode::encode(kind, &object)?;
                let value = self.new_value(kind, encoded);
                let marked = match self
                    .put("GuaranteedUpdate etcd3", kind, &entry.key, value, Precondition::Revision(entry.revision))
                    .await
                {
                    Ok(marked) => marked,
                    Err(WriteError::Conflict(_)) => return Ok(None),
                    Err(error) => return Err(write_failed(error)),
                };
                let object = encode::decode(&marked.value)?;
                if !then_remove {
                    strategy.settle(self, Some(&object), None).await;
                    return Ok(Some(Deleted { object, gone: false }));
                }
                // If somebody was faster the object is looked at again: it may have got a finalizer meanwhile. Or it is gone,
                // because whoever waits for marked objects took it; this deletion has done its part then.
                let removed = self.remove_entry(kind, &object, &marked).await? || self.is_gone(&marked);
                Ok(removed.then_some(Deleted { object, gone: true }))
            }
        }
    }

    /// Whether the object is there no more, though there may be another one of its name.
    fn is_gone(&self, entry: &Entry<Attrs>) -> bool {
        self.0.store.get(&entry.key).is_none_or(|now| now.create_revision != entry.create_revision)
    }

    /// Removes an object for good; `false` when it changed meanwhile.
    pub(super) async fn remove_entry(
        &self,
        kind: &'static Kind,
        old: &Value,
        entry: &Entry<Attrs>,
    ) -> Result<bool, Status> {
        let encoded = encode::encode(kind, old)?;
        let last = NewValue::new(encoded.bytes, Some(encoded.revision_at));
        let deleted = self.0.store.delete(&entry.key, last, Precondition::Revision(entry.revision));
        match traces::step("Delete etcd3", || traced(kind, &entry.key), deleted).await {
            Ok(_) => {
                let strategy = strategies::of(kind);
                strategy.deleted(self, old);
                strategy.settle(self, None, Some(old)).await;
                Ok(true)
            }
            Err(WriteError::Conflict(_)) => Ok(false),
            Err(error) => Err(write_failed(error)),
        }
    }
}

fn next_step(kind: &Kind, strategy: &dyn Strategy, old: &Value, options: &DeleteOptions, now: Timestamp) -> Step {
    let graceful = match begin_grace(kind, old, options, now) {
        Grace::Pending if !is_releasable(strategy, old) => return Step::Pending,
        Grace::Pending => return Step::Remove,
        Grace::None => None,
        Grace::Marked(object) => Some(object),
    };
    let mut object = graceful.clone().unwrap_or_else(|| old.clone());
    let finalizers_changed = set_finalizers(&mut object, options);
    let held = object::has_finalizers(&object) || strategy.holds_deletion(&object);
    match graceful {
        Some(_) => {
            let waits = object::number(&object, "/metadata/deletionGracePeriodSeconds").unwrap_or(0) > 0;
            Step::Mark { object, then_remove: !waits && !held }
        }
        None if !held => Step::Remove,
        None => {
            if object::is_deleting(&object) && !finalizers_changed {
                return Step::Pending;
            }
            if !object::is_deleting(&object) {
                strategy.mark_deleting(&mut object, now);
            }
            Step::Mark { object, then_remove: false }
        }
    }
}

/// An object marked long ago may have lost what held it without anybody removing it.
fn is_releasable(strategy: &dyn Strategy, old: &Value) -> bool {
    !object::has_finalizers(old)
        && !strategy.holds_deletion(old)
        && object::number(old, "/metadata/deletionGracePeriodSeconds").unwrap_or(0) == 0
}

enum Grace {
    /// The kind knows no grace.
    None,
    Pending,
    Marked(Value),
}

/// Applies the grace period: marks the object, shortens a period that runs already, or finds nothing to do.
fn begin_grace(kind: &Kind, old: &Value, options: &DeleteOptions, now: Timestamp) -> Grace {
    let Some(grace_period_seconds) = kind.grace_period_seconds else { return Grace::None };
    if object::is_deleting(old) {
        let running = object::number(old, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
        let wanted = options.grace_period_seconds.map(|seconds| if seconds < 0 { 1 } else { seconds });
        return match wanted {
            Some(wanted) if running > 0 && wanted < running => {
                let began = object::time_at(old, "/metadata/deletionTimestamp").unwrap_or(now)
                    - SignedDuration::from_secs(running);
                Grace::Marked(with_deletion(old, began + SignedDuration::from_secs(wanted), wanted))
            }
            _ => Grace::Pending,
        };
    }
    let seconds = grace_period_seconds(old, options.grace_period_seconds).max(0);
    let mut marked = with_deletion(old, now + SignedDuration::from_secs(seconds), seconds);
    bump_generation(&mut marked);
    Grace::Marked(marked)
}

fn with_deletion(old: &Value, at: Timestamp, grace_period_seconds: i64) -> Value {
    let mut object = old.clone();
    object::set_metadata(&mut object, "deletionTimestamp", Some(object::time(at)));
    object::set_metadata(&mut object, "deletionGracePeriodSeconds", Some(grace_period_seconds.into()));
    object
}

/// The deletion is a change of the desired state where generations count those.
pub(super) fn bump_generation(object: &mut Value) {
    if let Some(generation) = object::number(object, "/metadata/generation").filter(|generation| *generation > 0) {
        object::set_metadata(object, "generation", Some((generation + 1).into()));
    }
}

/// Puts the finalizers of the propagation policy in place of those there; says whether that changed them.
fn set_finalizers(object: &mut Value, options: &DeleteOptions) -> bool {
    let old: Vec<String> = object::texts(object, "/metadata/finalizers").map(str::to_owned).collect();
    let has = |name: &str| old.iter().any(|finalizer| finalizer == name);
    let (orphan, foreground) = match (options.orphan_dependents, options.propagation) {
        (Some(orphan), _) => (orphan, false),
        (None, Some(Propagation::Orphan)) => (true, false),
        (None, Some(Propagation::Foreground)) => (false, true),
        (None, Some(Propagation::Background)) => (false, false),
        // Without a policy the finalizers there decide, then the kind.
        (None, None) if has(ORPHAN) => (true, false),
        (None, None) if has(FOREGROUND) => (false, true),
        (None, None) => (options.orphan_by_default, false),
    };
    let mut new: Vec<String> =
        old.iter().filter(|finalizer| *finalizer != ORPHAN && *finalizer != FOREGROUND).cloned().collect();
    if orphan {
        new.push(ORPHAN.to_owned());
    }
    if foreground {
        new.push(FOREGROUND.to_owned());
    }
    let changed = new != old;
    if changed {
        let value = (!new.is_empty()).then(|| new.into());
        object::set_metadata(object, "finalizers", value);
    }
    changed
}

/// Refuses to touch another object than the one that was meant.
pub fn check_preconditions(kind: &Kind, name: &str, old: &Value, options: &DeleteOptions) -> Result<(), Status> {
    let conflict = |message: String| Err(Status::conflict(&kind_as_resource(kind), name, &message));
    if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != object::uid(old)) {
        return conflict(format!(
            "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
            object::uid(old)
        ));
    }
    if let Some(version) =
        options.resource_version.as_deref().filter(|version| *version != object::resource_version(old))
    {
        return conflict(format!(
            "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
            object::resource_version(old)
        ));
    }
    Ok(())
}

/// Precondition failures name the kind where other conflicts name the resource.
fn kind_as_resource(kind: &Kind) -> machinery::gvk::GroupResource {
    machinery::gvk::GroupResource { group: kind.group.into(), resource: kind.kind.into() }
}
