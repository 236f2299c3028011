//! The garbage collector: deletes what nobody owns any more, and carries out foreground and orphaning deletions.
//!
//! Its keys are uids. An object with owners is kept while one of them is really there. An owner counts as gone only when
//! the server itself says so: the graph may not know it yet. Example: ReplicaSet R owns pod P; R is deleted in the
//! background; its absence wakes P, R is asked for and not found, P is deleted on condition of the uid and version seen.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use client::{
    Action, ApiError, BoxFuture, Change, Controller, Intent, Key, Outside, Plan, Propagation, Snapshot, Sources, View,
    request,
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use crate::monitors::{Monitors, Node, key_of};

const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";
/// How often owners are asked for that no monitor follows.
const UNSEEN_OWNER_PERIOD: Duration = Duration::from_secs(60);

/// The controller.
pub struct GarbageCollector {
    /// The graph and discovery.
    pub monitors: Arc<Monitors>,
}

/// What the server said of owners that the graph does not have, by uid.
#[derive(Default)]
pub struct LiveOwners(pub HashMap<String, Live>);

/// An owner outside the graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// It exists.
    Present,
    /// It does not.
    Absent,
    /// Its kind is not served, so nobody can say.
    Unknown,
}

impl Controller for GarbageCollector {
    const NAME: &'static str = "garbage-collector";
    const CONCURRENCY: usize = 20;

    fn sources(&self, sources: &mut Sources<'_>) {
        sources.on_store(self.monitors.graph.clone(), |view, change: &Change<'_, Node>| {
            concerned(&view.of::<Node>(), change)
        });
    }

    fn observe<'a>(
        &'a self,
        outside: &'a Outside,
        key: &'a Key,
        view: &'a mut View,
    ) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            let graph = view.of::<Node>();
            let Some(node) = graph.get(key).filter(|node| !node.deleting) else { return Ok(()) };
            let mut live = LiveOwners::default();
            for owner in node.owners.iter().filter(|owner| in_graph(&graph, node, owner).is_none()) {
                live.0.insert(owner.uid.clone(), self.ask(outside, node, owner).await?);
            }
            view.put(Arc::new(live));
            Ok(())
        })
    }

    fn reconcile(&self, view: &View, key: &Key, _now: Timestamp) -> Plan {
        let graph = view.of::<Node>();
        let Some(node) = graph.get(key) else { return Plan::nothing() };
        if node.deleting {
            return finish_deletion(&graph, node);
        }
        let live = view.extra::<LiveOwners>().unwrap_or_default();
        judge(&graph, node, &live)
    }
}

impl GarbageCollector {
    async fn ask(&self, outside: &Outside, node: &Node, owner: &OwnerReference) -> Result<Live, ApiError> {
        let discovered = self.monitors.discovered();
        let Some(served) = discovered.find(&owner.api_version, &owner.kind) else {
            return Ok(Live::Unknown);
        };
        if served.namespaced && node.namespace.is_empty() {
            // A cluster-scoped object cannot be owned by one in a namespace; there is no place to look for it.
            return Ok(Live::Absent);
        }
        let namespace = if served.namespaced { node.namespace.as_str() } else { "" };
        let path = format!("{}/{}", served.resource.path(namespace), owner.name);
        match request::get::<Value>(&outside.client, &path).await {
            Ok(object) if object["metadata"]["uid"] == *owner.uid => Ok(Live::Present),
            Ok(_) => Ok(Live::Absent),
            Err(error) if error.is_not_found() => Ok(Live::Absent),
            Err(error) => Err(error),
        }
    }
}

/// Whom a change concerns: the object itself if there may be something to do, the dependents of one that goes, and the
/// owners that wait for one that is gone.
fn concerned(graph: &Snapshot<Node>, change: &Change<'_, Node>) -> Vec<Key> {
    let mut keys = Vec::new();
    if let (Some(old), Some(new)) = (change.old, change.new)
        && (&old.owners, &old.finalizers, old.deleting) == (&new.owners, &new.finalizers, new.deleting)
    {
        return keys;
    }
    if let Some(node) = change.new {
        let ending = node.deleting && (node.has_finalizer(FOREGROUND) || node.has_finalizer(ORPHAN));
        if ending || (!node.deleting && !node.owners.is_empty()) {
            keys.push(key_of(&node.uid));
        }
    }
    let Some(node) = change.latest() else { return keys };
    let goes = change.new.is_none_or(|new| new.deleting && change.old.is_none_or(|old| !old.deleting));
    if goes {
        keys.extend(graph.owned_by(&node.uid).map(|dependent| key_of(&dependent.uid)));
    }
    // Owners this object no longer holds back.
    if let Some(old) = change.old {
        let still = |uid: &str| {
            change.new.is_some_and(|new| {
                new.owners.iter().any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
            })
        };
        keys.extend(old.owners.iter().filter(|owner| !still(&owner.uid)).map(|owner| key_of(&owner.uid)));
    }
    keys
}

fn in_graph<'a>(graph: &'a Snapshot<Node>, node: &Node, owner: &OwnerReference) -> Option<&'a Arc<Node>> {
    // An owner lives in the same namespace or in none; the same uid elsewhere is a forgery.
    graph.get(&key_of(&owner.uid)).filter(|found| found.namespace.is_empty() || found.namespace == node.namespace)
}

/// The end of a deletion that waits for the collector: dependents let go, or gone.
fn finish_deletion(graph: &Snapshot<Node>, node: &Arc<Node>) -> Plan {
    let mut plan = Plan::nothing();
    if node.has_finalizer(ORPHAN) {
        for dependent in graph.owned_by(&node.uid) {
            plan.write(without_owners(dependent, &|owner| owner.uid == node.uid));
        }
        plan.because(format!("{} is deleted and its dependents stay", node.name));
        plan.write(without_finalizer(node, ORPHAN));
    } else if node.has_finalizer(FOREGROUND) {
        let mut blocking = graph.owned_by(&node.uid).filter(|dependent| {
            dependent.owners.iter().any(|owner| owner.uid == node.uid && owner.block_owner_deletion == Some(true))
        });
        match blocking.next() {
            Some(dependent) => plan.because(format!("{} waits for {} to be gone", node.name, dependent.name)),
            None => plan.write(without_finalizer(node, FOREGROUND)),
        }
    }
    plan
}

/// Whether an object that is not being deleted may stay.
fn judge(graph: &Snapshot<Node>, node: &Arc<Node>, live: &LiveOwners) -> Plan {
    let mut plan = Plan::nothing();
    let (mut solid, mut unseen, mut dangling, mut waiting) = (0, 0, Vec::new(), Vec::new());
    for owner in &node.owners {
        match in_graph(graph, node, owner) {
            Some(found) if found.deleting && found.has_finalizer(FOREGROUND) => waiting.push(owner.uid.clone()),
            Some(_) => solid += 1,
            None => match live.0.get(&owner.uid) {
                Some(Live::Absent) => dangling.push(owner.uid.clone()),
                Some(Live::Present | Live::Unknown) => unseen += 1,
                // Not asked: the graph has lost it since. The loss wakes this object again.
                None => return plan,
            },
        }
    }
    if unseen > 0 {
        // The graph will not tell when an owner goes that it does not have.
        plan.look_again_in(UNSEEN_OWNER_PERIOD);
        solid += unseen;
    }
    if dangling.is_empty() && waiting.is_empty() {
        return plan;
    }
    if solid > 0 {
        plan.because(format!("{} keeps other owners", node.name));
        plan.write(without_owners(node, &|owner| dangling.contains(&owner.uid) || waiting.contains(&owner.uid)));
        return plan;
    }
    let has_dependents = graph.owned_by(&node.uid).next().is_some();
    if !waiting.is_empty() && has_dependents {
        // In a circle of owners each would wait for the other: this one stops holding its owners back.
        let circular =
            graph.owned_by(&node.uid).any(|dependent| dependent.deleting && dependent.has_finalizer(FOREGROUND));
        if circular {
            plan.write(not_blocking(node));
        }
        plan.because(format!("{}'s owner is deleted in the foreground, and so is it", node.name));
        plan.write(deletion(node, Propagation::Foreground));
        return plan;
    }
    let policy = match () {
        () if node.has_finalizer(ORPHAN) => Propagation::Orphan,
        () if node.has_finalizer(FOREGROUND) => Propagation::Foreground,
        () => Propagation::Background,
    };
    plan.because(format!("all owners of {} are gone", node.name));
    plan.write(deletion(node, policy));
    plan
}

fn deletion(node: &Node, policy: Propagation) -> Intent {
    Intent::delete_of(node.target()).at_version(node.resource_version).with_propagation(policy)
}

fn patch(node: &Node, metadata: Value) -> Intent {
    let patch = json!({"metadata": metadata});
    let mut intent = Intent::patch_of(node.target(), node.resource_version, None, patch);
    if let Action::Patch { patch, .. } = &mut intent.action {
        patch["metadata"]["uid"] = json!(node.uid);
    }
    intent
}

fn without_owners(node: &Node, gone: &dyn Fn(&OwnerReference) -> bool) -> Intent {
    let owners: Vec<&OwnerReference> = node.owners.iter().filter(|owner| !gone(owner)).collect();
    patch(node, json!({"ownerReferences": if owners.is_empty() { Value::Null } else { json!(owners) }}))
}

fn not_blocking(node: &Node) -> Intent {
    let owners: Vec<OwnerReference> =
        node.owners.iter().map(|owner| OwnerReference { block_owner_deletion: Some(false), ..owner.clone() }).collect();
    patch(node, json!({"ownerReferences": owners}))
}

fn without_finalizer(node: &Node, finalizer: &str) -> Intent {
    let finalizers: Vec<&String> = node.finalizers.iter().filter(|known| *known != finalizer).collect();
    patch(node, json!({"finalizers": if finalizers.is_empty() { Value::Null } else { json!(finalizers) }}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, body, lines};
    use client::Resource;

    fn node(name: &str, owners: &[&str], finalizers: &[&str], deleting: bool) -> Node {
        let owner = |name: &&str| OwnerReference {
            api_version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            name: (*name).to_owned(),
            uid: (*name).to_owned(),
            controller: None,
            block_owner_deletion: Some(true),
        };
        Node {
            resource: Arc::new(Resource {
                group: "".into(),
                version: "v1".into(),
                plural: "configmaps".into(),
                kind: "ConfigMap".into(),
            }),
            namespace: "n".to_owned(),
            name: name.to_owned(),
            uid: name.to_owned(),
            resource_version: 5,
            owners: owners.iter().map(owner).collect(),
            finalizers: finalizers.iter().map(|finalizer| (*finalizer).to_owned()).collect(),
            deleting,
        }
    }

    fn plan(nodes: &[Node], of: &str, live: &[(&str, Live)]) -> Plan {
        let live = LiveOwners(live.iter().map(|(uid, live)| ((*uid).to_owned(), *live)).collect());
        let collector = GarbageCollector { monitors: Monitors::new() };
        collector.reconcile(&View::new().with(nodes.to_vec()).with_extra(live), &key_of(of), at(1))
    }

    #[test]
    fn only_what_has_lost_all_owners_for_sure_is_deleted() {
        let dependent = node("d", &["o"], &[], false);
        assert_eq!(plan(&[node("o", &[], &[], false), dependent.clone()], "d", &[]), Plan::nothing());
        for live in [Live::Present, Live::Unknown] {
            let kept = plan(std::slice::from_ref(&dependent), "d", &[("o", live)]);
            assert_eq!((kept.writes.len(), kept.requeue_after), (0, Some(UNSEEN_OWNER_PERIOD)));
        }
        let deleted = plan(&[dependent], "d", &[("o", Live::Absent)]);
        assert!(
            matches!(&deleted.writes[0].action, Action::Delete { target, resource_version: Some(5), propagation: Some(Propagation::Background), .. }
            if target.uid == "d")
        );
    }

    #[test]
    fn a_lost_owner_among_others_is_only_taken_out() {
        let kept =
            plan(&[node("o", &[], &[], false), node("d", &["o", "gone"], &[], false)], "d", &[("gone", Live::Absent)]);
        assert_eq!(lines(&kept), ["patch configmaps n/d"]);
        let metadata = &body(&kept, 0)["metadata"];
        assert_eq!(
            (metadata["ownerReferences"].as_array().unwrap().len(), &metadata["resourceVersion"]),
            (1, &json!("5"))
        );
    }

    #[test]
    fn foreground_deletion_goes_from_the_leaves_to_the_root() {
        let root = node("root", &[], &[FOREGROUND], true);
        let (middle, leaf) = (node("middle", &["root"], &[], false), node("leaf", &["middle"], &[], false));
        let all = [root.clone(), middle.clone(), leaf.clone()];
        assert!(plan(&all, "root", &[]).writes.is_empty(), "the root waits");
        assert!(matches!(
            plan(&all, "middle", &[]).writes[0].action,
            Action::Delete { propagation: Some(Propagation::Foreground), .. }
        ));
        let leafless = plan(&[root.clone(), middle], "middle", &[]);
        assert!(matches!(leafless.writes[0].action, Action::Delete { propagation: Some(Propagation::Background), .. }));
        let done = plan(&[root], "root", &[]);
        assert_eq!(body(&done, 0)["metadata"]["finalizers"], Value::Null);
    }

    #[test]
    fn orphaning_lets_the_dependents_go_first() {
        let plan = plan(&[node("o", &[], &[ORPHAN, "e.com/f"], true), node("d", &["o"], &[], false)], "o", &[]);
        assert_eq!(lines(&plan), ["patch configmaps n/d", "patch configmaps n/o"]);
        assert_eq!(body(&plan, 0)["metadata"]["ownerReferences"], Value::Null);
        assert_eq!(body(&plan, 1)["metadata"]["finalizers"], json!(["e.com/f"]));
    }

    #[test]
    fn a_change_wakes_dependents_and_owners() {
        let (owner, dependent) = (Arc::new(node("o", &[], &[], false)), Arc::new(node("d", &["o"], &[], false)));
        let graph = Snapshot::of([Node::clone(&dependent)]);
        let gone = concerned(&graph, &Change { old: Some(&owner), new: None });
        assert_eq!(gone, [key_of("d")]);
        let let_go = concerned(&Snapshot::of([Node::clone(&owner)]), &Change { old: Some(&dependent), new: None });
        assert_eq!(let_go, [key_of("o")]);
        assert_eq!(concerned(&graph, &Change { old: None, new: Some(&owner) }), Vec::<Key>::new());
    }
}
