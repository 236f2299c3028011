//! `kubectl describe`: one object and what belongs to it, for people to read.
//!
//! A describer is a function from an object (and what was read along with it) to lines with tabs. Kinds without their own
//! are shown field by field.

mod config;
mod events;
mod generic;
mod network;
mod nodes;
mod pods;
mod policy;
mod text;
mod workloads;

use serde_json::Value;

use crate::console::harmless;
use crate::context::Context;
use crate::error::Result;
use crate::printers::tabs::align;
use crate::selection::Item;
use crate::value;

use text::Text;

/// What was read beside the object.
#[derive(Default)]
pub struct Related {
    /// Pods of the workload or node.
    pub pods: Vec<Value>,
    /// ReplicaSets of a Deployment, EndpointSlices of a Service, quotas and limits of a namespace, a node's Lease.
    pub others: Vec<Value>,
}

type Describer = fn(&mut Text, &Value, &Related);

/// Kinds with their own description.
static ALL: &[(&str, Describer)] = &[
    ("Pod", pods::pod),
    ("Deployment", workloads::deployment),
    ("ReplicaSet", workloads::replica_set),
    ("ReplicationController", workloads::replica_set),
    ("Node", nodes::node),
    ("Namespace", policy::namespace),
    ("ResourceQuota", policy::quota),
    ("LimitRange", policy::limit_range),
    ("Service", network::service),
    ("Endpoints", network::endpoints),
    ("EndpointSlice", network::endpoint_slice),
    ("PriorityClass", policy::priority_class),
    ("ConfigMap", config::config_map),
    ("Secret", config::secret),
    ("ServiceAccount", config::service_account),
    ("Role", policy::role),
    ("ClusterRole", policy::role),
    ("RoleBinding", policy::binding),
    ("ClusterRoleBinding", policy::binding),
];

/// The description of an object that was read from the server.
pub async fn describe(context: &Context, item: &Item, with_events: bool) -> Result<String> {
    let kind = value::kind(&item.object);
    let related = events::related(context, item).await;
    let mut text = Text::default();
    match ALL.iter().find(|(own, _)| *own == kind) {
        Some((_, describer)) => describer(&mut text, &item.object, &related),
        None => generic::describe(&mut text, &item.object),
    }
    // A namespace's, config map's or role's description ends without events, as nothing happens to them.
    let eventless = [
        "Namespace",
        "Role",
        "ClusterRole",
        "RoleBinding",
        "ClusterRoleBinding",
        "ResourceQuota",
        "LimitRange",
        "Secret",
        "Event",
    ];
    if with_events && !eventless.contains(&kind) {
        let found = events::of(context, item).await;
        events::write(&mut text, &found, jiff::Timestamp::now());
    }
    Ok(finish(&text))
}

/// A pod template alone, for `rollout history --revision`, which upstream prints with its tabs.
pub fn pod_template(template: &Value) -> String {
    let mut text = Text::default();
    pods::template(&mut text, template);
    format!("{}\n", harmless(text.content()))
}

fn finish(text: &Text) -> String {
    align(&harmless(text.content()), 0, 2)
}

#[cfg(test)]
mod tests;
