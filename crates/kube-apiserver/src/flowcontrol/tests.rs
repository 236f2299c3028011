//! Matching by the fields of the objects, and levels under load with the clock held still.

use k8s_openapi::serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::level::{Level, Shape};
use super::queues::Queuing;
use super::*;

fn objects<T: DeserializeOwned>(values: &[Value]) -> Vec<Arc<T>> {
    values.iter().map(|value| Arc::new(serde_json::from_value(value.clone()).expect("an object"))).collect()
}

fn schema(name: &str, precedence: i32, level: &str, rule: Value, distinguisher: &str) -> Value {
    json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": name, "uid": format!("uid-{name}")},
        "spec": {"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level}, "rules": [rule],
            "distinguisherMethod": {"type": distinguisher}}})
}

fn level(name: &str, shares: i32, response: Value) -> Value {
    json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration", "metadata": {"name": name},
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": shares, "limitResponse": response}}})
}

fn info(method: &str, uri: &str) -> RequestInfo {
    let method = http::Method::from_bytes(method.as_bytes()).expect("a method");
    RequestInfo::new(&method, &uri.parse().expect("a uri")).expect("a request")
}

#[test]
fn requests_fall_under_the_first_schema_that_matches() {
    let nodes = json!({"subjects": [{"kind": "Group", "group": {"name": "system:nodes"}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": [""], "resources": ["pods", "pods/status"], "namespaces": ["*"]}]});
    let leases = json!({"subjects": [{"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}},
            {"kind": "User", "user": {"name": "alice"}}],
        "resourceRules": [{"verbs": ["get", "update"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "namespaces": ["a"]}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/metrics/*"]}]});
    let dangling = json!({"subjects": [{"kind": "User", "user": {"name": "*"}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]}]});
    let schemas = objects(&[
        schema("leases", 200, "work", leases, "ByNamespace"),
        schema("nodes", 100, "work", nodes, "ByUser"),
        schema("dangling", 2, "nowhere", dangling, "ByUser"),
    ]);
    let levels = objects(&[level("work", 25, json!({"type": "Reject"}))]);
    let plan = Plan::new([1, 1], &schemas, &levels, 600, &Plan::default());
    let node = UserInfo::new("system:node:n", ["system:nodes", "system:authenticated"]);
    let account = UserInfo::service_account("kube-system", "x", None);
    let alice = UserInfo::new("alice", ["system:authenticated"]);
    let master = UserInfo::new("root", ["system:masters", "system:authenticated"]);
    let lease = "/apis/coordination.k8s.io/v1/namespaces/a/leases/l";
    for (user, method, uri, wanted) in [
        (&node, "GET", "/api/v1/namespaces/a/pods/p", ("nodes", "system:node:n")),
        (&node, "PUT", "/api/v1/namespaces/a/pods/p/status", ("nodes", "system:node:n")),
        (&node, "GET", "/api/v1/namespaces/a/pods/p/log", ("catch-all", "system:node:n")),
        (&node, "GET", "/api/v1/pods", ("catch-all", "system:node:n")),
        (&account, "GET", lease, ("leases", "a")),
        (&account, "DELETE", lease, ("catch-all", "system:serviceaccount:kube-system:x")),
        (&alice, "PUT", lease, ("leases", "a")),
        (&alice, "GET", "/healthz", ("leases", "")),
        (&alice, "GET", "/metrics/slis", ("leases", "")),
        (&alice, "GET", "/healthz/etcd", ("catch-all", "alice")),
        (&master, "GET", lease, ("exempt", "")),
    ] {
        let info = info(method, uri);
        let found = plan.classify(user, &info);
        assert_eq!((found.schema.name.as_str(), found.distinguisher), wanted, "{method} {uri}");
    }
    let work = plan.levels["work"].counts();
    assert_eq!((work.nominal, plan.levels["catch-all"].counts().nominal), (500, 100), "25 and 5 of 30 shares");
    let again = Plan::new([2, 1], &schemas, &levels, 600, &plan);
    assert!(Arc::ptr_eq(&plan.levels["work"], &again.levels["work"]), "those who wait keep their place");
}

fn limited(seats: usize, queuing: Option<Queuing>) -> Arc<Level> {
    let level = Arc::new(Level::new("level"));
    level.configure(String::new(), Shape { queuing, ..Shape::REJECT }, seats, 600);
    level
}

const QUEUING: Queuing = Queuing { queues: 4, hand: 1, length_max: 2 };

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(10)
}

#[tokio::test(start_paused = true)]
async fn a_level_without_queues_refuses_what_it_cannot_seat() {
    let level = limited(3, None);
    let wide = level.enter(1, 2, soon()).await.expect("room");
    let seat = level.enter(1, 1, soon()).await.expect("room");
    assert_eq!(level.enter(1, 1, soon()).await.err(), Some(Rejection::ConcurrencyLimit));
    drop(seat);
    assert_eq!(level.enter(1, 2, soon()).await.err(), Some(Rejection::ConcurrencyLimit));
    drop(wide);
    let alone = level.enter(1, 10, soon()).await.expect("what is wider than the level is served alone");
    assert_eq!(level.counts().executing_seats, 10);
    drop(alone);
    assert_eq!((level.counts().executing_seats, level.counts().executing_requests), (0, 0));
    level.configure(String::new(), Shape::EXEMPT, 0, 600);
    let all: Vec<_> = futures::future::join_all((0..50).map(|_| level.enter(1, 10, soon()))).await;
    assert!(all.iter().all(Result::is_ok), "nobody waits in an exempt level");
}

#[tokio::test(start_paused = true)]
async fn a_level_with_queues_lets_wait_for_a_time() {
    let level = limited(1, Some(QUEUING));
    let seat = level.enter(1, 1, soon()).await.expect("room");
    let waits = |level: &Arc<Level>| {
        let level = level.clone();
        tokio::spawn(async move { level.enter(1, 1, soon()).await })
    };
    let (first, second) = (waits(&level), waits(&level));
    while level.counts().waiting_requests < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(level.enter(1, 1, soon()).await.err(), Some(Rejection::QueueFull));
    drop(seat);
    let seat = first.await.expect("no panic").expect("the seat that came free");
    assert_eq!(second.await.expect("no panic").err(), Some(Rejection::TimeOut), "the clock moves when all wait");
    assert_eq!(level.counts().waiting_requests, 0);
    // Who goes away while waiting leaves no trace, and nobody behind is held up.
    let gone = waits(&level);
    while level.counts().waiting_requests < 1 {
        tokio::task::yield_now().await;
    }
    gone.abort();
    assert!(gone.await.is_err());
    assert_eq!(level.counts().waiting_requests, 0);
    drop(seat);
    drop(level.enter(1, 1, soon()).await.expect("the seat is free again"));
    assert_eq!(level.counts().executing_seats, 0);
}

#[tokio::test(start_paused = true)]
async fn more_seats_let_in_those_who_wait() {
    let level = limited(0, Some(QUEUING));
    let waiting = tokio::spawn({
        let level = level.clone();
        async move { level.enter(1, 1, Instant::now() + Duration::from_secs(3600)).await.is_ok() }
    });
    while level.counts().waiting_requests < 1 {
        tokio::task::yield_now().await;
    }
    let levels = [("level".to_owned(), level.clone())].into();
    borrow::adjust(&levels, 600);
    assert!(level.counts().current > 0, "it borrows what nobody uses");
    assert!(waiting.await.expect("no panic"));
}
