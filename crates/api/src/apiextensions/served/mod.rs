//! A kind made from a CustomResourceDefinition: its declaration, and the behaviour that its schemas give it.
//!
//! The declaration ([`Kind`]) is `'static`, as all kinds are: it is leaked once for each set of names and versions that a
//! definition ever had (its `Custom` is leaked with it), and taken up again when the same set comes back. Schemas, columns
//! and conversion change far more often; they are swapped behind the declaration ([`Behaviour`]).

mod behaviour;
mod convert;
mod declare;
mod decode;
mod rules;
mod table;
mod validations;
mod write;

use std::any::Any;
use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use machinery::codec::Parsed;
use machinery::field::ErrorList;
use machinery::schema::{Decoded, FieldValidation};
use machinery::status::Status;
use serde_json::Value;

pub use behaviour::{Behaviour, Published};
pub use convert::Converter;
pub use declare::Declared;
pub(crate) use validations::declare;
pub(super) use validations::environment;

use crate::{Custom, ScaleRef, TypeRef};

/// What stands behind the declaration of one custom kind.
pub struct Served {
    behaviour: ArcSwap<Behaviour>,
}

impl Served {
    fn new(behaviour: Behaviour) -> Self {
        Self { behaviour: ArcSwap::from_pointee(behaviour) }
    }

    /// From now on the kind behaves so.
    pub fn set(&self, behaviour: Behaviour) {
        self.behaviour.store(Arc::new(behaviour));
    }

    pub fn behaviour(&self) -> Arc<Behaviour> {
        self.behaviour.load_full()
    }

    /// What stands behind a kind, if it is a custom one.
    pub fn of(kind: &crate::Kind) -> Option<&'static Served> {
        kind.custom.and_then(|custom| custom.as_any().downcast_ref())
    }
}

impl Custom for Served {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn decode(&self, version: &str, parsed: Parsed, mode: FieldValidation) -> Result<Decoded, String> {
        decode::decode(&self.behaviour(), version, parsed, mode)
    }

    fn canonicalize(&self, object: &mut Value) {
        write::canonicalize(object);
    }

    fn read(&self, objects: Vec<Value>, version: &str) -> Result<Vec<Value>, Status> {
        convert::read(&self.behaviour(), objects, version)
    }

    fn convert(&self, objects: Vec<Value>, version: &str) -> Result<Vec<Value>, Status> {
        convert::convert(&self.behaviour(), objects, version)
    }

    fn default(&self, object: &mut Value) -> Result<(), Status> {
        self.behaviour().default(object);
        Ok(())
    }

    fn prepare_create(&self, object: &mut Value) -> Result<(), Status> {
        write::prepare_create(&self.behaviour(), object);
        Ok(())
    }

    fn validate(&self, object: &Value) -> ErrorList {
        rules::create(&self.behaviour(), object)
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) -> Result<(), Status> {
        write::prepare_update(&self.behaviour(), new, old);
        Ok(())
    }

    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        rules::update(&self.behaviour(), new, old)
    }

    fn prepare_status_update(&self, new: &mut Value, old: &Value) -> Result<(), Status> {
        write::prepare_status_update(new, old);
        Ok(())
    }

    fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList {
        rules::update_status(&self.behaviour(), new, old)
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        old.map(|old| rules::warnings(&self.behaviour(), new, old)).unwrap_or_default()
    }

    fn types(&self, version: &str) -> Option<TypeRef> {
        self.behaviour().version(version).map(|own| own.types.clone())
    }

    fn deprecation(&self, version: &str) -> Option<String> {
        self.behaviour().version(version)?.deprecation.clone()
    }

    fn has_status(&self, version: &str) -> bool {
        self.behaviour().version(version).is_some_and(|own| own.has_status)
    }

    fn scale(&self, version: &str) -> Option<ScaleRef> {
        self.behaviour().version(version)?.scale.as_ref().map(|scale| scale.to_ref())
    }

    fn columns(&self, version: &str) -> Value {
        self.behaviour().version(version).map(|own| table::columns(&own.columns)).unwrap_or_default()
    }

    fn cells(&self, version: &str, object: &Value, now: Timestamp) -> Vec<Value> {
        self.behaviour().version(version).map(|own| table::cells(&own.columns, object, now)).unwrap_or_default()
    }

    fn selectable(&self, version: &str) -> Vec<String> {
        let behaviour = self.behaviour();
        let fields = behaviour.version(version).map(|own| own.selectable.as_slice()).unwrap_or_default();
        fields.iter().map(|field| field.label.clone()).collect()
    }

    fn selected(&self, version: &str, label: &str, object: &Value) -> String {
        let behaviour = self.behaviour();
        let fields = behaviour.version(version).map(|own| own.selectable.as_slice()).unwrap_or_default();
        fields.iter().find(|field| field.label == label).map(|field| field.value(object)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
