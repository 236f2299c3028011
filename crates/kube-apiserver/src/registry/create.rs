//! Create: fill in what the server sets, prepare, validate, write if absent.

use api::Kind;
use machinery::field::{Error, Path};
use machinery::status::Status;
use rand::RngExt;
use serde_json::Value;
use store::{Precondition, WriteError};

use super::{
    Admit, Outcome, Part, Registry, WriteOptions, encode, group_kind, group_resource, keys, managed_fields, now,
    object, strategies, write_failed,
};
use crate::admission::Operation;

/// How often a generated name is tried when it is taken.
const GENERATED_NAME_TRIES: usize = 8;
/// A generated name is at most 63 long: a base of 58 and five random characters.
const GENERATED_BASE_LEN: usize = 58;
/// Neither vowels nor look-alikes.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

impl Registry {
    /// Creates an object given in its storage version, defaulted. `namespace` is the request's.
    pub async fn create(
        &self,
        kind: &'static Kind,
        namespace: &str,
        object: Value,
        options: &WriteOptions,
        admit: &dyn Admit,
    ) -> Result<Outcome, Status> {
        let generated = object::name(&object).is_empty() && !object::text(&object, "/metadata/generateName").is_empty();
        let tries = if generated { GENERATED_NAME_TRIES } else { 1 };
        let mut name = String::new();
        for _ in 0..tries {
            match self.create_once(kind, namespace, object.clone(), options, admit).await {
                Err(status) if generated && status.is_already_exists() => {
                    name = status.details().map(|details| details.name.clone()).unwrap_or_default();
                }
                result => return result,
            }
        }
        Err(Status::generate_name_conflict(&group_resource(kind), &name, 1))
    }

    async fn create_once(
        &self,
        kind: &'static Kind,
        namespace: &str,
        mut object: Value,
        options: &WriteOptions,
        admit: &dyn Admit,
    ) -> Result<Outcome, Status> {
        fill_metadata(kind, namespace, &mut object);
        managed_fields::track(kind, &options.owner, &mut object, None);
        admit.mutate(kind, Operation::Create, &mut object, None).await?;
        if object::name(&object).is_empty() {
            let base: String =
                object::text(&object, "/metadata/generateName").chars().take(GENERATED_BASE_LEN).collect();
            if !base.is_empty() {
                object::set_metadata(&mut object, "name", Some((base + &random_suffix()).into()));
            }
        }
        let strategy = strategies::of(kind);
        let reservation = strategy.reserve(self, &mut object, None, options.dry_run)?;
        kind.prepare_create(&mut object)?;
        strategy.fill(&mut object, admit.user());
        if kind.generation && object::number(&object, "/metadata/generation").is_none() {
            object::set_metadata(&mut object, "generation", Some(1.into()));
        }
        let mut errors = strategy.check(self, admit, Part::WHOLE, &object, None).await;
        errors.extend(options.check(kind, &object, None));
        if errors.is_empty() {
            // Whatever names its kind allows: one that does not fit into a URL could never be asked for.
            let (name, metadata) = (object::name(&object), Path::new("metadata"));
            let refused = api::names::path_segment(name, false).into_iter();
            errors.extend(refused.map(|why| Error::invalid(&metadata.child("name"), name, why)));
        }
        if !errors.is_empty() {
            return Err(Status::invalid(&group_kind(kind), object::name(&object), errors));
        }
        kind.warnings(&object, None).into_iter().for_each(|warning| admit.warn(warning));
        admit.validate(kind, Operation::Create, Some(&object), None).await?;
        encode::set_type(kind, &mut object);
        encode::canonicalize(kind, &mut object);
        let object = encode::to_stored(kind, object)?;

        let name = object::name(&object).to_owned();
        let key = keys::object(kind, namespace, &name);
        if options.dry_run {
            if let Some(current) = self.store().get(&key) {
                return Err(already_exists(kind, &name, &current.value));
            }
            return Ok(Outcome { bytes: encode::encode_unwritten(kind, &object)?.into(), created: true });
        }
        let encoded = encode::encode(kind, &object)?;
        let value = self.new_value(kind, encoded);
        strategy.prepare(self, &object, None).await?;
        let entry = match self.put("Create etcd3", kind, &key, value, Precondition::Absent).await {
            Ok(entry) => entry,
            Err(error) => {
                strategy.settle(self, None, Some(&object)).await;
                let WriteError::Conflict(current) = error else { return Err(write_failed(error)) };
                let current = current.map(|entry| entry.value.clone()).unwrap_or_default();
                return Err(already_exists(kind, &name, &current));
            }
        };
        reservation.commit();
        strategy.settle(self, Some(&object), None).await;
        Ok(Outcome { bytes: entry.value.clone(), created: true })
    }
}

/// What only the server sets.
fn fill_metadata(kind: &Kind, namespace: &str, object: &mut Value) {
    for key in ["deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion"] {
        object::set_metadata(object, key, None);
    }
    object::set_metadata(object, "uid", Some(uuid::Uuid::new_v4().to_string().into()));
    object::set_metadata(object, "creationTimestamp", Some(object::time(now())));
    let namespace = (kind.namespaced && !namespace.is_empty()).then(|| namespace.into());
    object::set_metadata(object, "namespace", namespace);
}

fn already_exists(kind: &Kind, name: &str, current: &[u8]) -> Status {
    let status = Status::already_exists(&group_resource(kind), name);
    let deleting = encode::decode(current).is_ok_and(|current| object::is_deleting(&current));
    if !deleting {
        return status;
    }
    let message = format!("object is being deleted: {}", status.message());
    status.with_message(message)
}

/// Five random characters, as generated names end in.
pub fn random_suffix() -> String {
    let mut rng = rand::rng();
    (0..5).map(|_| char::from(SUFFIX_ALPHABET[rng.random_range(0..SUFFIX_ALPHABET.len())])).collect()
}
