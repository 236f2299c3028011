//! A node and pods: it makes mirror pods that use nothing of the cluster, and tells of, evicts and deletes the pods bound
//! to it.

use machinery::go_text::quote;
use machinery::status::Status;
use serde_json::Value;

use crate::admission::{Operation, Review};
use crate::authorization::pod_references::{self, Used};
use crate::registry::object;

pub(super) fn check(review: &Review<'_>, node: &str, object: Option<&Value>) -> Result<(), Status> {
    let judgement = match (review.subresource, review.operation, object) {
        ("", Operation::Create, Some(pod)) => created(review, node, pod),
        ("", Operation::Delete, _) => {
            // Deleted objects are not in the request: the registry shows the one that is about to go.
            own(review.old, node)
                .then_some(())
                .ok_or_else(|| format!("node {} can only delete pods with spec.nodeName set to itself", quote(node)))
        }
        ("", operation, _) => {
            let operation = format!("{operation:?}").to_uppercase();
            let node = quote(node);
            Err(format!("unexpected operation {operation:?}, node {node} can only create and delete mirror pods"))
        }
        ("status", Operation::Update, Some(pod)) => status(node, pod, review.old),
        ("eviction", Operation::Create, _) => {
            let pod = review.server.registry.get(review.kind, review.namespace, review.name).ok();
            own(pod.as_ref(), node)
                .then_some(())
                .ok_or_else(|| format!("node {node} can only evict pods with spec.nodeName set to itself"))
        }
        (subresource, ..) => {
            Err(format!("unexpected pod subresource {}, only 'status' and 'eviction' are allowed", quote(subresource)))
        }
    };
    judgement.map_err(|reason| review.forbidden(object, reason))
}

fn own(pod: Option<&Value>, node: &str) -> bool {
    pod.is_some_and(|pod| object::text(pod, "/spec/nodeName") == node)
}

fn created(review: &Review<'_>, node: &str, pod: &Value) -> Result<(), String> {
    let quoted = quote(node);
    if !pod_references::is_mirror(pod) {
        return Err(format!(
            "pod does not have \"kubernetes.io/config.mirror\" annotation, node {quoted} can only create mirror pods"
        ));
    }
    if !own(Some(pod), node) {
        return Err(format!("node {quoted} can only create pods with spec.nodeName set to itself"));
    }
    owner(review, node, pod)?;
    let named =
        [(Used::ServiceAccount, "a service account"), (Used::Secret, "secrets"), (Used::ConfigMap, "configmaps")];
    for (used, name) in named {
        if pod_references::uses_any(pod, used) {
            return Err(format!("node {quoted} can not create pods that reference {name}"));
        }
    }
    let volumes = object::list(pod, "/spec/volumes");
    let is_set = |value: &Value, key: &str| value.get(key).is_some_and(|found| !found.is_null());
    let mut sources = volumes.iter().flat_map(|volume| object::list(volume, "/projected/sources"));
    if sources.any(|source| is_set(source, "clusterTrustBundle")) {
        return Err(format!("node {quoted} can not create pods that reference clustertrustbundles"));
    }
    if volumes.iter().any(|volume| is_set(volume, "persistentVolumeClaim")) {
        return Err(format!("node {quoted} can not create pods that reference persistentvolumeclaims"));
    }
    // A claim's devices would be reserved for whoever names it, without the scheduler's say.
    if !object::list(pod, "/spec/resourceClaims").is_empty() {
        return Err(format!("node {quoted} can not create pods that reference resourceclaims"));
    }
    Ok(())
}

/// A mirror pod dies with its node, and so names exactly that as its owner.
fn owner(review: &Review<'_>, node: &str, pod: &Value) -> Result<(), String> {
    let quoted = quote(node);
    let owner = match object::list(pod, "/metadata/ownerReferences") {
        [owner] => owner,
        [] => return Err(format!("node {quoted} can only create pods with an owner reference set to itself")),
        _ => return Err(format!("node {quoted} can only create pods with a single owner reference set to itself")),
    };
    let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or_default();
    let is = |key: &str| owner.get(key).and_then(Value::as_bool).unwrap_or(false);
    if text("apiVersion") != "v1" || text("kind") != "Node" || text("name") != node {
        return Err(format!("node {quoted} can only create pods with an owner reference set to itself"));
    }
    if !is("controller") {
        return Err(format!("node {quoted} can only create pods with a controller owner reference set to itself"));
    }
    if is("blockOwnerDeletion") {
        return Err(format!("node {quoted} must not set blockOwnerDeletion on an owner reference"));
    }
    let nodes = api::find("", "v1", "nodes").map(|(kind, _)| kind);
    let found = nodes.and_then(|kind| review.server.registry.get(kind, "", node).ok());
    let Some(found) = found else { return Err(format!("nodes {quoted} not found")) };
    if object::uid(&found) != text("uid") {
        return Err(format!("node {node} UID mismatch: expected {} got {}", text("uid"), object::uid(&found)));
    }
    Ok(())
}

fn status(node: &str, new: &Value, old: Option<&Value>) -> Result<(), String> {
    let quoted = quote(node);
    let Some(old) = old.filter(|old| own(Some(old), node)) else {
        return Err(format!("node {quoted} can only update pod status for pods with spec.nodeName set to itself"));
    };
    let labels = |pod: &Value| pod.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default();
    if labels(new) != labels(old) {
        return Err(format!("node {quoted} cannot update labels through pod status"));
    }
    if object::list(new, "/status/resourceClaimStatuses") != object::list(old, "/status/resourceClaimStatuses") {
        return Err(format!("node {quoted} cannot update resource claim statues"));
    }
    if new.pointer("/status/extendedResourceClaimStatus") != old.pointer("/status/extendedResourceClaimStatus") {
        return Err(format!("node {quoted} cannot update extended resource claim statuses"));
    }
    Ok(())
}
