//! Node life cycle: a node that is no longer heard of becomes Unknown, its condition becomes taints, its pods stop being
//! Ready. When nobody hears of any node, it is the listener that is cut off, and no taint evicts; see [`eviction`].
//!
//! Heartbeats are timed by when they were noticed here, not by the node's clock: `observe` remembers that.

mod conditions;
mod eviction;
mod taints;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{
    ApiError, BoxFuture, Change, Controller, EventType, Index, Intent, Key, Note, Object, Outside, Plan, Sources, View,
};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::pods;

const LEASES: &str = "kube-node-lease";

/// Timings.
#[derive(Clone, Copy, Debug)]
pub struct Grace {
    /// How long a node may be silent.
    pub monitor: Duration,
    /// How long a new node may take to report at all.
    pub startup: Duration,
}

/// The controller.
pub struct NodeLifecycle {
    grace: Grace,
    heard: Mutex<BTreeMap<String, Heard>>,
}

/// The last sign of life of a node, and when it was noticed.
#[derive(Clone, Debug, PartialEq)]
pub struct Heard {
    uid: String,
    sign: String,
    /// When it was noticed.
    pub at: Timestamp,
}

/// Put into the view: when the node was last heard of.
#[derive(Clone, Copy, Debug)]
pub struct LastHeard(pub Timestamp);

/// Put into the view: that this process sees the node for the first time, or that one it saw is gone.
#[derive(Clone, Debug, PartialEq)]
pub enum Passage {
    /// It came.
    Came,
    /// It went, and this was its uid.
    Went(String),
}

impl NodeLifecycle {
    /// Watches nodes with this patience.
    pub fn new(grace: Grace) -> Self {
        Self { grace, heard: Mutex::default() }
    }
}

impl Controller for NodeLifecycle {
    const NAME: &'static str = "node-lifecycle";

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on::<Node, _>(node_concerns);
        sources.on::<Lease, _>(|_, change| {
            let lease = change.latest().filter(|lease| lease.meta_ref().namespace == LEASES)?;
            Some(Key::cluster(lease.meta_ref().name))
        });
        // A pod that comes to a node that is not ready must not seem ready either.
        sources.on::<Pod, _>(|view, change| {
            let pod = change.new.filter(|pod| pods::is_ready(pod))?;
            let nodes = view.of::<Node>();
            let node = nodes.find("", pods::node_name(pod))?;
            (conditions::ready(node) == "Unknown").then(|| node.key())
        });
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        let nodes = view.of::<Node>();
        let mut heard = self.heard.lock();
        let Some(node) = nodes.get(key) else {
            if let Some(gone) = heard.remove(&*key.name) {
                view.put(Arc::new(Passage::Went(gone.uid)));
            }
            return Box::pin(async { Ok(()) });
        };
        let uid = node.meta_ref().uid;
        let sign = sign_of_life(node, view.of::<Lease>().find(LEASES, &key.name).map(|lease| &**lease));
        let known = heard.get(&*key.name).filter(|known| known.uid == uid);
        let at = match known {
            Some(known) if known.sign == sign => known.at,
            Some(_) => outside.now,
            None => {
                view.put(Arc::new(Passage::Came));
                first_heard(node, outside.now)
            }
        };
        heard.insert(key.name.to_string(), Heard { uid: uid.to_owned(), sign, at });
        view.put(Arc::new(LastHeard(at)));
        Box::pin(async { Ok(()) })
    }

    fn reconcile(&self, view: &View, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::nothing();
        let nodes = view.of::<Node>();
        let passage = view.extra::<Passage>();
        if let (None, Some(Passage::Went(uid))) = (nodes.get(key), passage.as_deref()) {
            let message = format!("Node {0} event: Removing Node {0} from Controller", key.name);
            plan.event(note(&key.name, uid, "RemovingNode", message));
        }
        let Some(node) = nodes.get(key).filter(|node| node.metadata.deletion_timestamp.is_none()) else { return plan };
        let uid = node.meta_ref().uid;
        if passage.as_deref() == Some(&Passage::Came) {
            let message = format!("Node {0} event: Registered Node {0} in Controller", key.name);
            plan.event(note(&key.name, uid, "RegisteredNode", message));
        }
        let last = view.extra::<LastHeard>().map_or(now, |heard| heard.0);
        let never = !conditions::has(node, "Ready");
        let patience = if never { self.grace.startup } else { self.grace.monitor };
        let mut updated = Node::clone(node);
        match left(last, patience, now) {
            Some(left) => plan.look_again_in(left),
            None => conditions::make_unknown(&mut updated, now),
        }
        if updated.status != node.status {
            plan.because(format!("{} has been silent for {} seconds", key.name, patience.as_secs()));
            plan.write(Intent::update_status(&updated));
            if conditions::ready(node) == "True" {
                let message = format!("Node {} status is now: NodeNotReady", key.name);
                plan.event(note(&key.name, uid, "NodeNotReady", message));
            }
            // The taints follow from the conditions as they are stored.
            return plan;
        }
        let permission = match conditions::ready(node) {
            "False" | "Unknown" => eviction::permission(node, &nodes, now),
            _ => eviction::Permission::Denied,
        };
        if let eviction::Permission::Later(delay) = permission {
            plan.look_again_in(delay);
        }
        if let Some(wanted) = taints::wanted(node, permission == eviction::Permission::Granted, now) {
            let patch = json!({"spec": {"taints": if wanted.is_empty() { Value::Null } else { json!(wanted) }}});
            plan.write(Intent::patch(&**node, patch));
        }
        if conditions::ready(node) == "Unknown" {
            for pod in view.of::<Pod>().by(Index::Node, &key.name).filter(|pod| pods::is_ready(pod)) {
                plan.write(not_ready(pod, now));
                plan.event(Note::about(&**pod, EventType::Warning, "NodeNotReady", "Node is not ready"));
            }
        }
        plan
    }
}

/// A node, and when nodes come, go, fail or recover also those that are not ready: whether they are given up depends on
/// how the others are.
fn node_concerns(view: &View, change: &Change<'_, Node>) -> Vec<Key> {
    let Some(node) = change.latest() else { return Vec::new() };
    let mut keys = vec![node.key()];
    let ready = |node: Option<&Arc<Node>>| node.map(|node| conditions::ready(node) == "True");
    if ready(change.old) != ready(change.new) {
        let nodes = view.of::<Node>();
        keys.extend(nodes.iter().filter(|node| conditions::ready(node) != "True").map(|node| node.key()));
    }
    keys
}

/// An event about a node, which may be gone.
fn note(name: &str, uid: &str, reason: &'static str, message: String) -> Note {
    let about = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        ..Default::default()
    };
    Note { about, kind: EventType::Normal, reason, message }
}

/// Whatever changes when the kubelet reports.
fn sign_of_life(node: &Node, lease: Option<&Lease>) -> String {
    let renewed = lease.and_then(|lease| lease.spec.as_ref()?.renew_time.as_ref()).map(|time| time.0);
    let reported = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let reported = reported.filter_map(|condition| condition.last_heartbeat_time.as_ref()).map(|time| time.0).max();
    format!("{renewed:?} {reported:?}")
}

/// A node that is seen for the first time is given full patience, but a new one only from its creation.
fn first_heard(node: &Node, now: Timestamp) -> Timestamp {
    match (conditions::has(node, "Ready"), &node.metadata.creation_timestamp) {
        (false, Some(created)) => created.0.min(now),
        _ => now,
    }
}

fn left(since: Timestamp, patience: Duration, now: Timestamp) -> Option<Duration> {
    let passed = u64::try_from(now.as_millisecond() - since.as_millisecond()).unwrap_or(0);
    patience.checked_sub(Duration::from_millis(passed)).filter(|left| !left.is_zero())
}

fn not_ready(pod: &Pod, now: Timestamp) -> Intent {
    let mut conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    for condition in conditions.iter_mut().filter(|condition| condition.type_ == "Ready") {
        condition.status = "False".to_owned();
        condition.last_transition_time = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
    }
    Intent::patch_status(pod, json!({"status": {"conditions": conditions}}))
}

#[cfg(test)]
mod tests;
