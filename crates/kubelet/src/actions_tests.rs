use serde_json::json;

use super::*;
use crate::{cri::v1::ContainerState as State, runtime_state::Sandbox};

fn pod(spec: serde_json::Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec})).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).unwrap()
}

pub(crate) fn container(name: &str, state: State, exit_code: i32) -> ContainerInfo {
    let definition = Container { name: name.into(), ..Default::default() };
    ContainerInfo {
        id: format!("id-{name}"),
        name: name.into(),
        sandbox_id: "s".into(),
        state,
        restarts: 0,
        created_at: 1,
        started_at: Some(at(0)),
        finished_at: (state == State::ContainerExited).then(|| at(5)),
        exit_code,
        reason: String::new(),
        message: String::new(),
        image: String::new(),
        image_ref: String::new(),
        hash: labels::hash(&definition),
        termination_file: None,
        log_is_fallback: false,
        log_path: Default::default(),
        last_words: None,
        is_replaced: false,
    }
}

fn runtime(containers: Vec<ContainerInfo>) -> PodRuntime {
    let sandbox = Sandbox { id: "s".into(), ready: true, ..Default::default() };
    PodRuntime { sandboxes: vec![sandbox], containers }
}

fn decide(pod: &Pod, runtime: &PodRuntime, probes: &ProbeStates, backoff: &Backoff, now: Timestamp) -> Actions {
    let actuated = &Allocation::of(pod);
    compute_pod_actions(View { pod, runtime, probes, backoff, actuated, now })
}

fn simple(pod: &Pod, runtime: &PodRuntime) -> Actions {
    decide(pod, runtime, &ProbeStates::new(), &Backoff::default(), at(10))
}

fn started(actions: &Actions) -> Vec<&str> {
    actions.start.iter().map(|(_, name)| name.as_str()).collect()
}

#[test]
fn a_new_pod_gets_a_sandbox_and_all_main_containers() {
    let pod = pod(json!({"containers": [{"name": "a"}, {"name": "b"}]}));
    let actions = simple(&pod, &PodRuntime::default());
    assert_eq!(actions.create_sandbox, Some(0));
    assert_eq!(started(&actions), ["a", "b"]);
    assert!(!actions.kill_pod);
}

#[test]
fn init_containers_run_one_after_the_other() {
    let pod = pod(json!({"initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}, {"name": "j"}],
        "containers": [{"name": "a"}]}));
    assert_eq!(started(&simple(&pod, &runtime(vec![]))), ["i"]);
    let i = container("i", State::ContainerExited, 0);
    assert_eq!(started(&simple(&pod, &runtime(vec![i.clone()]))), ["s"]);
    let s = container("s", State::ContainerRunning, 0);
    assert_eq!(started(&simple(&pod, &runtime(vec![i.clone(), s.clone()]))), ["j"]);
    let j = container("j", State::ContainerRunning, 0);
    assert!(simple(&pod, &runtime(vec![i.clone(), s.clone(), j])).is_idle());
    let j = container("j", State::ContainerExited, 0);
    assert_eq!(started(&simple(&pod, &runtime(vec![i, s, j]))), ["a"]);
}

#[test]
fn a_sidecar_with_a_startup_probe_holds_the_next_back() {
    let pod = pod(json!({"initContainers": [{"name": "s", "restartPolicy": "Always", "startupProbe": {}}],
        "containers": [{"name": "a"}]}));
    let state = runtime(vec![container("s", State::ContainerRunning, 0)]);
    assert!(simple(&pod, &state).is_idle());
    let verdict = ProbeState { started: Some(true), ..Default::default() };
    let probes = ProbeStates::from([("id-s".to_owned(), verdict)]);
    assert_eq!(started(&decide(&pod, &state, &probes, &Backoff::default(), at(10))), ["a"]);
}

#[test]
fn a_dead_sidecar_returns_beside_running_main_containers() {
    let pod = pod(json!({"initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
        "containers": [{"name": "a"}]}));
    let state = runtime(vec![container("s", State::ContainerExited, 0), container("a", State::ContainerRunning, 0)]);
    assert_eq!(started(&simple(&pod, &state)), ["s"], "and the finished init container is not repeated");
}

#[test]
fn restart_policy_decides_between_restart_and_end() {
    let with = |policy: &str| pod(json!({"restartPolicy": policy, "containers": [{"name": "a"}]}));
    let ended = |code| runtime(vec![container("a", State::ContainerExited, code)]);
    assert_eq!(started(&simple(&with("Always"), &ended(0))), ["a"]);
    assert_eq!(simple(&with("OnFailure"), &ended(0)).terminal, Some(true));
    assert_eq!(started(&simple(&with("OnFailure"), &ended(3))), ["a"]);
    assert_eq!(simple(&with("Never"), &ended(3)).terminal, Some(false));
}

#[test]
fn container_rules_go_before_the_pods_policy() {
    let pod = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a", "restartPolicy": "Never",
        "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}]}));
    assert_eq!(started(&simple(&pod, &runtime(vec![container("a", State::ContainerExited, 42)]))), ["a"]);
    assert_eq!(simple(&pod, &runtime(vec![container("a", State::ContainerExited, 1)])).terminal, Some(false));
}

#[test]
fn a_failed_init_container_ends_a_pod_that_never_restarts() {
    let spec = |policy: &str| json!({"restartPolicy": policy, "initContainers": [{"name": "i"}], "containers": [{"name": "a"}]});
    let state = runtime(vec![container("i", State::ContainerExited, 1)]);
    assert_eq!(simple(&pod(spec("Never")), &state).terminal, Some(false));
    assert_eq!(started(&simple(&pod(spec("Always")), &state)), ["i"]);
}

#[test]
fn a_crash_loop_waits_from_the_second_crash_on() {
    let pod = pod(json!({"containers": [{"name": "a"}]}));
    let state = runtime(vec![container("a", State::ContainerExited, 1)]);
    let mut backoff = Backoff::default();
    assert_eq!(started(&decide(&pod, &state, &ProbeStates::new(), &backoff, at(6))), ["a"]);
    backoff.next(&backoff_key(&pod.main_containers()[0]), at(1), at(1));
    let actions = decide(&pod, &state, &ProbeStates::new(), &backoff, at(6));
    assert!(actions.is_idle());
    assert_eq!((actions.waiting[0].until, actions.waiting[0].delay), (at(15), Duration::from_secs(10)));
    assert_eq!(started(&decide(&pod, &state, &ProbeStates::new(), &backoff, at(15))), ["a"]);
}

#[test]
fn failed_probes_and_changed_definitions_kill() {
    let definition = pod(json!({"containers": [{"name": "a"}]}));
    let state = runtime(vec![container("a", State::ContainerRunning, 0)]);
    let verdict = ProbeState { live: Some(false), ..Default::default() };
    let probes = ProbeStates::from([("id-a".to_owned(), verdict)]);
    let actions = decide(&definition, &state, &probes, &Backoff::default(), at(10));
    assert_eq!(actions.kill[0].message, "Container a failed liveness probe, will be restarted");
    let changed = pod(json!({"containers": [{"name": "a", "image": "other"}]}));
    assert_eq!(simple(&changed, &state).kill[0].message, "Container a definition changed, will be restarted");
    assert!(simple(&definition, &state).is_idle());
}

#[test]
fn a_lost_sandbox_takes_its_containers_with_it() {
    let definition = pod(json!({"initContainers": [{"name": "i"}], "containers": [{"name": "a"}]}));
    let mut state =
        runtime(vec![container("a", State::ContainerRunning, 0), container("i", State::ContainerExited, 0)]);
    state.sandboxes[0].ready = false;
    let actions = simple(&definition, &state);
    assert!(actions.kill_pod);
    assert_eq!(actions.create_sandbox, Some(1));
    assert_eq!(started(&actions), ["i"], "init containers are repeated in a new sandbox");
}

#[test]
fn ephemeral_containers_start_once() {
    let definition = pod(json!({"containers": [{"name": "a"}], "ephemeralContainers": [{"name": "debug"}]}));
    let mut containers = vec![container("a", State::ContainerRunning, 0)];
    assert_eq!(started(&simple(&definition, &runtime(containers.clone()))), ["debug"]);
    containers.push(container("debug", State::ContainerExited, 1));
    assert!(simple(&definition, &runtime(containers)).is_idle());
}

#[test]
fn a_resize_changes_a_running_container_or_replaces_it() {
    let spec = |cpu: &str| {
        pod(
            json!({"restartPolicy": "OnFailure", "containers": [{"name": "a", "resources": {"requests": {"cpu": cpu}, "limits": {"memory": "1Gi"}},
            "resizePolicy": [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]}]}),
        )
    };
    let (wanted, mut state) = (spec("2"), runtime(vec![container("a", State::ContainerRunning, 0)]));
    let with = |actuated: &Allocation, state: &PodRuntime| {
        let (probes, backoff, now) = (&ProbeStates::new(), &Backoff::default(), at(10));
        compute_pod_actions(View { pod: &wanted, runtime: state, probes, backoff, actuated, now })
    };
    let before = Allocation::of(&spec("1"));
    assert_eq!(with(&before, &state).resize, ["a"]);
    let mut smaller = before.clone();
    let memory = smaller.containers.get_mut("a").and_then(|own| own.limits.as_mut()).unwrap();
    memory.insert("memory".into(), k8s_openapi::apimachinery::pkg::api::resource::Quantity("512Mi".into()));
    let actions = with(&smaller, &state);
    assert_eq!((actions.kill[0].message.as_str(), actions.resize.len()), ("Container a resize requires restart", 0));
    state.containers[0] =
        ContainerInfo { is_replaced: actions.kill[0].is_replaced, ..container("a", State::ContainerExited, 0) };
    assert_eq!(started(&with(&smaller, &state)), ["a"], "although it ended well");
}

#[test]
fn a_probe_restarts_nothing_in_a_pod_that_never_restarts() {
    let definition = pod(json!({"restartPolicy": "Never", "containers": [{"name": "a"}]}));
    let state = runtime(vec![container("a", State::ContainerRunning, 0)]);
    let probes = ProbeStates::from([("id-a".to_owned(), ProbeState { live: Some(false), ..Default::default() })]);
    let kill = &decide(&definition, &state, &probes, &Backoff::default(), at(10)).kill[0];
    assert_eq!((kill.message.as_str(), kill.is_replaced), ("Container a failed liveness probe", false));
}
