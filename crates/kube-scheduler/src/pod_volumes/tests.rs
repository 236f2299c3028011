//! Pods with claims on two nodes, through the whole decision.

use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::nodes::tests::node;
use crate::pod_info::PodKey;
use crate::pod_info::tests::pod;
use crate::schedule_one::{Decision, schedule};

struct World(Nodes);

impl World {
    /// Nodes a and b in the zones 1 and 2.
    fn new(claims: &[Value], volumes: &[Value], classes: &[Value]) -> Self {
        let mut nodes = Nodes::default();
        for (name, zone) in [("a", "1"), ("b", "2")] {
            let mut node = node(name, "4", "4Gi", json!({}));
            let labels = node.metadata.labels.get_or_insert_default();
            labels.insert("topology.kubernetes.io/zone".to_owned(), zone.to_owned());
            nodes.set_node(&node);
        }
        fn fill<K: client::Object>(store: &client::Store<K>, objects: &[Value]) {
            store.replace(objects.iter().map(|o| serde_json::from_value(o.clone()).unwrap()).collect(), 1);
        }
        fill(&nodes.storage.claims, claims);
        fill(&nodes.storage.volumes, volumes);
        fill(&nodes.storage.classes, classes);
        Self(nodes)
    }

    /// The name of the node for the pod, or why there is none.
    fn decide(&self, pod: &PodInfo) -> Result<String, String> {
        match schedule(pod, &self.0, 0) {
            Decision::Node(row) => Ok(self.0.names[row].clone()),
            Decision::Unschedulable(diagnosis) => Err(diagnosis.message()),
        }
    }

    fn choice(&self, pod: &PodInfo, node: &str) -> Choice {
        PodVolumes::of(pod, &self.0).choose(&self.0, self.0.row(node).unwrap()).unwrap()
    }
}

fn user(name: &str, claim: &str) -> PodInfo {
    pod(name, json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]}))
}

fn claim(name: &str, class: &str, volume: &str) -> Value {
    let mut claim = json!({"metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
        "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    if !volume.is_empty() {
        claim["spec"]["volumeName"] = json!(volume);
        claim["metadata"]["annotations"] = json!({"pv.kubernetes.io/bind-completed": "yes"});
    }
    claim
}

/// A free volume that only the node of this name can reach.
fn volume(name: &str, node: &str) -> Value {
    let only = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    json!({"metadata": {"name": name}, "status": {"phase": "Available"}, "spec": {"storageClassName": "late",
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [only]}]}}}})
}

fn late(provisioner: &str) -> Value {
    json!({"metadata": {"name": "late"}, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer"})
}

#[test]
fn a_claim_that_is_not_there_or_not_bound_holds_its_pod_back() {
    let mut lost = claim("lost", "late", "gone");
    lost["status"] = json!({"phase": "Lost"});
    let mut leaving = claim("leaving", "late", "v");
    leaving["metadata"]["deletionTimestamp"] = json!("1970-01-01T00:00:00Z");
    let world = World::new(&[claim("open", "now", ""), lost, leaving], &[], &[]);
    let why = |name| world.decide(&user("p", name)).unwrap_err();
    assert_eq!(why("none"), "0/2 nodes are available: persistentvolumeclaim \"none\" not found.");
    assert_eq!(why("open"), "0/2 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
    assert_eq!(why("leaving"), "0/2 nodes are available: persistentvolumeclaim \"leaving\" is being deleted.");
    let gone =
        "0/2 nodes are available: persistentvolumeclaim \"lost\" bound to non-existent persistentvolume \"gone\".";
    assert_eq!(why("lost"), gone);
    let ephemeral = pod("p", json!({"volumes": [{"name": "own", "ephemeral": {}}]}));
    let made = "0/2 nodes are available: waiting for ephemeral volume controller to create the persistentvolumeclaim \"p-own\".";
    assert_eq!(world.decide(&ephemeral).unwrap_err(), made);
}

#[test]
fn a_pod_goes_where_its_volume_is() {
    let mut zoned = volume("zoned", "a");
    zoned["spec"]["nodeAffinity"] = Value::Null;
    zoned["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": "2__3"});
    let world = World::new(
        &[
            claim("there", "late", "on-b"),
            claim("zone", "late", "zoned"),
            claim("away", "late", "x"),
            claim("lost", "late", "none"),
        ],
        &[volume("on-b", "b"), volume("x", "c"), zoned],
        &[],
    );
    assert_eq!(world.decide(&user("p", "there")).as_deref(), Ok("b"));
    assert_eq!(world.decide(&user("p", "zone")).as_deref(), Ok("b"));
    let why = |name| world.decide(&user("p", name)).unwrap_err();
    assert_eq!(why("away"), "0/2 nodes are available: 2 node(s) didn't match PersistentVolume's node affinity.");
    assert_eq!(
        why("lost"),
        "0/2 nodes are available: 2 node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)."
    );
}

#[test]
fn a_claim_that_waits_gets_a_volume_that_its_node_can_reach_and_no_two_get_the_same() {
    let claims = [claim("one", "late", ""), claim("two", "late", "")];
    let mut world = World::new(&claims, &[volume("v", "b")], &[late(NO_PROVISIONER)]);
    let (first, second) = (user("first", "one"), user("second", "two"));
    assert_eq!(world.decide(&first).as_deref(), Ok("b"));
    let choice = Arc::new(world.choice(&first, "b"));
    assert_eq!(choice.bindings[0].0.metadata.name.as_deref(), Some("v"));
    world.0.storage.assume(&first.key, "b", choice);
    let none = "0/2 nodes are available: 2 node(s) didn't find available persistent volumes to bind.";
    assert_eq!(world.decide(&second).unwrap_err(), none);
    // A second pod of the same claim goes to the same volume.
    assert_eq!(world.decide(&user("third", "one")).as_deref(), Ok("b"));
    world.0.storage.forget(&first.key);
    assert_eq!(world.decide(&second).as_deref(), Ok("b"));
}

#[test]
fn where_nothing_is_free_a_volume_is_asked_for_on_a_node_that_the_class_allows() {
    let mut class = late("x.example.com");
    class["allowedTopologies"] =
        json!([{"matchLabelExpressions": [{"key": "topology.kubernetes.io/zone", "values": ["2"]}]}]);
    let mut world = World::new(&[claim("one", "late", "")], &[], &[class]);
    let first = user("first", "one");
    assert_eq!(world.decide(&first).as_deref(), Ok("b"));
    let choice = Arc::new(world.choice(&first, "b"));
    assert_eq!((choice.bindings.len(), choice.provisions.len()), (0, 1));
    world.0.storage.assume(&first.key, "b", choice);
    assert_eq!(world.decide(&user("second", "one")).as_deref(), Ok("b"));

    let mut selected = claim("one", "late", "");
    selected["metadata"]["annotations"] = json!({SELECTED_NODE: "a"});
    let world = World::new(&[selected], &[], &[late("x.example.com")]);
    assert_eq!(world.decide(&first).as_deref(), Ok("a"));
}

#[test]
fn what_only_one_pod_may_use_keeps_the_next_away_from_everywhere() {
    let mut exclusive = claim("one", "late", "v");
    exclusive["spec"]["accessModes"] = json!(["ReadWriteOncePod"]);
    let mut free = volume("v", "a");
    free["spec"]["nodeAffinity"] = Value::Null;
    let mut world = World::new(&[exclusive], &[free], &[]);
    world.0.place_pod("a", Arc::new(user("first", "one")));
    let why = "0/2 nodes are available: 2 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode.";
    assert_eq!(world.decide(&user("second", "one")).unwrap_err(), why);
    world.0.remove_pod(&PodKey { namespace: "default".into(), name: "first".into() });
    assert!(world.decide(&user("second", "one")).is_ok());
    let disk = |read_only: bool| {
        let disk = json!({"name": "d", "gcePersistentDisk": {"pdName": "x", "readOnly": read_only}});
        pod("p", json!({"volumes": [disk], "nodeSelector": {"kubernetes.io/hostname": "a"}}))
    };
    let mut other = disk(true);
    other.key.name = "other".into();
    world.0.place_pod("a", Arc::new(other));
    assert!(world.decide(&disk(true)).is_ok());
    assert!(world.decide(&disk(false)).unwrap_err().contains("1 node(s) had no available disk"));
}
