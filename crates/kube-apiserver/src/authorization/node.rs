//! What a kubelet may do: users `system:node:NAME` of the group `system:nodes` may do what the role `system:node`
//! lists, but of the kinds below only to what is theirs: their own Node, Lease and CSINode, the pods bound to them, and
//! what those pods use ([`super::node_relations`]).
//!
//! What a node writes into an object that is its own, the admission plugin NodeRestriction judges.

use std::sync::Arc;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::node_relations::{NodeRelations, Related};
use super::{Attributes, Authorize, Decision, bootstrap, rules};
use crate::UserInfo;

const LEASE_NAMESPACE: &str = "kube-node-lease";

/// Allowed, or why not.
type Judgement = Result<(), String>;

pub struct NodeAuthorizer {
    rules: Vec<PolicyRule>,
    relations: Arc<dyn NodeRelations>,
}

impl NodeAuthorizer {
    pub fn new(relations: Arc<dyn NodeRelations>) -> Self {
        Self { rules: bootstrap::node_rules(), relations }
    }
}

impl Authorize for NodeAuthorizer {
    fn authorize(&self, attributes: &Attributes) -> (Decision, String) {
        let Some(node) = attributes.user.as_node() else { return (Decision::NoOpinion, String::new()) };
        let judgement = if attributes.resource_request { self.subdivided(node, attributes) } else { None };
        let judgement = judgement.unwrap_or_else(|| {
            let allowed = self.rules.iter().any(|rule| rules::allows(rule, attributes));
            if allowed { Ok(()) } else { Err(String::new()) }
        });
        match judgement {
            Ok(()) => (Decision::Allow, String::new()),
            Err(reason) => (Decision::NoOpinion, reason),
        }
    }

    fn rules_for(&self, user: &UserInfo, _namespace: &str) -> (Vec<PolicyRule>, Vec<String>, bool) {
        match user.as_node() {
            Some(_) => (Vec::new(), vec!["node authorizer does not support user rule resolution".to_owned()], true),
            None => (Vec::new(), Vec::new(), false),
        }
    }
}

impl NodeAuthorizer {
    /// The kinds of which a node may not touch every object; `None` for all others.
    fn subdivided(&self, node: &str, attributes: &Attributes) -> Option<Judgement> {
        Some(match (attributes.api_group, attributes.resource) {
            ("", "secrets") => self.read_in_namespace(node, Related::Secret, attributes),
            ("", "configmaps") => self.read_in_namespace(node, Related::ConfigMap, attributes),
            ("", "persistentvolumeclaims") if attributes.subresource == "status" => match attributes.verb {
                "update" | "patch" => self.related(node, Related::PersistentVolumeClaim, attributes),
                _ => refuse("can only get/update/patch this type"),
            },
            ("", "persistentvolumeclaims") => self.get(node, Related::PersistentVolumeClaim, attributes),
            ("", "persistentvolumes") => self.get(node, Related::PersistentVolume, attributes),
            ("resource.k8s.io", "resourceclaims") => self.get(node, Related::ResourceClaim, attributes),
            ("storage.k8s.io", "volumeattachments") => self.get(node, Related::VolumeAttachment, attributes),
            ("", "serviceaccounts") => self.service_account(node, attributes),
            ("coordination.k8s.io", "leases") => lease(node, attributes),
            ("storage.k8s.io", "csinodes") => csi_node(node, attributes),
            ("resource.k8s.io", "resourceslices") => self.resource_slice(node, attributes),
            ("", "nodes") => own_node(node, attributes),
            ("", "pods") => self.pod(node, attributes),
            _ => return None,
        })
    }

    fn related(&self, node: &str, kind: Related, attributes: &Attributes) -> Judgement {
        if attributes.name.is_empty() {
            return refuse("No Object name found");
        }
        if self.relations.related(node, kind, attributes.namespace, attributes.name) {
            return Ok(());
        }
        Err(format!("no relationship found between node '{node}' and this object"))
    }

    fn get(&self, node: &str, kind: Related, attributes: &Attributes) -> Judgement {
        if attributes.verb != "get" {
            return refuse("can only get individual resources of this type");
        }
        if !attributes.subresource.is_empty() {
            return refuse("cannot get subresource");
        }
        self.related(node, kind, attributes)
    }

    /// A list or watch of one object by its name is as good as a get.
    fn read_in_namespace(&self, node: &str, kind: Related, attributes: &Attributes) -> Judgement {
        if !attributes.is_read_only() {
            return refuse("can only read resources of this type");
        }
        if !attributes.subresource.is_empty() {
            return refuse("cannot read subresource");
        }
        if attributes.namespace.is_empty() {
            return refuse("can only read namespaced object of this type");
        }
        self.related(node, kind, attributes)
    }

    fn service_account(&self, node: &str, attributes: &Attributes) -> Judgement {
        if attributes.verb == "get" && attributes.subresource.is_empty() {
            return self.read_in_namespace(node, Related::ServiceAccount, attributes);
        }
        if attributes.verb != "create" || attributes.name.is_empty() {
            return refuse("can only create tokens for individual service accounts");
        }
        if attributes.subresource != "token" {
            return refuse("can only create token subresource of serviceaccount");
        }
        self.related(node, Related::ServiceAccount, attributes)
    }

    fn resource_slice(&self, node: &str, attributes: &Attributes) -> Judgement {
        if !attributes.subresource.is_empty() {
            return refuse("cannot authorize ResourceSlice subresources");
        }
        match attributes.verb {
            // Which node the new object names, NodeRestriction checks.
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(node, Related::ResourceSlice, attributes),
            "list" | "watch" | "deletecollection" if attributes.selects_field("spec.nodeName", node) => Ok(()),
            "list" | "watch" | "deletecollection" => {
                refuse("can only list/watch/deletecollection resourceslices with spec.nodeName field selector")
            }
            _ => refuse(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn pod(&self, node: &str, attributes: &Attributes) -> Judgement {
        match (attributes.subresource, attributes.verb) {
            ("", "get") => self.get(node, Related::Pod, attributes),
            ("", "list" | "watch") if attributes.selects_field("spec.nodeName", node) => Ok(()),
            ("", "list" | "watch") => refuse("can only list/watch pods with spec.nodeName field selector"),
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => Ok(()),
            _ => refuse(""),
        }
    }
}

fn refuse(reason: &str) -> Judgement {
    Err(reason.to_owned())
}

fn own_node(node: &str, attributes: &Attributes) -> Judgement {
    match (attributes.subresource, attributes.verb) {
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
        // By name rather than by relation: a kubelet looks for its Node before there is one.
        ("", "get" | "list" | "watch") => match attributes.name {
            "" => Err(format!("node '{node}' cannot read all nodes, only its own Node object")),
            own if own == node => Ok(()),
            other => Err(format!("node '{node}' cannot read '{other}', only its own Node object")),
        },
        _ => refuse(""),
    }
}

/// The name of an object to be created is not known here: admission checks it.
fn has_own_name(node: &str, attributes: &Attributes) -> bool {
    attributes.verb == "create" || attributes.name == node
}

fn lease(node: &str, attributes: &Attributes) -> Judgement {
    if !matches!(attributes.verb, "get" | "create" | "update" | "patch" | "delete") {
        return refuse("can only get, create, update, patch, or delete a node lease");
    }
    if attributes.namespace != LEASE_NAMESPACE {
        return Err(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"));
    }
    if !has_own_name(node, attributes) {
        return refuse("can only access node lease with the same name as the requesting node");
    }
    Ok(())
}

fn csi_node(node: &str, attributes: &Attributes) -> Judgement {
    if !matches!(attributes.verb, "get" | "create" | "update" | "patch" | "delete") {
        return refuse("can only get, create, update, patch, or delete a CSINode");
    }
    if !attributes.subresource.is_empty() {
        return refuse("cannot authorize CSINode subresources");
    }
    if !has_own_name(node, attributes) {
        return refuse("can only access CSINode with the same name as the requesting node");
    }
    Ok(())
}
