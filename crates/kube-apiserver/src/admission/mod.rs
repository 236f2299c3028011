//! Admission: what the cluster's rules make of a write after authorization let it through.
//!
//! Plugins run in the order of one list ([`chain`]), all mutations before all validations. A plugin sees a [`Review`]:
//! who does what to which object; it may change the new object or refuse the request.

pub mod attributes;
pub mod chain;
pub mod config;
pub mod expressions;
pub mod plugins;
pub mod policy;
pub mod predicates;
pub mod reinvocation;
pub mod usage;
pub mod webhook;

use std::sync::Arc;

use api::Kind;
use async_trait::async_trait;
use machinery::status::Status;
use serde_json::Value;
use tokio::time::Instant;

pub use chain::Chain;
pub use reinvocation::Reinvocation;

use crate::authorization::Attributes;
use crate::registry::{Admit, group_resource, object};
use crate::traces::{self, KeyValue};
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
    /// The request: its warnings and its audit event.
    pub ctx: &'a Context,
    /// The options of the request, without their kind.
    pub options: &'a Value,
    /// What the mutating plugins of the request know of each other.
    pub rounds: &'a Reinvocation,
}

impl Review<'_> {
    /// Whether this is about the resource itself (no subresource).
    pub fn is(&self, group: &str, resource: &str) -> bool {
        self.subresource.is_empty() && self.kind.group == group && self.kind.plural == resource
    }

    /// Whether the request has no time left, whoever it waits for.
    pub fn check_deadline(&self) -> Result<(), Status> {
        match self.ctx.deadline {
            Some(deadline) if Instant::now() >= deadline => {
                Err(Status::timeout("request did not complete within requested timeout", 0))
            }
            _ => Ok(()),
        }
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

    /// Whether it cannot work as long as the administrator tells it nothing.
    fn needs_config(&self) -> bool {
        false
    }

    /// May change the new object of a create or an update.
    async fn mutate(&self, _: &Review<'_>, _object: &mut Value) -> Result<(), Status> {
        Ok(())
    }

    /// The mutating phase of a request that has no new object: a delete. It may refuse.
    async fn mutate_nothing(&self, _: &Review<'_>) -> Result<(), Status> {
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
    /// As clients give them, without their kind.
    pub options: Value,
}

impl Request {
    fn review<'a>(
        &'a self,
        kind: &'static Kind,
        operation: Operation,
        old: Option<&'a Value>,
        rounds: &'a Reinvocation,
    ) -> Review<'a> {
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
            ctx: &self.ctx,
            options: &self.options,
            rounds,
        }
    }
}

#[async_trait]
impl Admit for Request {
    fn warn(&self, text: String) {
        self.ctx.warn(text);
    }

    fn user(&self) -> Option<&UserInfo> {
        Some(&self.user)
    }

    fn verb(&self) -> &str {
        &self.ctx.info.verb
    }

    async fn check_access(&self, verb: &str, subresource: &str, namespace: &str, name: &str) -> Result<(), Status> {
        let asked = Attributes::of_request(&self.user, &self.ctx.info);
        self.server.authorizer.check(&Attributes { verb, subresource, namespace, name, ..asked }).await
    }

    async fn mutate(
        &self,
        kind: &'static Kind,
        operation: Operation,
        new: &mut Value,
        old: Option<&Value>,
    ) -> Result<(), Status> {
        let rounds = Reinvocation::default();
        let review = self.review(kind, operation, old, &rounds);
        let mutated = async {
            for plugin in self.chain.plugins() {
                plugin.mutate(&review, new).await?;
            }
            if rounds.begin_second() {
                for plugin in self.chain.plugins() {
                    plugin.mutate(&review, new).await?;
                }
            }
            Ok(())
        };
        traces::step("Mutating admission", || traced(operation), mutated).await
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
            self.server.authorizer.check(&Attributes { verb: "create", ..asked }).await?;
        }
        let rounds = Reinvocation::default();
        let review = self.review(kind, operation, old, &rounds);
        let validated = async {
            if new.is_none() {
                for plugin in self.chain.plugins() {
                    plugin.mutate_nothing(&review).await?;
                }
            }
            for plugin in self.chain.plugins() {
                plugin.validate(&review, new).await?;
            }
            Ok(())
        };
        traces::step("Validating admission", || traced(operation), validated).await
    }
}

fn traced(operation: Operation) -> Vec<KeyValue> {
    vec![KeyValue::text("operation", operation.as_str())]
}

#[cfg(test)]
mod tests;
