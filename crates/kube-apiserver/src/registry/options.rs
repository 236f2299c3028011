//! How a write is to be done, and the part of it that admission has.

use api::Kind;
use async_trait::async_trait;
use machinery::status::Status;
use parking_lot::Mutex;
use serde_json::Value;

use super::Owner;
use crate::admission::Operation;

/// How a create or an update is to be done.
#[derive(Default)]
pub struct WriteOptions {
    /// Everything but the write: nothing is stored, nothing is allocated for good.
    pub dry_run: bool,
    /// Warnings that came up on the way, for the client's user.
    pub warnings: Mutex<Vec<String>>,
    /// To whom the fields belong that the write changes.
    pub owner: Owner,
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
