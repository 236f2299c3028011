//! Admission: what the cluster's rules make of a write after authorization let it through.
//!
//! Plugins run in the order of one list ([`chain`]), all mutations before all validations. A plugin sees a [`Review`]:
//! who does what to which object; it may change the new object or refuse the request.

pub mod chain;
pub mod plugins;
pub mod usage;

use std::sync::Arc;

use api::Kind;
use async_trait::async_trait;
use machinery::status::Status;
use serde_json::Value;

pub use chain::Chain;

use crate::authorization::Attributes;
use crate::registry::{Admit, group_resource, object};
use crate::{Context, Server, UserInfo};

/// What is done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Create,
    Update,
    Delete,
    Connect,
}

/// One question to a plugin.
pub struct Review<'a> {
    pub server: &'a Arc<Server>,
    pub user: &'a UserInfo,
    pub kind: &'static Kind,
    pub operation: Operation,
    /// "" for the object itself.
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// The name in the request's path; "" on create.
    pub name: &'a str,
    pub dry_run: bool,
    /// The current object; none on create.
    pub old: Option<&'a Value>,
}

impl Review<'_> {
    /// Whether this is about the resource itself (no subresource).
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.subresource.is_empty() && self.kind.group == group && self.kind.plural == resource
    }

    /// A refusal in the words of all refusals: `pods "x" is forbidden: ...`.
    pub fn forbidden(&self, object: Option<&Value>, message: impl std::fmt::Display) -> Status {
        let name = [
            self.name,
            object.map_or("", object::name),
            object.map_or("", |o| object::text(o, "/metadata/generateName")),
        ];
        let name = name.into_iter().find(|name| !name.is_empty()).unwrap_or("Unknown");
        Status::forbidden(&group_resource(self.kind), name, message)
    }
}

/// One rule of the cluster.
#[async_trait]
pub trait Plugin: Send + Sync {
    /// The name that flags know it by.
    fn name(&self) -> &'static str;

    /// May change the new object of a create or an update.
    async fn mutate(&self, _: &Review<'_>, _object: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// May refuse. The object is the new one; none on delete.
    async fn validate(&self, _: &Review<'_>, _object: Option<&Value>) -> Result<(), Status> {
        Ok(())
    }
}

/// Admission of one request, as the registry calls it.
pub struct Request {
    pub chain: Arc<Chain>,
    pub server: Arc<Server>,
    pub user: Arc<UserInfo>,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub dry_run: bool,
    pub ctx: Arc<Context>,
}

impl Request {
    fn review<'a>(&'a self, kind: &'static Kind, operation: Operation, old: Option<&'a Value>) -> Review<'a> {
        Review {
            server: &self.server,
            user: &self.user,
            kind,
            operation,
            subresource: &self.subresource,
            namespace: &self.namespace,
            name: &self.name,
            dry_run: self.dry_run,
            old,
        }
    }
}

#[async_trait]
impl Admit for Request {
    async fn mutate(
        &self,
        kind: &'static Kind,
        operation: Operation,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let review = self.review(kind, operation, old);
        for plugin in self.chain.plugins() {
            plugin.mutate(&review, new).await?;
        }
        Ok(())
    }

    async fn validate(
        &self,
        kind: &'static Kind,
        operation: Operation,
        new: Option<&Value>,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        if operation == Operation::Create && matches!(self.ctx.info.verb.as_str(), "update" | "patch") {
            // Who may change objects may not make them for all that.
            let asked = Attributes::of_request(&self.user, &self.ctx.info);
            self.server.authorizer.check(&Attributes { verb: "create", ..asked })?;
        }
        let review = self.review(kind, operation, old);
        for plugin in self.chain.plugins() {
            plugin.validate(&review, new).await?;
        }
        Ok(())
    }
}
