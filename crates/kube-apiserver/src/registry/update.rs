//! Update: compute the new object from the current one, prepare, validate, write if the current one is still current.
//!
//! A PUT and a patch differ only in how the new object is computed ([`Change`]); the main resource and its subresources
//! only in what of it may change ([`Part`]). When somebody else writes in between, the new object is computed again from
//! what is there then, unless the request named the resourceVersion that it was made for.

use api::Kind;
use machinery::field::{self, ErrorList};
use machinery::go_text;
use machinery::gvk::GroupKind;
use machinery::status::Status;
use serde_json::Value;
use std::sync::Arc;
use store::{Entry, Precondition, WriteError};

use super::{
    Admit, Attrs, Outcome, Registry, WriteOptions, encode, group_kind, group_resource, keys, managed_fields, now,
    object, strategies, write_failed,
};
use crate::admission::Operation;

/// How often an update is tried against other writers before they are reported as the conflict that they are.
const TRIES: usize = 100;

/// Computes the new object, in the storage version, from the current one. Called again after a lost race.
pub trait Change: Send {
    fn apply(&mut self, current: Option<&Value>) -> Result<Value, Status>;

    /// Whether the object is made where there is none, whatever the kind allows for updates.
    fn creates(&self) -> bool {
        false
    }

    /// The uid that the current object must have.
    fn uid(&self) -> Option<&str> {
        None
    }
}

/// The new object is given.
pub struct Replace(pub Value);

impl Change for Replace {
    fn apply(&mut self, _: Option<&Value>) -> Result<Value, Status> {
        Ok(self.0.clone())
    }

    fn uid(&self) -> Option<&str> {
        Some(object::uid(&self.0)).filter(|uid| !uid.is_empty())
    }
}

impl<F: FnMut(&Value) -> Result<Value, Status> + Send> Change for F {
    fn apply(&mut self, current: Option<&Value>) -> Result<Value, Status> {
        // Only a given object can be created by an update; a computed one needs something to compute from.
        self(current.ok_or_else(Status::not_found_path)?)
    }
}

/// What of an object an update may change, and the rules for it.
#[derive(Clone, Copy)]
pub struct Part {
    rules: Rules,
    /// Whether this part allocates (addresses, ports): only the main resource does.
    pub allocates: bool,
}

#[derive(Clone, Copy)]
enum Rules {
    Whole,
    Status,
    Own { prepare: fn(&mut Value, &Value) -> Result<(), Status>, validate: fn(&Value, &Value) -> ErrorList },
}

impl Part {
    pub const WHOLE: Self = Self { rules: Rules::Whole, allocates: true };
    /// The whole by way of a subresource that shows it in another form.
    pub const SCALE: Self = Self { rules: Rules::Whole, allocates: false };
    pub const STATUS: Self = Self { rules: Rules::Status, allocates: false };

    /// A part with rules of its own.
    pub fn own(
        prepare: fn(&mut Value, &Value) -> Result<(), Status>,
        validate: fn(&Value, &Value) -> ErrorList,
    ) -> Self {
        Self { rules: Rules::Own { prepare, validate }, allocates: false }
    }

    /// Whether this is the status subresource.
    pub fn is_status(self) -> bool {
        matches!(self.rules, Rules::Status)
    }

    fn prepare(self, kind: &Kind, new: &mut Value, old: &Value) -> Result<(), Status> {
        match self.rules {
            Rules::Whole => kind.prepare_update(new, old),
            Rules::Status => kind.prepare_status_update(new, old),
            Rules::Own { prepare, .. } => prepare(new, old),
        }
    }

    fn validate(self, kind: &Kind, new: &Value, old: &Value) -> ErrorList {
        match self.rules {
            Rules::Whole => kind.validate_update(new, old),
            Rules::Status => kind.validate_status_update(new, old),
            Rules::Own { validate, .. } => validate(new, old),
        }
    }
}

impl Registry {
    /// Updates an object, or creates it where the kind allows that and the change can.
    #[expect(clippy::too_many_arguments, reason = "an update is what it is; a struct would name the same things again")]
    pub async fn update(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        part: Part,
        change: &mut dyn Change,
        options: &WriteOptions,
        admit: &dyn Admit,
    ) -> Result<Outcome, Status> {
        let key = keys::object(kind, namespace, name);
        for _ in 0..TRIES {
            let Some(entry) = self.store().get(&key) else {
                if !part.allocates || !(kind.create_on_update || change.creates()) {
                    return Err(Status::not_found(&group_resource(kind), name));
                }
                let object = change.apply(None).map_err(|status| {
                    if status.is_not_found() { Status::not_found(&group_resource(kind), name) } else { status }
                })?;
                match self.create(kind, namespace, object, options, admit).await {
                    // Somebody else was faster: what was to be created is applied to what they made.
                    Err(status) if change.creates() && status.is_already_exists() => continue,
                    result => return result,
                }
            };
            if let Some(outcome) = self.update_once(kind, namespace, name, &entry, part, change, options, admit).await?
            {
                return Ok(outcome);
            }
        }
        Err(Status::optimistic_lock(&group_resource(kind), name))
    }

    /// `None` when the object changed meanwhile.
    #[expect(clippy::too_many_arguments, reason = "the inner half of `update`")]
    async fn update_once(
        &self,
        kind: &'static Kind,
        namespace: &str,
        name: &str,
        entry: &Arc<Entry<Attrs>>,
        part: Part,
        change: &mut dyn Change,
        options: &WriteOptions,
        admit: &dyn Admit,
    ) -> Result<Option<Outcome>, Status> {
        let stored = encode::decode(&entry.value)?;
        let old = encode::in_version(kind, options.owner.version(kind), stored)?;
        if let Some(uid) = change.uid().filter(|uid| *uid != object::uid(&old)) {
            let message = format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
                entry.key,
                object::uid(&old)
            );
            return Err(Status::conflict(&group_resource(kind), name, &message));
        }
        let mut new = change.apply(Some(&old))?;
        check_resource_version(kind, name, &new, entry.revision)?;
        object::copy_metadata(&mut new, &old, "resourceVersion");
        managed_fields::track(kind, &options.owner, &mut new, Some(&old));
        let managed = new.pointer("/metadata/managedFields").cloned();
        admit.mutate(kind, Operation::Update, &mut new, Some(&old)).await?;
        keep_metadata(kind, namespace, &mut new, &old);
        part.prepare(kind, &mut new, &old)?;
        // Some parts are prepared from the old object.
        object::set_metadata(&mut new, "managedFields", managed);
        let strategy = strategies::of(kind);
        strategy.stamp(&mut new, &old, now());
        let reservation = if part.allocates {
            strategy.reserve(self, &mut new, Some(&old), options.dry_run)?
        } else {
            Default::default()
        };
        let mut errors = strategy.check(self, admit, part, &new, Some(&old)).await;
        errors.extend(match part.rules {
            Rules::Whole => options.check(kind, &new, Some(&old)),
            _ => part.validate(kind, &new, &old),
        });
        if !errors.is_empty() {
            return Err(Status::invalid(&group_kind(kind), name, errors));
        }
        kind.warnings(&new, Some(&old)).into_iter().for_each(|warning| admit.warn(warning));
        admit.validate(kind, Operation::Update, Some(&new), Some(&old)).await?;
        encode::set_type(kind, &mut new);
        encode::canonicalize(kind, &mut new);
        managed_fields::keep_times(&mut new, &old);
        let new = encode::to_stored(kind, new)?;

        if completes_deletion(strategy, &new, &old) {
            let bytes = encode::encode_unwritten(kind, &new)?.into();
            if !options.dry_run && !self.remove_entry(kind, &old, entry).await? {
                return Ok(None);
            }
            return Ok(Some(Outcome { bytes, created: false }));
        }
        let unwritten = encode::encode_unwritten(kind, &new)?;
        if options.dry_run || unwritten == entry.value {
            // Nothing changed: the revision stays, and no watch is told.
            reservation.commit_unless(options.dry_run);
            return Ok(Some(Outcome { bytes: unwritten.into(), created: false }));
        }
        let encoded = encode::encode(kind, &new)?;
        let value = self.new_value(kind, encoded);
        strategy.prepare(self, &new, Some(&old)).await?;
        match self.put("GuaranteedUpdate etcd3", kind, &entry.key, value, Precondition::Revision(entry.revision)).await
        {
            Ok(written) => {
                reservation.commit();
                strategy.settle(self, Some(&new), Some(&old)).await;
                Ok(Some(Outcome { bytes: written.value.clone(), created: false }))
            }
            Err(error) => {
                strategy.settle(self, Some(&old), Some(&new)).await;
                if matches!(error, WriteError::Conflict(_)) { Ok(None) } else { Err(write_failed(error)) }
            }
        }
    }
}

/// The object is being deleted and what held it is gone with this update.
fn completes_deletion(strategy: &dyn strategies::Strategy, new: &Value, old: &Value) -> bool {
    object::is_deleting(old)
        && !object::has_finalizers(new)
        && object::number(old, "/metadata/deletionGracePeriodSeconds").unwrap_or(0) == 0
        && !strategy.holds_deletion(new)
}

/// The version that the client's object was made from must be the current one, when it names one.
fn check_resource_version(kind: &Kind, name: &str, new: &Value, current: u64) -> Result<(), Status> {
    let text = object::resource_version(new);
    let given = match text {
        "" => 0,
        text => text.parse::<u64>().map_err(|_| {
            Status::failure(500, "", format!("strconv.ParseUint: parsing {}: invalid syntax", go_text::quote(text)))
        })?,
    };
    if given == 0 {
        if kind.unconditional_update {
            return Ok(());
        }
        let path = field::Path::new("metadata");
        let error = field::Error::invalid(&path.child("resourceVersion"), 0, "must be specified for an update");
        let resource = GroupKind { group: kind.group.into(), kind: kind.plural.into() };
        return Err(Status::invalid(&resource, name, vec![error]));
    }
    if given == current { Ok(()) } else { Err(Status::optimistic_lock(&group_resource(kind), name)) }
}

/// What an update leaves as it is unless it says otherwise (and then validation refuses it), and what it cannot change.
fn keep_metadata(kind: &Kind, namespace: &str, new: &mut Value, old: &Value) {
    for key in ["uid", "creationTimestamp"] {
        if object::text(new, &format!("/metadata/{key}")).is_empty() {
            object::copy_metadata(new, old, key);
        }
    }
    // A deletion that has begun goes on whatever the update says; validation refuses one that an update would begin.
    for key in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        if old["metadata"].get(key).is_some() {
            object::copy_metadata(new, old, key);
        }
    }
    object::copy_metadata(new, old, "generation");
    object::set_metadata(new, "selfLink", None);
    if kind.namespaced {
        object::set_metadata(new, "namespace", Some(namespace.into()));
    }
}
