use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::*;
use crate::fake::FakeServer;

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

fn election(identity: &str) -> LeaderElection {
    LeaderElection::new("kube-scheduler", identity.into())
}

fn lease(holder: &str) -> Lease {
    let spec = LeaseSpec {
        holder_identity: Some(holder.into()),
        lease_duration_seconds: Some(15),
        lease_transitions: Some(3),
        ..LeaseSpec::default()
    };
    Lease { metadata: ObjectMeta::default(), spec: Some(spec) }
}

fn holder(server: &FakeServer) -> Option<String> {
    server.get(&format!("{PATH}/kube-scheduler"))?["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

/// Starts a candidate; the flag tells whether it leads now.
fn stand(
    server: &FakeServer,
    identity: &str,
) -> (Arc<AtomicBool>, CancellationToken, tokio::task::JoinHandle<Result<(), Lost>>) {
    let (leads, cancel) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let (flag, client) = (leads.clone(), server.client());
    let run = election(identity).run(client, Environment::system(), cancel.clone(), move |stop| async move {
        flag.store(true, Ordering::SeqCst);
        stop.cancelled().await;
        flag.store(false, Ordering::SeqCst);
    });
    (leads, cancel, tokio::spawn(run))
}

/// Time is simulated: it moves on whenever every task waits.
async fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..10_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came true");
}

#[test]
fn a_free_lease_is_taken_and_anothers_only_when_it_has_run_out_before_our_eyes() {
    let (me, now) = (election("b"), Timestamp::UNIX_EPOCH);
    let first = decide(None, Duration::ZERO, &me, now).unwrap();
    assert_eq!((first.holder_identity.as_deref(), first.lease_transitions), (Some("b"), Some(0)));
    assert_eq!(first.lease_duration_seconds, Some(15));
    assert_eq!(decide(Some(&lease("a")), Duration::from_millis(14_999), &me, now), None);
    let taken = decide(Some(&lease("a")), Duration::from_secs(15), &me, now).unwrap();
    assert_eq!((taken.holder_identity.as_deref(), taken.lease_transitions), (Some("b"), Some(4)));
    let given_up = decide(Some(&lease("")), Duration::ZERO, &me, now).unwrap();
    assert_eq!(given_up.lease_transitions, Some(4));
}

#[test]
fn renewing_keeps_the_time_of_taking_it() {
    let mut mine = lease("b");
    let taken = MicroTime(Timestamp::UNIX_EPOCH);
    mine.spec.as_mut().unwrap().acquire_time = Some(taken.clone());
    let later = Timestamp::from_second(100).unwrap();
    let renewed = decide(Some(&mine), Duration::ZERO, &election("b"), later).unwrap();
    assert_eq!(renewed.acquire_time, Some(taken));
    assert_eq!((renewed.renew_time, renewed.lease_transitions), (Some(MicroTime(later)), Some(3)));
}

#[test]
fn times_that_could_make_two_leaders_are_refused() {
    assert_eq!(election("a").check(), Ok(()));
    let mut wrong = election("a");
    wrong.renew_deadline = wrong.lease_duration;
    assert!(wrong.check().unwrap_err().contains("greater than renewDeadline"));
    let mut wrong = election("a");
    wrong.retry_period = Duration::from_secs(9);
    assert!(wrong.check().unwrap_err().contains("JitterFactor"));
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_the_next_follows_when_it_gives_up() {
    let server = FakeServer::new();
    let (a_leads, a_cancel, a) = stand(&server, "a");
    until(|| a_leads.load(Ordering::SeqCst)).await;
    let (b_leads, b_cancel, b) = stand(&server, "b");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!b_leads.load(Ordering::SeqCst), "the leader renews, so nobody else may lead");
    a_cancel.cancel();
    assert_eq!(a.await.unwrap(), Ok(()));
    until(|| b_leads.load(Ordering::SeqCst)).await;
    assert_eq!(holder(&server).as_deref(), Some("b"));
    b_cancel.cancel();
    assert_eq!(b.await.unwrap(), Ok(()));
    assert_eq!(holder(&server).as_deref(), Some(""));
}

#[tokio::test(start_paused = true)]
async fn a_dead_leader_is_followed_after_its_term() {
    let server = FakeServer::new();
    server.put(
        PATH,
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"name": "kube-scheduler", "namespace": "kube-system"},
            "spec": {"holderIdentity": "dead", "leaseDurationSeconds": 15, "leaseTransitions": 0},
        }),
    );
    let began = Instant::now();
    let (leads, cancel, task) = stand(&server, "b");
    until(|| leads.load(Ordering::SeqCst)).await;
    assert!(began.elapsed() >= Duration::from_secs(15), "it led before the term was over");
    cancel.cancel();
    assert_eq!(task.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_stops() {
    let server = FakeServer::new();
    let (leads, _cancel, task) = stand(&server, "a");
    until(|| leads.load(Ordering::SeqCst)).await;
    server.refuse(|_, path, _| path.contains("/leases").then(|| (500, json!({"kind": "Status", "code": 500}))));
    assert_eq!(task.await.unwrap(), Err(Lost));
}
