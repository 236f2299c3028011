//! What a kubelet may do: the rules of the role `system:node`, for users `system:node:NAME` of the group
//! `system:nodes`, narrowed to the node's own objects where a name tells.
//!
//! Which Secrets, ConfigMaps and claims a node may read follows, upstream, from the pods bound to it. That graph is not
//! here yet: within the rules these reads are allowed by kind.

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::{Attributes, Decision, bootstrap, rules};

const LEASE_NAMESPACE: &str = "kube-node-lease";

pub struct NodeAuthorizer {
    rules: Vec<PolicyRule>,
}

impl Default for NodeAuthorizer {
    fn default() -> Self {
        Self::new()
    }
}

impl NodeAuthorizer {
    pub fn new() -> Self {
        Self { rules: bootstrap::node_rules() }
    }

    pub fn authorize(&self, attributes: &Attributes) -> (Decision, String) {
        let Some(node) = attributes.user.as_node() else { return (Decision::NoOpinion, String::new()) };
        if let Err(reason) = own_object(node, attributes) {
            return (Decision::NoOpinion, reason);
        }
        let allowed = self.rules.iter().any(|rule| rules::allows(rule, attributes));
        (if allowed { Decision::Allow } else { Decision::NoOpinion }, String::new())
    }
}

/// Refuses the objects that by their name are another node's.
fn own_object(node: &str, attributes: &Attributes) -> Result<(), String> {
    let named = attributes.name == node;
    let creates = attributes.verb == "create" && attributes.name.is_empty();
    match (attributes.api_group, attributes.resource) {
        ("", "nodes") if matches!(attributes.verb, "get" | "list" | "watch") && !named => Err(format!(
            "node '{node}' cannot read '{}', only its own Node object",
            if attributes.name.is_empty() { "all nodes" } else { attributes.name }
        )),
        ("coordination.k8s.io", "leases") if attributes.namespace != LEASE_NAMESPACE => {
            Err(format!("can only access leases in the {LEASE_NAMESPACE:?} system namespace"))
        }
        ("coordination.k8s.io", "leases") if !named && !creates => {
            Err("can only access node lease with the same name as the requesting node".to_owned())
        }
        ("storage.k8s.io", "csinodes") if !named && !creates => {
            Err("can only access CSINode with the same name as the requesting node".to_owned())
        }
        _ => Ok(()),
    }
}
