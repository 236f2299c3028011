//! What a node may write: its own Node (but neither taints, owners nor labels that attract pods), mirror pods of its
//! own, the status of the pods bound to it, tokens for them, its Lease, CSINode, slices and certificates.
//!
//! The Node authorizer has let the request through by kind and name; here the content is looked at.

mod certificate;
mod node;
mod pod;
mod token;

use async_trait::async_trait;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::{Operation, Plugin, Review};
use crate::registry::object;

const LEASE_NAMESPACE: &str = "kube-node-lease";

pub struct NodeRestriction;

#[async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    /// Changes nothing: it judges here what the node sent, before the server fills in and drops fields.
    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), Status> {
        if review.operation == Operation::Connect {
            return Ok(());
        }
        check(review, Some(object)).await
    }

    async fn validate(&self, review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
        // A refusal that other plugins' changes would have earned is earned too.
        match review.operation {
            Operation::Delete => check(review, None).await,
            Operation::Create => check(review, object).await,
            Operation::Update | Operation::Connect => Ok(()),
        }
    }
}

async fn check(review: &Review<'_>, object: Option<&Value>) -> Result<(), Status> {
    let Some(node) = review.user.as_node() else { return Ok(()) };
    let judgement = match (review.kind.group, review.kind.plural) {
        ("", "pods") => return pod::check(review, node, object),
        ("", "nodes") => node::check(review, node, object),
        ("", "persistentvolumeclaims") => claim(review, node, object),
        ("", "serviceaccounts") => return token::check(review, node, object).await,
        ("coordination.k8s.io", "leases") => lease(review, node, object),
        ("storage.k8s.io", "csinodes") => {
            own_name(review, node, object, "can only access CSINode with the same name as the requesting node")
        }
        ("resource.k8s.io", "resourceslices") => resource_slice(review, node, object),
        ("certificates.k8s.io", "certificatesigningrequests") => certificate::check(review, node, object),
        _ => Ok(()),
    };
    judgement.map_err(|reason| review.forbidden(object, reason))
}

fn own_name(review: &Review<'_>, node: &str, object: Option<&Value>, reason: &str) -> Result<(), String> {
    let name = if review.operation == Operation::Create { object.map_or("", object::name) } else { review.name };
    if name == node { Ok(()) } else { Err(reason.to_owned()) }
}

fn lease(review: &Review<'_>, node: &str, object: Option<&Value>) -> Result<(), String> {
    if review.namespace != LEASE_NAMESPACE {
        return Err(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"));
    }
    own_name(review, node, object, "can only access node lease with the same name as the requesting node")
}

fn resource_slice(review: &Review<'_>, node: &str, object: Option<&Value>) -> Result<(), String> {
    let names = |slice: Option<&Value>| slice.map_or("", |slice| object::text(slice, "/spec/nodeName")) == node;
    match review.operation {
        Operation::Create if !names(object) => {
            Err("can only create ResourceSlice with the same NodeName as the requesting node".to_owned())
        }
        Operation::Delete if !names(review.old) => {
            Err("can only delete ResourceSlice with the same NodeName as the requesting node".to_owned())
        }
        _ => Ok(()),
    }
}

/// Of a claim a node tells how large it became, and nothing else.
fn claim(review: &Review<'_>, node: &str, object: Option<&Value>) -> Result<(), String> {
    if review.subresource != "status" {
        return Err("may only update PVC status".to_owned());
    }
    let (Operation::Update, Some(new), Some(old)) = (review.operation, object, review.old) else {
        return Err("unexpected operation".to_owned());
    };
    let reported = ["capacity", "conditions", "allocatedResources", "allocatedResourceStatuses"];
    let rest = |claim: &Value| {
        let mut claim = claim.clone();
        for (part, fields) in [("/metadata", &["resourceVersion", "managedFields"][..]), ("/status", &reported)] {
            if let Some(part) = claim.pointer_mut(part).and_then(Value::as_object_mut) {
                fields.iter().for_each(|field| {
                    part.remove(*field);
                });
            }
        }
        claim
    };
    if rest(new) != rest(old) {
        let node = machinery::go_text::quote(node);
        return Err(format!(
            "node {node} is not allowed to update fields other than status.capacity and status.conditions"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
