//! Plans for nodes that fall silent and come back.

use super::*;
use crate::testing::{at, body, lines, object, pod};

fn node(name: &str, ready: &str, more: Value) -> Node {
    let conditions = if ready.is_empty() {
        json!([])
    } else {
        json!([{"type": "Ready", "status": ready, "lastHeartbeatTime": "1970-01-01T00:00:00Z"}])
    };
    object(json!({"metadata": {"name": name, "namespace": ""}, "spec": more, "status": {"conditions": conditions}}))
}

fn plan(nodes: Vec<Node>, pods: Vec<Pod>, heard: i64) -> Plan {
    let controller = NodeLifecycle::new(Grace { monitor: Duration::from_secs(40), startup: Duration::from_secs(60) });
    let view = View::new().with(nodes).with(pods).with::<Lease>([]).with_extra(LastHeard(at(heard)));
    controller.reconcile(&view, &Key::cluster("a"), at(100))
}

fn taints(plan: &Plan) -> Vec<String> {
    let taints = body(plan, 0)["spec"]["taints"].clone();
    taints
        .as_array()
        .into_iter()
        .flatten()
        .map(|taint| {
            format!(
                "{}:{}",
                taint["key"].as_str().unwrap().trim_start_matches("node.kubernetes.io/"),
                taint["effect"].as_str().unwrap()
            )
        })
        .collect()
}

#[test]
fn a_node_that_is_heard_of_is_looked_at_when_its_grace_ends() {
    let plan = plan(vec![node("a", "True", json!({}))], vec![], 75);
    assert_eq!((plan.writes.len(), plan.requeue_after.unwrap().as_secs()), (0, 15));
}

#[test]
fn a_silent_node_becomes_unknown() {
    let silent = plan(vec![node("a", "True", json!({}))], vec![], 60);
    assert_eq!(lines(&silent), ["update nodes/status /a", "event NodeNotReady Node a status is now: NodeNotReady"]);
    let ready = &body(&silent, 0)["status"]["conditions"][0];
    assert_eq!(
        (&ready["status"], &ready["reason"], &ready["message"]),
        (&json!("Unknown"), &json!("NodeStatusUnknown"), &json!("Kubelet stopped posting node status."))
    );
    let pressure = &body(&silent, 0)["status"]["conditions"][1];
    assert_eq!((&pressure["type"], &pressure["reason"]), (&json!("MemoryPressure"), &json!("NodeStatusNeverUpdated")));
    assert!(plan(vec![node("a", "", json!({}))], vec![], 50).writes.is_empty(), "a new node has longer");
}

#[test]
fn taints_follow_the_conditions_and_evict_only_while_some_node_is_well() {
    let unknown = |more: Value| node("a", "Unknown", more);
    let well = || node("b", "True", json!({}));
    assert_eq!(
        taints(&plan(vec![unknown(json!({})), well()], vec![], 99)),
        ["unreachable:NoSchedule", "unreachable:NoExecute"]
    );
    assert_eq!(taints(&plan(vec![unknown(json!({}))], vec![], 99)), ["unreachable:NoSchedule"]);
    assert_eq!(
        taints(&plan(
            vec![
                node("a", "False", json!({"unschedulable": true, "taints": [{"key": "own", "effect": "NoSchedule"}]})),
                well()
            ],
            vec![],
            99
        )),
        ["own:NoSchedule", "not-ready:NoSchedule", "not-ready:NoExecute", "unschedulable:NoSchedule"]
    );
    let back = plan(
        vec![node("a", "True", json!({"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}))],
        vec![],
        99,
    );
    assert_eq!(body(&back, 0)["spec"]["taints"], Value::Null);
    let newborn = node("a", "", json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}));
    assert_eq!(
        taints(&plan(vec![newborn], vec![], 99)),
        Vec::<String>::new(),
        "it has not reported that it is not ready"
    );
    let cordoned = plan(vec![node("a", "True", json!({"unschedulable": true}))], vec![], 99);
    assert_eq!(
        body(&cordoned, 0)["spec"]["taints"],
        json!([{"effect": "NoSchedule", "key": "node.kubernetes.io/unschedulable", "timeAdded": "1970-01-01T00:01:40Z"}])
    );
    let swapped = plan(
        vec![unknown(json!({"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]})), well()],
        vec![],
        99,
    );
    assert_eq!(taints(&swapped), ["unreachable:NoSchedule", "unreachable:NoExecute"]);
    let dark = unknown(json!({"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}]}));
    assert_eq!(taints(&plan(vec![dark], vec![], 99)), ["unreachable:NoSchedule"], "nobody is well any more");
}

/// Nodes named a, b, c, ...; `down` are unreachable, each given up at some second or not yet.
fn cluster(size: usize, down: &[(usize, Option<i64>)]) -> Vec<Node> {
    let name = |n: usize| if n == 0 { "a".to_owned() } else { format!("b{n:02}") };
    let one = |n: usize| match down.iter().find(|(number, _)| *number == n) {
        None => node(&name(n), "True", json!({})),
        Some((_, added)) => {
            let mut taints = vec![json!({"effect": "NoSchedule", "key": "node.kubernetes.io/unreachable"})];
            if let Some(added) = added {
                taints.push(json!({"effect": "NoExecute", "key": "node.kubernetes.io/unreachable", "timeAdded": at(*added).to_string()}));
            }
            node(&name(n), "Unknown", json!({ "taints": taints }))
        }
    };
    (0..size).map(one).collect()
}

#[test]
fn nodes_are_given_up_slowly_and_not_when_all_is_dark() {
    use eviction::Permission::{Denied, Granted, Later};
    let seconds = Duration::from_secs;
    let first = |n: usize| (0..n).map(|n| (n, None)).collect::<Vec<_>>();
    let and_last = |n: usize, added: i64| {
        let mut down = first(n);
        down[n - 1].1 = Some(added);
        down
    };
    let cases = [
        ("alone in the world", 1, first(1), Denied),
        ("one of two", 2, first(1), Granted),
        ("the first of two", 10, first(2), Granted),
        ("another was given up just now", 10, and_last(2, 96), Later(seconds(6))),
        ("another was given up long ago", 10, and_last(2, 90), Granted),
        ("most of a small zone", 5, first(3), Denied),
        ("given up already, most of a small zone", 5, vec![(0, Some(1)), (1, None), (2, None)], Granted),
        ("most of a large zone", 60, first(40), Granted),
        ("most of a large zone, one of them lately", 60, and_last(40, 70), Later(seconds(70))),
        ("every node", 5, first(5), Denied),
    ];
    for (case, size, down, expected) in cases {
        let all = client::Snapshot::of(cluster(size, &down));
        assert_eq!(eviction::permission(all.find("", "a").unwrap(), &all, at(100)), expected, "{case}");
    }
    let all = client::Snapshot::of(cluster(10, &first(2)));
    assert_eq!(eviction::permission(all.find("", "b01").unwrap(), &all, at(100)), Later(seconds(10)), "a is before it");
}

#[test]
fn a_recovering_node_wakes_those_that_are_down() {
    let nodes = cluster(3, &[(0, None), (2, None)]);
    let (old, new) = (Arc::new(node("b01", "False", json!({}))), Arc::new(nodes[1].clone()));
    let view = View::new().with(nodes);
    let keys = |old, new| {
        node_concerns(&view, &Change { old, new }).iter().map(|key| key.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(keys(Some(&old), Some(&new)), ["b01", "a", "b02"]);
    assert_eq!(keys(Some(&new), Some(&new)), ["b01"]);
}

#[test]
fn nodes_that_come_and_go_are_told_of() {
    let controller = NodeLifecycle::new(Grace { monitor: Duration::from_secs(40), startup: Duration::from_secs(60) });
    let view = |nodes: Vec<Node>| View::new().with(nodes).with::<Pod>([]).with::<Lease>([]);
    let decide = |view: View| lines(&controller.reconcile(&view, &Key::cluster("a"), at(100)));
    let came = view(vec![node("a", "True", json!({}))]).with_extra(Passage::Came).with_extra(LastHeard(at(99)));
    assert_eq!(decide(came), ["event RegisteredNode Node a event: Registered Node a in Controller"]);
    let went = view(vec![]).with_extra(Passage::Went("u".to_owned()));
    assert_eq!(decide(went), ["event RemovingNode Node a event: Removing Node a from Controller"]);
    assert_eq!(decide(view(vec![])), Vec::<String>::new());
}

#[test]
fn the_pods_of_an_unknown_node_are_not_ready() {
    let ready = pod(json!({"metadata": {"name": "p"}, "spec": {"nodeName": "a"}, "status": {"conditions": [
        {"type": "Initialized", "status": "True"}, {"type": "Ready", "status": "True"}]}}));
    let tainted =
        node("a", "Unknown", json!({"taints": [{"key": "node.kubernetes.io/unreachable", "effect": "NoSchedule"}]}));
    let plan = plan(vec![tainted], vec![ready], 99);
    assert_eq!(lines(&plan), ["patch pods/status n/p", "event NodeNotReady Node is not ready"]);
    assert_eq!(body(&plan, 0)["status"]["conditions"][1]["status"], "False");
}
