//! How a write is to be done, and the part of it that admission has.

use api::Kind;
use async_trait::async_trait;
use machinery::field::ErrorList;
use machinery::status::Status;
use serde_json::Value;

use super::Owner;
use crate::UserInfo;
use crate::admission::Operation;

/// How a create or an update is to be done.
#[derive(Default)]
pub struct WriteOptions {
    /// Everything but the write: nothing is stored, nothing is allocated for good.
    pub dry_run: bool,
    /// To whom the fields belong that the write changes.
    pub owner: Owner,
}

impl WriteOptions {
    /// What is wrong with a whole object: by the version that the write came in, where that has rules of its own.
    pub fn check(&self, kind: &Kind, new: &Value, old: Option<&Value>) -> ErrorList {
        if let Some(check) = self.owner.version(kind).check_instead {
            return check(new, old);
        }
        match old {
            None => kind.validate(new),
            Some(old) => kind.validate_update(new, old),
        }
    }
}

/// meta/v1 DeleteOptions, checked.
#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    pub dry_run: bool,
    pub grace_period_seconds: Option<i64>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub propagation: Option<Propagation>,
    pub orphan_dependents: Option<bool>,
    /// The request came by a version of the kind whose deletes orphan dependents unless told otherwise.
    pub orphan_by_default: bool,
}

impl DeleteOptions {
    /// As clients give them.
    pub fn to_value(&self) -> Value {
        let mut options = serde_json::Map::new();
        let mut set = |key: &str, value: Option<Value>| value.map(|value| options.insert(key.to_owned(), value));
        set("gracePeriodSeconds", self.grace_period_seconds.map(Value::from));
        let mut preconditions = serde_json::Map::new();
        for (key, value) in [("uid", &self.uid), ("resourceVersion", &self.resource_version)] {
            if let Some(value) = value {
                preconditions.insert(key.to_owned(), value.as_str().into());
            }
        }
        set("preconditions", (!preconditions.is_empty()).then_some(Value::Object(preconditions)));
        set("orphanDependents", self.orphan_dependents.map(Value::from));
        set("propagationPolicy", self.propagation.map(|policy| format!("{policy:?}").into()));
        set("dryRun", self.dry_run.then(|| serde_json::json!(["All"])));
        Value::Object(options)
    }
}

/// What becomes of an object's dependents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    Foreground,
    Background,
    Orphan,
}

/// What admission may do to a write. The server's own writes take [`NoAdmission`].
#[async_trait]
pub trait Admit: Send + Sync {
    /// Something that the client's user should know.
    fn warn(&self, _text: String) {}

    /// Who asks; nobody where the server acts by itself.
    fn user(&self) -> Option<&UserInfo> {
        None
    }

    /// The verb of the request that asks.
    fn verb(&self) -> &str {
        ""
    }

    /// The refusal, if who asks may not do this to another subresource of what the request is about.
    async fn check_access(&self, _verb: &str, _subresource: &str, _namespace: &str, _name: &str) -> Result<(), Status> {
        Ok(())
    }

    /// May change the new object.
    async fn mutate(
        &self,
        kind: &'static Kind,
        operation: Operation,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status>;

    /// May only refuse. A delete has no new object.
    async fn validate(
        &self,
        kind: &'static Kind,
        operation: Operation,
        new: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), Status>;
}

/// Lets everything through.
pub struct NoAdmission;

#[async_trait]
impl Admit for NoAdmission {
    async fn mutate(&self, _: &'static Kind, _: Operation, _: &mut Value, _: Option<&Value>) -> Result<(), Status> {
        Ok(())
    }

    async fn validate(
        &self,
        _: &'static Kind,
        _: Operation,
        _: Option<&Value>,
        _: Option<&Value>,
    ) -> Result<(), Status> {
        Ok(())
    }
}
