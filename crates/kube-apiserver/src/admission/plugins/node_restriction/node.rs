//! A node and its Node: no taints, owners or labels by which it could attract pods or come back as another.

use std::collections::BTreeSet;

use machinery::go_text::quote;
use serde_json::Value;

use crate::admission::{Operation, Review};
use crate::registry::object;

const RESERVED: &str = "node-restriction.kubernetes.io";
/// What a kubelet may say of itself in Kubernetes' own label namespaces.
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "node.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/instance-type",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
];
const KUBELET_NAMESPACES: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

pub(super) fn check(review: &Review<'_>, node: &str, object: Option<&Value>) -> Result<(), String> {
    let name = match review.name {
        "" => object.map_or("", object::name),
        name => name,
    };
    if name != node {
        return Err(format!("node {} is not allowed to modify node {}", quote(node), quote(name)));
    }
    match (review.operation, object, review.old) {
        (Operation::Create, Some(new), _) => created(node, new),
        (Operation::Update, Some(new), Some(old)) => updated(node, new, old),
        _ => Ok(()),
    }
}

fn created(node: &str, new: &Value) -> Result<(), String> {
    let node = quote(node);
    if is_set(new, "/spec/configSource") {
        return Err(format!("node {node} is not allowed to create pods with a non-nil configSource"));
    }
    let forbidden = forbidden_labels(new, &Value::Null);
    if forbidden.is_empty() {
        return Ok(());
    }
    Err(format!("node {node} is not allowed to set the following labels: {}", forbidden.join(", ")))
}

fn updated(node: &str, new: &Value, old: &Value) -> Result<(), String> {
    let node = quote(node);
    if is_set(new, "/spec/configSource") && new.pointer("/spec/configSource") != old.pointer("/spec/configSource") {
        return Err(format!("node {node} is not allowed to update configSource to a new non-nil configSource"));
    }
    if object::list(new, "/spec/taints") != object::list(old, "/spec/taints") {
        return Err(format!("node {node} is not allowed to modify taints"));
    }
    // The garbage collector would delete a Node that names an owner which is not there; the node would then
    // register anew with labels and taints of its choice.
    if object::list(new, "/metadata/ownerReferences") != object::list(old, "/metadata/ownerReferences") {
        return Err(format!("node {node} is not allowed to modify ownerReferences"));
    }
    let forbidden = forbidden_labels(new, old);
    if forbidden.is_empty() {
        return Ok(());
    }
    Err(format!("is not allowed to modify labels: {}", forbidden.join(", ")))
}

fn is_set(object: &Value, pointer: &str) -> bool {
    object.pointer(pointer).is_some_and(|value| !value.is_null())
}

/// The labels that differ and that a node may not touch, in order.
fn forbidden_labels(new: &Value, old: &Value) -> Vec<String> {
    let labels = |object: &Value| object.pointer("/metadata/labels").and_then(Value::as_object).cloned();
    let (new, old) = (labels(new).unwrap_or_default(), labels(old).unwrap_or_default());
    let keys: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
    keys.into_iter().filter(|key| new.get(*key) != old.get(*key) && is_forbidden(key)).cloned().collect()
}

fn is_forbidden(key: &str) -> bool {
    let namespace = key.split_once('/').map_or("", |(namespace, _)| namespace);
    let within =
        |parent: &str| namespace == parent || namespace.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'));
    if within(RESERVED) {
        return true;
    }
    let own = KUBELET_LABELS.contains(&key) || KUBELET_NAMESPACES.iter().any(|namespace| within(namespace));
    (within("kubernetes.io") || within("k8s.io")) && !own
}
