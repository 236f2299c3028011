use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::nodes::tests::node;
use crate::pod_info::tests::pod;
use crate::schedule_one::{Decision, Diagnosis, schedule};

/// Nodes `a` and `b` in zone 1, `c` in zone 2.
fn cluster() -> Nodes {
    let mut nodes = Nodes::default();
    for (name, zone) in [("a", "1"), ("b", "1"), ("c", "2")] {
        let mut node = node(name, "4", "4Gi", json!({}));
        node.metadata.labels.get_or_insert_default().insert("zone".into(), zone.into());
        nodes.set_node(&node);
    }
    nodes
}

fn term(key: &str, app: &str) -> Value {
    json!({"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}})
}

fn required(app: &str, kind: &str, term: Value) -> Value {
    json!({"labels": {"app": app}, "affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}})
}

fn preferred(kind: &str, term: Value) -> Value {
    let weighted = json!([{"weight": 10, "podAffinityTerm": term}]);
    json!({"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": weighted}}})
}

fn diagnosis(pod: &PodInfo, nodes: &Nodes) -> Diagnosis {
    match schedule(pod, nodes, 0) {
        Decision::Unschedulable(diagnosis) => diagnosis,
        Decision::Node(row) => panic!("it fits on {}", nodes.names[row]),
    }
}

fn feasible(pod: &PodInfo, nodes: &Nodes) -> Vec<String> {
    let cycle = Cycle::of(pod, nodes);
    let fits = |row: &usize| InterPodAffinity.filter(pod, nodes, *row, &cycle).is_none();
    (0..nodes.len()).filter(fits).map(|row| nodes.names[row].clone()).collect()
}

#[test]
fn pods_come_together_and_the_first_of_a_group_starts_it() {
    let mut nodes = cluster();
    let lonely = pod("p", required("web", "podAffinity", term("zone", "db")));
    assert_eq!(
        diagnosis(&lonely, &nodes).message(),
        "0/3 nodes are available: 3 node(s) didn't match pod affinity rules."
    );
    let first = pod("p", required("web", "podAffinity", term("zone", "web")));
    assert_eq!(feasible(&first, &nodes), ["a", "b", "c"]);
    nodes.place_pod("a", Arc::new(pod("db", json!({"labels": {"app": "db"}}))));
    assert_eq!(feasible(&lonely, &nodes), ["a", "b"]);
    // Without the label of the topology a node is no place for it.
    assert_eq!(feasible(&pod("p", required("web", "podAffinity", term("rack", "web"))), &nodes), [""; 0]);
}

#[test]
fn pods_stay_apart_whoever_of_them_asks_for_it() {
    let mut nodes = cluster();
    nodes.place_pod("a", Arc::new(pod("one", required("web", "podAntiAffinity", term("zone", "web")))));
    let web = pod("two", required("web", "podAntiAffinity", term("kubernetes.io/hostname", "web")));
    assert_eq!(feasible(&web, &nodes), ["c"]);
    let plain = pod("three", json!({"labels": {"app": "web"}}));
    assert_eq!(feasible(&plain, &nodes), ["c"]);
    nodes.place_pod("c", Arc::new(pod("db", json!({"labels": {"app": "db"}}))));
    let apart = pod("four", required("web", "podAntiAffinity", term("zone", "db")));
    let message = diagnosis(&apart, &nodes).message();
    let expected = "0/3 nodes are available: 1 node(s) didn't match pod anti-affinity rules, \
                    2 node(s) didn't satisfy existing pods anti-affinity rules.";
    assert_eq!(message, expected);
    nodes.remove_pod(&pod("one", json!({})).key);
    assert_eq!(feasible(&plain, &nodes), ["a", "b", "c"]);
}

#[test]
fn likings_of_both_sides_are_added_up() {
    let mut nodes = cluster();
    nodes.place_pod("c", Arc::new(pod("db", json!({"labels": {"app": "db"}}))));
    let score = |spec: Value, nodes: &Nodes| {
        let mut scores = vec![0; 3];
        InterPodAffinity.score(&pod("p", spec), nodes, &[0, 1, 2], &mut scores);
        scores
    };
    assert_eq!(score(preferred("podAffinity", term("zone", "db")), &nodes), [0, 0, 100]);
    assert_eq!(score(preferred("podAntiAffinity", term("zone", "db")), &nodes), [100, 100, 0]);
    assert_eq!(score(json!({}), &nodes), [0, 0, 0]);
    nodes.place_pod("a", Arc::new(pod("fan", preferred("podAffinity", term("kubernetes.io/hostname", "web")))));
    assert_eq!(score(json!({"labels": {"app": "web"}}), &nodes), [100, 0, 0]);
}

#[test]
fn only_the_pods_that_are_meant_are_worth_another_attempt() {
    let nodes = cluster();
    let db = pod("db", json!({"labels": {"app": "db"}}));
    let web = pod("web", json!({"labels": {"app": "web"}}));
    let wants = pod("p", required("web", "podAffinity", term("zone", "db")));
    let helps = |event: Event<'_>, pod: &PodInfo| {
        InterPodAffinity.is_concerned_by(&event) && InterPodAffinity.may_help(&event, pod, &nodes)
    };
    assert!(helps(Event::PodCame(&db), &wants) && !helps(Event::PodCame(&web), &wants));
    assert!(!helps(Event::PodGone(Some(0), &db), &wants));
    assert!(helps(Event::PodChanged { row: 0, before: &web, now: &db }, &wants));
    let avoids = pod("p", required("web", "podAntiAffinity", term("zone", "db")));
    assert!(helps(Event::PodGone(Some(0), &db), &avoids) && !helps(Event::PodGone(Some(0), &web), &avoids));
    assert!(helps(Event::PodGone(Some(0), &avoids), &pod("q", json!({"labels": {"app": "db"}}))));
}
