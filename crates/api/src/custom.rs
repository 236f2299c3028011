//! Kinds that are declared while the server runs, and the one way in which generic code asks any kind to do something.
//!
//! A built-in kind's hooks are function pointers in its declaration. A kind of a CustomResourceDefinition has no functions
//! of its own: what it does is read off its schemas, which change while the kind stays the same. Its declaration carries a
//! [`Custom`], and the methods below ask that where there is one. Generic code calls these methods and never a pointer.
//!
//! The hooks of a custom kind get objects in the version that their `apiVersion` names; those of built-in kinds get the
//! storage form.

use std::any::Any;
use std::borrow::Cow;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use machinery::codec::Parsed;
use machinery::field::ErrorList;
use machinery::schema::{self, Decoded, FieldValidation, TypeId, Types};
use machinery::status::Status;
use serde_json::Value;

use crate::{Kind, Scale, Version};

/// The behaviour of a kind that was declared at run time. `version` is the name of one of its versions.
pub trait Custom: Send + Sync {
    /// For whoever made it.
    fn as_any(&self) -> &dyn Any;

    /// Reads a body: unknown fields are dropped and reported, metadata must have its types. The error is the reason alone.
    fn decode(&self, version: &str, parsed: Parsed, mode: FieldValidation) -> Result<Decoded, String>;
    /// Brings an object into the form in which it is stored and sent.
    fn canonicalize(&self, object: &mut Value);
    /// Stored objects, whatever their versions, as they are read in `version`: with today's defaults, converted and pruned.
    fn read(&self, objects: Vec<Value>, version: &str) -> Result<Vec<Value>, Status>;
    /// Brings objects into `version`.
    fn convert(&self, objects: Vec<Value>, version: &str) -> Result<Vec<Value>, Status>;
    fn default(&self, object: &mut Value) -> Result<(), Status>;
    fn prepare_create(&self, object: &mut Value) -> Result<(), Status>;
    fn validate(&self, object: &Value) -> ErrorList;
    fn prepare_update(&self, new: &mut Value, old: &Value) -> Result<(), Status>;
    fn validate_update(&self, new: &Value, old: &Value) -> ErrorList;
    fn prepare_status_update(&self, new: &mut Value, old: &Value) -> Result<(), Status>;
    fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList;
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String>;

    /// The types of a version's schema, for structured merge.
    fn types(&self, version: &str) -> Option<TypeRef>;
    /// The text that a request to an old version is answered with.
    fn deprecation(&self, version: &str) -> Option<String>;
    fn has_status(&self, version: &str) -> bool;
    fn scale(&self, version: &str) -> Option<ScaleRef>;
    /// The columns of the table, as they are sent.
    fn columns(&self, version: &str) -> Value;
    fn cells(&self, version: &str, object: &Value, now: Timestamp) -> Vec<Value>;
    /// The field labels that selectors may use besides name and namespace.
    fn selectable(&self, version: &str) -> Vec<String>;
    /// What a selectable field is in an object.
    fn selected(&self, version: &str, label: &str, object: &Value) -> String;
}

/// A type and the table that it is in.
#[derive(Clone)]
pub struct TypeRef {
    pub types: TypesRef,
    pub id: TypeId,
}

impl TypeRef {
    /// A built-in type by its name.
    pub fn builtin(name: &str) -> Option<Self> {
        let types = schema::builtin();
        Some(Self { types: TypesRef::Builtin(types), id: types.id(name)? })
    }
}

/// The one table of built-in types, or a custom kind's own.
#[derive(Clone)]
pub enum TypesRef {
    Builtin(&'static Types),
    Own(Arc<Types>),
}

impl Deref for TypesRef {
    type Target = Types;

    fn deref(&self) -> &Types {
        match self {
            Self::Builtin(types) => types,
            Self::Own(types) => types,
        }
    }
}

/// The scale subresource of one version: where its numbers are, as JSON pointers, and how its selector reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScaleRef {
    pub spec_replicas: Cow<'static, str>,
    pub status_replicas: Cow<'static, str>,
    selector: Selector,
}

#[derive(Clone, Debug)]
enum Selector {
    Of(fn(&Value) -> String),
    At(String),
    None,
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::At(a), Self::At(b)) => a == b,
            (Self::None, Self::None) => true,
            _ => false,
        }
    }
}

impl Eq for Selector {}

impl ScaleRef {
    /// Of a custom kind: three JSON pointers, the last one to the selector's text.
    pub fn at(spec_replicas: String, status_replicas: String, selector: Option<String>) -> Self {
        let selector = selector.map_or(Selector::None, Selector::At);
        Self { spec_replicas: spec_replicas.into(), status_replicas: status_replicas.into(), selector }
    }

    fn of(scale: &Scale) -> Self {
        Self {
            spec_replicas: scale.spec_replicas.into(),
            status_replicas: scale.status_replicas.into(),
            selector: Selector::Of(scale.selector),
        }
    }

    /// The selector in its text form; "" when there is none.
    pub fn selector(&self, object: &Value) -> String {
        match &self.selector {
            Selector::Of(selector) => selector(object),
            Selector::At(pointer) => object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned(),
            Selector::None => String::new(),
        }
    }
}

impl Kind {
    pub fn default(&self, object: &mut Value) -> Result<(), Status> {
        match self.custom {
            Some(custom) => custom.default(object),
            None => (self.hooks.default)(object),
        }
    }

    pub fn prepare_create(&self, object: &mut Value) -> Result<(), Status> {
        match self.custom {
            Some(custom) => custom.prepare_create(object),
            None => (self.hooks.prepare_create)(object),
        }
    }

    pub fn validate(&self, object: &Value) -> ErrorList {
        match self.custom {
            Some(custom) => custom.validate(object),
            None => (self.hooks.validate)(object),
        }
    }

    pub fn prepare_update(&self, new: &mut Value, old: &Value) -> Result<(), Status> {
        match self.custom {
            Some(custom) => custom.prepare_update(new, old),
            None => (self.hooks.prepare_update)(new, old),
        }
    }

    pub fn validate_update(&self, new: &Value, old: &Value) -> ErrorList {
        match self.custom {
            Some(custom) => custom.validate_update(new, old),
            None => (self.hooks.validate_update)(new, old),
        }
    }

    pub fn prepare_status_update(&self, new: &mut Value, old: &Value) -> Result<(), Status> {
        match self.custom {
            Some(custom) => custom.prepare_status_update(new, old),
            None => (self.hooks.prepare_status_update)(new, old),
        }
    }

    pub fn validate_status_update(&self, new: &Value, old: &Value) -> ErrorList {
        match self.custom {
            Some(custom) => custom.validate_status_update(new, old),
            None => (self.hooks.validate_status_update)(new, old),
        }
    }

    /// Warnings of a create (no old object) or an update.
    pub fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        match self.custom {
            Some(custom) => custom.warnings(new, old),
            None => (self.hooks.warnings)(new, old),
        }
    }
}

impl Version {
    /// The type of this version's objects.
    pub fn type_ref(&self, kind: &Kind) -> Option<TypeRef> {
        match kind.custom {
            Some(custom) => custom.types(self.name),
            None => TypeRef::builtin(self.schema),
        }
    }

    /// Whether this version has a `status` subresource.
    pub fn has_status(&self, kind: &Kind) -> bool {
        kind.custom.map_or(kind.status, |custom| custom.has_status(self.name))
    }

    /// This version's scale subresource.
    pub fn scale(&self, kind: &Kind) -> Option<ScaleRef> {
        match kind.custom {
            Some(custom) => custom.scale(self.name),
            None => kind.scale.as_ref().map(ScaleRef::of),
        }
    }

    /// The cells of an object's row, as many as there are columns.
    pub fn cells(&self, kind: &Kind, object: &Value, now: Timestamp) -> Vec<Value> {
        match kind.custom {
            Some(custom) => custom.cells(self.name, object, now),
            None => (kind.cells)(object, now),
        }
    }

    /// The checks of this version beside the kind's own.
    pub fn own_errors(&self, new: &Value, old: Option<&Value>) -> ErrorList {
        self.validate.map(|validate| validate(new, old)).unwrap_or_default()
    }
}
