use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::nodes::tests::node;
use crate::pod_info::tests::pod;
use crate::schedule_one::{Decision, schedule};
use crate::topology_spread::ZONE;

/// Nodes `a` and `b` in zone 1, `c` in zone 2, `d` in none.
fn cluster() -> Nodes {
    let mut nodes = Nodes::default();
    for (name, zone) in [("a", Some("1")), ("b", Some("1")), ("c", Some("2")), ("d", None)] {
        let mut node = node(name, "4", "4Gi", json!({}));
        if let Some(zone) = zone {
            node.metadata.labels.get_or_insert_default().insert(ZONE.into(), zone.into());
        }
        nodes.set_node(&node);
    }
    nodes
}

fn spread(more: Value) -> Value {
    let mut constraint = json!({"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}});
    constraint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"labels": {"app": "web"}, "topologySpreadConstraints": [constraint]})
}

fn feasible(pod: &PodInfo, nodes: &Nodes) -> Vec<String> {
    let cycle = Cycle::of(pod, nodes);
    let fits = |row: &usize| PodTopologySpread.filter(pod, nodes, *row, &cycle).is_none();
    (0..nodes.len()).filter(fits).map(|row| nodes.names[row].clone()).collect()
}

fn web(name: &str) -> Arc<PodInfo> {
    Arc::new(pod(name, json!({"labels": {"app": "web"}})))
}

#[test]
fn no_place_gets_more_than_the_skew_above_the_emptiest() {
    let mut nodes = cluster();
    let one = pod("p", spread(json!({})));
    assert_eq!(feasible(&one, &nodes), ["a", "b", "c"]);
    nodes.place_pod("a", web("w1"));
    assert_eq!(feasible(&one, &nodes), ["c"]);
    assert_eq!(feasible(&pod("p", spread(json!({"maxSkew": 2}))), &nodes), ["a", "b", "c"]);
    // Others and those of other namespaces do not count.
    nodes.place_pod("c", Arc::new(pod("db", json!({"labels": {"app": "db"}}))));
    assert_eq!(feasible(&one, &nodes), ["c"]);
    nodes.place_pod("c", web("w2"));
    assert_eq!(feasible(&one, &nodes), ["a", "b", "c"]);
    let three = pod("p", spread(json!({"minDomains": 3})));
    let Decision::Unschedulable(diagnosis) = schedule(&three, &nodes, 0) else { panic!("there are two zones") };
    let expected = "0/4 nodes are available: 1 node(s) didn't match pod topology spread constraints \
                    (missing required label), 3 node(s) didn't match pod topology spread constraints.";
    assert_eq!(diagnosis.message(), expected);
}

#[test]
fn nodes_that_a_pod_cannot_use_count_unless_it_says_otherwise() {
    let mut nodes = cluster();
    let mut tainted = node("c", "4", "4Gi", json!({"taints": [{"key": "k", "effect": "NoSchedule"}]}));
    tainted.metadata.labels.get_or_insert_default().insert(ZONE.into(), "2".into());
    nodes.set_node(&tainted);
    nodes.place_pod("a", web("w1"));
    assert_eq!(feasible(&pod("p", spread(json!({}))), &nodes), ["c"]);
    assert_eq!(feasible(&pod("p", spread(json!({"nodeTaintsPolicy": "Honor"}))), &nodes), ["a", "b", "c"]);
    let mut selects = spread(json!({}));
    selects["nodeSelector"] = json!({ZONE: "1"});
    assert_eq!(feasible(&pod("p", selects.clone()), &nodes), ["a", "b", "c"]);
    selects["topologySpreadConstraints"][0]["nodeAffinityPolicy"] = "Ignore".into();
    assert_eq!(feasible(&pod("p", selects), &nodes), ["c"]);
}

fn scores(pod: &PodInfo, nodes: &Nodes) -> Vec<i64> {
    let rows: Vec<usize> = (0..nodes.len()).collect();
    let mut scores = vec![0; rows.len()];
    PodTopologySpread.score(pod, nodes, &rows, &mut scores);
    scores
}

#[test]
fn wishes_prefer_emptier_places_and_know_no_place_without_the_label() {
    let mut nodes = cluster();
    nodes.place_pod("a", web("w1"));
    let wish = pod("p", spread(json!({"whenUnsatisfiable": "ScheduleAnyway"})));
    assert_eq!(scores(&wish, &nodes), [0, 0, 100, 0]);
    assert_eq!(feasible(&wish, &nodes), ["a", "b", "c", "d"]);
}

#[test]
fn pods_of_a_service_spread_without_asking() {
    let mut nodes = cluster();
    nodes.place_pod("a", web("w1"));
    let plain = pod("p", json!({"labels": {"app": "web"}}));
    assert_eq!(scores(&plain, &nodes), [0; 4]);
    let service = json!({"metadata": {"namespace": "default", "name": "s"}, "spec": {"selector": {"app": "web"}}});
    nodes.workloads.services.apply(serde_json::from_value(service).unwrap());
    let scores = scores(&plain, &nodes);
    assert!(scores[0] < scores[1] && scores[1] < scores[2] && scores[3] >= scores[2], "{scores:?}");
}
